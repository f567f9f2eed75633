package httpmsg

import (
	"fmt"
	"net/netip"
	"strings"
)

// Proxies are the peers whose word about the original client is believed. The zero value believes nobody.
type Proxies struct{ prefixes []netip.Prefix }

// NewProxies parses CIDR prefixes.
func NewProxies(cidrs []string) (*Proxies, error) {
	p := &Proxies{}
	for _, c := range cidrs {
		prefix, err := netip.ParsePrefix(c)
		if err != nil {
			return nil, fmt.Errorf("trusted proxies: %w", err)
		}
		p.prefixes = append(p.prefixes, prefix.Masked())
	}
	return p, nil
}

// Trusts reports whether the address is a trusted proxy.
func (p *Proxies) Trusts(a netip.Addr) bool {
	if p == nil || len(p.prefixes) == 0 {
		return false
	}
	a = a.Unmap().WithZone("")
	for _, prefix := range p.prefixes {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
}

// maxHops bounds how much of a chain is read: a longer one is not believed beyond that point.
const maxHops = 64

// ClientIP is the address the request came from: the peer, or, if that is a trusted proxy, the last address in
// X-Forwarded-For that is not one, read from right to left. It stops at the first entry that is not a plain address: what
// stands before it was written by somebody a trusted proxy did not vouch for. Forwarded (RFC 7239) is not read: of two accounts of one
// chain, one would have been written by whoever knows that the proxy only replaces the other.
func (p *Proxies) ClientIP(r *Request) netip.Addr {
	client := r.Peer.Addr().Unmap().WithZone("")
	if !p.Trusts(client) {
		return client
	}
	hops := 0
	for i := len(r.Header.Fields) - 1; i >= 0; i-- {
		f := &r.Header.Fields[i]
		if !strings.EqualFold(f.Name, "X-Forwarded-For") {
			continue
		}
		for rest, more := f.Value, true; more; {
			var entry string
			if at := strings.LastIndexByte(rest, ','); at >= 0 {
				rest, entry = rest[:at], rest[at+1:]
			} else {
				entry, more = rest, false
			}
			a, ok := parseHop(strings.Trim(entry, " \t"))
			if hops++; !ok || hops > maxHops {
				return client
			}
			if client = a; !p.Trusts(a) {
				return client
			}
		}
	}
	return client
}

// parseHop reads one entry: an address, or an address with a port as some proxies write it.
func parseHop(s string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Unmap().WithZone(""), a.Zone() == ""
	}
	if ap, err := netip.ParseAddrPort(s); err == nil && ap.Addr().Zone() == "" {
		return ap.Addr().Unmap(), true
	}
	return netip.Addr{}, false
}

// Sanitise removes what an untrusted peer claims about the original client (X-Forwarded-*, Forwarded, X-Real-IP and
// X-Request-Id, also with underscores, which some back ends read as the same names) before any policy sees it,
// and notes in PeerTrusted whose word stands.
func (p *Proxies) Sanitise(r *Request) {
	if r.PeerTrusted = p.Trusts(r.Peer.Addr()); r.PeerTrusted {
		return
	}
	for i := range r.Header.Fields {
		if IsForwarding(r.Header.Fields[i].Name) {
			dropForwarding(r, i)
			return
		}
	}
}

func dropForwarding(r *Request, from int) {
	out := r.Header.Fields[:from]
	for _, f := range r.Header.Fields[from:] {
		if !IsForwarding(f.Name) {
			out = append(out, f)
		}
	}
	r.Header.Fields = out
}

// IsForwarding reports whether a field says where a request came from or how it is to be called, which only a trusted peer
// may do. Underscores count as dashes.
func IsForwarding(name string) bool {
	switch len(name) {
	case len("Forwarded"): // also X-Real-IP
		return strings.EqualFold(name, "forwarded") || sameField(name, "x-real-ip")
	case len("X-Request-Id"):
		return sameField(name, "x-request-id")
	}
	return len(name) > 12 && sameField(name[:12], "x-forwarded-")
}

// sameField compares a field name with a lower-case one; an underscore counts as a dash.
func sameField(name, want string) bool {
	for i := range len(want) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		} else if c == '_' {
			c = '-'
		}
		if c != want[i] {
			return false
		}
	}
	return true
}
