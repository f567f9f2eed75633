package redisstate

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// A round trip costs a request more than its decision. Takes that come while others are on their way therefore travel together: one
// write and one read for all of them. Nobody waits for company, only for a flight to return if all are out.
const (
	flights    = 2   // that are out at a time: one whose connection hangs must not keep all others on the ground
	passengers = 128 // of a flight: what one write and one read hold
)

// terminal is where Takes wait for a flight. Who finds one free, or is called, flies with all who wait; nothing runs while nobody asks.
type terminal struct {
	mu      sync.Mutex
	out     int // flights
	waiting []*passenger
}

// passenger is one Take.
type passenger struct {
	asks []ask
	down bool      // it is answered
	err  error     // why it is not
	call chan bool // true: its flight is over; false: it is to fly, with those who wait behind it
}

// fly asks Redis what the asks want to know, in company. It returns when they are answered, at the end of the budget, or when ctx ends;
// in the latter cases the tokens may be taken nevertheless.
func (c *Client) fly(ctx context.Context, asks []ask) error {
	p := &passenger{asks: asks, call: make(chan bool, 1)}
	t := &c.terminal
	t.mu.Lock()
	if t.out < flights {
		t.out++
		t.mu.Unlock()
		return c.pilot(ctx, []*passenger{p})
	}
	t.waiting = append(t.waiting, p)
	t.mu.Unlock()

	patience := time.NewTimer(c.budget)
	defer patience.Stop()
	select {
	case over := <-p.call:
		if over {
			return p.err
		}
		return c.pilot(ctx, t.board(p))
	case <-patience.C:
		t.leave(p)
		return c.judge(ctx, context.DeadlineExceeded)
	case <-ctx.Done():
		t.leave(p)
		return c.judge(ctx, ctx.Err())
	}
}

// board is who flies: whoever was called, and those who wait.
func (t *terminal) board(first *passenger) []*passenger {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := min(len(t.waiting), passengers-1)
	all := append([]*passenger{first}, t.waiting[:n]...)
	t.waiting = slices.Delete(t.waiting, 0, n)
	return all
}

// leave is for who waits no longer. If it was called meanwhile, the next is.
func (t *terminal) leave(p *passenger) {
	t.mu.Lock()
	if i := slices.Index(t.waiting, p); i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
	}
	t.mu.Unlock()
	select {
	case over := <-p.call:
		if !over {
			t.next()
		}
	default: // it waited, or is on its way
	}
}

// next gives the flight that is back to who has waited longest.
func (t *terminal) next() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) == 0 {
		t.out--
		return
	}
	p := t.waiting[0]
	t.waiting = slices.Delete(t.waiting, 0, 1)
	p.call <- false
}

// pilot makes a flight and returns what became of its first passenger. In company it goes on when that one has left: the others have not.
func (c *Client) pilot(ctx context.Context, all []*passenger) error {
	if len(all) > 1 {
		ctx = context.Background()
	}
	err := c.call(ctx, c.budget, c.metrics.take, func(ctx context.Context) error { return c.askAll(ctx, all) })
	c.terminal.next()
	for i, p := range all {
		if !p.down {
			p.err = err
		}
		if i > 0 {
			p.call <- true
		}
	}
	return all[0].err
}

// askAll asks for all who fly. Those whose answer has come are down; the error is that of the first whose has not.
func (c *Client) askAll(ctx context.Context, all []*passenger) error {
	var failed error
	cmds := make([]*redis.IntSliceCmd, len(all))
	for _, whole := range []bool{false, true} {
		var line redis.Pipeliner
		for i, p := range all {
			if whole && !unknown(cmds[i].Err()) {
				continue
			}
			if cmds[i] = takeCommand(ctx, whole, p.asks); len(all) == 1 {
				_ = c.rdb.Process(ctx, once{cmds[i]}) // it holds its error
				continue
			}
			if line == nil {
				line = c.rdb.Pipeline()
			}
			_ = line.Process(ctx, once{cmds[i]}) // only put in line
		}
		if line != nil {
			_, _ = line.Exec(ctx) // each command holds its own error
		}
	}
	for i, p := range all {
		err := read(cmds[i], p.asks)
		if p.down = err == nil; !p.down && failed == nil {
			failed = err
		}
	}
	return failed
}
