package admin

import (
	"strings"
	"testing"

	"github.com/suuupra/gateway/runtime/httpmsg"
)

// TestForeignPages sends what a page of somebody else's can have a browser send.
func TestForeignPages(t *testing.T) {
	const order = `{"owner":"a"}`
	for _, tt := range []struct {
		name   string
		fields []string
		media  string
		status int
		code   string
	}{
		{"no page", nil, "application/json", 201, ""},
		{"our page", []string{"Origin", "https://gateway.example.com:9090", "Sec-Fetch-Site", "same-origin"}, "application/json", 201, ""},
		{"typed by hand", []string{"Sec-Fetch-Site", "none"}, "application/json", 201, ""},
		{"another origin", []string{"Origin", "https://evil.example"}, "application/json", 403, "cross_origin"},
		{"another port", []string{"Origin", "http://gateway.example.com"}, "application/json", 403, "cross_origin"},
		{"a name that begins alike", []string{"Origin", "http://gateway.example.com:9090.evil.example"}, "application/json", 403, "cross_origin"},
		{"ours as user name", []string{"Origin", "http://gateway.example.com:9090@evil.example"}, "application/json", 403, "cross_origin"},
		{"a sandbox", []string{"Origin", "null"}, "application/json", 403, "cross_origin"},
		{"an empty origin", []string{"Origin", ""}, "application/json", 403, "cross_origin"},
		{"two origins", []string{"Origin", "http://gateway.example.com:9090", "Origin", "https://evil.example"}, "application/json", 403, "cross_origin"},
		{"another site", []string{"Sec-Fetch-Site", "cross-site"}, "application/json", 403, "cross_origin"},
		{"a form", nil, "application/x-www-form-urlencoded", 415, "unsupported_media_type"},
		{"JSON as text", nil, "text/plain", 415, "unsupported_media_type"},
		{"JSON as text with a parameter", nil, "text/plain; application/json", 415, "unsupported_media_type"},
		{"no type", nil, "", 415, "unsupported_media_type"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newOffice(t, parts{})
			for _, path := range []string{"/admin/keys", "/admin/login"} {
				body, want := order, tt.status
				if path == "/admin/login" {
					if body = `{"username":"viewer-user","password":"` + password + `"}`; want == 201 {
						want = 200
					}
				}
				r := withBody(request("POST", path, append(bearer(token), tt.fields...)...), tt.media, body)
				if status, answer := o.send(t, r); status != want || code(answer) != tt.code {
					t.Errorf("%s: %d %s", path, status, answer)
				}
			}
		})
	}
}

// TestNames asks by names that somebody may have pointed at the gateway (DNS rebinding).
func TestNames(t *testing.T) {
	for name, want := range map[string]int{
		"admin.example.com": 200, "ADMIN.example.com:9090": 200, "admin.example.com.": 200, "a.gw.internal": 200, "a.b.gw.internal:1": 200,
		"127.0.0.1:9090": 200, "[::1]:9090": 200, "192.0.2.7": 200, "localhost:9090": 200,
		"evil.example": 421, "gw.internal": 421, "xgw.internal": 421, "admin.example.com.evil.example": 421, "evil.example:admin.example.com": 421, "": 421,
		"localhost.evil.example": 421, "127.0.0.1.nip.io": 421,
	} {
		o := newOffice(t, parts{})
		o.f.flags.Hosts = []string{"admin.example.com", "*.gw.internal"}
		for _, path := range []string{"/admin/status", "/admin/ui", "/admin/unknown"} {
			r := request("GET", path, bearer(token)...)
			r.Authority = name
			want := want
			if path == "/admin/unknown" && want == 200 {
				want = 404
			}
			if status, answer := o.send(t, r); status != want || want == 421 && code(answer) != "unexpected_host" {
				t.Errorf("%s by %q: %d %s", path, name, status, answer)
			}
		}
		r := withBody(request("POST", "/admin/login"), "application/json", `{"username":"viewer-user","password":"`+password+`"}`)
		r.Authority = name
		if status, _ := o.send(t, r); status != want {
			t.Errorf("login by %q: %d", name, status)
		}
		health := request("GET", "/health")
		health.Authority = name
		if status, _ := o.send(t, health); status != 200 {
			t.Errorf("health by %q: %d", name, status)
		}
	}
}

// TestMethodsAreNotOverridden sends fields that some frameworks take for the method, or for who somebody is.
func TestMethodsAreNotOverridden(t *testing.T) {
	o := newOffice(t, parts{})
	viewer := o.logIn(t, "viewer-user").AccessToken
	for _, fields := range [][]string{
		{"X-HTTP-Method-Override", "POST"},
		{"X-HTTP-Method", "POST"},
		{"X-Method-Override", "POST"},
		{"X-Tenant", "admin"},
		{"X-Role", "super-admin"},
		{"X-User", "super-admin-user"},
		{"X-Original-URL", "/admin/reload"},
		{"X-Rewrite-URL", "/admin/reload"},
	} {
		if status, answer := o.send(t, request("GET", "/admin/reload", append(bearer(viewer), fields...)...)); status != 405 || o.f.reloads != 0 {
			t.Errorf("%q: %d %s", fields, status, answer)
		}
		if status, answer := o.send(t, request("POST", "/admin/reload?_method=GET&role=super-admin", append(bearer(viewer), fields...)...)); status != 403 || o.f.reloads != 0 {
			t.Errorf("%q: %d %s", fields, status, answer)
		}
	}
	for _, method := range []string{"PATCH", "PUT", "POST", "DELETE"} { // nobody gives himself a role
		for _, path := range []string{"/admin/users", "/admin/users/viewer-user", "/admin/roles/viewer", "/admin/whoami"} {
			r := withBody(request(method, path, bearer(viewer)...), "application/json", `{"roles":["super-admin"]}`)
			if status, _ := o.send(t, r); status != 404 && status != 405 {
				t.Errorf("%s %s: %d", method, path, status)
			}
		}
	}
}

func TestBodiesOfLogins(t *testing.T) {
	for name, tt := range map[string]struct {
		body   string
		status int
		code   string
	}{
		"an unknown member": {`{"username":"viewer-user","password":"x","role":"super-admin"}`, 400, "bad_body"},
		"a member twice":    {`{"username":"viewer-user","username":"x","password":"x"}`, 400, "bad_body"},
		"a number":          {`{"username":1,"password":"x"}`, 400, "bad_body"},
		"a list":            {`["viewer-user"]`, 400, "bad_body"},
		"null":              {`null`, 400, "bad_body"},
		"two documents":     {`{"username":"a","password":"x"}{}`, 400, "bad_body"},
		"broken":            {`{"username":"a"`, 400, "bad_body"},
		"too large":         {`{"username":"` + strings.Repeat("a", 64<<10) + `"}`, 413, "body_too_large"},
		"none":              {"", 415, "unsupported_media_type"},
	} {
		o := newOffice(t, parts{})
		for _, path := range []string{"/admin/login", "/admin/refresh"} {
			body := tt.body
			if path == "/admin/refresh" {
				body = strings.NewReplacer("username", "refreshToken", `"password":"x"`, `"password":"x"`).Replace(body)
				if name == "two documents" {
					body = `{"refreshToken":"a"}{}`
				}
			}
			if status, answer := o.post(t, path, "", body); status != tt.status || code(answer) != tt.code || strings.Contains(answer, "viewer-user") {
				t.Errorf("%s, %s: %d %s", path, name, status, answer)
			}
		}
	}
}

func TestOrdersWithoutABodyTakeNone(t *testing.T) {
	o := newOffice(t, parts{})
	if status, answer := o.post(t, "/admin/reload", token, `{"force":true}`); status != 400 || code(answer) != "bad_body" || o.f.reloads != 0 {
		t.Errorf("%d %s", status, answer)
	}
	chunked := func(text string) *httpmsg.Request {
		r := request("POST", "/admin/reload", bearer(token)...)
		r.Body, r.ContentLength = strings.NewReader(text), -1
		return r
	}
	if status, _ := o.send(t, chunked("x")); status != 400 || o.f.reloads != 0 {
		t.Errorf("in chunks: %d", status)
	}
	if status, _ := o.send(t, chunked("")); status != 202 || o.f.reloads != 1 {
		t.Errorf("an empty one: %d", status)
	}
}

func TestPrecondition(t *testing.T) {
	for name, tt := range map[string]struct {
		fields []string
		want   int
	}{
		"none":        {nil, 428},
		"the current": {[]string{"If-Match", `"b"`}, 0},
		"an old one":  {[]string{"If-Match", `"a"`}, 412},
		"one of them": {[]string{"If-Match", `"a", "b"`}, 0},
		"two fields":  {[]string{"If-Match", `"a"`, "If-Match", `"b"`}, 0},
		"any":         {[]string{"If-Match", `*`}, 412},
		"a weak one":  {[]string{"If-Match", `W/"b"`}, 412},
		"empty":       {[]string{"If-Match", ``}, 412},
		"unquoted":    {[]string{"If-Match", `b`}, 412},
	} {
		got := 0
		if resp := precondition(request("PUT", "/admin/overlays/a", tt.fields...), `"b"`); resp != nil {
			got = resp.Status
		}
		if got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}
