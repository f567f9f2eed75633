package httptarget

import (
	"io"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"github.com/suuupra/gateway/runtime/engine/http1"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
)

// gather is how much of a body is collected to go out in one piece with the head, in bytes. A body that is declared to be no
// longer is waited for: it saves a goroutine, and nobody streams so little.
const gather = 16 << 10

var outBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// prepare writes the head of the upstream request, and what has come of the body, into one buffer.
func (c *call) prepare() *policy.Reject {
	c.out = outBuffers.Get().(*[]byte)
	r := c.r
	if r.ContentLength > r.MaxBody {
		return &policy.Reject{Status: 413, Code: "body_too_large", Detail: "the request body is too large"}
	}
	if r.Upgrade != "" && c.t.up.Spec().Protocol == "http2" {
		return &policy.Reject{Status: 501, Code: "upgrade_not_possible", Detail: "the upstream speaks HTTP/2, where a connection cannot be upgraded"}
	}
	path, query := c.x.Forwarded()
	if path != "*" {
		path = c.t.prefix + path
	}
	if !http1.SafeTarget(path) || path[0] != '/' && path != "*" || query != "" && !http1.SafeTarget(query) {
		return unsafe("the path cannot be sent")
	}
	buf := append(*c.out, r.Method...)
	buf = append(buf, ' ')
	buf = append(buf, path...)
	if query != "" {
		buf = append(buf, '?')
		buf = append(buf, query...)
	}
	buf = append(buf, " HTTP/1.1\r\n"...)
	host := c.host()
	if _, ok := http1.SplitHost(host); !ok {
		return unsafe("the host cannot be sent")
	}
	buf = http1.AppendField(buf, "Host", host)
	buf, ok := c.fields(buf)
	if !ok {
		return unsafe("a header field cannot be sent")
	}
	buf = c.forwarding(buf)
	*c.out = c.framing(buf)
	c.head = len(*c.out)
	if err := c.body(); err != nil {
		return c.reject(fromClient(err))
	}
	return nil
}

// requestTrailer is what goes upstream behind the body.
func (c *call) requestTrailer() *httpmsg.Header {
	if c.x.NoTrailers {
		return nil
	}
	return c.r.Trailer
}

// unsafe refuses a request that a policy or a path rule has made into one that cannot be written down.
func unsafe(detail string) *policy.Reject {
	return &policy.Reject{Status: 500, Code: "unsafe_request", Detail: detail}
}

// host is what goes upstream as Host.
func (c *call) host() string {
	switch {
	case c.t.up.Spec().Host != "":
		return c.t.up.Spec().Host
	case c.r.Authority != "":
		return c.r.Authority
	}
	if e := c.t.up.Spec().Endpoints; len(e) > 0 { // HTTP/1.0 without Host
		return e[0].Address
	}
	return "localhost"
}

// fields appends the client's end-to-end fields. What the gateway says itself is left out: Host, framing, Expect, and where
// the request came from.
func (c *call) fields(buf []byte) ([]byte, bool) {
	for i := range c.r.Header.Fields {
		f := &c.r.Header.Fields[i]
		switch len(f.Name) {
		case 4, 6:
			if strings.EqualFold(f.Name, "host") || strings.EqualFold(f.Name, "expect") {
				continue
			}
		}
		if http1.IsFraming(f.Name) || httpmsg.IsForwarding(f.Name) {
			continue
		}
		if !http1.SafeField(*f) {
			return buf, false
		}
		buf = http1.AppendField(buf, f.Name, f.Value)
	}
	return buf, true
}

// forwarding appends where the request came from: X-Forwarded-*, Forwarded (RFC 7239) and X-Request-Id. A trusted proxy's
// account is continued, anybody else's is replaced.
func (c *call) forwarding(buf []byte) []byte {
	r := c.r
	h := httpmsg.Header{}
	if r.PeerTrusted {
		h = r.Header
		buf = keepForwarding(buf, &h)
	}
	peer := r.Peer.Addr()
	if peer.IsValid() {
		buf = append(buf, "X-Forwarded-For: "...)
		buf = appendList(buf, &h, "X-Forwarded-For")
		buf = append(peer.AppendTo(buf), '\r', '\n')
	}
	buf = appendFirst(buf, &h, "X-Forwarded-Proto", r.Scheme)
	if r.Authority != "" {
		buf = appendFirst(buf, &h, "X-Forwarded-Host", r.Authority)
	}
	buf = appendFirst(buf, &h, "X-Forwarded-Port", port(r))
	buf = append(buf, "Forwarded: "...)
	buf = appendList(buf, &h, "Forwarded")
	buf = appendElement(buf, peer, r)
	if c.x.ID != "" && http1.SafeField(httpmsg.Field{Name: "X-Request-Id", Value: c.x.ID}) {
		buf = http1.AppendField(buf, "X-Request-Id", c.x.ID)
	}
	return buf
}

// keepForwarding appends a trusted proxy's fields that are not continued one by one.
func keepForwarding(buf []byte, h *httpmsg.Header) []byte {
	for _, f := range h.Fields {
		if !httpmsg.IsForwarding(f.Name) || !http1.SafeField(f) || strings.Contains(f.Name, "_") {
			continue
		}
		switch strings.ToLower(f.Name) {
		case "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "forwarded", "x-request-id":
			continue
		}
		buf = http1.AppendField(buf, f.Name, f.Value)
	}
	return buf
}

// appendList appends the values of a field as the beginning of a list.
func appendList(buf []byte, h *httpmsg.Header, name string) []byte {
	for _, f := range h.Fields {
		if strings.EqualFold(f.Name, name) && f.Value != "" && http1.SafeField(f) {
			buf = append(buf, f.Value...)
			buf = append(buf, ", "...)
		}
	}
	return buf
}

// appendFirst appends a field with its first value in h, or ours.
func appendFirst(buf []byte, h *httpmsg.Header, name, ours string) []byte {
	if v := h.Get(name); v != "" && http1.SafeField(httpmsg.Field{Name: name, Value: v}) {
		ours = v
	}
	return http1.AppendField(buf, name, ours)
}

// appendElement appends our element of a Forwarded field. Host holds no quote: it was checked as an authority.
func appendElement(buf []byte, peer netip.Addr, r *httpmsg.Request) []byte {
	switch {
	case !peer.IsValid():
		buf = append(buf, "for=unknown"...)
	case peer.Is4():
		buf = peer.AppendTo(append(buf, "for="...))
	default:
		buf = peer.AppendTo(append(buf, `for="[`...))
		buf = append(buf, `]"`...)
	}
	if r.Authority != "" {
		buf = append(buf, `;host="`...)
		buf = append(buf, r.Authority...)
		buf = append(buf, '"')
	}
	buf = append(buf, ";proto="...)
	buf = append(buf, r.Scheme...)
	return append(buf, '\r', '\n')
}

// port is the port the client asked for.
func port(r *httpmsg.Request) string {
	if i := strings.LastIndexByte(r.Authority, ':'); i >= 0 && !strings.HasSuffix(r.Authority, "]") && i+1 < len(r.Authority) {
		return r.Authority[i+1:]
	}
	if r.Scheme == "https" {
		return "443"
	}
	return "80"
}

// framing appends the length of the body, the fields of this hop, and the end of the head.
func (c *call) framing(buf []byte) []byte {
	r := c.r
	switch {
	case r.Body != nil && r.ContentLength < 0:
		c.chunked = true
		buf = append(buf, "Transfer-Encoding: chunked\r\n"...)
	case r.Body != nil || r.Method == "POST" || r.Method == "PUT" || r.Method == "PATCH":
		buf = append(buf, "Content-Length: "...)
		buf = strconv.AppendInt(buf, max(r.ContentLength, 0), 10)
		buf = append(buf, '\r', '\n')
	}
	if r.ExpectContinue && r.Body != nil {
		buf = append(buf, "Expect: 100-continue\r\n"...)
	}
	switch {
	case r.Upgrade != "":
		buf = append(buf, "Connection: upgrade\r\nUpgrade: "...)
		buf = append(buf, r.Upgrade...)
		buf = append(buf, '\r', '\n')
	case r.WantsTrailers:
		buf = append(buf, "TE: trailers\r\nConnection: TE\r\n"...)
	}
	return append(buf, '\r', '\n')
}

// body appends what has already come of the body, and all of it if it is short. What is malformed so far is refused before
// the upstream hears of the request.
func (c *call) body() error {
	r := c.r
	if r.Body == nil {
		c.whole = true
		return nil
	}
	buffered, ok := r.Body.(httpmsg.BufferedBody)
	wait := r.ContentLength >= 0 && r.ContentLength <= gather && !r.ExpectContinue
	c.held = r.ExpectContinue
	if !wait && !ok {
		return nil
	}
	for len(*c.out)-c.head < gather {
		piece := gatherPool.Get().(*[gather]byte)
		var n int
		var err error
		if wait {
			n, err = r.Body.Read(piece[:])
		} else {
			n, err = buffered.ReadBuffered(piece[:])
		}
		if n > 0 {
			c.held = false // the client does not wait to be told
			*c.out = append(*c.out, piece[:n]...)
		}
		gatherPool.Put(piece)
		switch {
		case err == io.EOF:
			c.whole = true
			return nil
		case err != nil:
			return err
		case n == 0:
			return nil
		case wait && c.late(): // a byte now and then keeps every other deadline away
			return errSlowBody.cause
		}
	}
	return nil
}

var gatherPool = sync.Pool{New: func() any { return new([gather]byte) }}
