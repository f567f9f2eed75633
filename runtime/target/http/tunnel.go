package httptarget

import (
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/runtime/httpmsg"
)

// lastWords is how long the client may take to end its side once the upstream has ended its own.
const lastWords = time.Second

// join copies both ways until both have ended, one has failed, or nothing has moved for the idle timeout.
func (c *call) join(client httpmsg.Tunnel) {
	var heard atomic.Int64 // when the client last said something
	heard.Store(time.Now().UnixNano())
	conn := c.conn
	conn.WriteBy(time.Time{}, time.Time{}, 0)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			p, err := client.Next()
			if err != nil {
				_ = conn.Wire.CloseWrite()
				return
			}
			heard.Store(time.Now().UnixNano())
			conn.WriteBy(time.Now(), time.Time{}, c.t.idle)
			if _, err := conn.Wire.Write(p); err != nil {
				conn.Interrupt()
				return
			}
		}
	}()
	c.down(client, &heard)
	select {
	case <-ended:
	case <-time.After(lastWords):
	}
	_ = client.Close()
	<-ended
}

// down copies from the upstream to the client.
func (c *call) down(client httpmsg.Tunnel, heard *atomic.Int64) {
	conn := c.conn
	for {
		conn.ReadBy(time.Now(), time.Time{}, c.t.idle)
		p, err := conn.Wire.Next()
		if timeout(err) && time.Since(time.Unix(0, heard.Load())) < c.t.idle {
			conn.Wire.ForgetReadBy()
			continue
		}
		if err != nil {
			_ = client.CloseWrite()
			return
		}
		if _, err := client.Write(p); err != nil {
			return
		}
	}
}
