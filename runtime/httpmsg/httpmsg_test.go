package httpmsg_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/suuupra/gateway/runtime/httpmsg"
)

func from(peer string, fields ...string) *httpmsg.Request {
	r := &httpmsg.Request{Peer: netip.AddrPortFrom(netip.MustParseAddr(peer), 1234)}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	return r
}

func proxies(t *testing.T, cidrs ...string) *httpmsg.Proxies {
	t.Helper()
	p, err := httpmsg.NewProxies(cidrs)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestClientIP(t *testing.T) {
	const xff = "X-Forwarded-For"
	long := strings.Repeat("10.0.0.2, ", 1000) + "10.0.0.3"
	for _, tt := range []struct {
		name string
		r    *httpmsg.Request
		want string
	}{
		{"untrusted peer", from("9.9.9.9", xff, "10.0.0.1"), "9.9.9.9"},
		{"trusted peer, nothing said", from("10.0.0.1"), "10.0.0.1"},
		{"one client", from("10.0.0.1", xff, "1.2.3.4"), "1.2.3.4"},
		{"from right to left", from("10.0.0.1", xff, "6.6.6.6, 1.2.3.4, 10.0.0.2"), "1.2.3.4"},
		{"over several lines", from("10.0.0.1", xff, "6.6.6.6", "x-forwarded-for", "1.2.3.4", xff, "10.0.0.2"), "1.2.3.4"},
		{"only proxies", from("10.0.0.1", xff, "10.0.0.3, 10.0.0.2"), "10.0.0.3"},
		{"not an address", from("10.0.0.1", xff, "1.2.3.4, unknown, 10.0.0.2"), "10.0.0.2"},
		{"odd spellings", from("10.0.0.1", xff, "0x7f.1"), "10.0.0.1"},
		{"short address", from("10.0.0.1", xff, "127.1"), "10.0.0.1"},
		{"number", from("10.0.0.1", xff, "2130706433"), "10.0.0.1"},
		{"zone", from("10.0.0.1", xff, "fe80::1%eth0"), "10.0.0.1"},
		{"empty entry", from("10.0.0.1", xff, "1.2.3.4,"), "10.0.0.1"},
		{"mapped peer", from("::ffff:10.0.0.1", xff, "::ffff:1.2.3.4"), "1.2.3.4"},
		{"with port", from("10.0.0.1", xff, "1.2.3.4:80"), "1.2.3.4"},
		{"with brackets and port", from("10.0.0.1", xff, "[2001:db8::1]:80"), "2001:db8::1"},
		{"the other field", from("10.0.0.1", "Forwarded", "for=1.2.3.4"), "10.0.0.1"},
		{"the other field beside it", from("10.0.0.1", "Forwarded", "for=6.6.6.6", xff, "1.2.3.4"), "1.2.3.4"},
		{"chain of a thousand", from("10.0.0.1", xff, "1.2.3.4, "+long), "10.0.0.2"},
	} {
		if got := proxies(t, "10.0.0.0/8").ClientIP(tt.r); got.String() != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	var none *httpmsg.Proxies
	if none.Trusts(netip.MustParseAddr("127.0.0.1")) {
		t.Error("nobody is believed, but one is")
	}
	if _, err := httpmsg.NewProxies([]string{"10.0.0.0"}); err == nil {
		t.Error("an address is no prefix")
	}
}

func TestSanitise(t *testing.T) {
	fields := []string{
		"Accept", "x", "x-forwarded-for", "1", "X_Forwarded_Host", "2", "Forwarded", "3", "X-Real-IP", "4", "x-request_id", "5",
		"X-Forwarded", "6", "X-Forwarded-Prefix", "7", "X-Request-Idx", "8",
	}
	r := from("9.9.9.9", fields...)
	p := proxies(t, "10.0.0.0/8")
	p.Sanitise(r)
	var left []string
	for _, f := range r.Header.Fields {
		left = append(left, f.Name)
	}
	if got := strings.Join(left, " "); got != "Accept X-Forwarded X-Request-Idx" || r.PeerTrusted {
		t.Errorf("left %q, trusted %v", got, r.PeerTrusted)
	}
	r = from("10.0.0.1", fields...)
	if p.Sanitise(r); len(r.Header.Fields) != len(fields)/2 || !r.PeerTrusted {
		t.Errorf("a trusted proxy was not believed: %+v", r)
	}
}

func TestRequestID(t *testing.T) {
	p := proxies(t, "10.0.0.0/8")
	for _, tt := range []struct {
		peer, id string
		kept     bool
	}{
		{"10.0.0.1", "abc-123_x.y:z/=+", true},
		{"10.0.0.1", strings.Repeat("a", 128), true},
		{"10.0.0.1", strings.Repeat("a", 129), false},
		{"10.0.0.1", "a b", false},
		{"10.0.0.1", "a\"b", false},
		{"10.0.0.1", "a\xffb", false},
		{"10.0.0.1", "", false},
		{"9.9.9.9", "abc", false},
	} {
		got := p.RequestID(from(tt.peer, "X-Request-Id", tt.id))
		if (got == tt.id) != tt.kept || !tt.kept && len(got) != 32 {
			t.Errorf("%s %q: %q", tt.peer, tt.id, got)
		}
	}
	if p.RequestID(from("10.0.0.1", "X-Request-Id", "a", "X-Request-Id", "a")) == "a" {
		t.Error("a repeated id was kept")
	}
	seen := map[string]bool{}
	for range 1000 {
		seen[httpmsg.NewRequestID()] = true
	}
	if len(seen) != 1000 {
		t.Errorf("%d different ids of 1000", len(seen))
	}
}

// FuzzProblem holds the body to encoding/json: whatever the detail, it is one object with that detail.
func FuzzProblem(f *testing.F) {
	f.Add(400, "bad_host", "a \"quote\", <script>, \x00, \u2028 and \xff")
	f.Fuzz(func(t *testing.T, status int, code, detail string) {
		raw := httpmsg.AppendProblem(nil, status, code, detail)
		var got struct {
			Type, Title, Code, Detail string
			Status                    int
		}
		if err := json.Unmarshal(raw, &got); err != nil {
			t.Fatalf("%v in %q", err, raw)
		}
		if got.Type != "about:blank" || got.Title == "" || got.Status != status || got.Code != strings.ToValidUTF8(code, "\ufffd") && !strings.Contains(got.Code, "\ufffd") ||
			got.Detail != detail && !strings.Contains(got.Detail, "\ufffd") {
			t.Errorf("%q became %+v", detail, got)
		}
		if strings.ContainsAny(string(raw[:len(raw)-1]), "<>&\x00\n\r") {
			t.Errorf("unescaped: %q", raw)
		}
	})
}
