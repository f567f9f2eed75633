// Package exchange is the context of one request, whatever protocol carried it. It knows nothing of messages or connections.
package exchange

import (
	"context"
	"sync"
	"time"

	"github.com/suuupra/gateway/runtime/httpmsg"
)

// Context is the context of one request. It makes its Done channel only for those who ask, and has a slot for the one
// function that every forwarded request needs to be called on cancellation (httpmsg.CancelSlot). It is never reused: whoever
// kept it sees an exchange that is over.
type Context struct {
	base  context.Context
	began time.Time

	mu    sync.Mutex
	owner any
	why   *httpmsg.Error
	err   error
	done  chan struct{}
	slot  func()
	after map[*func()]struct{}
}

// New makes the context of an exchange that began at the moment given. Values are those of base; its end is not looked at.
func New(base context.Context, began time.Time) *Context { return &Context{base: base, began: began} }

// Began is the moment the exchange began.
func (x *Context) Began() time.Time { return x.began }

// closedChannel is what Done returns when the exchange was over before anybody asked.
var closedChannel = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Deadline implements context.Context: there is none.
func (x *Context) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value implements context.Context.
func (x *Context) Value(key any) any { return x.base.Value(key) }

// Err implements context.Context.
func (x *Context) Err() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.err
}

// Done implements context.Context.
func (x *Context) Done() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done == nil {
		if x.err != nil {
			return closedChannel
		}
		x.done = make(chan struct{})
	}
	return x.done
}

// OnCancel implements httpmsg.CancelSlot.
func (x *Context) OnCancel(f func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err != nil && f != nil {
		f()
		return
	}
	x.slot = f
}

// AfterFunc lets contexts derived from this one follow it without a goroutine each; package context looks for it.
func (x *Context) AfterFunc(f func()) (stop func() bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err != nil {
		go f()
		return func() bool { return false }
	}
	if x.after == nil {
		x.after = map[*func()]struct{}{}
	}
	key := &f
	x.after[key] = struct{}{}
	return func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		_, waiting := x.after[key]
		delete(x.after, key)
		return waiting
	}
}

// Bind implements httpmsg.Bond.
func (x *Context) Bind(owner any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.owner = owner
}

// Owner is what Bind was given last; nil before.
func (x *Context) Owner() any {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.owner
}

// Why implements httpmsg.Bond.
func (x *Context) Why() *httpmsg.Error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.why
}

// Cancel ends the exchange: its client has gone, or it is over.
func (x *Context) Cancel() { x.End(nil) }

// End ends the exchange, because of what why says; nil: as Cancel does. The slot's function runs under the lock, so that OnCancel(nil)
// waits for it.
func (x *Context) End(why *httpmsg.Error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err != nil {
		return
	}
	x.err, x.why = context.Canceled, why
	if x.slot != nil {
		x.slot()
		x.slot = nil
	}
	if x.done != nil {
		close(x.done)
	}
	for f := range x.after {
		go (*f)()
	}
	x.after = nil
}
