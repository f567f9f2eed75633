package health

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
)

// Bounds of the answer to a check: more is no health report.
const (
	maxCheckHead    = 16 << 10 // bytes, of all headers together
	maxCheckBody    = 4 << 10  // bytes that are read; more is not waited for
	maxCheckInterim = 4        // responses with a status 1xx before the final one
)

const userAgent = "gwrun-health-check"

// askHTTP sends one request and reads the answer, up to the bounds. Redirects are answers like any other, never followed. An
// answer that breaks off is none.
func (h *Host) askHTTP(ctx context.Context, nc net.Conn) *checkError {
	k := h.c.Check
	req, err := http.NewRequestWithContext(ctx, cmp.Or(k.Method, http.MethodGet), h.origin()+cmp.Or(k.Path, "/"), http.NoBody)
	if err != nil {
		return &checkError{CheckBroken, err}
	}
	req.Host = cmp.Or(k.Host, h.authority())
	req.Header.Set("User-Agent", userAgent)
	exchange := overHTTP1
	if h.c.HTTP2 || agreed(nc) == "h2" {
		exchange = overHTTP2
	}
	resp, done, failure := exchange(req, nc)
	if failure != nil {
		return failure
	}
	defer done()
	if _, err := io.CopyN(io.Discard, resp.Body, maxCheckBody); err != nil && !errors.Is(err, io.EOF) {
		return failed(CheckBroken, "read the body of the answer: %w", err)
	}
	for _, s := range k.Status {
		if status := int64(resp.StatusCode); s.From <= status && status <= s.To {
			return nil
		}
	}
	return failed(CheckStatus, "answered %d", resp.StatusCode)
}

// origin is what the URL of a check begins with. Where it leads is Dial's business.
func (h *Host) origin() string { return cmp.Or(h.c.Scheme, "http") + "://" + h.c.Address }

// authority names the server to itself: the upstream's host, or the address, without the port if it is the scheme's own (RFC 9110
// section 4.2.3), since servers look for their names without it.
func (h *Host) authority() string {
	if h.c.HostHeader != "" {
		return h.c.HostHeader
	}
	own := ":80"
	if h.c.Scheme == "https" {
		own = ":443"
	}
	return strings.TrimSuffix(h.c.Address, own)
}

// overHTTP1 is one exchange by HTTP/1.1. The connection is closed afterwards, and with it the body: nothing is drained.
func overHTTP1(req *http.Request, nc net.Conn) (*http.Response, func(), *checkError) {
	req.Close = true
	if err := req.Write(nc); err != nil {
		return nil, nil, failed(CheckBroken, "send the request: %w", err)
	}
	bounded := &io.LimitedReader{R: nc, N: maxCheckHead}
	r := bufio.NewReader(bounded)
	for range maxCheckInterim + 1 {
		resp, err := http.ReadResponse(r, req)
		switch {
		case err != nil && bounded.N <= 0:
			return nil, nil, failed(CheckBroken, "the header of the answer has more than %d bytes", maxCheckHead)
		case err != nil:
			return nil, nil, failed(CheckBroken, "read the answer: %w", err)
		case resp.ProtoMajor != 1:
			return nil, nil, failed(CheckBroken, "answered by HTTP/%d", resp.ProtoMajor) // net/http reads any
		case resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols:
			bounded.N = 16 * maxCheckBody // chunks of one byte have six of framing; the deadline holds in any case
			return resp, func() {}, nil
		}
	}
	return nil, nil, failed(CheckBroken, "more than %d interim answers", maxCheckInterim)
}

// overHTTP2 is one exchange by HTTP/2, whether the connection is in the clear or not.
func overHTTP2(req *http.Request, nc net.Conn) (*http.Response, func(), *checkError) {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true) // TLS, if any, has been spoken for below
	t := &http.Transport{
		Protocols: &protocols, DisableCompression: true, MaxResponseHeaderBytes: maxCheckHead,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return nc, nil },
		HTTP2:       &http.HTTP2Config{MaxReceiveBufferPerStream: 2 * maxCheckBody, MaxReceiveBufferPerConnection: 64 << 10},
	}
	c, err := t.NewClientConn(req.Context(), "http", "check:80")
	if err != nil {
		return nil, nil, failed(CheckBroken, "begin HTTP/2: %w", err)
	}
	resp, err := c.RoundTrip(req)
	if err != nil {
		_ = c.Close()
		return nil, nil, failed(CheckBroken, "read the answer: %w", err)
	}
	return resp, func() { _ = resp.Body.Close(); _ = c.Close() }, nil
}

// agreed is what ALPN agreed on, empty without TLS.
func agreed(nc net.Conn) string {
	if t, ok := nc.(interface{ ConnectionState() tls.ConnectionState }); ok {
		return t.ConnectionState().NegotiatedProtocol
	}
	return ""
}
