package securityheaders

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
)

const defaults = `"strictTransportSecurity":"max-age=31536000; includeSubDomains","contentTypeOptions":"nosniff","frameOptions":"DENY","referrerPolicy":"no-referrer"`

func TestCompile(t *testing.T) {
	for _, tt := range []struct {
		name, spec, plan string
		said             []string
	}{
		{name: "defaults", plan: "{" + defaults + "}"},
		{name: "switched off", spec: "enabled: false, frameOptions: nonsense"},
		{
			name: "some left alone", spec: "strictTransportSecurity: upstream, referrerPolicy: upstream, contentSecurityPolicy: upstream",
			plan: `{"contentTypeOptions":"nosniff","frameOptions":"DENY"}`,
		},
		{
			name: "all set",
			spec: `strictTransportSecurity: 'max-age="0"', frameOptions: SAMEORIGIN, referrerPolicy: same-origin, contentSecurityPolicy: "default-src 'self'",
				permissionsPolicy: 'camera=()', crossOriginOpenerPolicy: same-origin, crossOriginResourcePolicy: same-site`,
			plan: `{"strictTransportSecurity":"max-age=\"0\"","contentTypeOptions":"nosniff","frameOptions":"SAMEORIGIN","referrerPolicy":"same-origin","contentSecurityPolicy":"default-src 'self'",` +
				`"permissionsPolicy":"camera=()","crossOriginOpenerPolicy":"same-origin","crossOriginResourcePolicy":"same-site"}`,
		},
		{
			name: "all left alone", spec: "strictTransportSecurity: upstream, contentTypeOptions: upstream, frameOptions: upstream, referrerPolicy: upstream",
			said: []string{`warning GW3041 policy.securityHeaders: securityHeaders sets nothing: every field is left to the upstream (write "enabled: false", or set one of them)`},
		},
		{
			name: "several wrong", spec: "frameOptions: deny, contentTypeOptions: sniff, crossOriginOpenerPolicy: same-site, crossOriginResourcePolicy: none",
			plan: `{"strictTransportSecurity":"max-age=31536000; includeSubDomains","contentTypeOptions":"sniff","frameOptions":"deny","referrerPolicy":"no-referrer",` +
				`"crossOriginOpenerPolicy":"same-site","crossOriginResourcePolicy":"none"}`,
			said: []string{
				`error GW2102 policy.securityHeaders.frameOptions: frameOptions is "deny", must be DENY, SAMEORIGIN or upstream (write DENY)`,
				`error GW2102 policy.securityHeaders.contentTypeOptions: contentTypeOptions is "sniff", must be nosniff or upstream`,
				`error GW2102 policy.securityHeaders.crossOriginOpenerPolicy: crossOriginOpenerPolicy is "same-site", must be same-origin, same-origin-allow-popups, noopener-allow-popups, unsafe-none or upstream`,
				`error GW2102 policy.securityHeaders.crossOriginResourcePolicy: crossOriginResourcePolicy is "none", must be same-origin, same-site, cross-origin or upstream`,
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan, said := policytest.Compile(t, Kind, policytest.Route{Policy: "securityHeaders: { " + tt.spec + " }"})
			if string(plan) != tt.plan {
				t.Errorf("plan %s, want %s", plan, tt.plan)
			}
			if !slices.Equal(said, tt.said) {
				t.Errorf("said\n%q, want\n%q", said, tt.said)
			}
		})
	}
}

func TestValues(t *testing.T) {
	var p Plan
	judges := map[string]func(string) *fault{}
	for _, s := range p.settings() {
		judges[s.name] = s.judge
	}
	const (
		sts   = "strictTransportSecurity"
		csp   = "contentSecurityPolicy"
		perms = "permissionsPolicy"
	)
	for _, tt := range []struct{ setting, value, want string }{
		{sts, "max-age=31536000", ""},
		{sts, "MAX-AGE=1 ; IncludeSubdomains;", ""},
		{sts, `max-age="600"`, ""},
		{sts, ";; max-age = 600", ""},
		{sts, "includeSubDomains; max-age=63072000; preload", ""},
		{sts, "includeSubDomains", "GW2104 has no max-age, must say how many seconds it holds"},
		{sts, "31536000", `GW2104 has "31536000", must consist of max-age, includeSubDomains and preload`},
		{sts, "max-age=1; includeSubDomain", `GW2104 has "includeSubDomain", must consist of max-age, includeSubDomains and preload`},
		{sts, "max-age=1; includeSubDomains=true", `GW2104 has "includeSubDomains=true"; max-age has a value, includeSubDomains and preload have none`},
		{sts, "max-age", `GW2104 has "max-age"; max-age has a value, includeSubDomains and preload have none`},
		{sts, "max-age=", `GW2104 has max-age "", must be a whole number of seconds`},
		{sts, "max-age=1y", `GW2104 has max-age "1y", must be a whole number of seconds`},
		{sts, "max-age=+1", `GW2104 has max-age "+1", must be a whole number of seconds`},
		{sts, "max-age=-1", `GW2104 has max-age "-1", must be a whole number of seconds`},
		{sts, `max-age="1`, `GW2104 has max-age "\"1", must be a whole number of seconds`},
		{sts, "max-age=1, includeSubDomains", `GW2104 has max-age "1, includeSubDomains", must be a whole number of seconds`},
		{sts, "max-age=1; max-age=1", "GW2106 has max-age twice: browsers ignore it altogether"},
		{sts, "max-age=2147483647", ""},
		{sts, "max-age=2147483648", "GW2103 has max-age 2147483648, must be at most 2147483647"},
		{sts, "max-age=99999999999999999999", `GW2104 has max-age "99999999999999999999", must be a whole number of seconds`},
		{sts, "max-age=31536000; preload", "GW3042 has preload, which needs includeSubDomains and a max-age of at least 31536000"},
		{sts, "max-age=31535999; includeSubDomains; preload", "GW3042 has preload, which needs includeSubDomains and a max-age of at least 31536000"},

		{"frameOptions", "ALLOW-FROM https://a", `GW2102 is "ALLOW-FROM https://a", must be DENY, SAMEORIGIN or upstream`},
		{"referrerPolicy", "strict-origin-when-cross-origin", ""},
		{"referrerPolicy", "never", `GW2102 is "never", must be no-referrer, no-referrer-when-downgrade, origin, origin-when-cross-origin, same-origin, strict-origin, strict-origin-when-cross-origin, unsafe-url or upstream`},

		{csp, "default-src 'self'; script-src 'nonce-abc' https://cdn.example.com; upgrade-insecure-requests", ""},
		{csp, "default-src 'none';;", ""},
		{csp, "default-src 'self', default-src https:", ""},
		{csp, "sandbox allow-scripts; report-to self; trusted-types none", ""},
		{csp, ";", "GW2104 has no directive"},
		{csp, "default-src: 'self'", `GW2104 has the directive "default-src:", must be a name of letters, digits and "-"`},
		{csp, "'self'", `GW2104 has the directive "'self'", must be a name of letters, digits and "-"`},
		{csp, "default-src 'self'; DEFAULT-SRC *", "GW2106 has default-src twice: browsers ignore the second one"},
		{csp, "default-src self", "GW2104 has self in default-src, which without quotes is the name of a host"},
		{csp, "script-src-elem 'self' unsafe-inline", "GW2104 has unsafe-inline in script-src-elem, which without quotes is the name of a host"},
		{csp, "frame-ancestors none", "GW2104 has none in frame-ancestors, which without quotes is the name of a host"},
		{csp, "script-src sha256-abc", "GW2104 has sha256-abc in script-src, which without quotes is the name of a host"},
		{csp, "script-src selfish.example.com none.example.com", ""},

		{perms, "camera=(), microphone=()", ""},
		{perms, `geolocation=(self "https://*.example.com"), fullscreen=*, usb=self;report-to=main`, ""},
		{perms, `payment="https://pay.example.com"`, ""},
		{perms, "camera 'none'; geolocation 'self'", `GW2104 is "camera 'none'; geolocation 'self'", must be a list of features, each with those that may use it: *, self, an origin in quotes, or several in brackets`},
		{perms, "camera=(), ", `GW2104 is "camera=(), ", must be a list of features, each with those that may use it: *, self, an origin in quotes, or several in brackets`},
		{perms, "camera=none", `GW2104 is "camera=none", must be a list of features, each with those that may use it: *, self, an origin in quotes, or several in brackets`},
		{perms, "camera=(https://a.example.com)", `GW2104 is "camera=(https://a.example.com)", must be a list of features, each with those that may use it: *, self, an origin in quotes, or several in brackets`},
	} {
		got := ""
		if bad := judges[tt.setting](tt.value); bad != nil {
			got = string(bad.code) + " " + bad.what
		}
		if got != tt.want {
			t.Errorf("%s %q:\n%s, want\n%s", tt.setting, tt.value, got, tt.want)
		}
	}
}

const someHeaders = `{"strictTransportSecurity":"max-age=1","contentTypeOptions":"nosniff","frameOptions":"DENY"}`

func TestRespond(t *testing.T) {
	const secured = "[{Strict-Transport-Security max-age=1} {X-Content-Type-Options nosniff} {X-Frame-Options DENY}]"
	for _, tt := range []struct {
		name     string
		plan     string
		edit     func(r *httpmsg.Request)
		status   int
		upstream []httpmsg.Field
		want     string
	}{
		{name: "over TLS", edit: func(r *httpmsg.Request) { r.Scheme = "https" }, want: secured},
		{name: "a refusal", status: 403, edit: func(r *httpmsg.Request) { r.Scheme = "https" }, want: secured},
		{name: "plain", want: "[{X-Content-Type-Options nosniff} {X-Frame-Options DENY}]"},
		{
			name: "plain, and the upstream's own", upstream: []httpmsg.Field{{Name: "strict-transport-security", Value: "max-age=5"}},
			want: "[{strict-transport-security max-age=5} {X-Content-Type-Options nosniff} {X-Frame-Options DENY}]",
		},
		{
			name: "a trusted proxy had TLS",
			edit: func(r *httpmsg.Request) { r.PeerTrusted = true; r.Header.Add("X-Forwarded-Proto", "HTTPS") }, want: secured,
		},
		{
			name: "the first of several proxies had TLS",
			edit: func(r *httpmsg.Request) { r.PeerTrusted = true; r.Header.Add("X-Forwarded-Proto", "https , http") }, want: secured,
		},
		{
			name: "a trusted proxy had none, though it comes over TLS",
			edit: func(r *httpmsg.Request) {
				r.Scheme, r.PeerTrusted = "https", true
				r.Header.Add("X-Forwarded-Proto", "http")
			},
			want: "[{X-Content-Type-Options nosniff} {X-Frame-Options DENY}]",
		},
		{
			name: "a trusted proxy that says nothing",
			edit: func(r *httpmsg.Request) { r.Scheme, r.PeerTrusted = "https", true }, want: secured,
		},
		{
			name: "anybody says so",
			edit: func(r *httpmsg.Request) { r.Header.Add("X-Forwarded-Proto", "https") },
			want: "[{X-Content-Type-Options nosniff} {X-Frame-Options DENY}]",
		},
		{
			name: "in place of the upstream's, all of them", edit: func(r *httpmsg.Request) { r.Scheme = "https" },
			upstream: []httpmsg.Field{
				{Name: "X-FRAME-OPTIONS", Value: "SAMEORIGIN"},
				{Name: "Content-Type", Value: "text/html"},
				{Name: "x-frame-options", Value: "ALLOWALL"},
				{Name: "Strict-Transport-Security", Value: "max-age=0"},
			},
			want: "[{Content-Type text/html} " + secured[1:],
		},
		{
			name: "what is left alone stays", plan: `{"frameOptions":"DENY"}`, edit: func(r *httpmsg.Request) { r.Scheme = "https" },
			upstream: []httpmsg.Field{{Name: "Strict-Transport-Security", Value: "max-age=5"}, {Name: "X-Content-Type-Options", Value: "x"}},
			want:     "[{Strict-Transport-Security max-age=5} {X-Content-Type-Options x} {X-Frame-Options DENY}]",
		},
		{
			name: "a switch of protocols", status: 101, edit: func(r *httpmsg.Request) { r.Scheme = "https" },
			upstream: []httpmsg.Field{{Name: "X-Frame-Options", Value: "x"}}, want: "[{X-Frame-Options x}]",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := policytest.NewWorld()
			plan := someHeaders
			if tt.plan != "" {
				plan = tt.plan
			}
			h := w.Build(t, Kind, []byte(plan))
			x := w.Exchange("GET", "/")
			x.Request.Scheme = "http"
			if tt.edit != nil {
				tt.edit(x.Request)
			}
			if got := policytest.Said(h.Decide(t.Context(), x)); got != "pass" {
				t.Errorf("decides %s", got)
			}
			r := &httpmsg.Response{Status: max(tt.status, 200), Header: httpmsg.Header{Fields: tt.upstream}}
			if tt.status == 101 {
				r.Status = 101
			}
			h.(policy.ResponseHandler).Respond(t.Context(), x, r)
			if got := fmt.Sprint(r.Header.Fields); got != tt.want {
				t.Errorf("got\n%s, want\n%s", got, tt.want)
			}
		})
	}
}

// TestRespondKeepsItsOwn holds that a response cannot change the fields of the next.
func TestRespondKeepsItsOwn(t *testing.T) {
	w := policytest.NewWorld()
	h := w.Build(t, Kind, []byte(someHeaders)).(policy.ResponseHandler)
	x := w.Exchange("GET", "/")
	for range 2 {
		var r httpmsg.Response
		h.Respond(t.Context(), x, &r)
		if got := fmt.Sprint(r.Header.Fields); got != "[{X-Content-Type-Options nosniff} {X-Frame-Options DENY}]" {
			t.Errorf("got %s", got)
		}
		r.Header.Set("X-Frame-Options", "changed")
		r.Header.Del("X-Content-Type-Options")
	}
}

func TestBuildRefuses(t *testing.T) {
	for plan, want := range map[string]string{
		`{}`:                          "there is no field to set",
		`{"frameOptions":"upstream"}`: `frameOptions is "upstream", must be DENY`,
		`{"frameOptions":"deny"}`:     `frameOptions is "deny"`,
		`{"strictTransportSecurity":"max-age=x"}`:               `strictTransportSecurity has max-age "x"`,
		`{"contentSecurityPolicy":"default-src a\r\nX: y"}`:     `contentSecurityPolicy is "default-src a\r\nX: y", which no field can hold`,
		`{"contentSecurityPolicy":"default-src h\u00e9"}`:       "which no field can hold",
		`{"permissionsPolicy":"camera=(\"https://a\u0000b\")"}`: "permissionsPolicy is",
		`{"frameOptions":"DENY","frame":"DENY"}`:                "unknown field",
	} {
		_, err := Kind.Build(t.Context(), &policy.Env{}, []byte(plan))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Build(%s) = %v, want an error with %q", plan, err, want)
		}
	}
}

// FuzzSecure holds that only the word of a trusted proxy counts.
func FuzzSecure(f *testing.F) {
	for _, s := range []string{"https", "http", "HTTPS ,http", ", https", "", "https\x00", "wss"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, proto string, trusted bool) {
		r := &httpmsg.Request{Scheme: "http", PeerTrusted: trusted}
		r.Header.Add("X-Forwarded-Proto", proto)
		if secure(r) && (!trusted || !strings.HasPrefix(strings.ToLower(strings.TrimSpace(proto)), "https")) {
			t.Errorf("%q, trusted %t: taken for TLS", proto, trusted)
		}
	})
}

func BenchmarkRespond(b *testing.B) {
	w := policytest.NewWorld()
	h := w.Build(b, Kind, policytest.MustCompile(b, Kind, policytest.Route{Policy: `securityHeaders: { contentSecurityPolicy: "default-src 'self'" }`})).(policy.ResponseHandler)
	x := w.Exchange("GET", "/")
	x.Request.Scheme = "https"
	var upstream []httpmsg.Field
	for _, name := range []string{"Date", "Content-Type", "X-Frame-Options", "Cache-Control", "ETag", "Last-Modified", "Server", "Vary"} {
		upstream = append(upstream, httpmsg.Field{Name: name, Value: "value"})
	}
	memory := make([]httpmsg.Field, 0, 32)
	ctx := b.Context()
	b.ReportAllocs()
	r := &httpmsg.Response{Status: 200}
	for b.Loop() {
		r.Header.Fields = append(memory[:0], upstream...)
		h.Respond(ctx, x, r)
	}
}
