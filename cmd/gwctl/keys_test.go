package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime"
	"github.com/suuupra/gateway/runtime/admin"
	"github.com/suuupra/gateway/runtime/apikeys"
	"github.com/suuupra/gateway/runtime/engine"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/state/memstate"
	"github.com/suuupra/gateway/schema/ir"
)

const adminToken = "correct-horse-battery-staple"

// keysGateway is the admin API of a gateway that keeps its keys in memory. Nil keys: it keeps none.
func keysGateway(t *testing.T, clock *testkit.Clock, keys *apikeys.Service) string {
	t.Helper()
	own := admin.New(admin.Options{
		Log: slog.New(slog.DiscardHandler), Status: enabled{}, Metrics: enabled{}, Keys: keys, Now: clock.Now, Token: adminToken,
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := engine.New(ownPaths{own}, engine.Settings{
		Limits:   ir.Limits{HeaderBytes: 16 << 10, HeaderFields: 100, URLBytes: 4 << 10, BodyBytes: 64 << 10},
		Timeouts: ir.Timeouts{ReadHeader: 5_000, BodyIdle: 10_000, KeepAlive: 60_000},
	}, engine.Hooks{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(engine.Listener{Listener: l, ID: "admin"}) }()
	t.Cleanup(func() {
		server.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	t.Setenv("GWRUN_ADMIN_TOKEN", adminToken)
	return "http://" + l.Addr().String()
}

// ownPaths serves the gateway's own paths.
type ownPaths struct{ own *admin.Server }

// Serve implements engine.Handler.
func (o ownPaths) Serve(ctx context.Context, w httpmsg.ResponseWriter, r *httpmsg.Request) {
	runtime.ServeOwn(ctx, o.own, w, r)
}

// enabled is a gateway whose admin API is enabled.
type enabled struct{}

func (enabled) Admin() ir.Admin                                { return ir.Admin{APIEnabled: true} }
func (enabled) NotReady() []string                             { return nil }
func (enabled) Status() admin.Status                           { return admin.Status{} }
func (enabled) AdminDenied(string)                             {}
func (enabled) WriteMetrics(io.Writer, string) (string, error) { return "", nil }

func newKeyService(t *testing.T, clock *testkit.Clock) *apikeys.Service {
	t.Helper()
	s, err := apikeys.New(apikeys.Options{
		Store: memstate.New(memstate.Options{}), Pepper: []byte("a pepper that is long enough for it"), Environment: "test", Now: clock.Now,
		Tenants: func() []string { return []string{"blue"} },
		Log:     slog.New(slog.DiscardHandler), Random: rand.NewChaCha8([32]byte{1}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// keysCommand runs gwctl keys.
func keysCommand(t *testing.T, gateway string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, notes bytes.Buffer
	code = run(t.Context(), append([]string{"keys", args[0], "--gateway", gateway}, args[1:]...), &out, &notes)
	return code, out.String(), notes.String()
}

// TestKeys is the life of a key at the command line.
func TestKeys(t *testing.T) {
	clock := testkit.NewClock(time.Time{})
	gateway := keysGateway(t, clock, newKeyService(t, clock))
	do := func(args ...string) (string, string) {
		t.Helper()
		code, stdout, stderr := keysCommand(t, gateway, args...)
		if code != exitOK {
			t.Fatalf("%q: exit code %d\n%s%s", args, code, stdout, stderr)
		}
		return stdout, stderr
	}
	if stdout, _ := do("list"); stdout != "ID  STATE  OWNER  TENANT  SCOPES  EXPIRES  LAST USED\n" {
		t.Errorf("no keys:\n%s", stdout)
	}
	if stdout, _ := do("list", "--format", "json"); stdout != "[]\n" {
		t.Errorf("no keys: %s", stdout)
	}

	key, note := do("create", "--owner", "shop", "--tenant", "blue", "--scope", "write", "--scope", "read", "--expires-in", "90d")
	id := regexp.MustCompile(`^gw_test_([a-z2-7]{16})_[0-9A-Za-z]{38}\n$`).FindStringSubmatch(key)
	if id == nil || note != "gwctl: key "+id[1]+" for shop, good until 2026-04-01T00:00:00Z; it is shown this once\n" {
		t.Fatalf("%q, %q", key, note)
	}
	stdout, _ := do("show", id[1])
	want := strings.Join([]string{
		"id                 " + id[1], "state              active", "environment        test", "owner              shop", "tenant             blue",
		"scopes             read write", "created            2026-01-01T00:00:00Z", "expires            2026-04-01T00:00:00Z",
		"revoked            -", "secrets            1", "old secrets until  -", "last used          -", "",
	}, "\n")
	if stdout != want {
		t.Errorf("shown:\n%s\nwant:\n%s", stdout, want)
	}

	fresh, note := do("rotate", id[1], "--overlap", "1h")
	if fresh == key || !strings.HasPrefix(fresh, "gw_test_"+id[1]+"_") || !strings.Contains(note, "; the old secret is good until 2026-01-01T01:00:00Z; it is shown this once\n") {
		t.Errorf("%q, %q", fresh, note)
	}
	code, stdout, stderr := keysCommand(t, gateway, "rotate", id[1])
	if code != exitConflict || stdout != "" || stderr != "gwctl: the gateway says: an older secret is good until 2026-01-01T01:00:00Z: finish that rotation first, or force this one\n" {
		t.Errorf("rotated again: %d, %q, %q", code, stdout, stderr)
	}
	do("rotate", id[1], "--force")
	if stdout, _ := do("finish", id[1]); !strings.Contains(stdout, "secrets            1\n") {
		t.Errorf("finished:\n%s", stdout)
	}
	if stdout, _ := do("revoke", id[1]); !strings.Contains(stdout, "state              revoked\n") || !strings.Contains(stdout, "revoked            2026-01-01T00:00:00Z\n") {
		t.Errorf("revoked:\n%s", stdout)
	}
	stdout, _ = do("list")
	if want := "ID                STATE    OWNER  TENANT  SCOPES      EXPIRES               LAST USED\n" +
		id[1] + "  revoked  shop   blue    read write  2026-04-01T00:00:00Z  -\n"; stdout != want {
		t.Errorf("listed:\n%s\nwant:\n%s", stdout, want)
	}
}

func TestKeysJSON(t *testing.T) {
	clock := testkit.NewClock(time.Time{})
	gateway := keysGateway(t, clock, newKeyService(t, clock))
	_, stdout, note := keysCommand(t, gateway, "create", "--owner", "shop", "--expires-at", "2027-01-01T00:00:00Z", "--format", "json")
	var made admin.Key
	if err := json.Unmarshal([]byte(stdout), &made); err != nil || !strings.HasPrefix(made.Key, "gw_test_") || made.Record.Expires.Year() != 2027 {
		t.Fatalf("%s: %v", stdout, err)
	}
	if strings.Contains(note, made.Key) {
		t.Errorf("the key is in the note: %s", note)
	}
	_, stdout, _ = keysCommand(t, gateway, "revoke", made.Record.ID, "--format", "json")
	var record apikeys.Record
	if err := json.Unmarshal([]byte(stdout), &record); err != nil || record.State != apikeys.Revoked || strings.Contains(stdout, `"key"`) {
		t.Errorf("%s: %v", stdout, err)
	}
	_, stdout, _ = keysCommand(t, gateway, "list", "--format", "json")
	var records []apikeys.Record
	if err := json.Unmarshal([]byte(stdout), &records); err != nil || len(records) != 1 || records[0].ID != record.ID {
		t.Errorf("%s: %v", stdout, err)
	}
}

// TestKeysOverPages lists more keys than an answer holds.
func TestKeysOverPages(t *testing.T) {
	clock := testkit.NewClock(time.Time{})
	keys := newKeyService(t, clock)
	for range 1001 {
		if _, _, err := keys.Create(t.Context(), apikeys.Order{Owner: "shop"}); err != nil {
			t.Fatal(err)
		}
	}
	_, stdout, _ := keysCommand(t, keysGateway(t, clock, keys), "list")
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	seen := map[string]bool{}
	for _, l := range lines[1:] {
		seen[l] = true
	}
	if len(lines) != 1002 || len(seen) != 1001 {
		t.Errorf("%d lines, %d different", len(lines), len(seen))
	}
}

func TestKeysRefused(t *testing.T) {
	clock := testkit.NewClock(time.Time{})
	gateway := keysGateway(t, clock, newKeyService(t, clock))
	const id = "abcdefgh234567yz"
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"an id that nobody has", []string{"show", id}, exitUsage, "gwctl: the gateway says: there is no API key with this id in this environment\n"},
		{"a tenant that is none", []string{"create", "--owner", "a", "--tenant", "A"}, exitUsage, `gwctl: the gateway says: tenant is "A", must be up to 63`},
		{"a tenant that nobody is", []string{"create", "--owner", "a", "--tenant", "green"}, exitUsage, "gwctl: the gateway says: there is no tenant \"green\" in this environment; there are blue\n"},
		{"a span that is none", []string{"create", "--owner", "a", "--expires-in", "soon"}, exitUsage, "gwctl: the gateway says: expiresIn must be a span of time such as 90d or 12h\n"},
		{"two ends", []string{"create", "--owner", "a", "--expires-in", "1d", "--expires-at", "2027-01-01T00:00:00Z"}, exitUsage, "must be one of them\n"},
	} {
		code, stdout, stderr := keysCommand(t, gateway, tt.args...)
		if code != tt.code || stdout != "" || !strings.Contains(stderr, tt.want) {
			t.Errorf("%s: exit code %d, %q, %q", tt.name, code, stdout, stderr)
		}
	}
	t.Setenv("GWRUN_ADMIN_TOKEN", "wrong")
	code, _, stderr := keysCommand(t, gateway, "list")
	if code != exitRefused || stderr != "gwctl: the gateway at "+gateway+" refused the token; log in with gwctl login, or set GWRUN_ADMIN_TOKEN\n" {
		t.Errorf("a wrong token: exit code %d, %q", code, stderr)
	}
	code, _, stderr = keysCommand(t, keysGateway(t, clock, nil), "list")
	if code != exitInternal || stderr != "gwctl: the gateway says: this gateway keeps no API keys: start gwrun with --redis and GWRUN_API_KEY_PEPPER\n" {
		t.Errorf("a gateway without keys: exit code %d, %q", code, stderr)
	}
}

// TestKeysOfAnotherServer asks something that is no gateway, or a bad one.
func TestKeysOfAnotherServer(t *testing.T) {
	var status int
	var answer string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/admin/keys" { // where a redirect would lead
			t.Errorf("asked for %s", r.URL.Path)
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	defer server.Close()
	for _, tt := range []struct {
		name   string
		status int
		answer string
		want   string
	}{
		{"nothing there", 404, "<html>", "there is no gateway's admin API at this address"},
		{"a redirect", 307, "", "answered 307 Temporary Redirect"},
		{"a page", 200, "<html>", "read the gateway's answer: invalid character '<'"},
		{"an error without words", 502, "bad gateway", "answered 502 Bad Gateway"},
		{"words that a terminal would obey", 500, `{"code":"x","detail":"\u001b[31mred"}`, `the gateway says: "\x1b[31mred"`},
		{"pages without end", 200, `{"keys":[],"next":"a"}`, "the gateway's list of keys does not end"},
	} {
		status, answer = tt.status, tt.answer
		code, stdout, stderr := keysCommand(t, server.URL, "list")
		if code != exitInternal || stdout != "" || !strings.Contains(stderr, tt.want) {
			t.Errorf("%s: exit code %d, %q, %q", tt.name, code, stdout, stderr)
		}
	}
	status, answer = 200, `{"keys":[{"id":"a","owner":"\u001b]0;evil\u0007","scopes":null}],"next":null}`
	if _, stdout, _ := keysCommand(t, server.URL, "list"); strings.ContainsAny(stdout, "\x1b\x07") || !strings.Contains(stdout, `"\x1b]0;evil\a"`) {
		t.Errorf("%q", stdout)
	}
}
