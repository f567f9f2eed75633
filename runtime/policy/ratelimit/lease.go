package ratelimit

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/suuupra/gateway/internal/gcra"
	"github.com/suuupra/gateway/runtime/policy"
)

// leaseTime bounds how long tokens that a gateway has taken ahead lie there for nobody else, and how long it believes what it last
// heard of a bucket.
const leaseTime = 10 * time.Second

// lease is what a gateway has of one bucket: tokens that it took ahead and has not handed out yet, and what it last heard.
//
// Tokens that are held back must not add up with those of a bucket that fills up in the meantime: no more of them stay good than the
// bucket lacks because of them. As every gateway does so, what they hold and what is in the bucket never exceed the burst together,
// and no window of time sees more requests than without leases.
type lease struct {
	left int64 // tokens
	fill int64 // when the bucket, as they left it, is full again
	ends int64 // when they are given up in any case

	full  int64   // when the bucket is full again if nobody takes any more, as was last heard
	stale int64   // when that is too old to go by
	ask   *flight // the question for more; nil: nobody asks
}

// flight is a question under way, for whose answer others wait.
type flight struct {
	done chan struct{}
	err  error // valid once done is closed
}

// leases are the leases of one tenant's buckets.
type leases struct {
	mu  sync.Mutex
	all map[string]*lease
}

// of returns the lease of a bucket, nil if there is no room for another one.
func (s *leases) of(name []byte, now int64) *lease {
	if le := s.all[string(name)]; le != nil {
		return le
	}
	looked := 0
	for other, le := range s.all { // in random order
		if now >= le.ends && now >= le.stale && le.ask == nil {
			delete(s.all, other)
		}
		if looked++; looked == lookAt {
			break
		}
	}
	if len(s.all) >= maxBuckets {
		return nil
	}
	le := &lease{}
	s.all[string(name)] = le
	return le
}

// take hands out tokens that are there. It refuses if it knows that the bucket does not have them either: only time brings tokens
// back, so that what was last heard, and the time since, is the most there can be.
func (le *lease) take(b gcra.Bucket, now, cost int64) (t policy.Taken, known bool) {
	if le.left = min(le.left, max(0, le.fill-now)/b.Every); now >= le.ends {
		le.left = 0
	}
	if le.left >= cost {
		le.left -= cost
		return le.view(b, now, true, 0), true
	}
	if now >= le.stale {
		return t, false
	}
	if in := b.Take(le.full, now, cost); !in.Granted {
		return le.view(b, now, false, in.Retry), true
	}
	return t, false
}

// view is how the bucket looks from here: as if the tokens that are left were still in it.
func (le *lease) view(b gcra.Bucket, now int64, granted bool, retry int64) policy.Taken {
	look := b.Take(le.full-le.left*b.Every, now, 0)
	return policy.Taken{Granted: granted, Remaining: look.Remaining, Reset: time.Duration(look.Full - now), Retry: time.Duration(retry)}
}

// leased is State.Take for the one limit of a handler, with tokens taken ahead.
func (h *handler) leased(ctx context.Context, name []byte) (policy.Taken, error) {
	l, s := h.limits[0], &h.local.leases
	for waited := false; ; waited = true {
		now := h.now()
		s.mu.Lock()
		le := s.of(name, now)
		if le == nil {
			s.mu.Unlock()
			return h.ask(ctx, l, &lease{}, string(name), l.cost)
		}
		if t, known := le.take(l.bucket, now, l.cost); known {
			s.mu.Unlock()
			return t, nil
		}
		f := le.ask
		if f == nil {
			f = &flight{done: make(chan struct{})}
			le.ask = f
			block := l.block
			if now < le.stale && !l.bucket.Take(le.full, now, block).Granted {
				block = l.cost // there is not that much
			}
			s.mu.Unlock()
			return h.fetch(ctx, l, le, string(name), block)
		}
		s.mu.Unlock()
		if waited { // one wait is enough: nobody has to stand behind a crowd that each answer satisfies a few of
			return h.ask(ctx, l, le, string(name), l.cost)
		}
		select {
		case <-f.done:
			if f.err != nil {
				return policy.Taken{}, f.err
			}
		case <-ctx.Done():
			return policy.Taken{}, ctx.Err()
		}
	}
}

// fetch takes a block for all who wait, or, if it is not to be had, what the request itself needs.
func (h *handler) fetch(ctx context.Context, l *limit, le *lease, name string, block int64) (t policy.Taken, err error) {
	defer func() { // also in a panic: nobody must wait for ever
		h.local.leases.mu.Lock()
		defer h.local.leases.mu.Unlock()
		le.ask.err = err
		close(le.ask.done)
		le.ask = nil
	}()
	ctx = context.WithoutCancel(ctx) // others wait too, who have not gone
	if t, err = h.ask(ctx, l, le, name, block); err == nil && !t.Granted && block > l.cost {
		t, err = h.ask(ctx, l, le, name, l.cost)
	}
	return t, err
}

// ask takes tokens from the shared state. Those that the request does not need become the lease.
func (h *handler) ask(ctx context.Context, l *limit, le *lease, name string, tokens int64) (policy.Taken, error) {
	asked := h.now() // the answer is younger: the bucket is thought to be full too early, never too late
	got, err := h.state.Take(ctx, []policy.Bucket{l.of(name, tokens)})
	if err != nil {
		return policy.Taken{}, err
	}
	if len(got) != 1 {
		return policy.Taken{}, fmt.Errorf("the state answered for %d buckets, asked was 1", len(got))
	}
	life := int64(min(leaseTime, l.window))
	h.local.leases.mu.Lock()
	defer h.local.leases.mu.Unlock()
	le.full, le.stale = asked+int64(got[0].Reset), asked+life
	if got[0].Granted && tokens > l.cost {
		le.left, le.fill, le.ends = tokens-l.cost, le.full, asked+life
	}
	return le.view(l.bucket, asked, got[0].Granted, int64(got[0].Retry)), nil
}
