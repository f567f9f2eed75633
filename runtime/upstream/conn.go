package upstream

import (
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/suuupra/gateway/runtime/engine/http1"
	"github.com/suuupra/gateway/runtime/engine/wire"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/upstream/health"
)

// responseLimits bound the head of a response, which no user sets: servers send more than clients, but not without end.
var responseLimits = http1.Limits{Bytes: 64 << 10, Fields: 256}

// Conn is one connection to an endpoint, used by one exchange at a time. One that speaks HTTP/2 is a stream of a connection that
// others use too: only H2 may be used then, and everything that reads and writes the wire is for HTTP/1.1.
type Conn struct {
	Wire   *wire.Conn
	Head   http1.ResponseHead // of the last response read
	Body   wire.Body
	Reused bool // it has carried an exchange before
	// Interrupt makes what is pending fail. It is made once, so that registering it costs nothing.
	Interrupt func()
	// H2 is not nil if the connection speaks HTTP/2. A stream is reserved, for RoundTrip to be called once.
	H2 *http.ClientConn

	scan      http1.Scanner
	endpoint  *Endpoint
	idleSince time.Time
	by        time.Time     // the exchange's own deadline
	idle      time.Duration // between two reads of the body

	reported bool
	session  *session
	reserved bool
}

// lent notes that an exchange begins.
func (c *Conn) lent() *Conn {
	c.reported = false
	c.endpoint.load.Begin()
	return c
}

// Endpoint is where the connection goes to.
func (c *Conn) Endpoint() *Endpoint { return c.endpoint }

// Report says how the exchange went, once; header is the time to the response header, 0 if there was none.
func (c *Conn) Report(r health.Result, header time.Duration) {
	if c.reported {
		return
	}
	c.reported = true
	c.endpoint.load.End(header)
	if h := c.endpoint.health; h != nil {
		h.Report(r)
	}
}

// slack is how much later than asked a deadline may strike: enough to leave timers alone on a busy connection.
const slack = 25 * time.Millisecond

// ReadBy sets the deadline for the next reads: by, or after from now if that is earlier. Zero stands for none.
func (c *Conn) ReadBy(now, by time.Time, after time.Duration) {
	c.Wire.ReadBy(earlier(now, by, after), slack)
}

// WriteBy is ReadBy for writes.
func (c *Conn) WriteBy(now, by time.Time, after time.Duration) {
	c.Wire.WriteBy(earlier(now, by, after), slack)
}

func earlier(now, by time.Time, after time.Duration) time.Time {
	if after > 0 {
		if t := now.Add(after); by.IsZero() || t.Before(by) {
			return t
		}
	}
	return by
}

// ReadHead reads the head of the next response to a request with the given method. Malformed ones are *httpmsg.Error. started
// reports whether anything of the response had come.
func (c *Conn) ReadHead(method string) (started bool, err error) {
	c.scan.Reset()
	for {
		buf := c.Wire.Buffered()
		n, bad := c.scan.ScanResponse(buf, &responseLimits)
		if bad != nil {
			return true, bad
		}
		if n > 0 {
			text := string(buf[:n])
			c.Wire.Discard(n)
			if bad := c.Head.Parse(text, &c.scan, method); bad != nil {
				return true, bad
			}
			return true, nil
		}
		if err := c.Wire.Fill(); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return len(buf) > 0, err
		}
	}
}

// BeginBody prepares Body for the response whose head was read. by is the exchange's deadline, idle bounds each wait.
func (c *Conn) BeginBody(by time.Time, idle time.Duration) {
	c.by, c.idle = by, idle
	c.Body.Begin(c.Wire, c.Head.Length, responseLimits, false)
}

func (c *Conn) beforeBody() error {
	c.ReadBy(time.Now(), c.by, c.idle)
	return nil
}

// Release ends the use of the connection. It is kept for another exchange only if the caller allows, the response was read
// to its end, the upstream did not say otherwise, and nothing came behind it.
func (c *Conn) Release(reuse bool) {
	c.Report(health.ClientGone, 0)
	if c.H2 != nil {
		c.endpoint.h2.release(c)
		return
	}
	reuse = reuse && c.Head.KeepAlive && c.Body.Done() && len(c.Wire.Buffered()) == 0
	c.endpoint.put(c, reuse)
}

// Malformed returns the refusal if err is about the syntax of a message.
func Malformed(err error) (*httpmsg.Error, bool) {
	var bad *httpmsg.Error
	ok := errors.As(err, &bad)
	return bad, ok
}
