package runtime

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/suuupra/gateway/runtime/certificate"
	"github.com/suuupra/gateway/runtime/engine"
	"github.com/suuupra/gateway/schema/ir"
)

// Listen serves on a listener, as spec says, until the gateway stops. The certificates, the least TLS version and whether HTTP/2 is
// offered on TLS are those of the listener with the same id in the running snapshot, at each handshake; the rest of spec holds
// for as long as the listener.
func (g *Gateway) Listen(l net.Listener, spec ir.Listener) error {
	serve := engine.Listener{Listener: l, ID: spec.ID, HTTP2: spec.HTTP2}
	for _, p := range spec.ProxyProtocol {
		prefix, err := netip.ParsePrefix(p)
		if err != nil {
			return errors.Join(fmt.Errorf("proxyProtocol: %w", err), l.Close())
		}
		serve.ProxyFrom = append(serve.ProxyFrom, prefix.Masked())
	}
	if spec.TLS != nil {
		serve.TLS = &tls.Config{GetConfigForClient: g.certificates(spec.ID)} // keeps the keys of session tickets, and rotates them
	}
	return g.data.Serve(serve)
}

var errNoCertificates = errors.New("no snapshot has had certificates for this listener")

// certificates finds those of a listener for each handshake. A snapshot that has none, as it knows the listener no more or without
// TLS, does not take from the listener those it had: it goes on as it was opened.
func (g *Gateway) certificates(listener string) func(*tls.ClientHelloInfo) (*tls.Config, error) {
	var last atomic.Pointer[certificate.Set]
	return func(*tls.ClientHelloInfo) (*tls.Config, error) {
		set := g.holder.Peek().Certificates(listener) // good for choosing even if the snapshot goes meanwhile
		switch {
		case set != nil:
			if last.Load() != set {
				last.Store(set)
			}
		default:
			if set = last.Load(); set == nil {
				return nil, errNoCertificates
			}
		}
		return set.Config(), nil
	}
}

func (g *Gateway) handshakeFailed(listener, reason string, remote netip.AddrPort) {
	g.opts.Metrics.HandshakeFailed(listener, reason)
	g.opts.Log.Debug("a TLS handshake failed", slog.String("listener", listener), slog.String("reason", reason), slog.Any("client", remote.Addr()))
}
