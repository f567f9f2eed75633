package ipfilter

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/policy"
)

func TestCompile(t *testing.T) {
	for _, tt := range []struct {
		name, spec, plan string
		said             []string
	}{
		{name: "one network", spec: "allow: [10.0.0.0/8]", plan: `{"allow":["10.0.0.0/8"]}`},
		{name: "an address", spec: "deny: [192.0.2.7]", plan: `{"deny":["192.0.2.7/32"]}`},
		{name: "an IPv6 address", spec: `deny: ["2001:DB8:0:0::1"]`, plan: `{"deny":["2001:db8::1/128"]}`},
		{name: "in order, families apart", spec: `allow: ["2001:db8::/32", 192.0.2.0/24, 10.0.0.0/8]`, plan: `{"allow":["10.0.0.0/8","192.0.2.0/24","2001:db8::/32"]}`},
		{name: "inside another, and twice", spec: "allow: [10.1.2.3, 10.0.0.0/8, 10.1.0.0/16, 10.0.0.0/8]", plan: `{"allow":["10.0.0.0/8"]}`},
		{name: "neighbours stay apart", spec: "allow: [10.128.0.0/9, 10.0.0.0/9]", plan: `{"allow":["10.0.0.0/9","10.128.0.0/9"]}`},
		{name: "bits behind the prefix", spec: "allow: [10.1.2.3/8]", plan: `{"allow":["10.0.0.0/8"]}`},
		{name: "IPv4 within IPv6", spec: `allow: ["::ffff:10.1.0.0/104", "::ffff:192.0.2.1"]`, plan: `{"allow":["10.0.0.0/8","192.0.2.1/32"]}`},
		{name: "all of IPv6 and IPv4", spec: `deny: ["::/0", 0.0.0.0/0]`, plan: `{"deny":["0.0.0.0/0","::/0"]}`},
		{
			name: "allowed in vain", spec: "allow: [192.0.2.0/24, 10.1.0.0/16, 10.0.0.0/8], deny: [10.0.0.0/8]",
			plan: `{"allow":["10.0.0.0/8","192.0.2.0/24"],"deny":["10.0.0.0/8"]}`,
			said: []string{
				"warning GW3041 policy.ip.allow[1]: allow[1] is 10.1.0.0/16, which lies inside 10.0.0.0/8 of deny: deny wins, so it allows nothing (remove it, or take it out of what is denied)",
				"warning GW3041 policy.ip.allow[2]: allow[2] is 10.0.0.0/8, which lies inside 10.0.0.0/8 of deny: deny wins, so it allows nothing (remove it, or take it out of what is denied)",
			},
		},
		{name: "denied inside what is allowed", spec: "allow: [10.0.0.0/8], deny: [10.1.0.0/16]", plan: `{"allow":["10.0.0.0/8"],"deny":["10.1.0.0/16"]}`},
		{name: "nothing", spec: "", said: []string{"error GW3042 policy.ip: ip has neither allow nor deny, must have one of them (write \"allow\" or \"deny\", or leave ip out)"}},
		{name: "empty", spec: "allow: []", said: []string{"error GW3042 policy.ip: ip has neither allow nor deny, must have one of them (write \"allow\" or \"deny\", or leave ip out)"}},
		{
			name: "no networks", spec: "allow: ['127.1', 10.0.0.0/33], deny: [0x7f.1, '2130706433', fe80::1%eth0]",
			said: []string{
				"error GW2104 policy.ip.allow[0]: allow[0] is \"127.1\", must be an IP address or a network such as 10.0.0.0/8",
				"error GW2104 policy.ip.allow[1]: allow[1] is \"10.0.0.0/33\", must be an IP address or a network such as 10.0.0.0/8",
				"error GW2104 policy.ip.deny[0]: deny[0] is \"0x7f.1\", must be an IP address or a network such as 10.0.0.0/8",
				"error GW2104 policy.ip.deny[1]: deny[1] is \"2130706433\", must be an IP address or a network such as 10.0.0.0/8",
				"error GW2104 policy.ip.deny[2]: deny[2] is \"fe80::1%eth0\", must be an IP address or a network such as 10.0.0.0/8",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan, said := policytest.Compile(t, Kind, policytest.Route{Policy: "ip: { " + tt.spec + " }"})
			if string(plan) != tt.plan {
				t.Errorf("plan %s, want %s", plan, tt.plan)
			}
			if !slices.Equal(said, tt.said) {
				t.Errorf("said\n%q, want\n%q", said, tt.said)
			}
		})
	}
}

func TestDecide(t *testing.T) {
	const (
		lists = `allow: [10.0.0.0/8, "2001:db8::/32", 192.0.2.1], deny: [10.66.0.0/16, "2001:db8:66::/48"]`
		open  = `deny: [127.0.0.0/8, 10.0.0.0/8, "fe80::/10"]`
	)
	for _, tt := range []struct {
		name, spec, ip string
		denied         bool
	}{
		{"allowed", lists, "10.1.2.3", false},
		{"first of a network", lists, "10.0.0.0", false},
		{"last of a network", lists, "10.255.255.255", false},
		{"before it", lists, "9.255.255.255", true},
		{"after it", lists, "11.0.0.0", true},
		{"the one address", lists, "192.0.2.1", false},
		{"its neighbour", lists, "192.0.2.2", true},
		{"allowed and denied", lists, "10.66.1.1", true},
		{"allowed, IPv6", lists, "2001:db8::1", false},
		{"allowed and denied, IPv6", lists, "2001:db8:66::1", true},
		{"in no list, IPv6", lists, "2001:db9::1", true},
		{"IPv4 within IPv6", lists, "::ffff:10.1.2.3", false},
		{"denied IPv4 within IPv6", lists, "::ffff:10.66.1.1", true},
		{"IPv4-compatible is IPv6", lists, "::10.1.2.3", true},
		{"6to4 is IPv6", lists, "2002:a01:203::", true},
		{"NAT64 is IPv6", lists, "64:ff9b::10.1.2.3", true},
		{"no address", lists, "", true},
		{"in no list of the denied", open, "192.0.2.1", false},
		{"denied", open, "127.0.0.1", true},
		{"denied within IPv6", open, "::ffff:127.0.0.1", true},
		{"denied with a zone", open, "fe80::1%eth0", true},
		{"no address, nothing allowed", open, "", true},
		{"IPv6, and IPv4 within it is not", `allow: ["::/0"]`, "::ffff:10.0.0.1", true},
		{"all of IPv6", `allow: ["::/0"]`, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false},
		{"all of IPv4", `deny: ["0.0.0.0/0"]`, "255.255.255.255", true},
		{"all of IPv4 is no IPv6", `deny: ["0.0.0.0/0"]`, "::1", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := policytest.NewWorld()
			h := w.Build(t, Kind, policytest.MustCompile(t, Kind, policytest.Route{Policy: "ip: { " + tt.spec + " }"}))
			x := w.Exchange("GET", "/", "X-Forwarded-For: 10.1.2.3", "Forwarded: for=\"[::ffff:10.1.2.3]\"")
			if x.ClientIP = (netip.Addr{}); tt.ip != "" {
				x.ClientIP = netip.MustParseAddr(tt.ip)
			}
			want := "pass"
			if tt.denied {
				want = "403 ip_denied"
			}
			if got := policytest.Said(h.Decide(t.Context(), x)); got != want {
				t.Errorf("%s: %s, want %s", tt.ip, got, want)
			}
		})
	}
}

func TestBuildRefuses(t *testing.T) {
	for plan, want := range map[string]string{
		`{}`:                                  "there is neither allow nor deny",
		`null`:                                "there is neither allow nor deny",
		`{"allow":[],"deny":["10.0.0.0/8"]}`:  "allow is empty",
		`{"allow":["10.0.0.0/8"],"deny":[]}`:  "deny is empty",
		`{"allow":["10.0.0.0/8","10.0.0/8"]}`: `allow[1]: "10.0.0/8" is no network`,
		`{"deny":["fe80::1%eth0"]}`:           `deny[0]: "fe80::1%eth0" is no network`,
		`{"deny":["fe80::%eth0/64"]}`:         `deny[0]: "fe80::%eth0/64" is no network`,
		`{"deny":"10.0.0.0/8"}`:               "cannot unmarshal",
		`{"deny":["10.0.0.0/8"],"mode":"x"}`:  "unknown field",
	} {
		_, err := Kind.Build(t.Context(), &policy.Env{}, []byte(plan))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Build(%s) = %v, want an error with %q", plan, err, want)
		}
	}
}

// TestBuildSorts holds that a plan in an order of its own means the same: the set does not rely on the compiler.
func TestBuildSorts(t *testing.T) {
	w := policytest.NewWorld()
	h := w.Build(t, Kind, json.RawMessage(`{"allow":["192.0.2.0/24","10.1.0.0/16","::ffff:172.16.0.0/108","10.0.0.0/8"]}`))
	for ip, want := range map[string]string{"10.200.0.1": "pass", "172.17.0.1": "pass", "192.0.2.9": "pass", "192.0.3.0": "403 ip_denied"} {
		x := w.Exchange("GET", "/")
		x.ClientIP = netip.MustParseAddr(ip)
		if got := policytest.Said(h.Decide(t.Context(), x)); got != want {
			t.Errorf("%s: %s, want %s", ip, got, want)
		}
	}
}

// TestSetAgainstNetworks compares the set with the networks it is made of, at random addresses and around every edge.
func TestSetAgainstNetworks(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		list := random(r, 1+r.IntN(40))
		s := newSet(list)
		var probes []netip.Addr
		for _, p := range list {
			last := p.Addr()
			for b := p.Bits(); b < last.BitLen(); b++ {
				last = withBit(last, b)
			}
			for _, a := range []netip.Addr{p.Addr(), p.Addr().Prev(), last, last.Next(), randomAddr(r)} {
				if a.IsValid() {
					probes = append(probes, a)
				}
			}
		}
		for _, a := range probes {
			if got, want := s.contains(a), anyContains(list, a); got != want {
				t.Fatalf("%v holds %s: %t, want %t", list, a, got, want)
			}
		}
	}
}

// FuzzContains does the same with whatever addresses and networks come.
func FuzzContains(f *testing.F) {
	f.Add([]byte{10, 0, 0, 1}, []byte{10, 0, 0, 0}, uint8(8), []byte{10, 64, 0, 0}, uint8(10))
	f.Add(make([]byte, 16), make([]byte, 16), uint8(0), make([]byte, 16), uint8(128))
	f.Add([]byte(strings.Repeat("\xff", 16)), []byte(strings.Repeat("\xff", 16)), uint8(128), []byte(strings.Repeat("\xff", 4)), uint8(32))
	f.Fuzz(func(t *testing.T, ip, first []byte, firstBits uint8, second []byte, secondBits uint8) {
		a, ok := netip.AddrFromSlice(ip)
		if !ok || a.Is4In6() {
			return
		}
		var list []netip.Prefix
		for _, n := range []struct {
			addr []byte
			bits uint8
		}{{first, firstBits}, {second, secondBits}} {
			addr, _ := netip.AddrFromSlice(n.addr)
			p, err := parse(netip.PrefixFrom(addr, int(n.bits)).String())
			if err != nil {
				return
			}
			list = append(list, p)
		}
		if got, want := newSet(list).contains(a), anyContains(list, a); got != want {
			t.Errorf("%v holds %s: %t, want %t", list, a, got, want)
		}
	})
}

func anyContains(list []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

func withBit(a netip.Addr, bit int) netip.Addr {
	b := a.AsSlice()
	b[bit/8] |= 0x80 >> (bit % 8)
	out, _ := netip.AddrFromSlice(b)
	return out
}

func randomAddr(r *rand.Rand) netip.Addr {
	b := make([]byte, 4)
	if r.IntN(2) == 0 {
		b = make([]byte, 16)
		b[15], b[14], b[1] = byte(r.IntN(4)), byte(r.IntN(4)), byte(r.IntN(4))
	}
	b[0], b[3] = byte(r.IntN(4)*85), byte(r.IntN(4)*85)
	a, _ := netip.AddrFromSlice(b)
	return a
}

func random(r *rand.Rand, n int) []netip.Prefix {
	out := make([]netip.Prefix, n)
	for i := range out {
		a := randomAddr(r)
		out[i] = netip.PrefixFrom(a, r.IntN(a.BitLen()+1)).Masked()
	}
	return out
}

func BenchmarkDecide(b *testing.B) {
	for _, family := range []struct{ name, network, ip string }{
		{"ipv4", "%d.%d.%d.0/25", "10.50.3.1"},
		{"ipv6", "2001:%x:%x:%x::/64", "2001:a:32:3::1"},
	} {
		b.Run(family.name+"/10000", func(b *testing.B) {
			p := Plan{Deny: []string{"192.0.2.0/24"}}
			for i := range 10000 {
				p.Allow = append(p.Allow, fmt.Sprintf(family.network, 10+i/5000, i/50%100, i%50))
			}
			raw, err := json.Marshal(p)
			if err != nil {
				b.Fatal(err)
			}
			w := policytest.NewWorld()
			h := w.Build(b, Kind, raw)
			x := w.Exchange("GET", "/")
			x.ClientIP = netip.MustParseAddr(family.ip)
			if got := policytest.Said(h.Decide(b.Context(), x)); got != "pass" {
				b.Fatal(got)
			}
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				h.Decide(ctx, x)
			}
		})
	}
}

func BenchmarkBuild10000(b *testing.B) {
	p := Plan{}
	for i := range 10000 {
		p.Deny = append(p.Deny, fmt.Sprintf("10.%d.%d.0/25", i/200, i%200))
	}
	raw, err := json.Marshal(p)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Kind.Build(b.Context(), &policy.Env{}, raw); err != nil {
			b.Fatal(err)
		}
	}
}
