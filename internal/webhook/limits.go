package webhook

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/suuupra/gateway/internal/gcra"
)

// lru makes a map of a size that is in order.
func lru[K comparable, V any](size int) *simplelru.LRU[K, V] {
	m, err := simplelru.NewLRU[K, V](size, nil)
	if err != nil {
		panic(err) // the sizes are constants
	}
	return m
}

// failures bounds what senders without the secret can make us do: twenty deliveries of an address are looked at, and one
// more each three seconds. Only what is not proven counts, whether its signature is wrong or its body never ends.
type failures struct {
	bucket gcra.Bucket
	mu     sync.Mutex
	full   *simplelru.LRU[netip.Prefix, int64] // when the bucket of an address is full again
}

const failureBurst = 20

func newFailures() *failures {
	return &failures{bucket: gcra.Bucket{Every: int64(3 * time.Second), Burst: failureBurst}, full: lru[netip.Prefix, int64](8192)}
}

// source is what counts as one address: the holder of an IPv6 address has a whole /64 of them.
func source(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // of no address: all of those are one
	return p
}

// wait is how long an address has to wait until it is listened to again; 0: it is.
func (f *failures) wait(a netip.Addr, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	full, _ := f.full.Peek(source(a))
	return time.Duration(f.bucket.Take(full, now.UnixNano(), 1).Retry)
}

func (f *failures) add(a netip.Addr, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := source(a)
	full, _ := f.full.Peek(p)
	f.full.Add(p, f.bucket.Take(full, now.UnixNano(), 1).Full)
}

// seen remembers deliveries. This process remembers some thousands itself; what all gateways share is asked for the rest, and
// done without while it is away: a replay costs one more look at the repository.
type seen struct {
	shared Firsts
	mu     sync.Mutex
	until  *simplelru.LRU[string, time.Time]
}

const sharedTimeout = 250 * time.Millisecond

func newSeen(shared Firsts) *seen {
	return &seen{shared: shared, until: lru[string, time.Time](4096)}
}

func (s *seen) first(ctx context.Context, name string, now time.Time) bool {
	if !s.firstHere(name, now) {
		return false
	}
	if s.shared == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, sharedTimeout)
	defer cancel()
	first, err := s.shared.First(ctx, name, remembered)
	return first || err != nil
}

func (s *seen) firstHere(name string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if until, known := s.until.Get(name); known && now.Before(until) {
		return false
	}
	s.until.Add(name, now.Add(remembered))
	return true
}

var (
	errOverLimit = errors.New("the body is larger than the limit")
	errNoRoom    = errors.New("there is no room for the body")
)

// budget bounds the memory that bodies take together: a signature covers the whole body, so all of it is held before anybody
// knows who sent it (GHSA-jcc8-g2q4-9fxq).
type budget struct {
	limit int64
	used  atomic.Int64
}

func (b *budget) reserve(n int) bool {
	if b.used.Add(int64(n)) > b.limit {
		b.used.Add(int64(-n))
		return false
	}
	return true
}

// read returns the body, and what gives its memory back; sum sees it as it comes. Room grows with what has arrived, never
// with what was announced.
func (b *budget) read(body io.Reader, sum io.Writer) (data []byte, release func(), err error) {
	held := 0
	release = func() { b.used.Add(int64(-held)) }
	if body == nil {
		return nil, release, nil
	}
	for room := 16 << 10; ; room *= 2 {
		room = min(room, maxBody+1)
		if !b.reserve(room - held) {
			return nil, release, errNoRoom
		}
		held = room
		data = append(make([]byte, 0, room), data...)
		for len(data) < room {
			n, err := body.Read(data[len(data):room])
			_, _ = sum.Write(data[len(data) : len(data)+n]) // hashes do not fail
			data = data[:len(data)+n]
			switch {
			case len(data) > maxBody:
				return nil, release, errOverLimit
			case errors.Is(err, io.EOF):
				return data, release, nil
			case err != nil:
				return nil, release, err
			}
		}
	}
}
