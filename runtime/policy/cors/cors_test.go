package cors

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
)

const (
	strict = `allowOrigins: ["https://app.example.com", "https://*.example.org", "http://*.example.net:8080"], allowMethods: [GET, PUT],
		allowHeaders: [Content-Type, X-Custom], exposeHeaders: [ETag, X-Request-Id], allowCredentials: true, maxAge: 1h`
	anybody = `allowOrigins: ["*"], allowHeaders: ["*"], exposeHeaders: ["*"]`
)

func newHandler(tb testing.TB, spec string) (*policytest.World, policy.Handler) {
	tb.Helper()
	w := policytest.NewWorld()
	return w, w.Build(tb, Kind, policytest.MustCompile(tb, Kind, policytest.Route{Policy: "cors: { " + spec + " }"}))
}

func TestOrigins(t *testing.T) {
	o, err := newOrigins([]string{"https://app.example.com", "https://*.example.org", "http://*.example.net:8080", "http://[::1]:3000"})
	if err != nil {
		t.Fatal(err)
	}
	for origin, want := range map[string]bool{
		"https://app.example.com":                                     true,
		"https://APP.example.com":                                     false,
		"HTTPS://app.example.com":                                     false,
		"http://app.example.com":                                      false,
		"https://app.example.com:443":                                 false,
		"https://app.example.com/":                                    false,
		"https://app.example.com.evil.io":                             false,
		"https://evilapp.example.com":                                 false,
		"https://example.com":                                         false,
		" https://app.example.com":                                    false,
		"https://app.example.com https://evil.io":                     false,
		"http://[::1]:3000":                                           true,
		"http://[::1]":                                                false,
		"https://a.example.org":                                       true,
		"https://a.b.c.example.org":                                   true,
		"https://a_b.example.org":                                     true,
		"https://example.org":                                         false,
		"https://.example.org":                                        false,
		"https://a..example.org":                                      false,
		"https://evilexample.org":                                     false,
		"https://a.evilexample.org":                                   false,
		"https://a.example.org.evil.io":                               false,
		"https://a.example.org:8443":                                  false,
		"https://a.example.org.":                                      false,
		"http://a.example.org":                                        false,
		"https://A.example.org":                                       false,
		"https://evil.io/.example.org":                                false,
		"https://evil.io#.example.org":                                false,
		"https://evil.io?.example.org":                                false,
		"https://evil.io\\.example.org":                               false,
		"https://evil.io:1.example.org":                               false,
		"https://me@a.example.org":                                    false,
		"https://evil.io%00.example.org":                              false,
		"https://evil.io\x00.example.org":                             false,
		"https://\u00e9.example.org":                                  false,
		"https://*.example.org":                                       false,
		"https://https://a.example.org":                               false,
		"https://" + strings.Repeat("a.", 140) + "org":                false,
		"https://" + strings.Repeat("a.", 120) + "example.org":        true,
		"https://" + strings.Repeat("a.", 130) + "example.org":        false,
		"https://" + strings.Repeat("a", maxLabel) + ".example.org":   true,
		"https://" + strings.Repeat("a", maxLabel+1) + ".example.org": false,
		"http://a.example.net:8080":                                   true,
		"http://a.example.net":                                        false,
		"http://a.example.net:80800":                                  false,
		"http://a.example.net:8080.evil.io":                           false,
		"null":                                                        false,
		"":                                                            false,
		"*":                                                           false,
	} {
		if got := o.match(origin); got != want {
			t.Errorf("%q: %t, want %t", origin, got, want)
		}
	}
	all := origins{all: true}
	if !all.match("null") || !all.match("https://anything.example") || all.match("") {
		t.Error("every origin is not every origin")
	}
}

const (
	badOrigin = "403 cors_origin_denied"
	badMethod = "403 cors_method_denied"
	badHeader = "403 cors_header_denied"
)

// asks is the header of a preflight request.
func asks(origin, method string, headers ...string) []string {
	out := []string{"Origin: " + origin, "Access-Control-Request-Method: " + method}
	for _, h := range headers {
		out = append(out, "Access-Control-Request-Headers: "+h)
	}
	return out
}

func TestPreflight(t *testing.T) {
	const app = "https://app.example.com"
	many := strings.Repeat("x-custom,", maxNames-1) + "x-custom"
	for _, tt := range []struct {
		name, spec string
		lines      []string
		want       string
	}{
		{"allowed", strict, asks(app, "PUT"), "answer 204"},
		{"a subdomain", strict, asks("https://a.b.example.org", "PUT"), "answer 204"},
		{"harmless method that is not listed", strict, asks(app, "POST"), "answer 204"},
		{"with headers", strict, asks(app, "PUT", "content-type,x-custom"), "answer 204"},
		{"with headers in any case", strict, asks(app, "PUT", "Content-TYPE, X-CUSTOM"), "answer 204"},
		{"with headers on two lines", strict, asks(app, "PUT", "content-type", "x-custom"), "answer 204"},
		{"with empty elements", strict, asks(app, "PUT", ", \t,x-custom,"), "answer 204"},
		{"with no headers after all", strict, asks(app, "PUT", ""), "answer 204"},
		{"with as many headers as may be", strict, asks(app, "PUT", many), "answer 204"},
		{"with one more", strict, asks(app, "PUT", many+",x-custom"), badHeader},
		{"with one more, on two lines", strict, asks(app, "PUT", many, "x-custom"), badHeader},
		{"with too many empty elements", strict, asks(app, "PUT", strings.Repeat(",", maxNames)), badHeader},
		{"another origin", strict, asks("https://evil.io", "PUT"), badOrigin},
		{"looks like the domain", strict, asks("https://good.example.com.evil.io", "PUT"), badOrigin},
		{"ends like the domain", strict, asks("https://evilexample.org", "PUT"), badOrigin},
		{"the domain itself", strict, asks("https://example.org", "PUT"), badOrigin},
		{"null", strict, asks("null", "PUT"), badOrigin},
		{"no origin in it", strict, asks("", "PUT"), badOrigin},
		{"two origins", strict, append(asks(app, "PUT"), "origin: "+app), badOrigin},
		{"two origins, one of them empty", strict, append(asks(app, "PUT"), "Origin: "), badOrigin},
		{"another method", strict, asks(app, "DELETE"), badMethod},
		{"method in another case", strict, asks(app, "put"), badMethod},
		{"no method in it", strict, asks(app, ""), badMethod},
		{"two methods", strict, append(asks(app, "PUT"), "Access-Control-Request-Method: PUT"), badMethod},
		{"another header", strict, asks(app, "PUT", "x-custom,x-evil"), badHeader},
		{"a header on the second line", strict, asks(app, "PUT", "x-custom", "x-evil"), badHeader},
		{"authorization is not listed", strict, asks(app, "PUT", "authorization"), badHeader},
		{"begins like a header", strict, asks(app, "PUT", "x-custom-2"), badHeader},
		{"a star is a name like any other", strict, asks(app, "PUT", "*"), badHeader},
		{"not a name", strict, asks(app, "PUT", "x-custom x-evil"), badHeader},
		{"line break in a name", strict, asks(app, "PUT", "x-custom\r\nx-evil"), badHeader},
		{"a very long name", strict, asks(app, "PUT", strings.Repeat("x", 8000)), badHeader},

		{"anybody", anybody, asks("https://evil.io", "GET", "x-anything,content-type"), "answer 204"},
		{"anybody, null", anybody, asks("null", "GET"), "answer 204"},
		{"anybody, a method that is not listed", anybody, asks("null", "PUT"), badMethod},
		{"anybody, authorization", anybody, asks("null", "GET", "Authorization"), badHeader},
		{"anybody, a star", anybody, asks("null", "GET", "*"), "answer 204"},
		{"anybody, a very long name", anybody, asks("null", "GET", strings.Repeat("x", 8000)), "answer 204"},
		{"anybody, not a name", anybody, asks("null", "GET", "a b"), badHeader},
		{"anybody, no origin in it", anybody, asks("", "GET"), badOrigin},
		{"anybody, two origins", anybody, append(asks("null", "GET"), "Origin: null"), badOrigin},
		{"every header and authorization", `allowOrigins: ["*"], allowHeaders: ["*", Authorization]`, asks("null", "GET", "AUTHORIZATION,x"), "answer 204"},

		{"no method: no preflight", strict, []string{"Origin: https://evil.io"}, "pass"},
		{"no origin: no preflight", strict, []string{"Access-Control-Request-Method: PUT"}, "pass"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, h := newHandler(t, tt.spec)
			v := h.Decide(t.Context(), w.Exchange("OPTIONS", "/", tt.lines...))
			if got := policytest.Said(v); got != tt.want {
				t.Fatalf("%s, want %s", got, tt.want)
			}
			if v.Reject != nil && fmt.Sprint(v.Reject.Header) != "[{Vary Origin, Access-Control-Request-Method, Access-Control-Request-Headers}]" {
				t.Errorf("header %v", v.Reject.Header)
			}
		})
	}
}

// TestPreflightAnswer holds what the answers say, after Respond has been asked about them as the gateway does.
func TestPreflightAnswer(t *testing.T) {
	const vary = "{Vary Origin, Access-Control-Request-Method, Access-Control-Request-Headers}]"
	for _, tt := range []struct {
		name, spec, origin, want string
	}{
		{
			"credentials", strict, "https://a.example.org",
			"[{Access-Control-Allow-Origin https://a.example.org} {Access-Control-Allow-Credentials true} {Access-Control-Allow-Methods GET, PUT} " +
				"{Access-Control-Allow-Headers content-type, x-custom} {Access-Control-Max-Age 3600} " + vary,
		},
		{
			"anybody", anybody, "https://evil.io",
			"[{Access-Control-Allow-Origin *} {Access-Control-Allow-Methods GET, HEAD, POST} {Access-Control-Allow-Headers *} {Access-Control-Max-Age 600} " + vary,
		},
		{
			"nothing else", `allowOrigins: ["https://a.example.org"], maxAge: 0`, "https://a.example.org",
			"[{Access-Control-Allow-Origin https://a.example.org} {Access-Control-Allow-Methods GET, HEAD, POST} {Access-Control-Max-Age 0} " + vary,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, h := newHandler(t, tt.spec)
			for range 2 { // one answer must not change the next
				x := w.Exchange("OPTIONS", "/", asks(tt.origin, "GET")...)
				r := h.Decide(t.Context(), x).Response
				if r == nil {
					t.Fatal("no answer")
				}
				h.(policy.ResponseHandler).Respond(t.Context(), x, r)
				if got := fmt.Sprint(r.Header.Fields); got != tt.want || r.Status != 204 || r.Body != nil || r.ContentLength != 0 {
					t.Errorf("%d %v %d, want\n%s", r.Status, got, r.ContentLength, tt.want)
				}
				r.Header.Del("Access-Control-Max-Age")
				r.Header.Set("Access-Control-Allow-Methods", "TRACE")
			}
		})
	}
}

func TestRefusalsSayWhat(t *testing.T) {
	w, h := newHandler(t, strict)
	const app = "https://app.example.com"
	for _, tt := range []struct {
		lines []string
		want  string
	}{
		{asks("https://<script>", "PUT"), "pages of this origin may not use this route"},
		{asks(app, "DELETE"), "pages of other origins may not use the method DELETE on this route"},
		{asks(app, "<b>"), "pages of other origins may not use this method on this route"},
		{asks(app, strings.Repeat("A", maxName+1)), "pages of other origins may not use this method on this route"},
		{asks(app, "PUT", "x-custom, X-Evil"), "pages of other origins may not send the header field X-Evil to this route"},
		{asks(app, "PUT", "<b>"), "pages of other origins may not send these header fields to this route"},
		{asks(app, "PUT", strings.Repeat(",", maxNames)), "pages of other origins may not send these header fields to this route"},
	} {
		v := h.Decide(t.Context(), w.Exchange("OPTIONS", "/", tt.lines...))
		if v.Reject == nil || v.Reject.Detail != tt.want {
			t.Errorf("%.200q: %+v, want %s", tt.lines, v.Reject, tt.want)
		}
	}
}

func TestRespond(t *testing.T) {
	const (
		app     = "Origin: https://app.example.com"
		granted = "{Access-Control-Allow-Origin https://app.example.com} {Access-Control-Allow-Credentials true} {Access-Control-Expose-Headers etag, x-request-id}]"
	)
	for _, tt := range []struct {
		name, spec string
		request    []string
		upstream   []httpmsg.Field
		want       string
	}{
		{name: "allowed", spec: strict, request: []string{app}, want: "[{Vary Origin} " + granted},
		{name: "not allowed", spec: strict, request: []string{"Origin: https://evil.io"}, want: "[{Vary Origin}]"},
		{name: "null", spec: strict, request: []string{"Origin: null"}, want: "[{Vary Origin}]"},
		{name: "no origin", spec: strict, want: "[{Vary Origin}]"},
		{name: "two origins", spec: strict, request: []string{app, app}, want: "[{Vary Origin}]"},
		{
			name: "the upstream's own", spec: strict, request: []string{"Origin: https://evil.io"},
			upstream: []httpmsg.Field{
				{Name: "Access-Control-Allow-Origin", Value: "https://evil.io"},
				{Name: "Content-Type", Value: "text/plain"},
				{Name: "access-control-allow-credentials", Value: "true"},
				{Name: "ACCESS-CONTROL-Expose-Headers", Value: "*"},
				{Name: "Access-Control-Allow-Private-Network", Value: "true"},
				{Name: "Access-Control", Value: "kept"},
			},
			want: "[{Content-Type text/plain} {Access-Control kept} {Vary Origin}]",
		},
		{
			name: "beside another Vary", spec: strict, request: []string{app},
			upstream: []httpmsg.Field{{Name: "vary", Value: "Accept-Encoding"}, {Name: "Vary", Value: "Accept"}},
			want:     "[{vary Accept-Encoding, Origin} {Vary Accept} " + granted,
		},
		{
			name: "varies already", spec: strict, request: []string{app},
			upstream: []httpmsg.Field{{Name: "Vary", Value: "Accept"}, {Name: "Vary", Value: "Cookie, origin"}},
			want:     "[{Vary Accept} {Vary Cookie, origin} " + granted,
		},
		{
			name: "varies by all", spec: strict, request: []string{app},
			upstream: []httpmsg.Field{{Name: "Vary", Value: "*"}}, want: "[{Vary *} " + granted,
		},
		{
			name: "varies by what is not it", spec: strict, request: []string{app},
			upstream: []httpmsg.Field{{Name: "Vary", Value: "X-Origin"}}, want: "[{Vary X-Origin, Origin} " + granted,
		},
		{
			name: "an empty Vary", spec: strict, request: []string{app},
			upstream: []httpmsg.Field{{Name: "Vary", Value: ""}}, want: "[{Vary } {Vary Origin} " + granted,
		},
		{name: "anybody", spec: anybody, request: []string{"Origin: https://evil.io"}, want: "[{Access-Control-Allow-Origin *} {Access-Control-Expose-Headers *}]"},
		{name: "anybody, no origin", spec: anybody, want: "[{Access-Control-Allow-Origin *} {Access-Control-Expose-Headers *}]"},
		{
			name: "without credentials", spec: `allowOrigins: ["https://app.example.com"]`, request: []string{app},
			want: "[{Vary Origin} {Access-Control-Allow-Origin https://app.example.com}]",
		},
	} {
		for _, method := range []string{"GET", "OPTIONS"} { // without Access-Control-Request-Method, OPTIONS is a method like any other
			t.Run(tt.name+"/"+method, func(t *testing.T) {
				w, h := newHandler(t, tt.spec)
				x := w.Exchange(method, "/", tt.request...)
				if got := policytest.Said(h.Decide(t.Context(), x)); got != "pass" {
					t.Fatalf("decides %s", got)
				}
				r := &httpmsg.Response{Status: 200, Header: httpmsg.Header{Fields: slices.Clone(tt.upstream)}}
				h.(policy.ResponseHandler).Respond(t.Context(), x, r)
				if got := fmt.Sprint(r.Header.Fields); got != tt.want {
					t.Errorf("got\n%s, want\n%s", got, tt.want)
				}
			})
		}
	}
}

func TestPreflights(t *testing.T) {
	_, h := newHandler(t, strict)
	if p, ok := h.(policy.PreflightHandler); !ok || !p.Preflights() {
		t.Error("the gateway does not route preflight requests to it")
	}
}

func TestBuildRefuses(t *testing.T) {
	const rest = `,"allowMethods":["GET"],"maxAge":0`
	for plan, want := range map[string]string{
		`{}`: "allowOrigins is empty",
		`{"allowOrigins":["*","https://a"]` + rest + `}`:                                               `allowOrigins holds "*" and others`,
		`{"allowOrigins":["*"],"allowCredentials":true` + rest + `}`:                                   `allowCredentials is true beside "*"`,
		`{"allowOrigins":["https://a"],"allowHeaders":["*"],"allowCredentials":true` + rest + `}`:      `allowCredentials is true beside "*"`,
		`{"allowOrigins":["https://a"],"exposeHeaders":["x","*"],"allowCredentials":true` + rest + `}`: `allowCredentials is true beside "*"`,
		`{"allowOrigins":["https://a"],"maxAge":0}`:                                                    "allowMethods is empty",
		`{"allowOrigins":["https://a"],"allowMethods":["GET"],"maxAge":-1000}`:                         "maxAge is -1s, must be whole seconds",
		`{"allowOrigins":["https://a"],"allowMethods":["GET"],"maxAge":1}`:                             "maxAge is 1ms, must be whole seconds",
		`{"allowOrigins":["https://a","null"]` + rest + `}`:                                            `allowOrigins[1] is "null", must begin with https:// or http://`,
		`{"allowOrigins":["https://a"],"allowMethods":["GET\r\nX: y"],"maxAge":0}`:                     `"GET\r\nX: y" is no name of a method or a header`,
		`{"allowOrigins":["https://a"],"exposeHeaders":["a,b"]` + rest + `}`:                           `"a,b" is no name of a method or a header`,
		`{"allowOrigins":["https://a"],"allowHeaders":[""]` + rest + `}`:                               `"" is no name of a method or a header`,
		`{"allowOrigins":["https://a"],"origins":[]` + rest + `}`:                                      "unknown field",
	} {
		_, err := Kind.Build(t.Context(), &policy.Env{}, []byte(plan))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Build(%s) = %v, want an error with %q", plan, err, want)
		}
	}
}

// FuzzOrigin holds matches to what package net/url reads: the host of whatever matches lies where the list says.
func FuzzOrigin(f *testing.F) {
	for _, s := range []string{
		"https://app.example.com", "https://a.example.org", "http://a.b.example.net:8080", "null", "https://evil.io/.example.org",
		"https://x@a.example.org", "https://a.example.org.evil.io", "https://\u00e9.example.org", "https://a..example.org",
	} {
		f.Add(s)
	}
	o, err := newOrigins([]string{"https://app.example.com", "https://*.example.org", "http://*.example.net:8080"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, origin string) {
		if !o.match(origin) {
			return
		}
		u, err := url.Parse(origin)
		if err != nil || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.String() != origin {
			t.Fatalf("%q is no origin: %+v, %v", origin, u, err)
		}
		switch at := u.Scheme + " " + u.Host; {
		case at == "https app.example.com":
		case strings.HasPrefix(at, "https ") && strings.HasSuffix(at, ".example.org"):
		case strings.HasPrefix(at, "http ") && strings.HasSuffix(at, ".example.net:8080"):
		default:
			t.Errorf("%q matches", origin)
		}
	})
}

// FuzzRequestHeaders holds that whatever is granted was listed, name by name.
func FuzzRequestHeaders(f *testing.F) {
	for _, s := range []string{"x-custom", "X-CUSTOM, content-type", ",,,", "x-custom x-evil", "x-custom\x00", "*", strings.Repeat("x-custom,", 70)} {
		f.Add(s, "")
		f.Add("content-type", s)
	}
	h := newRequestHeaders([]string{"content-type", "x-custom"})
	f.Fuzz(func(t *testing.T, first, second string) {
		header := httpmsg.Header{Fields: []httpmsg.Field{
			{Name: "Access-Control-Request-Headers", Value: first}, {Name: "access-control-request-headers", Value: second},
		}}
		if _, ok := h.take(&header); !ok {
			return
		}
		for _, name := range append(strings.Split(first, ","), strings.Split(second, ",")...) {
			switch strings.ToLower(strings.Trim(name, " \t")) {
			case "", "content-type", "x-custom":
			default:
				t.Errorf("%q and %q: %q was let pass", first, second, name)
			}
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	w, h := newHandler(b, strict)
	for name, x := range map[string]*policy.Exchange{
		"pass":      w.Exchange("GET", "/", "Accept: */*", "User-Agent: test", "Origin: https://a.b.example.org"),
		"preflight": w.Exchange("OPTIONS", "/", asks("https://a.b.example.org", "PUT", "content-type,x-custom")...),
		"refused":   w.Exchange("OPTIONS", "/", asks("https://evil.io", "PUT")...),
	} {
		b.Run(name, func(b *testing.B) {
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				h.Decide(ctx, x)
			}
		})
	}
}

func BenchmarkRespond(b *testing.B) {
	upstream := []httpmsg.Field{{Name: "Date", Value: "x"}, {Name: "Content-Type", Value: "x"}, {Name: "Access-Control-Allow-Origin", Value: "*"}, {Name: "ETag", Value: "x"}}
	for name, origin := range map[string]string{"exact": "https://app.example.com", "wildcard": "https://a.b.example.org", "foreign": "https://evil.io"} {
		b.Run(name, func(b *testing.B) {
			w, h := newHandler(b, strict)
			x := w.Exchange("GET", "/", "Accept: */*", "User-Agent: test", "Origin: "+origin)
			r, memory, ctx := &httpmsg.Response{Status: 200}, make([]httpmsg.Field, 0, 32), b.Context()
			b.ReportAllocs()
			for b.Loop() {
				r.Header.Fields = append(memory[:0], upstream...)
				h.(policy.ResponseHandler).Respond(ctx, x, r)
			}
		})
	}
}
