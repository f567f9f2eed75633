package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/suuupra/gateway/cmd/internal/bounded"
	"github.com/suuupra/gateway/compiler/yamlpos"
	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
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

// setting binds one name to one field.
type setting struct {
	name, usage, def string
	secret           bool // not a flag: a command line is visible to every user of the machine
	set              func(*config, string) error
}

func text(field func(*config) *string) func(*config, string) error {
	return func(c *config, v string) error { *field(c) = v; return nil }
}

func oneOf(field func(*config) *string, allowed ...string) func(*config, string) error {
	return func(c *config, v string) error {
		for _, a := range allowed {
			if v == a {
				*field(c) = v
				return nil
			}
		}
		return fmt.Errorf("is %q, must be one of %s", v, strings.Join(allowed, ", "))
	}
}

func duration(field func(*config) *time.Duration, least time.Duration) func(*config, string) error {
	return func(c *config, v string) error {
		d, err := time.ParseDuration(v)
		if err != nil || d < least {
			return fmt.Errorf("is %q, must be a duration of at least %s such as 30s", v, least)
		}
		*field(c) = d
		return nil
	}
}

func address(field func(*config) *string) func(*config, string) error {
	return func(c *config, v string) error {
		for _, a := range strings.Split(v, ",") {
			if _, _, err := net.SplitHostPort(a); v != "" && err != nil {
				return fmt.Errorf("is %q, must be host:port, or :port for every interface", v)
			}
		}
		*field(c) = v
		return nil
	}
}

// settings is the one table behind the file, the flags and the environment.
var settings = []setting{
	{name: "bundle", usage: "where bundles come from: file:///dir, site.gwb, https://, oci://registry/repo, git+https://repo#branch", set: text(func(c *config) *string { return &c.Bundle })},
	{name: "trust", usage: "trust.json: which keys may sign for this gateway", set: text(func(c *config) *string { return &c.Trust })},
	{name: "env", usage: "environment this gateway belongs to", set: text(func(c *config) *string { return &c.Env })},
	{name: "listen", usage: "addresses to serve on, comma-separated; in place of the listeners in the bundle", set: address(func(c *config) *string { return &c.Listen })},
	{name: "admin", usage: "address for /health, /metrics and /admin; default: the data listeners", set: address(func(c *config) *string { return &c.Admin })},
	{name: "repo", usage: "git repository to compare with for drift: a URL or a path; /subdirectory after //", set: text(func(c *config) *string { return &c.Repo })},
	{name: "repo-ref", usage: "branch or tag of --repo", def: "HEAD", set: text(func(c *config) *string { return &c.RepoRef })},
	{name: "sync", usage: "the most to do with a new channel version: off, dry-run, gated (activate what is approved) or auto", def: "auto", set: oneOf(func(c *config) *string { return &c.Sync }, "off", "dry-run", "gated", "auto")},
	{name: "state", usage: "directory that keeps the last good bundles across restarts", set: text(func(c *config) *string { return &c.State })},
	{name: "redis", usage: "Redis for limits and API keys: redis://host, rediss://, redis+sentinel://, redis+cluster://; memory: for a gateway that is the only one", set: text(func(c *config) *string { return &c.Redis })},
	{name: "audit", usage: "directory of the audit trail: what was done to this gateway, and by whom", set: text(func(c *config) *string { return &c.Audit })},
	{name: "audit-key", usage: "private key that signs the segments of the audit trail", set: text(func(c *config) *string { return &c.AuditKey })},
	{name: "audit-sinks", usage: "where records go besides, comma-separated: stdout, stderr, file:///path, syslog+udp://host:514, syslog+tcp://, syslog+tls://", set: text(func(c *config) *string { return &c.AuditSinks })},
	{name: "admin-token", usage: "bearer token for /admin", secret: true, set: text(func(c *config) *string { return &c.AdminToken })},
	{name: "admin-session-key", usage: "what sessions of the admin API are signed with, the same for all gateways", secret: true, set: text(func(c *config) *string { return &c.SessionKey })},
	{name: "api-key-pepper", usage: "what API keys are hashed under, the same for all gateways", secret: true, set: func(c *config, v string) error {
		if v != "" && len(v) < minPepper {
			return errPepper
		}
		c.Pepper = v
		return nil
	}},
	{name: "poll", usage: "how often a remote source is asked", def: "30s", set: duration(func(c *config) *time.Duration { return &c.Poll }, time.Second)},
	{name: "drift-poll", usage: "how often --repo is compared", def: "60s", set: duration(func(c *config) *time.Duration { return &c.DriftPoll }, time.Second)},
	{name: "drain-timeout", usage: "how long running exchanges may go on after a swap or a stop", def: "30s", set: duration(func(c *config) *time.Duration { return &c.DrainTimeout }, 0)},
	{name: "drain-jitter", usage: "spread of the end of streams that outlive the drain timeout after a swap", def: "10s", set: duration(func(c *config) *time.Duration { return &c.Jitter }, 0)},
	{name: "max-connections", usage: "client connections at a time; auto for what the file descriptors allow, 0 for no bound", def: "auto", set: func(c *config, v string) error {
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
	{name: "log-level", usage: "debug, info, warn or error", def: "info", set: oneOf(func(c *config) *string { return &c.LogLevel }, "debug", "info", "warn", "error")},
	{name: "log-format", usage: "json or text", def: "json", set: oneOf(func(c *config) *string { return &c.LogFormat }, "json", "text")},
}

// key is how a setting is spelt in gwrun.yaml.
func (s *setting) key() string {
	parts := strings.Split(s.name, "-")
	for i := range parts[1:] {
		parts[i+1] = strings.ToUpper(parts[i+1][:1]) + parts[i+1][1:]
	}
	return strings.Join(parts, "")
}

// variable is the environment variable of a setting.
func (s *setting) variable() string {
	return "GWRUN_" + strings.ToUpper(strings.ReplaceAll(s.name, "-", "_"))
}

func registerFlags(fs *pflag.FlagSet) {
	for i := range settings {
		if s := &settings[i]; !s.secret {
			fs.String(s.name, s.def, s.usage+" ("+s.variable()+")")
		}
	}
}

// loadConfig reads the file (if path is set), the environment and the flags, and reports everything that is wrong.
func loadConfig(path string, flags *pflag.FlagSet, environ func(string) (string, bool)) (*config, error) {
	file := map[string]string{}
	var problems []error
	if path != "" {
		var err error
		if file, err = readConfigFile(path); err != nil {
			return nil, err
		}
	}
	c := &config{}
	for i := range settings {
		s := &settings[i]
		value, from := s.def, ""
		if v, ok := file[s.key()]; ok {
			value, from = v, path+": "+s.key()
		}
		if v, ok := environ(s.variable()); ok {
			value, from = v, s.variable()
		}
		if f := flags.Lookup(s.name); f != nil && f.Changed {
			value, from = f.Value.String(), "--"+s.name
		}
		if from == "" && value == "" {
			continue
		}
		if err := s.set(c, value); err != nil {
			problems = append(problems, fmt.Errorf("%s %w", from, err))
		}
	}
	return c, errors.Join(problems...)
}

// maxConfigFile is more than any gwrun.yaml needs.
const maxConfigFile = 1 << 20

// readConfigFile reads gwrun.yaml in the dialect of the config repository: the same mistakes get the same messages.
func readConfigFile(path string) (map[string]string, error) {
	raw, err := bounded.ReadFile(path, maxConfigFile)
	if err != nil {
		return nil, &codeError{exitInternal, fmt.Errorf("read configuration: %w", err)}
	}
	var diags diag.List
	root := yamlpos.Decode(path, raw, &diags)
	out := map[string]string{}
	if root != nil {
		for _, f := range root.Fields {
			out[f.Name] = readSetting(f, &diags)
		}
	}
	if diags.HasErrors() {
		var b strings.Builder
		report := diag.Report{Diagnostics: diags.Sorted(), Source: func(string) []byte { return raw }, Files: 1}
		redactSecrets(report.Diagnostics, raw)
		if err := diag.Text(&b, report); err != nil {
			return nil, err
		}
		return nil, errors.New(strings.TrimSuffix(b.String(), "\n"))
	}
	return out, nil
}

// redactSecrets keeps the lines of a file from being quoted that may hold a secret: the one that names it and all below,
// because the value may go on there.
func redactSecrets(diags []diag.Diagnostic, raw []byte) {
	first := 0
	for i, line := range strings.Split(string(raw), "\n") {
		for s := range settings {
			if first == 0 && settings[s].secret && strings.Contains(line, settings[s].key()) {
				first = i + 1
			}
		}
	}
	for i := range diags {
		if d := &diags[i]; first > 0 && d.Pos.Line >= first {
			d.Redact = true
		}
	}
}

func readSetting(f schema.Field, diags *diag.List) string {
	var names []string
	for i := range settings {
		if settings[i].key() == f.Name {
			switch f.Value.Kind {
			case schema.String:
				return f.Value.Str
			case schema.Int, schema.Bool:
				return f.Value.Describe()
			}
			diags.Errorf("GW2101", f.Value.Pos, f.Name, "%s is %s, must be text", f.Name, f.Value.Kind)
			return ""
		}
		names = append(names, settings[i].key())
	}
	d := diag.Diagnostic{Code: "GW2031", Pos: f.Pos, Width: len(f.Name), Path: f.Name, Message: fmt.Sprintf("unknown field %q", f.Name)}
	if near := diag.Suggest(f.Name, names); near != "" {
		d.Hint = fmt.Sprintf("did you mean %q", near)
	}
	diags.Add(d)
	return ""
}
