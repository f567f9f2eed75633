// Package failures counts how often each client showed a credential that nobody handed out, so that who guesses is soon not listened to. It
// says how long a client has to wait; what it is told meanwhile, and which failures count, is for the policies that ask.
package failures

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// maxSources bounds how many addresses are remembered at a time, and with it the memory: about 2 MiB.
const maxSources = 50_000

// Counter counts the failed tries of each client in the current minute. A policy has one for the process: neither another route nor a
// swap of the configuration is a fresh start for who guesses. Minutes are counted from its making, by the monotonic clock, so that
// nobody is locked out when the time of day is set back. It is safe for concurrent use.
type Counter struct {
	start time.Time

	mu     sync.Mutex
	minute int64
	tries  map[Source]int64 // in this minute
}

// New makes a Counter.
func New(now time.Time) *Counter { return &Counter{start: now, tries: map[Source]int64{}} }

// Source is a client as far as it is told from others.
type Source uint64

// SourceOf is an IPv4 address, or the first half of an IPv6 address: the other half is the client's to choose (RFC 4291 section
// 2.5.4). The two do not overlap: no IPv6 address in use begins with 32 zero bits.
func SourceOf(a netip.Addr) Source {
	if a = a.Unmap(); a.Is4() {
		b := a.As4()
		return Source(binary.BigEndian.Uint32(b[:]))
	}
	b := a.As16()
	return Source(binary.BigEndian.Uint64(b[:8]))
}

// Wait is how long a client that has failed most times in this minute has to wait until it may try again; 0: it may.
func (c *Counter) Wait(from Source, most int64, now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn(now)
	if c.tries[from] < most {
		return 0
	}
	return c.start.Add(time.Duration(c.minute+1) * time.Minute).Sub(now)
}

// Add counts a failed try.
func (c *Counter) Add(from Source, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn(now)
	if len(c.tries) >= maxSources && c.tries[from] == 0 {
		for other := range c.tries { // any: who has so many addresses gets his tries anyhow
			delete(c.tries, other)
			break
		}
	}
	c.tries[from]++
}

// turn forgets the minute before. The map is made anew, so that what an attack has made large becomes small again.
func (c *Counter) turn(now time.Time) {
	minute := int64(now.Sub(c.start) / time.Minute)
	if minute == c.minute {
		return
	}
	if c.minute = minute; len(c.tries) > 0 {
		c.tries = map[Source]int64{}
	}
}

// RetryAfter is a wait as the field Retry-After has it: in whole seconds, and never too few.
func RetryAfter(wait time.Duration) string {
	return strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10)
}
