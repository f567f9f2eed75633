package admin

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/suuupra/gateway/schema/ir"
)

func TestLifeOfASession(t *testing.T) {
	o := newOffice(t, parts{})
	first := o.logIn(t, "operator-user")
	if !first.Expires.Equal(now.Add(10*time.Minute)) || !first.Session.Expires.Equal(now.Add(12*time.Hour)) || first.Session.Address != "192.0.2.1" || first.Session.User != "operator-user" {
		t.Errorf("%+v", first)
	}
	if got, want := o.events(), []string{"user operator-user login  begun", "user operator-user login " + first.Session.ID + " success"}; !slices.Equal(got, want) {
		t.Errorf("recorded %q, want %q", got, want)
	}
	status, answer := o.ask(t, "GET", "/admin/whoami", first.AccessToken)
	if want := `{"actor":{"kind":"user","name":"operator-user","roles":["operator"],"address":"192.0.2.1","session":"` + first.Session.ID + `"},"permissions":["approvals:read"`; status != 200 || !strings.HasPrefix(answer, want) {
		t.Errorf("%d %s", status, answer)
	}

	o.clock.Advance(10 * time.Minute)
	if status, _ := o.ask(t, "GET", "/admin/status", first.AccessToken); status != 401 {
		t.Errorf("with an expired token: %d", status)
	}
	if got := o.f.denied[len(o.f.denied)-1]; got != "token_expired" {
		t.Errorf("counted as %s", got)
	}
	status, answer = o.post(t, "/admin/refresh", "", `{"refreshToken":"`+first.RefreshToken+`"}`)
	var second Tokens
	if err := json.Unmarshal([]byte(answer), &second); err != nil || status != 200 || second.RefreshToken == first.RefreshToken || second.Session.ID != first.Session.ID ||
		!second.Session.Refreshed.Equal(now.Add(10*time.Minute)) || !second.Session.Expires.Equal(first.Session.Expires) {
		t.Fatalf("refreshed: %d %s", status, answer)
	}
	if status, _ := o.ask(t, "GET", "/admin/status", second.AccessToken); status != 200 {
		t.Errorf("with the new token: %d", status)
	}

	boss := o.logIn(t, "super-admin-user")
	status, answer = o.ask(t, "GET", "/admin/sessions", boss.AccessToken)
	var list SessionList
	if err := json.Unmarshal([]byte(answer), &list); err != nil || status != 200 || len(list.Sessions) != 2 || list.Sessions[0] != second.Session {
		t.Errorf("%d %s", status, answer)
	}
	for _, tt := range []struct {
		id   string
		want int
		code string
	}{{first.Session.ID, 200, ""}, {first.Session.ID, 404, "no_such_session"}, {"../" + first.Session.ID, 404, ""}, {strings.Repeat("a", 24), 404, "no_such_session"}, {"*", 404, "no_such_session"}} {
		if status, answer := o.ask(t, "DELETE", "/admin/sessions/"+tt.id, boss.AccessToken); status != tt.want || code(answer) != tt.code {
			t.Errorf("end %s: %d %s", tt.id, status, answer)
		}
	}
	if status, _ := o.ask(t, "GET", "/admin/status", second.AccessToken); status != 401 {
		t.Errorf("after the session was ended: %d", status)
	}
	if status, answer := o.post(t, "/admin/refresh", "", `{"refreshToken":"`+second.RefreshToken+`"}`); status != 401 || code(answer) != "refresh_refused" {
		t.Errorf("refresh after the session was ended: %d %s", status, answer)
	}
}

func TestLogout(t *testing.T) {
	o := newOffice(t, parts{})
	tokens := o.logIn(t, "nobody-user")
	o.events()
	if status, answer := o.ask(t, "POST", "/admin/logout", tokens.AccessToken); status != 200 || answer != `{"session":"`+tokens.Session.ID+`","ended":true}`+"\n" {
		t.Errorf("%d %s", status, answer)
	}
	if got, want := o.events(), []string{"user nobody-user logout  begun", "user nobody-user logout " + tokens.Session.ID + " success"}; !slices.Equal(got, want) {
		t.Errorf("recorded %q", got)
	}
	if status, _ := o.ask(t, "GET", "/admin/whoami", tokens.AccessToken); status != 401 {
		t.Errorf("after the logout: %d", status)
	}
	if status, answer := o.ask(t, "POST", "/admin/logout", token); status != 409 || code(answer) != "no_session" {
		t.Errorf("with the static token: %d %s", status, answer)
	}
}

// TestGuessing sends a hundred wrong passwords for one account from as many addresses, and from one address for as many accounts.
func TestGuessing(t *testing.T) {
	for _, tt := range []struct {
		name      string
		user      func(i int) string
		from      func(i int) string
		looked    int // tries that are looked at
		firstWait string
	}{
		{"one account", func(int) string { return "viewer-user" }, func(i int) string { return fmt.Sprintf("198.51.100.%d", i+1) }, 10, "30"},
		{"one account that is not there", func(int) string { return "nobody at all" }, func(i int) string { return fmt.Sprintf("198.51.100.%d", i+1) }, 10, "30"},
		{"one address", func(i int) string { return fmt.Sprintf("user-%d", i) }, func(int) string { return "203.0.113.9" }, 20, "10"},
		{"one network of IPv6", func(i int) string { return fmt.Sprintf("user-%d", i) }, func(i int) string { return fmt.Sprintf("2001:db8::%x", i+1) }, 20, "10"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newOffice(t, parts{})
			wrong, limited := 0, 0
			for i := range 100 {
				r := withBody(request("POST", "/admin/login"), "application/json", `{"username":"`+tt.user(i)+`","password":"guess `+fmt.Sprint(i)+`"}`)
				r.Peer = netip.AddrPortFrom(netip.MustParseAddr(tt.from(i)), 1)
				resp := o.do(r)
				switch answer := body(t, resp); {
				case resp.Status == 401 && answer == wrongAnswer:
					wrong++
				case resp.Status == 429 && code(answer) == "too_many_logins" && (limited > 0 || resp.Header.Get("Retry-After") == tt.firstWait):
					limited++
				default:
					t.Fatalf("try %d: %d %s %v", i, resp.Status, answer, resp.Header)
				}
			}
			if wrong != tt.looked || limited != 100-tt.looked {
				t.Errorf("%d were looked at, %d were not", wrong, limited)
			}
			// Not even the right password is looked at now.
			r := withBody(request("POST", "/admin/login"), "application/json", `{"username":"`+tt.user(0)+`","password":"`+password+`"}`)
			r.Peer = netip.AddrPortFrom(netip.MustParseAddr(tt.from(0)), 1)
			if resp := o.do(r); resp.Status != 429 {
				t.Errorf("then: %d", resp.Status)
			}
			if got := len(o.events()); got > 3*tt.looked+110 {
				t.Errorf("%d events", got)
			}
		})
	}
}

const wrongAnswer = `{"type":"about:blank","title":"Unauthorized","status":401,"code":"wrong_credentials","detail":"the user name or the password is wrong"}` + "\n"

// TestNobodyLearnsWhoIsThere holds the answers to all that is wrong with a login equal, byte for byte and field for field.
func TestNobodyLearnsWhoIsThere(t *testing.T) {
	o := newOffice(t, parts{})
	o.secrets.set("env:operator", "not a hash")
	delete(o.secrets.values, "env:viewer")
	for name, login := range map[string]string{
		"wrong password":           `{"username":"super-admin-user","password":"wrong"}`,
		"no password":              `{"username":"super-admin-user","password":""}`,
		"no such user":             `{"username":"mallory","password":"` + password + `"}`,
		"no user":                  `{"username":"","password":"` + password + `"}`,
		"other case":               `{"username":"Super-Admin-User","password":"` + password + `"}`,
		"hash that is none":        `{"username":"operator-user","password":"` + password + `"}`,
		"hash that is not there":   `{"username":"viewer-user","password":"` + password + `"}`,
		"long password":            `{"username":"super-admin-user","password":"` + strings.Repeat("x", 5000) + `"}`,
		"long name":                `{"username":"` + strings.Repeat("x", 5000) + `","password":"x"}`,
		"control characters":       `{"username":"super-admin-user\u0000\n{\"x\":1}\u001b[2J","password":"x"}`,
		"the name of the token":    `{"username":"token","password":"` + token + `"}`,
		"the hash as the password": `{"username":"super-admin-user","password":"` + hashOf(password) + `"}`,
	} {
		r := withBody(request("POST", "/admin/login"), "application/json", login)
		resp := o.do(r)
		var fields []string
		for _, f := range resp.Header.Fields {
			fields = append(fields, f.Name+": "+f.Value)
		}
		if answer := body(t, resp); resp.Status != 401 || answer != wrongAnswer || len(fields) != 3 {
			t.Errorf("%s: %d %s %q", name, resp.Status, answer, fields)
		}
	}
	for _, line := range strings.Split(strings.TrimSuffix(o.f.log.String(), "\n"), "\n") {
		if !strings.HasPrefix(line, "time=") || strings.Contains(line, "\x1b") {
			t.Errorf("a line of the log that somebody else has written: %q", line)
		}
	}
}

func TestOneSessionMoreEndsTheOldest(t *testing.T) {
	o := newOffice(t, parts{})
	o.f.flags.Sessions = &ir.AdminSessions{Lifetime: 600_000, RefreshLifetime: 3_600_000, MaxPerUser: 2}
	var all []Tokens
	other := o.logIn(t, "nobody-user")
	for range 3 {
		o.clock.Advance(time.Second)
		all = append(all, o.logIn(t, "viewer-user"))
	}
	for i, want := range []int{401, 200, 200} {
		if status, _ := o.ask(t, "GET", "/admin/status", all[i].AccessToken); status != want {
			t.Errorf("session %d: %d, want %d", i, status, want)
		}
	}
	if status, _ := o.ask(t, "GET", "/admin/whoami", other.AccessToken); status != 200 {
		t.Errorf("of somebody else: %d", status)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if last := o.trail[len(o.trail)-1]; last.Details["ended"] != "1" {
		t.Errorf("%+v", last)
	}
}

// TestARefreshTokenIsGoodOnce shows a spent one again: its whole family ends.
func TestARefreshTokenIsGoodOnce(t *testing.T) {
	o := newOffice(t, parts{})
	first := o.logIn(t, "viewer-user")
	spend := func(refresh string) (int, string, Tokens) {
		status, answer := o.post(t, "/admin/refresh", "", `{"refreshToken":"`+refresh+`"}`)
		var next Tokens
		_ = json.Unmarshal([]byte(answer), &next)
		return status, code(answer), next
	}
	_, _, second := spend(first.RefreshToken)
	o.events()
	if status, why, _ := spend(first.RefreshToken); status != 401 || why != "refresh_reused" {
		t.Errorf("again: %d %s", status, why)
	}
	if got, want := o.events(), []string{"user viewer-user login " + first.Session.ID + " refused refresh_reused"}; !slices.Equal(got, want) {
		t.Errorf("recorded %q", got)
	}
	if status, why, _ := spend(second.RefreshToken); status != 401 || why != "refresh_refused" {
		t.Errorf("the good one: %d %s", status, why)
	}
	if status, _ := o.ask(t, "GET", "/admin/status", second.AccessToken); status != 401 {
		t.Errorf("the access token: %d", status)
	}
	// What is no token of a session ends none.
	third := o.logIn(t, "viewer-user")
	for name, text := range map[string]string{
		"nothing": "", "the access token": third.AccessToken, "the id": third.Session.ID, "shorter": third.RefreshToken[:len(third.RefreshToken)-4],
		"another family": "gwr_" + strings.Repeat("A", 64), "padding": third.RefreshToken + "=", "other prefix": strings.Replace(third.RefreshToken, "gwr_", "gwx_", 1),
		"line break": third.RefreshToken[:20] + `\n` + third.RefreshToken[21:],
	} {
		if status, why, _ := spend(text); status != 401 || why != "refresh_refused" {
			t.Errorf("%s: %d %s", name, status, why)
		}
	}
	if status, _, _ := spend(third.RefreshToken); status != 200 {
		t.Errorf("after all that: %d", status)
	}
}

// TestTwoRefreshAtATime: one wins, and as nobody can tell which of the two is the thief, both are out.
func TestTwoRefreshAtATime(t *testing.T) {
	o := newOffice(t, parts{})
	first := o.logIn(t, "viewer-user")
	var wait sync.WaitGroup
	var mu sync.Mutex
	counts := map[int]int{}
	for range 8 {
		wait.Go(func() {
			status, _ := o.post(t, "/admin/refresh", "", `{"refreshToken":"`+first.RefreshToken+`"}`)
			mu.Lock()
			defer mu.Unlock()
			counts[status]++
		})
	}
	wait.Wait()
	if counts[200] > 1 || counts[200]+counts[401] != 8 {
		t.Errorf("%v", counts)
	}
	if status, _ := o.ask(t, "GET", "/admin/status", first.AccessToken); status != 401 {
		t.Errorf("afterwards: %d", status)
	}
}

// TestTheConfigurationHasTheLastWord changes it under a session.
func TestTheConfigurationHasTheLastWord(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(o *office)
		status int
		code   string
	}{
		"nothing":   {func(*office) {}, 200, ""},
		"user gone": {func(o *office) { o.f.flags.Users = o.f.flags.Users[:1] }, 401, "unauthorized"},
		"role gone": {func(o *office) { o.f.flags.Users[1].Roles = []string{"viewer"} }, 403, "forbidden"},
		"role permits less": {func(o *office) {
			o.f.flags.Users[1].Roles, o.f.flags.Roles = []string{"lead"}, []ir.AdminRole{{ID: "lead", Permissions: []string{"status:read"}}}
		}, 403, "forbidden"},
		"a built-in role that somebody has defined anew": {func(o *office) {
			o.f.flags.Users[1].Roles, o.f.flags.Roles = []string{"viewer"}, []ir.AdminRole{{ID: "viewer", Permissions: ir.AdminPermissions()}}
		}, 403, "forbidden"},
		"another password": {func(o *office) { o.secrets.set("env:operator", hashOf("another password")) }, 401, "unauthorized"},
		"shorter sessions": {func(o *office) {
			o.f.flags.Sessions = &ir.AdminSessions{Lifetime: 60_000, RefreshLifetime: 60_000, MaxPerUser: 1}
			o.clock.Advance(time.Minute)
		}, 401, "unauthorized"},
		"admin disabled":      {func(o *office) { o.f.flags.APIEnabled = false }, 404, ""},
		"reload switched off": {func(o *office) { o.f.flags.HotReloadEnabled = false }, 404, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, parts{})
			tokens := o.logIn(t, "operator-user")
			o.f.flags.Users = people()
			tt.change(o)
			reloads := o.f.reloads
			status, answer := o.ask(t, "POST", "/admin/reload", tokens.AccessToken)
			want := tt.status
			if want == 200 {
				want = 202
			}
			if status != want || code(answer) != tt.code || (o.f.reloads > reloads) != (want == 202) {
				t.Errorf("%d %s", status, answer)
			}
		})
	}
}

// TestWhatCannotBeRecordedIsNotDone has an audit trail without room.
func TestWhatCannotBeRecordedIsNotDone(t *testing.T) {
	o := newOffice(t, parts{})
	tokens := o.logIn(t, "super-admin-user")
	o.mu.Lock()
	o.full = true
	o.mu.Unlock()
	for _, tt := range []struct{ path, body string }{
		{"/admin/reload", ""}, {"/admin/keys", `{"owner":"a"}`}, {"/admin/login", `{"username":"viewer-user","password":"` + password + `"}`}, {"/admin/logout", ""},
	} {
		if status, answer := o.post(t, tt.path, tokens.AccessToken, tt.body); status != 503 || code(answer) != "audit_unavailable" {
			t.Errorf("%s: %d %s", tt.path, status, answer)
		}
	}
	if o.f.reloads != 0 {
		t.Error("a reload that nobody recorded")
	}
	if status, answer := o.ask(t, "GET", "/admin/keys", tokens.AccessToken); status != 200 || !strings.HasPrefix(answer, `{"keys":[],`) {
		t.Errorf("reading: %d %s", status, answer)
	}
}

// TestSecretsStaySecret looks for them where they must not be.
func TestSecretsStaySecret(t *testing.T) {
	o := newOffice(t, parts{})
	tokens := o.logIn(t, "super-admin-user")
	hidden := []string{password, hashOf(password), tokens.AccessToken, tokens.RefreshToken, token, strings.TrimPrefix(tokens.RefreshToken, "gwr_")}
	answers := ""
	for i := range routes {
		if r := &routes[i]; r.method == "GET" {
			_, answer := o.ask(t, "GET", sample(r), tokens.AccessToken)
			answers += answer
		}
	}
	o.post(t, "/admin/login", "", `{"username":"super-admin-user","password":"wrong `+password+`"}`)
	o.post(t, "/admin/refresh", "", `{"refreshToken":"`+tokens.RefreshToken+`"}`)
	o.post(t, "/admin/refresh", "", `{"refreshToken":"`+tokens.RefreshToken+`"}`)
	trail, _ := json.Marshal(o.trail)
	for where, text := range map[string]string{"the answers": answers, "the log": o.f.log.String(), "the audit trail": string(trail)} {
		for _, h := range hidden {
			if strings.Contains(text, h) {
				t.Errorf("%s hold %.12s...", where, h)
			}
		}
	}
	if !strings.Contains(o.f.log.String(), "was used twice") || !strings.Contains(string(trail), "refresh_reused") {
		t.Error("nothing was looked through")
	}
}
