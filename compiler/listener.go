package compiler

import (
	"fmt"

	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/v1"
)

// listenerOf is a listener, defaults filled in. Who speaks the PROXY protocol are the trusted proxies, unless it says
// otherwise.
func listenerOf(l *v1.Listener, trusted []string) ir.Listener {
	out := ir.Listener{
		ID: l.ID, Address: l.Address,
		HTTP2: ir.HTTP2{Enabled: *l.HTTP2.Enabled, Cleartext: l.HTTP2.Cleartext, MaxStreams: *l.HTTP2.MaxStreams},
	}
	if l.TLS != nil {
		out.TLS = &ir.ListenerTLS{MinVersion: l.TLS.MinVersion}
		for _, c := range l.TLS.Certificates {
			out.TLS.Certificates = append(out.TLS.Certificates, ir.Certificate{Cert: c.Cert, Key: c.Key})
		}
	}
	if p := l.ProxyProtocol; p != nil {
		if out.ProxyProtocol = trusted; p.From != nil {
			out.ProxyProtocol = prefixes(p.From)
		}
	}
	return out
}

// checkListeners judges what only several settings of the listeners together can get wrong.
func checkListeners(gateway site, g *v1.Gateway) {
	for i := range g.Listeners {
		l := &g.Listeners[i]
		s := site{gateway.node.Get("listeners").Items[i], fmt.Sprintf("gateway.listeners[%d]", i), gateway.diags}
		if p := l.ProxyProtocol; p != nil && p.From == nil && len(g.TrustedProxies) == 0 {
			s.needs("proxyProtocol", "name the load balancers: proxyProtocol: { from: [10.0.0.0/8] }, or gateway.trustedProxies",
				"listener %q takes the PROXY protocol from nobody", l.ID)
		}
		s.http2(l)
		if l.TLS != nil {
			s.certificates(l.TLS)
		}
	}
}

func (s site) http2(l *v1.Listener) {
	switch {
	case l.TLS != nil && l.HTTP2.Cleartext:
		s.idle("http2.cleartext", "tls", "give plain text a listener of its own", "listener %q speaks TLS, so nothing reaches it in the clear", l.ID)
	case l.TLS == nil && s.has("http2.enabled") && *l.HTTP2.Enabled && !l.HTTP2.Cleartext:
		s.idle("http2.enabled", "", "http2: { cleartext: true } takes HTTP/2 without TLS", "listener %q has no tls, on which alone http2.enabled has an effect", l.ID)
	}
	if spoken := l.TLS != nil && *l.HTTP2.Enabled || l.TLS == nil && l.HTTP2.Cleartext; !spoken && s.has("http2.maxStreams") {
		s.idle("http2.maxStreams", "http2.enabled", "leave it out, or switch HTTP/2 on", "listener %q does not speak HTTP/2, so maxStreams bounds nothing", l.ID)
	}
}

// certificates finds a certificate that stands in the list twice: the second one never answers.
func (s site) certificates(t *v1.ListenerTLS) {
	list := s.node.Get("tls").Get("certificates")
	seen := map[string]int{}
	for i, c := range t.Certificates {
		first, twice := seen[c.Cert]
		if !twice {
			seen[c.Cert] = i
			continue
		}
		at := list.Items[i].Get("cert")
		s.diags.Add(diag.Diagnostic{
			Code: "GW3046", Pos: at.Pos, Width: at.Width, Path: fmt.Sprintf("%s.tls.certificates[%d].cert", s.path, i),
			Message: fmt.Sprintf("certificate %s stands in the list twice", c.Cert),
			Notes:   []diag.Note{{Pos: list.Items[first].Get("cert").Pos, Message: "the first one is here"}},
			Hint:    "remove one of them, or correct the reference",
		})
	}
}
