package webhook

import (
	"context"
	"time"
)

// Debounce is how long hints are collected before they make somebody look.
const Debounce = 2 * time.Second

// Debouncer turns hints, however many, into few looks: the first of them starts a wait, at the end of which one look answers
// all that came until then. Hints that come while somebody looks make one more look. A stream of hints cannot put a look off.
type Debouncer struct {
	wait    time.Duration
	trigger func(context.Context)
	hint    chan struct{}
}

// NewDebouncer returns a debouncer; Run makes it work. trigger is called by one goroutine at a time.
func NewDebouncer(wait time.Duration, trigger func(context.Context)) *Debouncer {
	return &Debouncer{wait: wait, trigger: trigger, hint: make(chan struct{}, 1)}
}

// Hint asks for a look. It returns at once.
func (d *Debouncer) Hint() {
	select {
	case d.hint <- struct{}{}:
	default:
	}
}

// Run answers hints until ctx ends.
func (d *Debouncer) Run(ctx context.Context) {
	timer := time.NewTimer(d.wait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.hint:
		}
		timer.Reset(d.wait)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		select {
		case <-d.hint: // the look to come answers it
		default:
		}
		d.trigger(ctx)
	}
}
