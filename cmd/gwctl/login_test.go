package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/admin"
	"github.com/suuupra/gateway/runtime/admin/access"
	"github.com/suuupra/gateway/runtime/admin/access/session"
	"github.com/suuupra/gateway/runtime/engine"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/state/memstate"
	"github.com/suuupra/gateway/schema/ir"
)

const annsPassword = "correct horse battery staple"

// manned is a gateway that people log in to.
type manned struct{ enabled }

func (manned) Admin() ir.Admin {
	return ir.Admin{APIEnabled: true, Users: []ir.AdminUser{{Name: "ann", PasswordHash: "env:ANN", Roles: []string{"operator"}}}}
}

// annsHash is the secret behind every reference.
type annsHash string

func (h annsHash) Hold(string) (policy.Secret, error) { return h, nil }
func (h annsHash) Value() ([]byte, uint64, error)     { return []byte(h), 1, nil }
func (annsHash) Close() error                         { return nil }

// mannedGateway serves one, and returns its URL, its clock and the sessions it has.
func mannedGateway(t *testing.T) (string, *testkit.Clock, *access.Control) {
	t.Helper()
	for _, name := range []string{"GWRUN_ADMIN_TOKEN", "GWCTL_TOKEN", "GWCTL_PASSWORD"} {
		t.Setenv(name, "")
	}
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	hash, err := access.HashPassword(annsPassword)
	if err != nil {
		t.Fatal(err)
	}
	clock := testkit.NewClock(time.Now())
	control, err := access.New(access.Options{
		Log: slog.New(slog.DiscardHandler), Now: clock.Now, Environment: "test", Sessions: session.NewMemory(clock.Now),
		Limits: memstate.New(memstate.Options{}), Secrets: annsHash(hash.String()),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(control.Close)
	own := admin.New(admin.Options{Log: slog.New(slog.DiscardHandler), Status: manned{}, Metrics: enabled{}, Access: control, Now: clock.Now, Token: adminToken})
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
	return "http://" + l.Addr().String(), clock, control
}

// command runs one command by itself.
func command(t *testing.T, cmd *cobra.Command, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, notes bytes.Buffer
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&notes)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err := cmd.ExecuteContext(t.Context())
	if err != nil {
		notes.WriteString(err.Error())
	}
	return exitCode(err), out.String(), notes.String()
}

func passwordFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestLifeOfALogin logs in, asks, lets the access token expire, and logs out.
func TestLifeOfALogin(t *testing.T) {
	gateway, clock, control := mannedGateway(t)
	code, stdout, stderr := command(t, newLogin(), "--gateway", gateway, "--user", "ann", "--password-file", passwordFile(t, annsPassword+"\n"))
	if code != exitOK || stdout != "" || !strings.HasPrefix(stderr, "gwctl: logged in to "+gateway+" as ann until ") {
		t.Fatalf("%d %q %q", code, stdout, stderr)
	}
	u, _ := url.Parse(gateway)
	path, err := sessionPath(u)
	if err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if info, err := os.Stat(p); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v", p, info.Mode(), err)
		}
	}
	if _, err := fetchStatus(t.Context(), gateway); err != nil {
		t.Errorf("with the session: %v", err)
	}

	// The access token ends before gwctl's clock says so: the gateway refuses it, and it is renewed.
	clock.Advance(10 * time.Minute)
	before, _ := loadSession(u)
	var wait sync.WaitGroup
	for range 8 { // several commands at a time spend one refresh token
		wait.Go(func() {
			if _, err := fetchStatus(t.Context(), gateway); err != nil {
				t.Errorf("with a session to renew: %v", err)
			}
		})
	}
	wait.Wait()
	after, _ := loadSession(u)
	if after.RefreshToken == before.RefreshToken || after.Session.ID != before.Session.ID {
		t.Error("it was not renewed")
	}

	if code, _, stderr := command(t, newLogout(), "--gateway", gateway+"/"); code != exitOK || stderr != "gwctl: logged out of "+gateway+"/\n" {
		t.Errorf("%d %q", code, stderr)
	}
	if all, err := control.Sessions(t.Context()); len(all) != 0 || err != nil {
		t.Errorf("%v %v", all, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file: %v", err)
	}
	if code, _, stderr := command(t, newLogout(), "--gateway", gateway); code != exitOK || stderr != "gwctl: there is no session with "+gateway+"\n" {
		t.Errorf("%d %q", code, stderr)
	}
	_, err = fetchStatus(t.Context(), gateway)
	if want := "the gateway at " + gateway + " refused the token; log in with gwctl login, or set GWRUN_ADMIN_TOKEN"; err == nil || err.Error() != want || exitCode(err) != exitRefused {
		t.Errorf("without a session: %v", err)
	}
}

// TestASessionThatWasEnded says so, and is forgotten.
func TestASessionThatWasEnded(t *testing.T) {
	gateway, _, control := mannedGateway(t)
	t.Setenv("GWCTL_PASSWORD", annsPassword)
	for _, logout := range []bool{false, true} {
		if code, _, stderr := command(t, newLogin(), "--gateway", gateway, "--user", "ann"); code != exitOK {
			t.Fatal(stderr)
		}
		all, _ := control.Sessions(t.Context())
		if _, err := control.End(t.Context(), all[0].ID); err != nil {
			t.Fatal(err)
		}
		if logout {
			if code, _, stderr := command(t, newLogout(), "--gateway", gateway); code != exitOK || stderr != "gwctl: logged out of "+gateway+"\n" {
				t.Errorf("%d %q", code, stderr)
			}
			continue
		}
		_, err := fetchStatus(t.Context(), gateway)
		if want := "the session with " + gateway + " has ended; log in again: gwctl login --gateway " + gateway; err == nil || err.Error() != want || exitCode(err) != exitRefused {
			t.Errorf("%v", err)
		}
	}
	u, _ := url.Parse(gateway)
	if s, err := loadSession(u); s != nil || err != nil {
		t.Errorf("%+v %v", s, err)
	}
}

func TestLoginsThatFail(t *testing.T) {
	gateway, _, _ := mannedGateway(t)
	nobody := keysGatewayWithoutToken(t)
	for _, tt := range []struct {
		name     string
		args     []string
		password string
		code     int
		stderr   string
	}{
		{"no gateway", []string{"--user", "ann"}, "", exitUsage, "--gateway is required: the URL of the gateway's admin API"},
		{"no user", []string{"--gateway", gateway}, "", exitUsage, "--user is required: the name to log in with"},
		{"in the clear", []string{"--gateway", "http://gw.example.com:9090", "--user", "ann"}, "x", exitUsage, "by http to gw.example.com everybody on the way could read the password; use https, a tunnel to localhost, or --insecure"},
		{"to a name like ours", []string{"--gateway", "http://localhost.example.com", "--user", "ann"}, "x", exitUsage, "by http to localhost.example.com everybody on the way could read the password; use https, a tunnel to localhost, or --insecure"},
		{"wrong password", []string{"--gateway", gateway, "--user", "ann"}, "wrong", exitRefused, "the gateway says: the user name or the password is wrong"},
		{"no such user", []string{"--gateway", gateway, "--user", "bob"}, annsPassword, exitRefused, "the gateway says: the user name or the password is wrong"},
		{"a gateway without users", []string{"--gateway", nobody, "--user", "ann"}, annsPassword, exitInternal, "nobody logs in to the gateway at " + nobody + "; are there gateway.admin.users?"},
		{"hash and gateway", []string{"--gateway", gateway, "--hash-password"}, annsPassword, exitUsage, "--hash-password talks to no gateway: leave --gateway and --user out"},
		{"hash of a short one", []string{"--hash-password"}, "short", exitUsage, "the password has 5 bytes, must have at least 12"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("GWCTL_PASSWORD", tt.password)
			if code, stdout, stderr := command(t, newLogin(), tt.args...); code != tt.code || stderr != tt.stderr || stdout != "" {
				t.Errorf("%d %q %q", code, stdout, stderr)
			}
		})
	}
}

// keysGatewayWithoutToken is a gateway that knows the static token alone.
func keysGatewayWithoutToken(t *testing.T) string {
	t.Helper()
	gateway := keysGateway(t, testkit.NewClock(time.Time{}), nil)
	t.Setenv("GWRUN_ADMIN_TOKEN", "")
	return gateway
}

func TestHashPassword(t *testing.T) {
	t.Setenv("GWCTL_PASSWORD", annsPassword)
	code, stdout, stderr := command(t, newLogin(), "--hash-password")
	if _, err := access.ParseHash(strings.TrimSuffix(stdout, "\n")); code != exitOK || stderr != "" || err != nil {
		t.Errorf("%d %q %q %v", code, stdout, stderr, err)
	}
}

// TestWhichCredential has several of them.
func TestWhichCredential(t *testing.T) {
	gateway, _, _ := mannedGateway(t)
	u, _ := url.Parse(gateway)
	if err := saveSession(u, &admin.Tokens{AccessToken: "of the session", Expires: time.Now().Add(time.Hour), RefreshToken: "r"}); err != nil {
		t.Fatal(err)
	}
	other, _ := url.Parse("http://127.0.0.1:1")
	for _, tt := range []struct {
		name, admin, ci string
		at              *url.URL
		want            credential
	}{
		{"the session", "", "", u, credential{"of the session", true}},
		{"of another gateway", "", "", other, credential{}},
		{"the provider's token", "", "ci", u, credential{"ci", false}},
		{"the static token", "static", "ci", u, credential{"static", false}},
	} {
		t.Setenv("GWRUN_ADMIN_TOKEN", tt.admin)
		t.Setenv("GWCTL_TOKEN", tt.ci)
		if got, err := credentialFor(context.Background(), tt.at); got != tt.want || err != nil {
			t.Errorf("%s: %+v %v", tt.name, got, err)
		}
	}
	t.Setenv("GWRUN_ADMIN_TOKEN", "")
	t.Setenv("GWCTL_TOKEN", "")
	path, _ := sessionPath(u)
	for name, spoil := range map[string]func() error{
		"that others can read": func() error { return os.Chmod(path, 0o644) },
		"that is none":         func() error { return errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, []byte("{"), 0o600)) },
		"of another gateway":   func() error { return os.WriteFile(path, []byte(`{"gateway":"https://evil.example"}`), 0o600) },
		"without end":          func() error { return os.WriteFile(path, bytes.Repeat([]byte(" "), 100<<10), 0o600) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if c, err := credentialFor(context.Background(), u); err == nil || c.bearer != "" {
			t.Errorf("a file %s: %+v", name, c)
		}
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("HOME", "")
	t.Setenv("XDG_CONFIG_HOME", "")
	if c, err := credentialFor(context.Background(), u); c != (credential{}) || err != nil {
		t.Errorf("without a home: %+v %v", c, err)
	}
}
