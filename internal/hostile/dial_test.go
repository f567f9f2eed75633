package hostile_test

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// dialInput is a name that is harmless where it is written, and leads to an address that may not be dialled. {own} is the name of this
// machine, {port} a port of it where somebody counts who comes.
type dialInput struct {
	name   string
	url    string // of keys, or of a target
	target bool
	answer []dns.RR // what a name server says of it; nil: none is asked
	is     outcome
	want   string // "": 200
}

const (
	unreachable = "502 upstream_connect_failed"
	noEndpoints = "503 no_endpoints"
)

// ipv4 and ipv6 are answers of a name server.
func ipv4(ip string) dns.RR { return &dns.A{Hdr: header(dns.TypeA), A: net.ParseIP(ip)} }

func ipv6(ip string) dns.RR {
	return &dns.AAAA{Hdr: header(dns.TypeAAAA), AAAA: net.ParseIP(ip).To16()}
}

func header(kind uint16) dns.RR_Header {
	return dns.RR_Header{Rrtype: kind, Class: dns.ClassINET, Ttl: 1}
}

var dialInputs = []dialInput{
	// A tenant's, by the resolver of the gateway's machine. Forms of addresses that are no addresses are names to one resolver, and
	// addresses to another.
	{name: "keys by the name of this machine", url: "https://{own}:{port}/k", want: unchecked},
	{name: "keys by a short form of loopback", url: "https://127.1:{port}/k", want: unchecked},
	{name: "keys by loopback as a number", url: "https://2130706433:{port}/k", want: unchecked},
	{name: "keys by loopback in octal", url: "https://0177.0.0.1:{port}/k", want: unchecked},
	{name: "keys by loopback in hex", url: "https://0x7f.1:{port}/k", want: unchecked},
	{name: "keys by 0", url: "https://0:{port}/k", want: unchecked},
	{name: "keys by loopback in circled digits", url: "https://\u2460\u2461\u2466.0.0.1:{port}/k", want: unchecked},
	{name: "keys by loopback in full-width digits", url: "https://\uff11\uff12\uff17.0.0.1:{port}/k", want: unchecked},
	{name: "keys by loopback with other dots", url: "https://127\u30020\u30020\u30021:{port}/k", want: unchecked},
	{name: "keys by a name that holds an address", url: "https://127.0.0.1.nip.io:{port}/k", want: unchecked},
	{name: "metadata by the name of this machine", url: "discovery https://{own}:{port}/d", want: unchecked},
	{name: "target by the name of this machine", target: true, url: "http://{own}:{port}", want: unreachable},

	// The operator's, who may name private addresses, by a name server.
	{name: "name of a good address", is: normal, answer: []dns.RR{ipv4("127.0.0.1")}},
	{name: "name of a good address among others", is: normal, answer: []dns.RR{ipv4("169.254.169.254"), ipv4("127.0.0.1"), ipv4("0.0.0.0")}},
	{name: "name of metadata", answer: []dns.RR{ipv4("169.254.169.254")}, want: noEndpoints},
	{name: "name of metadata by another name", answer: []dns.RR{alias("metadata.internal."), named("metadata.internal.", ipv4("169.254.169.254"))}, want: noEndpoints},
	{name: "name of link-local", answer: []dns.RR{ipv4("169.254.0.1")}, want: noEndpoints},
	{name: "name of no address", answer: []dns.RR{ipv4("0.0.0.0")}, want: noEndpoints},
	{name: "name of this network", answer: []dns.RR{ipv4("0.1.2.3")}, want: noEndpoints},
	{name: "name of multicast", answer: []dns.RR{ipv4("224.0.0.1")}, want: noEndpoints},
	{name: "name of broadcast", answer: []dns.RR{ipv4("255.255.255.255")}, want: noEndpoints},
	{name: "name of metadata of Alibaba", answer: []dns.RR{ipv4("100.100.100.200")}, want: noEndpoints},
	{name: "name of metadata of Azure's wire server", answer: []dns.RR{ipv4("168.63.129.16")}, want: noEndpoints},
	{name: "name of metadata of AWS over IPv6", answer: []dns.RR{ipv6("fd00:ec2::254")}, want: noEndpoints},
	{name: "name of mapped metadata", answer: []dns.RR{ipv6("::ffff:169.254.169.254")}, want: noEndpoints},
	{name: "name of compatible metadata", answer: []dns.RR{ipv6("::a9fe:a9fe")}, want: noEndpoints},
	{name: "name of NAT64 of metadata", answer: []dns.RR{ipv6("64:ff9b::a9fe:a9fe")}, want: noEndpoints},
	{name: "name of 6to4 of metadata", answer: []dns.RR{ipv6("2002:a9fe:a9fe::1")}, want: noEndpoints},
	{name: "name of Teredo to metadata", answer: []dns.RR{ipv6("2001:0:a9fe:a9fe::1")}, want: noEndpoints},
	{name: "name of link-local of IPv6", answer: []dns.RR{ipv6("fe80::1")}, want: noEndpoints},
	{name: "name of no address of IPv6", answer: []dns.RR{ipv6("::")}, want: noEndpoints},
	{name: "name of multicast of IPv6", answer: []dns.RR{ipv6("ff02::1")}, want: noEndpoints},
}

// alias is an answer that says under which name there is more.
func alias(to string) dns.RR { return &dns.CNAME{Hdr: header(dns.TypeCNAME), Target: to} }

// named is an answer about another name.
func named(name string, rr dns.RR) dns.RR { rr.Header().Name = name; return rr }

// nameServer answers for the inputs.
func nameServer(t *testing.T) (addr string) {
	t.Helper()
	byName := map[string][]dns.RR{}
	for _, in := range dialInputs {
		if in.answer != nil {
			byName[slug(in.name)+".test."] = in.answer
		}
	}
	pc, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan struct{})
	s := &dns.Server{PacketConn: pc, NotifyStartedFunc: func() { close(started) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		m := new(dns.Msg).SetReply(r)
		for _, rr := range byName[r.Question[0].Name] {
			if kind := rr.Header().Rrtype; kind == r.Question[0].Qtype || kind == dns.TypeCNAME {
				if rr = dns.Copy(rr); rr.Header().Name == "" {
					rr.Header().Name = r.Question[0].Name
				}
				m.Answer = append(m.Answer, rr)
			}
		}
		_ = w.WriteMsg(m)
	})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.ActivateAndServe() })
	<-started
	t.Cleanup(func() { _ = s.Shutdown(); serving.Wait() })
	return pc.LocalAddr().String()
}

// TestDialled asks routes that lead somewhere by a name. Nobody comes where no one may.
func TestDialled(t *testing.T) {
	t.Parallel()
	own, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	counter, came := counting(t)
	_, port, _ := net.SplitHostPort(counter)
	servers := nameServer(t)
	put := strings.NewReplacer("{own}", own, "{port}", port)
	tenant, upstreams, routes := strings.Builder{}, strings.Builder{}, strings.Builder{}
	for _, in := range dialInputs {
		id, url := slug(in.name), put.Replace(in.url)
		switch place := "jwksUri"; {
		case in.answer != nil:
			fmt.Fprintf(&upstreams, "  - id: %[1]s\n    discovery: { dns: { name: %[1]s.test., port: {guarded-port}, servers: [%[2]q] } }\n", id, servers)
			fmt.Fprintf(&routes, "  - { id: %[1]s, matcher: { path: /%[1]s/* }, target: { type: http, upstream: %[1]s } }\n", id)
		case in.target:
			fmt.Fprintf(&tenant, "  - { id: %[1]s, matcher: { host: evil.test, path: /%[1]s/* }, target: { type: http, url: %[2]q } }\n", id, url)
		default:
			if rest, found := strings.CutPrefix(url, "discovery "); found {
				place, url = "oidcDiscoveryUrl", rest
			}
			fmt.Fprintf(&tenant, "  - id: %[1]s\n    matcher: { host: evil.test, path: /%[1]s/* }\n    target: { type: http, url: \"https://example.com\" }\n", id)
			fmt.Fprintf(&tenant, "    policy: { auth: { jwt: { issuer: \"https://%s.example\", audience: suuupra-api, %s: %q } } }\n", id, place, url)
		}
	}
	mint, keys := newMint(t), newKeyServer(t)
	keys.publish("/keys", mint.keys(t))
	_, keysPort, _ := net.SplitHostPort(strings.TrimPrefix(keys.URL, "http://"))
	fmt.Fprintf(&routes, "  - id: proxied\n    matcher: { path: /proxied/* }\n    target: { type: http, url: \"http://{guarded}\" }\n")
	fmt.Fprintf(&routes, "    policy: { auth: { jwt: { issuer: %q, audience: suuupra-api, jwksUri: \"http://%s:%s/keys\" } } }\n", issuer, own, keysPort)
	var env []string
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		env = append(env, name+"=http://"+counter)
	}
	s := startSite(t, plan{env: append(env, "NO_PROXY=", "no_proxy="), files: map[string]string{
		"tenants/evil/tenant.yaml": "tenant: { hosts: [evil.test], policyKinds: [auth] }\n", "tenants/evil/routes/dial.yaml": "routes:\n" + tenant.String(),
		"upstreams/dial.yaml": "upstreams:\n" + upstreams.String(), "routes/dial.yaml": "routes:\n" + routes.String(),
	}})
	for _, in := range dialInputs {
		id := slug(in.name)
		s.try(t, in.name, func() *attempt {
			a := &attempt{line: "GET /" + id + "/x", host: "evil.test", want: in.want}
			if in.is == normal {
				a.want, a.to = "200", a.line
			}
			if in.answer == nil && !in.target {
				a.fields = []string{"Authorization: Bearer " + by(mint.thief, nil, map[string]any{"iss": "https://" + id + ".example"})}
			}
			return a
		})
	}
	if addresses, _ := net.LookupHost(own); slices.Contains(addresses, "127.0.0.1") { // most machines know themselves by it
		if !strings.Contains(s.process.Output(), "127.0.0.1 is not a public address") {
			t.Error("no address was refused when it was dialled")
		}
		// No proxy is asked for addresses of loopback and for localhost; for a name that leads there one would be.
		s.try(t, "keys beside a proxy of the environment", func() *attempt {
			return &attempt{line: "GET /proxied/x", fields: []string{"Authorization: Bearer " + mint.good()}, want: "200", to: "GET /proxied/x"}
		})
	}
	if n := came.Load(); n != 0 {
		t.Errorf("%d connections came where none may", n)
	}
}

// counting listens, and counts the connections that come.
func counting(t *testing.T) (addr string, came *atomic.Int64) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	came = &atomic.Int64{}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			came.Add(1)
			_ = c.Close()
		}
	})
	t.Cleanup(func() { _ = l.Close(); serving.Wait() })
	return l.Addr().String(), came
}
