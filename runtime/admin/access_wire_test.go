package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/engine"
	"github.com/suuupra/gateway/runtime/state/redisstate"
	"github.com/suuupra/gateway/schema/ir"
)

// listen serves a server's paths on a real listener, as gwrun does with --admin, and returns its address.
func listen(t *testing.T, s *Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := engine.New(ownPaths{s}, engine.Settings{
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
	return l.Addr().String()
}

// wire sends one request over a connection of its own.
func wire(t *testing.T, method, url, bearer, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

// TestAFleetSharesSessions has two gateways behind one Redis, with one key.
func TestAFleetSharesSessions(t *testing.T) {
	server := testkit.Redis(t)
	gateway := func(key string) string {
		state, err := redisstate.Open(server.URL, redisstate.Options{Environment: "test", Budget: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = state.Close() })
		clock := testkit.NewClock(time.Now().UTC().Truncate(time.Second))
		return "http://" + listen(t, newOffice(t, parts{sessions: state, limits: state, key: []byte(key), clock: clock}).Server)
	}
	const key = "a key of thirty-two bytes or more"
	a, b, stranger := gateway(key), gateway(key), gateway(strings.ToUpper(key))

	logIn := func(at, user string) (tokens Tokens) {
		t.Helper()
		status, answer := wire(t, "POST", at+"/admin/login", "", `{"username":"`+user+`","password":"`+password+`"}`)
		if err := json.Unmarshal([]byte(answer), &tokens); err != nil || status != 200 {
			t.Fatalf("%d %s", status, answer)
		}
		return tokens
	}
	ann := logIn(a, "operator-user")
	for at, want := range map[string]int{a: 200, b: 200, stranger: 401} {
		if status, answer := wire(t, "GET", at+"/admin/status", ann.AccessToken, ""); status != want {
			t.Errorf("at %s: %d %s", at, status, answer)
		}
	}
	status, answer := wire(t, "POST", b+"/admin/refresh", "", `{"refreshToken":"`+ann.RefreshToken+`"}`)
	if status != 200 {
		t.Fatalf("refresh at the other: %d %s", status, answer)
	}
	if status, answer := wire(t, "POST", a+"/admin/refresh", "", `{"refreshToken":"`+ann.RefreshToken+`"}`); status != 401 || code(answer) != "refresh_reused" {
		t.Errorf("again at the first: %d %s", status, answer)
	}
	for _, at := range []string{a, b} {
		if status, _ := wire(t, "GET", at+"/admin/status", ann.AccessToken, ""); status != 401 {
			t.Errorf("after the family has ended, at %s: %d", at, status)
		}
	}

	// Guesses at one gateway count at the other.
	for i := range 9 { // ann's login was one
		wire(t, "POST", []string{a, b}[i%2]+"/admin/login", "", `{"username":"operator-user","password":"wrong"}`)
	}
	if status, answer := wire(t, "POST", b+"/admin/login", "", `{"username":"operator-user","password":"`+password+`"}`); status != 429 || code(answer) != "too_many_logins" {
		t.Errorf("%d %s", status, answer)
	}

	// While Redis is away nobody comes in but with the token.
	bob := logIn(a, "viewer-user")
	server.Stop()
	for _, tt := range []struct {
		method, path, bearer, body string
		want                       int
	}{
		{"GET", "/admin/status", bob.AccessToken, "", 503},
		{"POST", "/admin/login", "", `{"username":"viewer-user","password":"` + password + `"}`, 503},
		{"POST", "/admin/refresh", "", `{"refreshToken":"` + bob.RefreshToken + `"}`, 503},
		{"GET", "/admin/status", token, "", 200},
		{"POST", "/admin/reload", token, "", 202},
		{"GET", "/admin/sessions", token, "", 503},
	} {
		if status, answer := wire(t, tt.method, a+tt.path, tt.bearer, tt.body); status != tt.want || status == 503 && code(answer) != "access_unavailable" {
			t.Errorf("%s %s without Redis: %d %s", tt.method, tt.path, status, answer)
		}
	}
}

// TestTokensOfAProvider lets in by the tokens of a certified OpenID provider.
func TestTokensOfAProvider(t *testing.T) {
	provider := testkit.OIDC(t)
	clock := testkit.NewClock(time.Now())
	settings := ir.AdminOIDC{Issuer: provider.Issuer, Audience: "suuupra-api", RolesClaim: "roles", RoleMap: map[string][]string{"user": {"operator"}, "user.read": {"super-admin"}}}
	o := newOffice(t, parts{oidc: &settings, clock: clock})
	at := "http://" + listen(t, o.Server)
	ann, guest := provider.Token("ann", "user.read"), provider.Token("guest", "user.read")

	if status, answer := wire(t, "GET", at+"/admin/whoami", ann, ""); status != 200 || !strings.HasPrefix(answer, `{"actor":{"kind":"oidc","name":"ann","roles":["operator"],"address":"127.0.0.1"},`) {
		t.Errorf("%d %s", status, answer)
	}
	for _, tt := range []struct {
		name, method, path, bearer string
		want                       int
	}{
		{"what the role permits", "POST", "/admin/reload", ann, 202},
		{"what it does not", "DELETE", "/admin/sessions/aaaaaaaaaaaaaaaaaaaaaaaa", ann, 403},
		{"a name that is mapped to nothing", "GET", "/admin/status", guest, 403},
		{"who that is", "GET", "/admin/whoami", guest, 200},
		{"nothing to log out of", "POST", "/admin/logout", ann, 409},
		{"a changed signature", "GET", "/admin/status", ann[:len(ann)-6] + "AAAAAA", 401},
	} {
		if status, answer := wire(t, tt.method, at+tt.path, tt.bearer, ""); status != tt.want {
			t.Errorf("%s: %d %s", tt.name, status, answer)
		}
	}
	for name, change := range map[string]func(*ir.AdminOIDC){
		"another audience": func(s *ir.AdminOIDC) { s.Audience = "suuupra-api-evil" },
		"another issuer":   func(s *ir.AdminOIDC) { s.Issuer += "/" },
		"no provider":      nil,
	} {
		was := o.f.flags.OIDC
		if next := settings; change != nil {
			change(&next)
			o.f.flags.OIDC = &next
		} else {
			o.f.flags.OIDC = nil
		}
		if status, _ := wire(t, "GET", at+"/admin/status", ann, ""); status != 401 {
			t.Errorf("%s: %d", name, status)
		}
		o.f.flags.OIDC = was
	}
	clock.Advance(12 * time.Minute) // tokens are good for ten, and clocks may differ by one
	if status, _ := wire(t, "GET", at+"/admin/status", ann, ""); status != 401 {
		t.Errorf("an expired token: %d", status)
	}
}

// TestNothingIsThereWhileDisabled asks for the API in spellings that some servers take for others.
func TestNothingIsThereWhileDisabled(t *testing.T) {
	o := newOffice(t, parts{})
	o.f.flags.APIEnabled = false
	at := listen(t, o.Server)
	for _, path := range []string{
		"/admin", "/admin/", "//admin/status", "/admin//status", "/./admin/status", "/x/../admin/status", "/%61dmin/status", "/admin%2fstatus", "/admin/%73tatus",
		"/ADMIN/status", "/admin;x=1/status", "/admin/status;x", "/admin/status%00", "/admin/status/", "/admin/status?x", "/admin/status#x", "/admin%5cstatus", `/admin\status`,
		"/admin/login", "/admin/refresh", "/admin/logout", "/admin/whoami", "/admin/health", "/admin/openapi.json", "/admin/ui", "/admin/keys", "/admin/sessions/a", "/admin/.",
		"/admin/%2e%2e/admin/status", "/%2561dmin/status", "/admin/status%20", "http://gw/admin/status",
	} {
		for _, method := range []string{"GET", "POST", "DELETE", "OPTIONS"} {
			if status := raw(t, at, method, path); status != 404 && status != 400 {
				t.Errorf("%s %s: %d", method, path, status)
			}
		}
	}
	if got := o.f.denied; len(got) != 0 || len(o.events()) != 0 {
		t.Errorf("somebody looked at them: %q", got)
	}
}

// raw sends a request target as it is.
func raw(t *testing.T, at, method, target string) int {
	t.Helper()
	var d net.Dialer
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := d.DialContext(ctx, "tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, _ = fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}", method, target, token)
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}
