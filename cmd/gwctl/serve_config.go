package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/suuupra/gateway/cmd/internal/bounded"
	"github.com/suuupra/gateway/compiler/publish"
	"github.com/suuupra/gateway/compiler/publisher"
	"github.com/suuupra/gateway/compiler/yamlpos"
	"github.com/suuupra/gateway/internal/compilechild"
	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
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
	Hooks                    []hookConfig
}

// serveSetting binds one name to one field.
type serveSetting struct {
	name, usage, def string
	secret           bool // not a flag: a command line is visible to every user of the machine
	key              bool // a private key: the environment may hold the key itself
	boolean          bool
	set              func(*serveConfig, string) error
}

func serveText(field func(*serveConfig) *string) func(*serveConfig, string) error {
	return func(c *serveConfig, v string) error { *field(c) = v; return nil }
}

func serveOneOf(field func(*serveConfig) *string, allowed ...string) func(*serveConfig, string) error {
	return func(c *serveConfig, v string) error {
		if !slices.Contains(allowed, v) {
			return fmt.Errorf("is %q, must be one of %s", v, strings.Join(allowed, ", "))
		}
		*field(c) = v
		return nil
	}
}

func serveDuration(field func(*serveConfig) *time.Duration, least time.Duration) func(*serveConfig, string) error {
	return func(c *serveConfig, v string) error {
		d, err := time.ParseDuration(v)
		if err != nil || d < least {
			return fmt.Errorf("is %q, must be a duration of at least %s such as 30s", v, least)
		}
		*field(c) = d
		return nil
	}
}

func serveBool(field func(*serveConfig) *bool) func(*serveConfig, string) error {
	return func(c *serveConfig, v string) error {
		if v != "true" && v != "false" {
			return fmt.Errorf("is %q, must be true or false", v)
		}
		*field(c) = v == "true"
		return nil
	}
}

func serveAddress(field func(*serveConfig) *string) func(*serveConfig, string) error {
	return func(c *serveConfig, v string) error {
		if _, _, err := net.SplitHostPort(v); err != nil {
			return fmt.Errorf("is %q, must be host:port, or :port for every interface", v)
		}
		*field(c) = v
		return nil
	}
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

// serveSettings is the one table behind the file, the flags and the environment.
var serveSettings = []serveSetting{
	{name: "repo", usage: "git repository to watch: https, ssh or a path; /subdirectory after //", set: serveText(func(c *serveConfig) *string { return &c.Repo })},
	{name: "repo-ref", usage: "branch or tag of --repo", def: "main", set: serveText(func(c *serveConfig) *string { return &c.RepoRef })},
	{name: "repo-token", usage: "password for --repo over https", secret: true, set: serveText(func(c *serveConfig) *string { return &c.RepoToken })},
	{name: "env", usage: "environments to publish, comma-separated", set: setEnvironments},
	{name: "to", usage: "where to publish: file:///dir, git+https://repo#branch, oci://registry/repo, https://", set: serveText(func(c *serveConfig) *string { return &c.To })},
	{name: "key", usage: "private release key; the variable may hold the key itself", key: true, set: serveText(func(c *serveConfig) *string { return &c.Key })},
	{name: "channel-key", usage: "private channel key; the variable may hold the key itself", key: true, set: serveText(func(c *serveConfig) *string { return &c.ChannelKey })},
	{name: "trust", usage: "trust.json by which what is published, and approvals, are verified", set: serveText(func(c *serveConfig) *string { return &c.Trust })},
	{name: "expires", usage: "how long a channel is valid; it is renewed at half of that", def: publish.DefaultLifetime.String(), set: serveDuration(func(c *serveConfig) *time.Duration { return &c.Expires }, publish.MinLifetime)},
	{name: "poll", usage: "how often the repository and the destination are asked", def: publisher.DefaultInterval.String(), set: serveDuration(func(c *serveConfig) *time.Duration { return &c.Poll }, time.Second)},
	{name: "test", usage: "publish nothing whose request tests fail", def: "false", boolean: true, set: serveBool(func(c *serveConfig) *bool { return &c.Test })},
	{name: "once", usage: "make one round and exit", def: "false", boolean: true, set: serveBool(func(c *serveConfig) *bool { return &c.Once })},
	{name: "state", usage: "directory that keeps the clone across restarts; default: a temporary one", set: serveText(func(c *serveConfig) *string { return &c.State })},
	{name: "listen", usage: "address for webhooks, /healthz, /readyz, /metrics and /status", set: serveAddress(func(c *serveConfig) *string { return &c.Listen })},
	{name: "admin", usage: "address for /metrics and /status; default: --listen", set: serveAddress(func(c *serveConfig) *string { return &c.Admin })},
	{name: "tls-cert", usage: "certificate chain for --listen, PEM", set: serveText(func(c *serveConfig) *string { return &c.TLSCert })},
	{name: "tls-key", usage: "private key of --tls-cert, PEM", set: serveText(func(c *serveConfig) *string { return &c.TLSKey })},
	{name: "compile-timeout", usage: "how long one compilation may take, by the clock and of CPU", def: compilechild.DefaultTimeout.String(), set: serveDuration(func(c *serveConfig) *time.Duration { return &c.CompileTimeout }, time.Second)},
	{name: "compile-memory", usage: "memory that one compilation may take, in MiB", def: strconv.Itoa(compilechild.DefaultMemory >> 20), set: setCompileMemory},
	{name: "log-level", usage: "debug, info, warn or error", def: "info", set: serveOneOf(func(c *serveConfig) *string { return &c.LogLevel }, "debug", "info", "warn", "error")},
	{name: "log-format", usage: "json or text", def: "json", set: serveOneOf(func(c *serveConfig) *string { return &c.LogFormat }, "json", "text")},
}

// field is how a setting is spelt in serve.yaml.
func (s *serveSetting) field() string {
	parts := strings.Split(s.name, "-")
	for i := range parts[1:] {
		parts[i+1] = strings.ToUpper(parts[i+1][:1]) + parts[i+1][1:]
	}
	return strings.Join(parts, "")
}

// variable is the environment variable of a setting.
func (s *serveSetting) variable() string {
	return "GWCTL_" + strings.ToUpper(strings.ReplaceAll(s.name, "-", "_"))
}

func registerServeFlags(fs *pflag.FlagSet) {
	for i := range serveSettings {
		switch s := &serveSettings[i]; {
		case s.boolean:
			fs.Bool(s.name, s.def == "true", s.usage+" ("+s.variable()+")")
		case !s.secret:
			fs.String(s.name, s.def, s.usage+" ("+s.variable()+")")
		}
	}
}

// pemBegin is how a private key begins. None may stand where every user of the machine, or of a repository, reads it.
const pemBegin = "-----BEGIN"

// loadServeConfig reads the file (if path is set), the environment and the flags, and reports everything that is wrong.
func loadServeConfig(path string, flags *pflag.FlagSet, environ func(string) (string, bool)) (*serveConfig, error) {
	c, file := &serveConfig{}, map[string]string{}
	if path != "" {
		var err error
		if file, c.Hooks, err = readServeFile(path); err != nil {
			return nil, err
		}
	}
	var problems []error
	for i := range serveSettings {
		s := &serveSettings[i]
		value, from, inline := s.def, "", false
		if v, ok := file[s.field()]; ok {
			value, from = v, path+": "+s.field()
		}
		if v, ok := environ(s.variable()); ok {
			value, from, inline = v, s.variable(), true
		}
		if f := flags.Lookup(s.name); f != nil && f.Changed {
			value, from, inline = f.Value.String(), "--"+s.name, false
		}
		switch {
		case from == "" && value == "":
		case value == "":
			problems = append(problems, fmt.Errorf("%s is empty", from))
		case s.key && !inline && strings.Contains(value, pemBegin):
			problems = append(problems, fmt.Errorf("%s holds a key itself: name a file, or put the key into %s", from, s.variable()))
		default:
			if err := s.set(c, value); err != nil {
				problems = append(problems, fmt.Errorf("%s %w", cmp.Or(from, "--"+s.name), err))
			}
		}
	}
	if len(problems) > 0 {
		return nil, usage(errors.Join(problems...))
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

// maxServeFile is more than any serve.yaml needs.
const maxServeFile = 1 << 20

// readServeFile reads serve.yaml in the dialect of the config repository: the same mistakes get the same messages.
func readServeFile(path string) (map[string]string, []hookConfig, error) {
	raw, err := bounded.ReadFile(path, maxServeFile)
	if err != nil {
		return nil, nil, fmt.Errorf("read configuration: %w", err)
	}
	var diags diag.List
	values, hooks := map[string]string{}, []hookConfig(nil)
	if root := yamlpos.Decode(path, raw, &diags); root != nil {
		for _, f := range root.Fields {
			if f.Name == "hooks" {
				hooks = readHooks(f, &diags)
				continue
			}
			if s := settingOf(f, &diags); s != nil {
				values[f.Name] = s.value(f, &diags)
			}
		}
	}
	if !diags.HasErrors() {
		return values, hooks, nil
	}
	report := diag.Report{Diagnostics: diags.Sorted(), Files: 1} // without the lines themselves: one may hold a token
	var b strings.Builder
	if err := diag.Text(&b, report); err != nil {
		return nil, nil, err
	}
	return nil, nil, &codeError{exitInvalid, errors.New(strings.TrimSuffix(b.String(), "\n"))}
}

// settingOf finds the setting of a field.
func settingOf(f schema.Field, diags *diag.List) *serveSetting {
	names := []string{"hooks"}
	for i := range serveSettings {
		if serveSettings[i].field() == f.Name {
			return &serveSettings[i]
		}
		names = append(names, serveSettings[i].field())
	}
	unknownField(f, f.Name, names, diags)
	return nil
}

func unknownField(f schema.Field, path string, known []string, diags *diag.List) {
	d := diag.Diagnostic{Code: "GW2031", Pos: f.Pos, Width: len(f.Name), Path: path, Message: fmt.Sprintf("unknown field %q", f.Name)}
	if near := diag.Suggest(f.Name, known); near != "" {
		d.Hint = fmt.Sprintf("did you mean %q", near)
	}
	diags.Add(d)
}

// value reads a field as the text that a flag would have.
func (s *serveSetting) value(f schema.Field, diags *diag.List) string {
	switch f.Value.Kind {
	case schema.String:
		return f.Value.Str
	case schema.Int, schema.Bool:
		return f.Value.Describe()
	case schema.List:
		if s.name == "env" {
			return strings.Join(texts(f, f.Name, diags), ",")
		}
	}
	diags.Errorf("GW2101", f.Value.Pos, f.Name, "%s is %s, must be text", f.Name, f.Value.Kind)
	return ""
}

// texts reads a list of texts.
func texts(f schema.Field, path string, diags *diag.List) []string {
	if f.Value.Kind != schema.List {
		diags.Errorf("GW2101", f.Value.Pos, path, "%s is %s, must be a list of texts", path, f.Value.Kind)
		return nil
	}
	var out []string
	for i, item := range f.Value.Items {
		if item.Kind != schema.String || item.Str == "" {
			diags.Errorf("GW2101", item.Pos, fmt.Sprintf("%s[%d]", path, i), "%s[%d] is %s, must be text", path, i, item.Kind)
			continue
		}
		out = append(out, item.Str)
	}
	return out
}
