package dialguard_test

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/suuupra/gateway/runtime/upstream/dialguard"
)

// blocks are the IANA special-purpose address registries (IPv4 and IPv6), the multicast and reserved space, and the metadata
// services, each by its first and last address or by the address itself. private says what a configuration that may name
// private addresses gets to dial; public ones never are without it.
var blocks = []struct {
	name, first, last string
	private           bool // dialled if private addresses are allowed
	public            bool // dialled always
}{
	{"this network", "0.0.0.0", "0.255.255.255", false, false},
	{"private 10", "10.0.0.0", "10.255.255.255", true, false},
	{"shared address space", "100.64.0.0", "100.127.255.255", true, false},
	{"loopback", "127.0.0.0", "127.255.255.255", true, false},
	{"link-local, metadata", "169.254.0.0", "169.254.255.255", false, false},
	{"aws, gcp, azure metadata", "169.254.169.254", "169.254.169.254", false, false},
	{"ecs metadata", "169.254.170.2", "169.254.170.2", false, false},
	{"alibaba metadata", "100.100.100.200", "100.100.100.200", false, false},
	{"azure wire server", "168.63.129.16", "168.63.129.16", false, false},
	{"oracle metadata", "192.0.0.192", "192.0.0.192", false, false},
	{"private 172", "172.16.0.0", "172.31.255.255", true, false},
	{"ietf assignments", "192.0.0.0", "192.0.0.191", true, false},
	{"test-net-1", "192.0.2.0", "192.0.2.255", true, false},
	{"as112", "192.31.196.0", "192.31.196.255", true, true},
	{"amt", "192.52.193.0", "192.52.193.255", true, true},
	{"6to4 relay", "192.88.99.0", "192.88.99.255", true, false},
	{"private 192", "192.168.0.0", "192.168.255.255", true, false},
	{"direct delegation as112", "192.175.48.0", "192.175.48.255", true, true},
	{"benchmarking", "198.18.0.0", "198.19.255.255", true, false},
	{"test-net-2", "198.51.100.0", "198.51.100.255", true, false},
	{"test-net-3", "203.0.113.0", "203.0.113.255", true, false},
	{"multicast", "224.0.0.0", "239.255.255.255", false, false},
	{"reserved", "240.0.0.0", "255.255.255.254", false, false},
	{"broadcast", "255.255.255.255", "255.255.255.255", false, false},
	{"unspecified v6", "::", "::", false, false},
	{"loopback v6", "::1", "::1", true, false},
	{"mapped private", "::ffff:10.0.0.1", "::ffff:192.168.0.1", true, false},
	{"mapped link-local", "::ffff:169.254.169.254", "::ffff:169.254.169.254", false, false},
	{"mapped public", "::ffff:8.8.8.8", "::ffff:1.1.1.1", true, true},
	{"compatible link-local", "::169.254.169.254", "::169.254.169.254", false, false},
	{"compatible private", "::127.0.0.1", "::10.0.0.1", true, false},
	{"nat64 private", "64:ff9b::7f00:1", "64:ff9b::a00:1", true, false},
	{"nat64 link-local", "64:ff9b::a9fe:a9fe", "64:ff9b::a9fe:a9fe", false, false},
	{"nat64 public", "64:ff9b::808:808", "64:ff9b::808:808", true, true},
	{"local nat64", "64:ff9b:1::808:808", "64:ff9b:1:ffff:ffff:ffff:808:808", true, false},
	{"discard", "100::", "100::ffff:ffff:ffff:ffff", true, false},
	{"dummy prefix", "100:0:0:1::", "100:0:0:1:ffff:ffff:ffff:ffff", true, false},
	{"ietf assignments v6", "2001:1::1", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", true, false},
	{"teredo to link-local", "2001:0:a9fe:a9fe::", "2001:0:a9fe:a9fe::", false, false},
	{"benchmarking v6", "2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff", true, false},
	{"orchid", "2001:10::", "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff", true, false},
	{"documentation", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", true, false},
	{"6to4 of private", "2002:7f00:1::", "2002:a00:1::", true, false},
	{"6to4 of link-local", "2002:a9fe:a9fe::", "2002:a9fe:a9fe::1", false, false},
	{"6to4 of public", "2002:808:808::", "2002:808:808::1", true, true},
	{"direct delegation as112 v6", "2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff", true, true},
	{"documentation 2", "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", true, false},
	{"segment routing", "5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true, false},
	{"unique local", "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true, false},
	{"aws metadata v6", "fd00:ec2::254", "fd00:ec2::254", false, false},
	{"gcp metadata v6", "fd20:ce::254", "fd20:ce::254", false, false},
	{"link-local v6", "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false, false},
	{"site-local", "fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false, false},
	{"multicast v6", "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false, false},
	{"public", "8.8.8.8", "1.1.1.1", true, true},
	{"public v6", "2606:4700::1111", "2a00::1", true, true},
}

func TestBlocks(t *testing.T) {
	for _, b := range blocks {
		for _, s := range []string{b.first, b.last} {
			a := netip.MustParseAddr(s)
			if err := dialguard.Check(a, true); (err == nil) != b.private || err != nil && !errors.Is(err, dialguard.ErrBlocked) {
				t.Errorf("%s %s with private addresses: %v", b.name, s, err)
			}
			if err := dialguard.Check(a, false); (err == nil) != b.public {
				t.Errorf("%s %s: %v", b.name, s, err)
			}
			if a.Is4() { // the mapped form is the same address
				if err := dialguard.Check(netip.AddrFrom16(a.As16()), true); (err == nil) != b.private {
					t.Errorf("%s ::ffff:%s: %v", b.name, s, err)
				}
			}
		}
	}
	if dialguard.Check(netip.Addr{}, true) == nil || dialguard.Check(netip.MustParseAddr("fe80::1%lo"), true) == nil {
		t.Error("no address, or one with a zone, is let through")
	}
}

// TestControl dials: what counts is the address that is connected to, whatever the name was.
func TestControl(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // a listener
	_, port, _ := net.SplitHostPort(l.Addr().String())
	allowed := net.Dialer{ControlContext: dialguard.Control(true)}
	refused := net.Dialer{ControlContext: dialguard.Control(false)}
	for _, host := range []string{"127.0.0.1", "localhost", "::ffff:127.0.0.1"} {
		c, err := allowed.DialContext(t.Context(), "tcp4", net.JoinHostPort(host, port))
		if err != nil {
			if !strings.Contains(host, ":") { // some resolvers refuse the mapped form over tcp4
				t.Errorf("%s with private addresses: %v", host, err)
			}
		} else {
			_ = c.Close()
		}
		if _, err := refused.DialContext(t.Context(), "tcp", net.JoinHostPort(host, port)); !errors.Is(err, dialguard.ErrBlocked) {
			t.Errorf("%s: %v", host, err)
		}
	}
	for _, host := range []string{"169.254.169.254", "::ffff:a9fe:a9fe", "64:ff9b::a9fe:a9fe", "0.0.0.0", "::"} {
		if _, err := allowed.DialContext(t.Context(), "tcp", net.JoinHostPort(host, port)); !errors.Is(err, dialguard.ErrBlocked) {
			t.Errorf("%s: %v", host, err)
		}
	}
}
