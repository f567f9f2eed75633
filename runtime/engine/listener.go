package engine

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/suuupra/gateway/runtime/engine/wire"
	"github.com/suuupra/gateway/schema/ir"
)

// Listener is where clients connect, and how the gateway speaks to them.
type Listener struct {
	net.Listener
	ID string // what hooks call it
	// TLS terminates TLS; nil: in the clear. Its NextProtos, or those of what GetConfigForClient returns, decide whether HTTP/2
	// is offered: a client that agrees on "h2" gets it, every other one HTTP/1.1.
	TLS *tls.Config
	// HTTP2.Cleartext takes HTTP/2 by prior knowledge (RFC 9113 section 3.3) where there is no TLS.
	HTTP2 ir.HTTP2
	// ProxyFrom are the peers that must begin each connection with a PROXY protocol header, and are believed.
	ProxyFrom []netip.Prefix
}

// believes reports whether the peer has to say for whom it connects.
func (l *Listener) believes(peer netip.Addr) bool {
	for _, p := range l.ProxyFrom {
		if p.Contains(peer) {
			return true
		}
	}
	return false
}

// open takes a connection to where requests begin: behind the PROXY protocol header and the TLS handshake. Both together have as
// long as a request header may take.
func (c *conn) open() bool {
	by := time.Now().Add(millis(c.set.Timeouts.ReadHeader))
	c.wire.ReadBy(by, 0)
	c.wire.WriteBy(by, 0)
	if c.listener.believes(c.peer.Addr()) && !c.readProxyHeader() {
		return false
	}
	secured, ok := c.wire.Net().(*tls.Conn)
	if !ok {
		return true
	}
	if err := secured.Handshake(); err != nil {
		c.handshakeFailed(err)
		return false
	}
	c.h2 = secured.ConnectionState().NegotiatedProtocol == "h2"
	return true
}

func (c *conn) readProxyHeader() bool {
	client, err := readProxyHeader(wire.Socket(c.wire.Net()), c.peer)
	if err == nil {
		c.peer = client
		return true
	}
	if c.srv.hooks.Refused != nil {
		code := "proxy_header_invalid"
		if errors.Is(err, os.ErrDeadlineExceeded) {
			code = "proxy_header_timeout"
		}
		c.srv.hooks.Refused(400, code, c.peer)
	}
	return false
}

// Why a handshake failed, as HandshakeFailed names it.
const (
	handshakeTimeout  = "timeout"        // the client took too long
	handshakeGone     = "client_gone"    // the client left, as port scanners and health checks without TLS do
	handshakePlain    = "plain_http"     // the client spoke HTTP in the clear
	handshakeNotTLS   = "not_tls"        // or something else
	handshakeVersion  = "version"        // no version of TLS in common
	handshakeRefused  = "client_refused" // the client sent an alert: most often it does not trust the certificate
	handshakeProtocol = "protocol"       // everything else: no cipher suite or application protocol in common, or nonsense
)

func handshakeReason(err error) string {
	var record tls.RecordHeaderError
	var op *net.OpError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return handshakeTimeout
	case errors.As(err, &record):
		if record.Conn != nil && looksLikeHTTP(record.RecordHeader[:]) {
			return handshakePlain
		}
		return handshakeNotTLS
	case errors.As(err, &op) && op.Op == "remote error":
		return handshakeRefused
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &op) && op.Op != "local error":
		return handshakeGone
	case strings.Contains(err.Error(), "unsupported versions"): // crypto/tls has no type for it
		return handshakeVersion
	}
	return handshakeProtocol
}

// looksLikeHTTP judges the first five bytes a client sent in place of a TLS record's header.
func looksLikeHTTP(head []byte) bool {
	for _, method := range []string{"GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH", "CONNE", "TRACE", "QUERY", "PRI *"} {
		if bytes.Equal(head, []byte(method)) {
			return true
		}
	}
	return false
}

// handshakeFailed says so, to a client that just forgot the s of https too.
func (c *conn) handshakeFailed(err error) {
	reason := handshakeReason(err)
	if c.srv.hooks.HandshakeFailed != nil {
		c.srv.hooks.HandshakeFailed(c.listener.ID, reason, c.peer)
	}
	if reason != handshakePlain {
		return
	}
	const body = "This port takes HTTPS, and the request came as plain HTTP. Use https:// in place of http://.\n"
	const answer = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 93\r\nConnection: close\r\n\r\n" + body
	socket := wire.Socket(c.wire.Net())
	if _, err := io.WriteString(socket, answer); err != nil {
		return
	}
	half, ok := socket.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	c.wire.ReadBy(time.Now().Add(lingerFor), 0)
	_, _ = io.CopyN(io.Discard, socket, drainLimit) // the rest of the request: closing over it could destroy the answer
}
