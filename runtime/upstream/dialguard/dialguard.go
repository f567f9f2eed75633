// Package dialguard says which addresses may be dialled on a configuration's behalf. It judges the address that is about to
// be connected to, after name resolution and for every attempt, so that a name which resolves differently the second time
// gains nothing. It must not resolve names itself.
package dialguard

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
)

// ErrBlocked is what a dial to a forbidden address fails with.
var ErrBlocked = errors.New("address is not allowed")

// never are addresses with no service of anybody's behind them that a gateway should reach: this network, link-local and
// metadata services, multicast, reserved.
var never = prefixes(
	"0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4",
	"::/128", "fe80::/10", "fec0::/10", "ff00::/8",
	"100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32", // metadata services outside the link-local block
	"fd00:ec2::/32", "fd20:ce::254/128",
)

// private are addresses that are not globally reachable by the IANA special-purpose registries.
var private = prefixes(
	"10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
	"192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
	"::1/128", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16",
	"fc00::/7",
)

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// Check reports why an address must not be dialled, wrapping ErrBlocked. allowPrivate admits loopback, private and the other
// addresses that are not globally reachable; link-local, metadata, unspecified and multicast addresses are never admitted.
// An IPv4 address inside an IPv6 one (mapped, compatible, NAT64, 6to4, Teredo) is judged as well.
func Check(a netip.Addr, allowPrivate bool) error {
	if !a.IsValid() {
		return fmt.Errorf("%w: it is none", ErrBlocked)
	}
	if a.Zone() != "" { // zones belong to link-local addresses
		return fmt.Errorf("%w: %s has a zone", ErrBlocked, a)
	}
	if err := check(a, a.Unmap(), allowPrivate); err != nil {
		return err
	}
	for _, inner := range embedded(a) {
		if err := check(a, inner, allowPrivate); err != nil {
			return err
		}
	}
	return nil
}

func check(whole, a netip.Addr, allowPrivate bool) error {
	if within(never, a) {
		return fmt.Errorf("%w: %s is link-local, a metadata service, multicast or reserved", ErrBlocked, whole)
	}
	if !allowPrivate && within(private, a) {
		return fmt.Errorf("%w: %s is not a public address", ErrBlocked, whole)
	}
	return nil
}

func within(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

var (
	compatible = netip.MustParsePrefix("::/96")
	nat64      = prefixes("64:ff9b::/96", "64:ff9b:1::/48")
	sixToFour  = netip.MustParsePrefix("2002::/16")
	teredo     = netip.MustParsePrefix("2001::/32")
)

// embedded returns the IPv4 addresses an IPv6 address stands for.
func embedded(a netip.Addr) []netip.Addr {
	if !a.Is6() || a.Is4In6() {
		return nil
	}
	b := a.As16()
	four := func(at int) netip.Addr { return netip.AddrFrom4([4]byte(b[at : at+4])) }
	switch {
	case compatible.Contains(a) && a != netip.IPv6Unspecified() && a != netip.IPv6Loopback(), within(nat64, a):
		return []netip.Addr{four(12)}
	case sixToFour.Contains(a):
		return []netip.Addr{four(2)}
	case teredo.Contains(a):
		for i := 12; i < 16; i++ { // the client's address is stored inverted (RFC 4380 section 4)
			b[i] ^= 0xff
		}
		return []netip.Addr{four(4), four(12)}
	}
	return nil
}

// Control is a net.Dialer's ControlContext that lets only allowed addresses through.
func Control(allowPrivate bool) func(ctx context.Context, network, address string, _ syscall.RawConn) error {
	return func(_ context.Context, _, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%w: %q is no IP address and port", ErrBlocked, address)
		}
		return Check(ap.Addr(), allowPrivate)
	}
}
