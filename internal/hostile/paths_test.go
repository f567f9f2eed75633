package hostile_test

import (
	"io"
	"strings"
	"testing"
)

// spelling is a way to write a path. The one that is matched is the one that is forwarded, or the upstream gets nothing.
type spelling struct {
	target string
	answer string // of a refusal; "" if it is taken
	is     outcome
	to     string // what the upstream gets, from which one shows by its beginning
	http1  string // the answer over HTTP/1.1, if it differs
	http2  string // the answer over HTTP/2, if it differs
}

const (
	encodedSlash = "400 path_encoded_slash"
	parameter    = "400 path_parameter"
	backslash    = "400 path_backslash"
	aboveRoot    = "400 path_above_root"
	badEscape    = "400 path_bad_escape"
	badUTF8      = "400 path_bad_utf8"
	pathControl  = "400 path_control"
	noRoute      = "404 no_route"

	protocolError = "RST PROTOCOL_ERROR"
)

var spellings = []spelling{
	{target: "/x/../guarded", is: normal, to: "/guarded"},
	{target: "//guarded", is: normal, to: "/guarded"},
	{target: "/./guarded", is: normal, to: "/guarded"},
	{target: "/%67uarded", is: normal, to: "/guarded"},
	{target: "/x/%2e%2e/guarded", is: normal, to: "/guarded"},
	{target: "/x/%2E./guarded", is: normal, to: "/guarded"},
	{target: "///x//..///guarded//y", is: normal, to: "/guarded/y"},
	{target: "/guarded/../guarded/x/..", is: normal, to: "/guarded/"},
	{target: "/guarded?", is: normal, to: "/guarded"},
	{target: "/guarded?a=/../..%2f..;b", is: normal, to: "/guarded?a=/../..%2f..;b"}, // a query is no path
	{target: "/guarded/..", is: normal, to: "/"},
	{target: "/GUARDED", is: normal, to: "/GUARDED"}, // paths have case: another path, for the router and the upstream alike
	{target: "/guarded%20", is: normal, to: "/guarded%20"},
	{target: "/guarded.", is: normal, to: "/guarded."},
	{target: "/guarded%3f", is: normal, to: "/guarded%3F"},
	{target: "/guarded%23", is: normal, to: "/guarded%23"},
	{target: "/guarded%3b/x", is: normal, to: "/guarded%3B/x"}, // data, not the beginning of a parameter
	{target: "/%2561", is: normal, to: "/%2561"},               // unescaped once: twice is what attackers hope for
	{target: "/%252e%252e/guarded", is: normal, to: "/%252e%252e/guarded"},
	{target: "/%ef%bc%8e%ef%bc%8e/guarded", is: normal, to: "/%EF%BC%8E%EF%BC%8E/guarded"}, // full-width dots are no dots
	{target: "/x/..%2fguarded", answer: encodedSlash},
	{target: "/guarded%2fx", answer: encodedSlash},
	{target: "/guarded%2Fx", answer: encodedSlash},
	{target: "/x/..;/guarded", answer: parameter},
	{target: "/guarded;/x", answer: parameter},
	{target: `/x\..\guarded`, answer: backslash},
	{target: "/x/%5c..%5cguarded", answer: backslash},
	{target: "/guarded%00", answer: pathControl},
	{target: "/guarded%0d%0aX:y", answer: pathControl},
	{target: "/guarded%7f", answer: pathControl},
	{target: "/%", answer: badEscape, http2: protocolError},
	{target: "/guarded%2", answer: badEscape, http2: protocolError},
	{target: "/%zz", answer: badEscape, http2: protocolError},
	{target: "/%u002e%u002e/guarded", answer: badEscape, http2: protocolError},
	{target: "/%c0%ae%c0%ae/guarded", answer: badUTF8},
	{target: "/%ff", answer: badUTF8},
	{target: "/%ed%a0%80", answer: badUTF8}, // half of a surrogate pair
	{target: "/..", answer: aboveRoot},
	{target: "/x/../../guarded", answer: aboveRoot},
	{target: "/" + strings.Repeat("../", 2000), answer: aboveRoot},
	{target: "/" + strings.Repeat("../", 10_000), answer: "414 target_too_long"},
	{target: "/" + strings.Repeat("a", 8<<10), answer: "414 target_too_long"},
	{target: "/guarded#", answer: badTarget},
	{target: "/guarded#/x", answer: badTarget},
	{target: "*", answer: badTarget},
	{target: "http://evil/guarded", answer: badTarget, http1: "400 host_mismatch"},
	{target: "http://h/guarded", answer: badTarget, http1: "200"}, // the absolute form is HTTP/1.1's (RFC 9113 section 8.3.1)
	{target: "http:/guarded", answer: badTarget},
	{target: "guarded", answer: badTarget, http2: protocolError},
	// What the gateway keeps for itself is as good as unknown while it is switched off, in every spelling.
	{target: "/admin", answer: noRoute},
	{target: "//admin", answer: noRoute},
	{target: "/x/../admin/routes", answer: noRoute},
	{target: "/%61dmin", answer: noRoute},
	{target: "/admin?", answer: noRoute},
	{target: "/admin%2fx", answer: encodedSlash},
	{target: "/admin;/x", answer: parameter},
	{target: "/ADMIN", is: normal, to: "/ADMIN"},
	{target: "/admin.", is: normal, to: "/admin."},
}

func TestPaths(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "", nil)
	for _, tt := range spellings {
		name := tt.target[:min(len(tt.target), 40)]
		want := tt.answer
		if tt.is == normal {
			want = "200"
		}
		open, guarded := "GET "+tt.to, ""
		if tt.is != normal {
			open = ""
		} else if tt.to == "/guarded" || strings.HasPrefix(tt.to, "/guarded/") || strings.HasPrefix(tt.to, "/guarded?") {
			open, guarded = "", open
		}
		for _, carrier := range carriers {
			t.Run(name+" by HTTP/1.1 "+carrier, func(t *testing.T) {
				before := g.moment()
				c := g.dial(t, carrier, "http/1.1")
				_, _ = io.WriteString(c, "GET "+tt.target+" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
				want, behind := want, guarded
				if tt.http1 != "" {
					want = tt.http1
				}
				if want == "200" && tt.is != normal {
					behind = "GET /guarded"
				}
				if got, err := c.answers(); got != want || err != nil {
					t.Errorf("answered %q, %v, want %q", got, err, want)
				}
				g.judge(t, before, open, behind)
			})
			t.Run(name+" by HTTP/2 "+carrier, func(t *testing.T) {
				before := g.moment()
				got := g.speak(t, carrier).ask(t, 1, asks(tt.target)).String()
				want := want
				if tt.http2 != "" {
					want = tt.http2
				}
				if got != want {
					t.Errorf("answered %q, want %q", got, want)
				}
				g.judge(t, before, open, guarded)
			})
		}
	}
}
