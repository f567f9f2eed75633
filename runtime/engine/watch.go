package engine

import (
	"sync"
	"time"
)

// watchAfter is how long an exchange runs before anybody looks whether its client is still there, and how often the list of
// exchanges is looked through. Together they bound the time until a leaving client is noticed to 40 ms; afterwards a parked
// goroutine notices it at once.
const watchAfter = 20 * time.Millisecond

// shard is a list of exchanges in the order in which they are due to be looked at. There are several, so that connections do
// not meet at one lock.
type shard struct {
	mu         sync.Mutex
	head, tail *conn
	_          [40]byte // keeps the locks of two shards off one cache line
}

// watch states of a connection, guarded by its shard.
const (
	watchNone = iota
	watchListed
	watchParked // a goroutine waits for the client to hang up
)

// link is a connection's place in its shard.
type link struct {
	prev, next *conn
	due        time.Time
	state      int
	parked     chan struct{} // closed when the goroutine has ended
}

// watch puts the exchange that begins on c on the list.
func (c *conn) watch(now time.Time) {
	s := c.shard
	s.mu.Lock()
	s.push(c, now.Add(watchAfter))
	s.mu.Unlock()
}

// unwatch takes c off the list, or ends the goroutine that waits for its client. Afterwards nobody but the caller reads from
// the connection, and nobody cancels the exchange any more.
func (c *conn) unwatch() {
	s := c.shard
	s.mu.Lock()
	state := c.link.state
	if state == watchListed {
		s.remove(c)
	}
	c.link.state = watchNone
	parked := c.link.parked
	s.mu.Unlock()
	if state == watchParked {
		c.wire.InterruptRead()
		<-parked
		c.wire.ResumeRead()
	}
}

func (s *shard) push(c *conn, due time.Time) {
	c.link = link{prev: s.tail, due: due, state: watchListed}
	if s.tail == nil {
		s.head = c
	} else {
		s.tail.link.next = c
	}
	s.tail = c
}

func (s *shard) remove(c *conn) {
	if c.link.prev == nil {
		s.head = c.link.next
	} else {
		c.link.prev.link.next = c.link.next
	}
	if c.link.next == nil {
		s.tail = c.link.prev
	} else {
		c.link.next.link.prev = c.link.prev
	}
	c.link.prev, c.link.next = nil, nil
}

// look handles the exchanges that are due. One whose body has been read gets a goroutine that waits for the client to hang
// up. While a body is still to be read that goroutine would be in the way: there the socket is asked, again and again.
func (s *shard) look(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := s.head; c != nil && !c.link.due.After(now); c = s.head {
		s.remove(c)
		if !c.bodyRead.Load() {
			if c.wire.Hangup() {
				c.link.state = watchNone
				c.exchange.Load().Cancel()
				continue
			}
			s.push(c, now.Add(watchAfter))
			continue
		}
		parked := make(chan struct{})
		c.link.state, c.link.parked = watchParked, parked
		x := c.exchange.Load()
		c.wire.ReadBy(time.Time{}, 0)
		go func() {
			defer close(parked)
			if c.wire.AwaitHangup() {
				x.Cancel()
			}
		}()
	}
}

// sweep looks through the lists while there are connections.
func (s *Server) sweep() {
	defer close(s.swept)
	tick := time.NewTicker(watchAfter)
	defer tick.Stop()
	for {
		if s.open.Load() == 0 {
			tick.Stop()
			select {
			case <-s.sweeper:
			case <-s.base.Done():
				return
			}
			tick.Reset(watchAfter)
		}
		select {
		case now := <-tick.C:
			for i := range s.shards {
				s.shards[i].look(now)
			}
		case <-s.base.Done():
			return
		}
	}
}
