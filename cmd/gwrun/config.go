package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"github.com/suuupra/gateway/cmd/internal/settings"
)

// config is everything gwrun can be told. Each field is a line of gwrun.yaml, a flag, and a GWRUN_ environment variable;
// a flag wins over the environment, which wins over the file.
type config struct {
	Bundle, Trust, Env   string
	Listen, Admin        string
	Repo, RepoRef, Sync  string
	State, Redis         string
	Audit, AuditKey      string
	AuditSinks           string
	SessionKey           string
	AdminToken, Pepper   string
	LogLevel, LogFormat  string
	Poll, DriftPoll      time.Duration
	DrainTimeout, Jitter time.Duration
	MaxConnections       int
}

// table is the one behind the file, the flags and the environment.
var table = settings.Table[config]{Prefix: "GWRUN_", All: []settings.Setting[config]{
	{Name: "bundle", Usage: "where bundles come from: file:///dir, site.gwb, https://, oci://registry/repo, git+https://repo#branch", Set: settings.Text(func(c *config) *string { return &c.Bundle })},
	{Name: "trust", Usage: "trust.json: which keys may sign for this gateway", Set: settings.Text(func(c *config) *string { return &c.Trust })},
	{Name: "env", Usage: "environment this gateway belongs to", Set: settings.Text(func(c *config) *string { return &c.Env })},
	{Name: "listen", Usage: "addresses to serve on, comma-separated; in place of the listeners in the bundle", Set: settings.Addresses(func(c *config) *string { return &c.Listen })},
	{Name: "admin", Usage: "address for /health, /metrics and /admin; default: the data listeners", Set: settings.Addresses(func(c *config) *string { return &c.Admin })},
	{Name: "repo", Usage: "git repository to compare with for drift: a URL or a path; /subdirectory after //", Set: settings.Text(func(c *config) *string { return &c.Repo })},
	{Name: "repo-ref", Usage: "branch or tag of --repo", Default: "HEAD", Set: settings.Text(func(c *config) *string { return &c.RepoRef })},
	{Name: "sync", Usage: "the most to do with a new channel version: off, dry-run, gated (activate what is approved) or auto", Default: "auto", Set: settings.OneOf(func(c *config) *string { return &c.Sync }, "off", "dry-run", "gated", "auto")},
	{Name: "state", Usage: "directory that keeps the last good bundles across restarts", Set: settings.Text(func(c *config) *string { return &c.State })},
	{Name: "redis", Usage: "Redis for limits and API keys: redis://host, rediss://, redis+sentinel://, redis+cluster://; memory: for a gateway that is the only one", Set: settings.Text(func(c *config) *string { return &c.Redis })},
	{Name: "audit", Usage: "directory of the audit trail: what was done to this gateway, and by whom", Set: settings.Text(func(c *config) *string { return &c.Audit })},
	{Name: "audit-key", Usage: "private key that signs the segments of the audit trail", Set: settings.Text(func(c *config) *string { return &c.AuditKey })},
	{Name: "audit-sinks", Usage: "where records go besides, comma-separated: stdout, stderr, file:///path, syslog+udp://host:514, syslog+tcp://, syslog+tls://", Set: settings.Text(func(c *config) *string { return &c.AuditSinks })},
	{Name: "admin-token", Usage: "bearer token for /admin", Secret: true, Set: settings.Text(func(c *config) *string { return &c.AdminToken })},
	{Name: "admin-session-key", Usage: "what sessions of the admin API are signed with, the same for all gateways", Secret: true, Set: settings.Text(func(c *config) *string { return &c.SessionKey })},
	{Name: "api-key-pepper", Usage: "what API keys are hashed under, the same for all gateways", Secret: true, Set: func(c *config, v string) error {
		if v != "" && len(v) < minPepper {
			return errPepper
		}
		c.Pepper = v
		return nil
	}},
	{Name: "poll", Usage: "how often a remote source is asked", Default: "30s", Set: settings.Duration(func(c *config) *time.Duration { return &c.Poll }, time.Second)},
	{Name: "drift-poll", Usage: "how often --repo is compared", Default: "60s", Set: settings.Duration(func(c *config) *time.Duration { return &c.DriftPoll }, time.Second)},
	{Name: "drain-timeout", Usage: "how long running exchanges may go on after a swap or a stop", Default: "30s", Set: settings.Duration(func(c *config) *time.Duration { return &c.DrainTimeout }, 0)},
	{Name: "drain-jitter", Usage: "spread of the end of streams that outlive the drain timeout after a swap", Default: "10s", Set: settings.Duration(func(c *config) *time.Duration { return &c.Jitter }, 0)},
	{Name: "max-connections", Usage: "client connections at a time; auto for what the file descriptors allow, 0 for no bound", Default: "auto", Set: func(c *config, v string) error {
		if v == "auto" {
			c.MaxConnections = connectionsFor(openFiles())
			return nil
		}
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			return fmt.Errorf("is %q, must be auto or a whole number of at least 0", v)
		}
		c.MaxConnections = n
		return nil
	}},
	{Name: "log-level", Usage: "debug, info, warn or error", Default: "info", Set: settings.OneOf(func(c *config) *string { return &c.LogLevel }, "debug", "info", "warn", "error")},
	{Name: "log-format", Usage: "json or text", Default: "json", Set: settings.OneOf(func(c *config) *string { return &c.LogFormat }, "json", "text")},
}}

// loadConfig reads the file (if path is set), the environment and the flags, and reports everything that is wrong.
func loadConfig(path string, flags *pflag.FlagSet, environ func(string) (string, bool)) (*config, error) {
	c, err := table.Load(path, flags, environ)
	if errors.As(err, new(*settings.ValueError)) || errors.As(err, new(*settings.FileError)) {
		return nil, &codeError{exitInvalid, err}
	}
	return c, err
}
