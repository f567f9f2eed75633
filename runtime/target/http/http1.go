package httptarget

import (
	"time"

	"github.com/suuupra/gateway/runtime/engine/http1"
	"github.com/suuupra/gateway/runtime/httpmsg"
)

// send sends the request on the connection and reads the head of the answer into resp. harmless reports whether the request may be
// sent again after an error.
func (c *call) send() (harmless bool, err error) {
	c.x.Timings.UpstreamStart = time.Now()
	if c.conn.H2 != nil {
		return c.send2()
	}
	if harmless, err = c.send1(); err != nil {
		return harmless, err
	}
	head := &c.conn.Head
	c.resp.Status, c.resp.Header.Fields, c.resp.ContentLength = head.Status, head.Fields, head.Length
	if c.r.Method == "HEAD" || head.Status == 304 {
		c.resp.ContentLength = head.Declared // of the body they stand for
	}
	return false, nil
}

// send1 is send over HTTP/1.1.
func (c *call) send1() (harmless bool, err error) {
	conn := c.conn
	c.frame()
	if c.whole {
		now := c.x.Timings.UpstreamStart
		conn.ReadBy(now, c.trying.by, c.t.header)
		conn.WriteBy(now, c.trying.by, c.t.header)
		used, err := conn.Wire.Trade(*c.out)
		if err != nil {
			return !used || c.repeatable() && !timeout(err), err
		}
	} else if sent, err := c.sendStreaming(); err != nil {
		return !sent, err
	}
	for informational := 0; ; {
		started, err := conn.ReadHead(c.r.Method)
		if err != nil {
			return !started && !c.informed && c.whole && c.repeatable() && !timeout(err), err
		}
		if conn.Head.Status >= 200 || conn.Head.Status == 101 {
			c.x.Timings.UpstreamHeader = time.Now()
			return false, nil
		}
		if informational++; informational > maxInformational {
			return false, errFlood
		}
		if err := c.pass(); err != nil {
			return false, err
		}
		if c.up != nil && len(conn.Wire.Buffered()) == 0 { // the body may still be on its way
			if err := c.up.await(); err != nil {
				return false, err
			}
		}
	}
}

// frame makes what was gathered of a body of unknown length into chunks.
func (c *call) frame() {
	if c.framed || !c.chunked {
		return
	}
	c.framed = true
	c.plain = append([]byte(nil), (*c.out)[c.head:]...)
	buf := (*c.out)[:c.head]
	if len(c.plain) > 0 {
		buf = http1.AppendChunkSize(buf, len(c.plain))
		buf = append(buf, c.plain...)
		buf = append(buf, '\r', '\n')
	}
	if c.whole {
		buf = http1.AppendLastChunk(buf, c.requestTrailer())
	}
	*c.out = buf
}

// gathered is what there is of the body, as it came.
func (c *call) gathered() []byte {
	if c.framed {
		return c.plain
	}
	return (*c.out)[c.head:]
}

// maxInformational bounds the 1xx responses of one exchange.
const maxInformational = 16

var (
	errFlood      = &httpmsg.Error{Status: 502, Code: "too_many_informational", Detail: "too many 1xx responses"}
	errUnexpected = &httpmsg.Error{Status: 502, Code: "unexpected_upgrade", Detail: "101 was not asked for"}
)

// pass hands a 1xx response on.
func (c *call) pass() error {
	head := &c.conn.Head
	if head.Status == 100 {
		if c.up != nil {
			c.up.proceed()
		}
		return nil // the client gets it when its body is read
	}
	c.informed = true
	if err := c.w.Informational(head.Status, &httpmsg.Header{Fields: head.Fields}); err != nil {
		return httpmsg.ErrClientClosed
	}
	return nil
}
