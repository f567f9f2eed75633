package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/suuupra/gateway/cmd/internal/settings"
	"github.com/suuupra/gateway/compiler/publish"
	"github.com/suuupra/gateway/compiler/publisher"
	"github.com/suuupra/gateway/internal/compilechild"
)

// serveConfig is everything gwctl serve can be told. Each field is a line of serve.yaml, a flag, and a GWCTL_ environment variable; a
// flag wins over the environment, which wins over the file. Hooks are in the file alone.
type serveConfig struct {
	Repo, RepoRef, RepoToken string
	Environments             []string
	To, Trust                string
	Key, ChannelKey          string // the path of a file, or the key itself
	Expires, Poll            time.Duration
	Test, Once               bool
	State, Listen, Admin     string
	TLSCert, TLSKey          string
	CompileTimeout           time.Duration
	CompileMemory            int64 // bytes
	LogLevel, LogFormat      string
	Audit, AuditKey          string
	AuditSinks               string
	Hooks                    []hookConfig
}

func setEnvironments(c *serveConfig, v string) error {
	c.Environments = strings.Split(v, ",")
	for i, name := range c.Environments {
		if c.Environments[i] = strings.TrimSpace(name); c.Environments[i] == "" || slices.Contains(c.Environments[:i], c.Environments[i]) {
			return fmt.Errorf("is %q, must be names of environments, each once, with commas in between", v)
		}
	}
	return nil
}

const minCompileMemory = 256 // MiB

func setCompileMemory(c *serveConfig, v string) error {
	n, err := strconv.ParseInt(v, 10, 32)
	if err != nil || n < minCompileMemory {
		return fmt.Errorf("is %q, must be a whole number of MiB of at least %d", v, minCompileMemory)
	}
	c.CompileMemory = n << 20
	return nil
}

// serveTable is the one behind the file, the flags and the environment.
var serveTable = settings.Table[serveConfig]{Prefix: "GWCTL_", Filled: true, Other: map[string]settings.Reader[serveConfig]{"hooks": readHooks}, All: []settings.Setting[serveConfig]{
	{Name: "repo", Usage: "git repository to watch: https, ssh or a path; /subdirectory after //", Set: settings.Text(func(c *serveConfig) *string { return &c.Repo })},
	{Name: "repo-ref", Usage: "branch or tag of --repo", Default: "main", Set: settings.Text(func(c *serveConfig) *string { return &c.RepoRef })},
	{Name: "repo-token", Usage: "password for --repo over https", Secret: true, Set: settings.Text(func(c *serveConfig) *string { return &c.RepoToken })},
	{Name: "env", Usage: "environments to publish, comma-separated", List: true, Set: setEnvironments},
	{Name: "to", Usage: "where to publish: file:///dir, git+https://repo#branch, oci://registry/repo, https://", Set: settings.Text(func(c *serveConfig) *string { return &c.To })},
	{Name: "key", Usage: "private release key; the variable may hold the key itself", Key: true, Set: settings.Text(func(c *serveConfig) *string { return &c.Key })},
	{Name: "channel-key", Usage: "private channel key; the variable may hold the key itself", Key: true, Set: settings.Text(func(c *serveConfig) *string { return &c.ChannelKey })},
	{Name: "trust", Usage: "trust.json by which what is published, and approvals, are verified", Set: settings.Text(func(c *serveConfig) *string { return &c.Trust })},
	{Name: "expires", Usage: "how long a channel is valid; it is renewed at half of that", Default: publish.DefaultLifetime.String(), Set: settings.Duration(func(c *serveConfig) *time.Duration { return &c.Expires }, publish.MinLifetime)},
	{Name: "poll", Usage: "how often the repository and the destination are asked", Default: publisher.DefaultInterval.String(), Set: settings.Duration(func(c *serveConfig) *time.Duration { return &c.Poll }, time.Second)},
	{Name: "test", Usage: "publish nothing whose request tests fail", Default: "false", Boolean: true, Set: settings.Bool(func(c *serveConfig) *bool { return &c.Test })},
	{Name: "once", Usage: "make one round and exit", Default: "false", Boolean: true, Set: settings.Bool(func(c *serveConfig) *bool { return &c.Once })},
	{Name: "state", Usage: "directory that keeps the clone across restarts; default: a temporary one", Set: settings.Text(func(c *serveConfig) *string { return &c.State })},
	{Name: "listen", Usage: "address for webhooks, /healthz, /readyz, /metrics and /status", Set: settings.Addresses(func(c *serveConfig) *string { return &c.Listen })},
	{Name: "admin", Usage: "address for /metrics and /status; default: --listen", Set: settings.Addresses(func(c *serveConfig) *string { return &c.Admin })},
	{Name: "tls-cert", Usage: "certificate chain for --listen, PEM", Set: settings.Text(func(c *serveConfig) *string { return &c.TLSCert })},
	{Name: "tls-key", Usage: "private key of --tls-cert, PEM", Set: settings.Text(func(c *serveConfig) *string { return &c.TLSKey })},
	{Name: "compile-timeout", Usage: "how long one compilation may take, by the clock and of CPU", Default: compilechild.DefaultTimeout.String(), Set: settings.Duration(func(c *serveConfig) *time.Duration { return &c.CompileTimeout }, time.Second)},
	{Name: "compile-memory", Usage: "memory that one compilation may take, in MiB", Default: strconv.Itoa(compilechild.DefaultMemory >> 20), Set: setCompileMemory},
	{Name: "audit", Usage: "directory of the audit trails, one for each environment: what was published and what was not, and why", Set: settings.Text(func(c *serveConfig) *string { return &c.Audit })},
	{Name: "audit-key", Usage: "private key that signs the segments of the audit trails, a file", Set: settings.Text(func(c *serveConfig) *string { return &c.AuditKey })},
	{Name: "audit-sinks", Usage: "where records go besides, comma-separated: stdout, stderr, file:///path, syslog+udp://host:514, syslog+tcp://, syslog+tls://", Set: settings.Text(func(c *serveConfig) *string { return &c.AuditSinks })},
	{Name: "log-level", Usage: "debug, info, warn or error", Default: "info", Set: settings.OneOf(func(c *serveConfig) *string { return &c.LogLevel }, "debug", "info", "warn", "error")},
	{Name: "log-format", Usage: "json or text", Default: "json", Set: settings.OneOf(func(c *serveConfig) *string { return &c.LogFormat }, "json", "text")},
}}

// loadServeConfig reads the file (if path is set), the environment and the flags, and reports everything that is wrong.
func loadServeConfig(path string, flags *pflag.FlagSet, environ func(string) (string, bool)) (*serveConfig, error) {
	c, err := serveTable.Load(path, flags, environ)
	switch {
	case errors.As(err, new(*settings.ValueError)):
		return nil, usage(err)
	case errors.As(err, new(*settings.FileError)):
		return nil, &codeError{exitInvalid, err}
	case err != nil:
		return nil, err
	}
	return c, c.check()
}

// check finds what does not go together.
func (c *serveConfig) check() error {
	for _, need := range []struct{ name, value, what string }{
		{"repo", c.Repo, "the git repository to watch"},
		{"env", strings.Join(c.Environments, ","), "the environments to publish"},
		{"to", c.To, "where to publish"},
		{"key", c.Key, "the private release key"},
		{"channel-key", c.ChannelKey, "the private channel key"},
		{"trust", c.Trust, "the trust.json by which what is published is verified"},
	} {
		if need.value == "" {
			return usagef("--%s is required: %s", need.name, need.what)
		}
	}
	switch {
	case (c.TLSCert == "") != (c.TLSKey == ""):
		return usagef("--tls-cert and --tls-key go together")
	case c.TLSCert != "" && c.Listen == "":
		return usagef("--tls-cert needs --listen")
	case len(c.Hooks) > 0 && c.Listen == "" && !c.Once:
		return usagef("hooks need --listen: the address they are sent to")
	}
	return nil
}
