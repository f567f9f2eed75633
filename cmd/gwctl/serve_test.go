package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/spf13/pflag"

	"github.com/suuupra/gateway/cmd/internal/settings"
	"github.com/suuupra/gateway/compiler/publisher"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/internal/webhook"
	"github.com/suuupra/gateway/runtime/secret"
)

// serveArgs are those that serve cannot do without.
var serveArgs = []string{"--repo", "https://example.com/r", "--env", "prod", "--to", "file:///b", "--key", "r.key", "--channel-key", "c.key", "--trust", "t.json"}

func loadServe(t *testing.T, file string, args []string, env map[string]string) (*serveConfig, error) {
	t.Helper()
	path := ""
	if file != "" {
		path = filepath.Join(t.TempDir(), "serve.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	serveTable.Register(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return loadServeConfig(path, flags, func(name string) (string, bool) { v, ok := env[name]; return v, ok })
}

func TestServeConfig(t *testing.T) {
	const file = `
repo: https://example.com/file//gate
repoRef: release
repoToken: hunter2
env: [prod, dev]
to: oci://example.com/b
key: /k/r
channelKey: /k/c
trust: /k/t
expires: 24h
test: true
listen: :8081
compileMemory: 512
hooks:
  - { id: forge, provider: github, secretRefs: ["env:A", "file:/s"], refs: [main] }
  - { id: open, provider: generic, insecure: true }
`
	c, err := loadServe(t, file, []string{"--env", "a,b"}, map[string]string{"GWCTL_ENV": "c", "GWCTL_POLL": "5s", "GWCTL_KEY": "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Repo != "https://example.com/file//gate" || c.RepoRef != "release" || c.RepoToken != "hunter2" || !slices.Equal(c.Environments, []string{"a", "b"}) ||
		!strings.HasPrefix(c.Key, settings.PEMBegin) || c.ChannelKey != "/k/c" || c.Expires != 24*time.Hour || c.Poll != 5*time.Second || !c.Test || c.Once || c.CompileMemory != 512<<20 ||
		c.CompileTimeout != time.Minute || c.LogFormat != "json" {
		t.Errorf("config %+v", c)
	}
	if len(c.Hooks) != 2 || c.Hooks[0].ID != "forge" || len(c.Hooks[0].SecretRefs) != 2 || c.Hooks[0].Refs[0] != "main" || !c.Hooks[1].Insecure {
		t.Errorf("hooks %+v", c.Hooks)
	}
	if c, err = loadServe(t, "", serveArgs, nil); err != nil || c.RepoRef != "main" || c.Expires != 7*24*time.Hour || c.Poll != 30*time.Second {
		t.Errorf("defaults %+v, %v", c, err)
	}
}

func TestServeConfigMistakes(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		args []string
		env  map[string]string
		code int
		want string
	}{
		"nothing":              {args: nil, code: 64, want: "--repo is required: the git repository to watch"},
		"no trust":             {args: serveArgs[:10], code: 64, want: "--trust is required: the trust.json by which what is published is verified"},
		"a key in a flag":      {args: append(slices.Clone(serveArgs), "--key", "-----BEGIN PRIVATE KEY-----"), code: 64, want: "--key holds a key itself: name a file, or put the key into GWCTL_KEY"},
		"an empty variable":    {args: serveArgs, env: map[string]string{"GWCTL_STATE": ""}, code: 64, want: "GWCTL_STATE is empty"},
		"no duration":          {args: append(slices.Clone(serveArgs), "--poll", "1"), code: 64, want: `--poll is "1", must be a duration of at least 1s such as 30s`},
		"a short life":         {args: append(slices.Clone(serveArgs), "--expires", "1s"), code: 64, want: `--expires is "1s", must be a duration of at least 1m0s such as 30s`},
		"several things":       {args: append(slices.Clone(serveArgs), "--listen", "x"), env: map[string]string{"GWCTL_TEST": "yes", "GWCTL_COMPILE_MEMORY": "1"}, code: 64, want: "GWCTL_TEST is \"yes\", must be true or false\n--listen is \"x\", must be host:port, or :port for every interface\nGWCTL_COMPILE_MEMORY is \"1\", must be a whole number of MiB of at least 256"},
		"half of TLS":          {args: append(slices.Clone(serveArgs), "--listen", ":1", "--tls-key", "k"), code: 64, want: "--tls-cert and --tls-key go together"},
		"TLS for nothing":      {args: append(slices.Clone(serveArgs), "--tls-cert", "c", "--tls-key", "k"), code: 64, want: "--tls-cert needs --listen"},
		"hooks for nothing":    {file: "hooks: [{id: a, provider: github}]\n", args: serveArgs, code: 64, want: "hooks need --listen: the address they are sent to"},
		"an environment twice": {args: append(slices.Clone(serveArgs), "--env", "a, a"), code: 64, want: `--env is "a, a", must be names of environments, each once, with commas in between`},
		"an unknown field":     {file: "chanelKey: x\n", args: serveArgs, code: 3, want: "FILE:1:1: error GW2031: unknown field \"chanelKey\"\n  1 | chanelKey: x\n    | ^^^^^^^^^\n  hint: did you mean \"channelKey\"\n1 file, 1 error, 0 warnings"},
		"an unknown hook":      {file: "hooks: [{ secretRef: a }]\n", args: serveArgs, code: 3, want: "FILE:1:11: error GW2031: unknown field \"secretRef\"\n  1 | hooks: [{ secretRef: a }]\n    |           ^^^^^^^^^\n  hint: did you mean \"secretRefs\"\n1 file, 1 error, 0 warnings"},
		"hooks that are none":  {file: "hooks: { id: 1 }\n", args: serveArgs, code: 3, want: "FILE:1:8: error GW2101: hooks is a map, must be a list\n  1 | hooks: { id: 1 }\n    |        ^\n1 file, 1 error, 0 warnings"},
		"a hook that is none":  {file: "hooks: [a]\n", args: serveArgs, code: 3, want: "FILE:1:9: error GW2101: hooks[0] is a string, must be a map\n  1 | hooks: [a]\n    |         ^\n1 file, 1 error, 0 warnings"},
		"odd values":           {file: "hooks: [{ id: 1, refs: a, insecure: \"true\", secretRefs: [[]] }]\n", args: serveArgs, code: 3, want: "FILE:1:15: error GW2101: hooks[0].id is a whole number, must be text\n  1 | hooks: [{ id: 1, refs: a, insecure: \"true\", secretRefs: [[]] }]\n    |               ^\nFILE:1:24: error GW2101: hooks[0].refs is a string, must be a list of texts\n  1 | hooks: [{ id: 1, refs: a, insecure: \"true\", secretRefs: [[]] }]\n    |                        ^\nFILE:1:37: error GW2101: hooks[0].insecure is a string, must be true or false\n  1 | hooks: [{ id: 1, refs: a, insecure: \"true\", secretRefs: [[]] }]\n    |                                     ^\nFILE:1:58: error GW2101: hooks[0].secretRefs[0] is a list, must be text\n  1 | hooks: [{ id: 1, refs: a, insecure: \"true\", secretRefs: [[]] }]\n    |                                                          ^\n1 file, 4 errors, 0 warnings"},
		"a list of keys":       {file: "key: [a]\n", args: serveArgs, code: 3, want: "FILE:1:6: error GW2101: key is a list, must be text\n1 file, 1 error, 0 warnings"},
		"a secret is not told": {file: "repoToken: [hunter2]\n", args: serveArgs, code: 3, want: "FILE:1:12: error GW2101: repoToken is a list, must be text\n1 file, 1 error, 0 warnings"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := loadServe(t, c.file, c.args, c.env)
			if err == nil {
				t.Fatal("there is nothing wrong")
			}
			got := regexp.MustCompile(`(?m)^/.*serve\.yaml:`).ReplaceAllString(err.Error(), "FILE:")
			if got != c.want || exitCode(err) != c.code {
				t.Errorf("exit %d\n%s\nwant %d\n%s", exitCode(err), got, c.code, c.want)
			}
		})
	}
	if _, err := loadServe(t, "", nil, nil); exitCode(err) != exitUsage {
		t.Errorf("no settings: %v", err)
	}
	if _, err := loadServeConfig("/nowhere/serve.yaml", pflag.NewFlagSet("", pflag.ContinueOnError), os.LookupEnv); exitCode(err) != exitInternal {
		t.Errorf("no file: %v", err)
	}
}

// FuzzServeFile reads any file to an end, and says that it is none.
func FuzzServeFile(f *testing.F) {
	for _, seed := range []string{"", "repo: x\n", "hooks: [{ id: a, refs: [b] }]\n", "repoToken: zq-secret\nx: &a [*a]\n", "env: [a, 1]\n", "repoToken: [zq-secret]\n", "{", "hooks:\n- - a\n"} {
		f.Add([]byte(seed))
	}
	path := filepath.Join(f.TempDir(), "serve.yaml")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := loadServeConfig(path, pflag.NewFlagSet("", pflag.ContinueOnError), func(string) (string, bool) { return "", false })
		if code := exitCode(err); code != exitInvalid && code != exitUsage && len(data) <= settings.MaxFile {
			t.Errorf("exit code %d: %v", code, err)
		}
	})
}

func TestServeHooks(t *testing.T) {
	secrets := secret.New(newServeLogger(&serveConfig{LogLevel: "error"}, &bytes.Buffer{}))
	t.Cleanup(secrets.Close)
	t.Setenv("HOOK", "0123456789abcdef\n")
	c := &serveConfig{RepoRef: "main", Hooks: []hookConfig{{ID: "a", Provider: "github", SecretRefs: []string{"env:HOOK"}}, {ID: "b", Provider: "generic", Insecure: true, Refs: []string{"x"}}}}
	hooks, err := c.webhooks("https://example.com/r", secrets)
	if err != nil || len(hooks) != 2 || !slices.Equal(hooks[0].Refs, []string{"main"}) || !slices.Equal(hooks[1].Refs, []string{"x"}) || hooks[0].Repository != "https://example.com/r" {
		t.Fatalf("hooks %+v, %v", hooks, err)
	}
	if _, err := webhook.New(webhook.Options{Hooks: hooks, Hint: func(webhook.Hint) {}}); err != nil {
		t.Error(err)
	}
	c.Hooks[0].SecretRefs = []string{"env:HOOK_THAT_IS_NOT_SET"}
	if _, err := c.webhooks("https://example.com/r", secrets); err == nil || err.Error() != `webhook "a": secret env:HOOK_THAT_IS_NOT_SET: the environment variable is not set` {
		t.Errorf("a secret that is not there: %v", err)
	}
}

// sampleStatus has something to say in every field.
func sampleStatus() publisher.Status {
	at := time.Unix(1_790_000_000, 0).UTC()
	return publisher.Status{
		FetchedAt: &at, Head: &publisher.Head{Commit: "c", Seen: at},
		Environments: []publisher.Environment{{Environment: "prod", State: publisher.Held, Published: &publisher.Publication{Number: 7, PublishedAt: at, ExpiresAt: at.Add(time.Hour)}}},
	}
}

func TestServeMetrics(t *testing.T) {
	m := newServeMetrics(sampleStatus)
	m.failed("prod", "destination")
	m.failed("prod", "destination")
	m.delivered("forge", "webhook_accepted")
	w := httptest.NewRecorder()
	m.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, line := range []string{
		`gw_publisher_repository_up 1`, `gw_publisher_head_seen_timestamp_seconds 1.79e+09`, `gw_publisher_repository_fetch_timestamp_seconds 1.79e+09`,
		`gw_publisher_state{environment="prod",state="held"} 1`, `gw_publisher_state{environment="prod",state="published"} 0`,
		`gw_publisher_published_version{environment="prod"} 7`, `gw_publisher_published_timestamp_seconds{environment="prod"} 1.79e+09`,
		`gw_publisher_channel_expiry_timestamp_seconds{environment="prod"} 1.7900036e+09`,
		`gw_publisher_failures_total{environment="prod",reason="destination"} 2`, `gw_publisher_webhook_deliveries_total{code="webhook_accepted",webhook="forge"} 1`,
	} {
		if !strings.Contains(w.Body.String(), line+"\n") {
			t.Errorf("no line %s in\n%s", line, w.Body.String())
		}
	}
	problems, err := promlint.New(w.Body).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
}

// TestPublisherManual holds docs/publisher.md to the settings, metrics, states, reasons and fields there are.
func TestPublisherManual(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(testkit.Root(t), "docs", "publisher.md"))
	if err != nil {
		t.Fatal(err)
	}
	manual := string(data)
	mentions := func(what string) {
		t.Helper()
		if !strings.Contains(manual, "`"+what+"`") {
			t.Errorf("docs/publisher.md says nothing of `%s`", what)
		}
	}
	for i := range serveTable.All {
		s := &serveTable.All[i]
		row := "| `" + s.Field() + "` | `--" + s.Name + "` | `" + serveTable.Variable(s) + "` |"
		if s.Secret {
			row = "| `" + s.Field() + "` | | `" + serveTable.Variable(s) + "` |"
		}
		if !strings.Contains(manual, row) {
			t.Errorf("docs/publisher.md lacks the row %s", row)
		}
	}
	for _, name := range hookFields {
		mentions(name)
	}
	for _, state := range publisher.States() {
		mentions(string(state))
	}
	for _, reason := range publisher.Reasons() {
		mentions(reason)
	}
	m := newServeMetrics(sampleStatus)
	m.failed("", "repository")
	m.delivered("", "webhook_unknown")
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if strings.HasPrefix(family.GetName(), "gw_") {
			mentions(family.GetName())
		}
	}
	status, err := json.Marshal(publisher.Environment{
		Candidate: "x", Rewritten: "x", Published: &publisher.Publication{Dirty: true}, Rules: []publisher.Rule{{Codes: []string{"x"}, More: 1, Opens: &time.Time{}}}, Mistakes: 1, Diagnostics: "x",
		Head: "x", Reason: "x", Error: "x", NextTry: &time.Time{},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`"([a-zA-Z]+)":`).FindAllStringSubmatch(string(status), -1) {
		mentions(m[1])
	}
}

// TestLimitProcessor has a process end that computes for longer than it may. It is this program, started again.
func TestLimitProcessor(t *testing.T) {
	const spin = "GWCTL_TEST_SPIN"
	if os.Getenv(spin) != "" {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := limitProcessor(ctx); err != nil {
			t.Fatal(err)
		}
		for begun := time.Now(); time.Since(begun) < time.Minute; { // of which it gets some seconds
		}
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestLimitProcessor$")
	cmd.Env = append(os.Environ(), spin+"=1")
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != exitInternal || !strings.Contains(string(out), "it took more than 1 s of processor time") {
		t.Errorf("%v\n%s", err, out)
	}
}
