package apikey

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"time"
)

// maxSources bounds how many addresses are remembered at a time, and with it the memory: about 2 MiB.
const maxSources = 50_000

// failures counts the failed tries of each client in the current minute. There is one for the process: neither another route nor a
// swap of the configuration is a fresh start for who guesses. Minutes are counted from its making, by the monotonic clock, so that
// nobody is locked out when the time of day is set back.
type failures struct {
	start time.Time

	mu     sync.Mutex
	minute int64
	tries  map[source]int64 // in this minute
}

func newFailures(now time.Time) *failures { return &failures{start: now, tries: map[source]int64{}} }

// source is a client as far as it is told from others.
type source uint64

// sourceOf is an IPv4 address, or the first half of an IPv6 address: the other half is the client's to choose (RFC 4291 section
// 2.5.4). The two do not overlap: no IPv6 address in use begins with 32 zero bits.
func sourceOf(a netip.Addr) source {
	if a = a.Unmap(); a.Is4() {
		b := a.As4()
		return source(binary.BigEndian.Uint32(b[:]))
	}
	b := a.As16()
	return source(binary.BigEndian.Uint64(b[:8]))
}

// wait is how long a client that has failed most times in this minute has to wait until it may try again; 0: it may.
func (f *failures) wait(from source, most int64, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.turn(now)
	if f.tries[from] < most {
		return 0
	}
	return f.start.Add(time.Duration(f.minute+1) * time.Minute).Sub(now)
}

// add counts a failed try.
func (f *failures) add(from source, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.turn(now)
	if len(f.tries) >= maxSources && f.tries[from] == 0 {
		for other := range f.tries { // any: who has so many addresses gets his tries anyhow
			delete(f.tries, other)
			break
		}
	}
	f.tries[from]++
}

// turn forgets the minute before. The map is made anew, so that what an attack has made large becomes small again.
func (f *failures) turn(now time.Time) {
	minute := int64(now.Sub(f.start) / time.Minute)
	if minute == f.minute {
		return
	}
	if f.minute = minute; len(f.tries) > 0 {
		f.tries = map[source]int64{}
	}
}
