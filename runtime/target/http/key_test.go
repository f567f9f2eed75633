package httptarget

import (
	"net/netip"
	"testing"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/target"
	"github.com/suuupra/gateway/runtime/upstream"
	"github.com/suuupra/gateway/runtime/upstream/balance"
	"github.com/suuupra/gateway/schema/ir"
)

// ask is what a hash may be made of.
type ask struct {
	header []string // names and values in turn
	query  string
	ip     string
}

func keyOf(t *testing.T, on []ir.HashPart, a ask) balance.Key {
	t.Helper()
	up, err := upstream.New(ir.Upstream{ID: "up", Scheme: "http", Balance: &ir.Balance{Strategy: ir.BalanceMaglev, HashOn: on}}, upstream.Env{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = up.Close() })
	to, err := Build(&ir.Route{ID: "r"}, &Told{}, &target.Env{Upstream: up})
	if err != nil {
		t.Fatal(err)
	}
	r := &httpmsg.Request{}
	for i := 0; i < len(a.header); i += 2 {
		r.Header.Add(a.header[i], a.header[i+1])
	}
	x := &policy.Exchange{Request: r, RawQuery: a.query}
	if a.ip != "" {
		x.ClientIP = netip.MustParseAddr(a.ip)
	}
	return (&call{t: to, r: r, x: x}).hashKey()
}

// TestHashKey holds which requests belong together.
func TestHashKey(t *testing.T) {
	header, cookie, query, ip := []ir.HashPart{{Header: "x-user"}}, []ir.HashPart{{Cookie: "sid"}}, []ir.HashPart{{Query: "q"}}, []ir.HashPart{{IP: true}}
	two := []ir.HashPart{{Header: "x-user"}, {Query: "q"}}
	for _, tt := range []struct {
		name string
		on   []ir.HashPart
		a, b ask
		same bool
	}{
		{"header", header, ask{header: []string{"X-User", "ann"}}, ask{header: []string{"x-USER", "ann"}}, true},
		{"another header", header, ask{header: []string{"X-User", "ann"}}, ask{header: []string{"X-User", "bob"}}, false},
		{"the first of two", header, ask{header: []string{"X-User", "ann", "X-User", "bob"}}, ask{header: []string{"X-User", "ann"}}, true},
		{"case of a value", header, ask{header: []string{"X-User", "ann"}}, ask{header: []string{"X-User", "Ann"}}, false},

		{"cookie", cookie, ask{header: []string{"Cookie", "sid=1"}}, ask{header: []string{"Cookie", "a=b; sid=1; c=d"}}, true},
		{"another cookie", cookie, ask{header: []string{"Cookie", "sid=1"}}, ask{header: []string{"Cookie", "sid=2"}}, false},
		{"in a second field", cookie, ask{header: []string{"Cookie", "sid=1"}}, ask{header: []string{"Cookie", "a=b", "cookie", "sid=1"}}, true},
		{"the first of two of a name", cookie, ask{header: []string{"Cookie", "sid=1; sid=2"}}, ask{header: []string{"Cookie", "sid=1"}}, true},
		{"a name within a name", cookie, ask{header: []string{"Cookie", "xsid=2; sid=1"}}, ask{header: []string{"Cookie", "sid=1"}}, true},
		{"case of a name", cookie, ask{header: []string{"Cookie", "SID=2; sid=1"}}, ask{header: []string{"Cookie", "sid=1"}}, true},
		{"no space", cookie, ask{header: []string{"Cookie", "a=b;sid=1"}}, ask{header: []string{"Cookie", "sid=1"}}, true},
		{"equals in a value", cookie, ask{header: []string{"Cookie", "sid=1=2"}}, ask{header: []string{"Cookie", "sid=1=3"}}, false},
		{"quotes are of the value", cookie, ask{header: []string{"Cookie", `sid="1"`}}, ask{header: []string{"Cookie", "sid=1"}}, false},
		{"a longer name of a field", cookie, ask{header: []string{"Cookies", "sid=2", "Cookie", "sid=1"}}, ask{header: []string{"Cookie", "sid=1"}}, true},

		{"query", query, ask{query: "q=1"}, ask{query: "a=b&q=1&c=d"}, true},
		{"another value", query, ask{query: "q=1"}, ask{query: "q=2"}, false},
		{"the first of two values", query, ask{query: "q=1&q=2"}, ask{query: "q=1"}, true},
		{"a name with escapes", query, ask{query: "%71=1"}, ask{query: "q=1"}, true},
		{"a value with escapes", query, ask{query: "q=a%20b"}, ask{query: "q=a+b"}, true},
		{"escapes in either case", query, ask{query: "q=%c3%a9"}, ask{query: "q=%C3%A9"}, true},
		{"a value badly escaped", query, ask{query: "q=%zz"}, ask{query: "q=%zy"}, false},
		{"an escaped ampersand", query, ask{query: "q=a%26q"}, ask{query: "q=a"}, false},

		{"address", ip, ask{ip: "192.0.2.1"}, ask{ip: "::ffff:192.0.2.1"}, true},
		{"another address", ip, ask{ip: "192.0.2.1"}, ask{ip: "192.0.2.2"}, false},

		{"both parts", two, ask{header: []string{"X-User", "ann"}, query: "q=1"}, ask{header: []string{"X-User", "ann"}, query: "q=1"}, true},
		{"one of two parts", two, ask{header: []string{"X-User", "ann"}, query: "q=1"}, ask{header: []string{"X-User", "ann"}}, false},
		{"a part in the place of another", two, ask{header: []string{"X-User", "1"}}, ask{query: "q=1"}, false},
		{"parts that run together", two, ask{header: []string{"X-User", "a"}, query: "q=bc"}, ask{header: []string{"X-User", "ab"}, query: "q=c"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := keyOf(t, tt.on, tt.a), keyOf(t, tt.on, tt.b)
			if !a.Set || !b.Set {
				t.Fatalf("no key: %v, %v", a, b)
			}
			if (a.Hash == b.Hash) != tt.same {
				t.Errorf("%x and %x, want the same: %v", a.Hash, b.Hash, tt.same)
			}
		})
	}
	all := []ir.HashPart{{Header: "x-user"}, {Cookie: "sid"}, {Query: "q"}, {IP: true}}
	for name, a := range map[string]ask{
		"nothing":          {},
		"an empty header":  {header: []string{"X-User", ""}},
		"an empty cookie":  {header: []string{"Cookie", "sid="}},
		"no such cookie":   {header: []string{"Cookie", "sid; ; =; a=sid=1"}},
		"an empty query":   {query: "q="},
		"no value":         {query: "q"},
		"no such query":    {query: "qq=1&%zz=2&&="},
		"a semicolon of a": {query: "a=1;q=2"},
	} {
		if k := keyOf(t, all, a); k.Set {
			t.Errorf("%s: a request that lacks every part has a key", name)
		}
	}
	if k := keyOf(t, nil, ask{query: "q=1"}); k.Set {
		t.Error("an upstream that hashes nothing has a key")
	}
}
