package redisstate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/suuupra/gateway/runtime/policy"
)

// reason is why a call failed, for metrics.
type reason string

const (
	reasonTimeout  reason = "timeout"
	reasonRefused  reason = "refused" // or cut off
	reasonAuth     reason = "auth"
	reasonReadonly reason = "readonly"
	reasonOOM      reason = "oom"
	reasonLoading  reason = "loading"
	reasonOther    reason = "other"
	reasonPaused   reason = "paused"
)

var reasons = []reason{reasonTimeout, reasonRefused, reasonAuth, reasonReadonly, reasonOOM, reasonLoading, reasonOther, reasonPaused}

// replies are the words in an error reply which say that the server cannot do its work now, whatever it is asked. Before version 7
// what a command says inside a script stands in the middle of the reply.
var replies = []struct {
	word   string
	reason reason
}{
	{"NOAUTH ", reasonAuth},
	{"WRONGPASS ", reasonAuth},
	{"invalid password", reasonAuth}, // before version 6
	{"READONLY ", reasonReadonly},
	{"OOM ", reasonOOM},
	{"LOADING ", reasonLoading},
	{"MASTERDOWN ", reasonLoading},
	{"CLUSTERDOWN ", reasonLoading},
	{"BUSY ", reasonOther},
	{"MISCONF ", reasonOther},
	{"NOREPLICAS ", reasonOther},
	{"max number of clients", reasonOther},
}

// classify says why a call failed, and whether the next one would as well: not if the server answered, only that it will not do this.
func classify(err error) (why reason, away bool) {
	if reply := redis.Error(nil); errors.As(err, &reply) {
		text := reply.Error()
		for _, r := range replies {
			if strings.Contains(text, r.word) {
				return r.reason, true
			}
		}
		return reasonOther, false
	}
	var timeout net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, redis.ErrPoolTimeout),
		errors.As(err, &timeout) && timeout.Timeout():
		return reasonTimeout, true
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF):
		return reasonRefused, true
	}
	return reasonOther, true
}

// awayError is policy.ErrStateAway with its cause. It does not wrap the cause, whose text may hold what must not be told: a server
// that does not know the command AUTH quotes its arguments.
type awayError struct {
	why  reason
	text string
}

func (e *awayError) Error() string        { return policy.ErrStateAway.Error() + ": " + e.text }
func (e *awayError) Is(target error) bool { return target == policy.ErrStateAway }

var errPaused = fmt.Errorf("%w: it is not asked for a moment, after too many failures", policy.ErrStateAway)

// call makes one call: within the budget, not at all while the breaker is open, and judged. ask may return redis.Nil.
func (c *Client) call(ctx context.Context, budget time.Duration, s callSeries, ask func(context.Context) error) error {
	if c.breaker.open.Load() {
		c.metrics.errors[reasonPaused].Add(1)
		return errPaused
	}
	inner, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	start := time.Now()
	err := guarded(func() error { return ask(inner) })
	s.calls.Add(1)
	s.seconds.Add(time.Since(start).Seconds())
	return c.judge(ctx, err)
}

// guarded makes an error of a panic. The driver trusts the server to keep to the protocol, and panics in some places where it does not:
// a gateway must not end because of what a server says.
func guarded(ask func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the server does not keep to the protocol: %v", v)
		}
	}()
	return ask()
}

// judge counts how a call went, and turns what the driver says into what callers may see.
func (c *Client) judge(ctx context.Context, err error) error {
	if err == nil || errors.Is(err, redis.Nil) {
		c.succeeded()
		return err
	}
	if ctx.Err() != nil { // whoever asked has left, or had less time than the budget: that says nothing about Redis
		return fmt.Errorf("%w: %w", policy.ErrStateAway, context.Cause(ctx))
	}
	why, away := classify(err)
	c.metrics.errors[why].Add(1)
	e := &awayError{why: why, text: c.scrub(err)}
	if away {
		c.failed(e)
	} else {
		c.refused(e)
	}
	return e
}

// scrub is the text of an error without passwords, and not longer than people read.
func (c *Client) scrub(err error) string {
	text := err.Error()
	for _, secret := range c.at.secrets() {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[redacted]")
		}
	}
	if len(text) > 256 {
		text = text[:256] + "..."
	}
	return text
}

// once is a command that the driver must not send again by itself. A call whose answer was lost may have taken its tokens; sent
// again it would take them twice. Only the client for clusters has to be told: there MaxRetries is about something else.
type once struct{ redis.Cmder }

// NoRetry implements redis.Cmder.
func (once) NoRetry() bool { return true }
