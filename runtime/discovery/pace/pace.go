// Package pace says how long a provider waits between two questions, so that a server which answers without end, or not at all,
// is not asked without end. It knows no provider.
package pace

import (
	"context"
	"math/rand/v2"
	"time"
)

// Limit lets a burst of questions through at once, and then one every so often. Its zero value is of no use; it is for one
// goroutine.
type Limit struct {
	Burst int
	Every time.Duration

	due time.Time // when all that was let through has been paid for
}

// Wait waits until the next question may be asked. False: ctx has ended.
func (l *Limit) Wait(ctx context.Context) bool {
	now := time.Now()
	if least := now.Add(-time.Duration(l.Burst) * l.Every); l.due.Before(least) {
		l.due = least
	}
	l.due = l.due.Add(l.Every)
	return Pause(ctx, l.due.Sub(now))
}

// Backoff is how long to wait after so many failures in a row, the first being 0: twice as long each time, up to most, and
// between half and all of it, so that gateways which failed together do not come back together.
func Backoff(failures int, first, most time.Duration) time.Duration {
	d := min(first<<min(failures, 10), most)
	return d/2 + rand.N(d/2+1)
}

// Pause waits for d, or until ctx ends. False: ctx has ended.
func Pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
