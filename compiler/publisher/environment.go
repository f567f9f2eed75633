package publisher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/suuupra/gateway/internal/depot"
	"github.com/suuupra/gateway/internal/gate"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
)

// environment is one environment, and how far the head has come in it. It is for the goroutine of Run; others see status copies.
type environment struct {
	p    *Publisher
	name string
	log  *slog.Logger

	now       *published  // nil before the first look
	candidate *candidate  // of the last head that could be compiled
	broken    brokenBuild // of the last head that could not
	compared  gate.Change // the last comparison: one is asked for again with each look while a candidate is held
	proposed  bundle.Digest

	tried    string    // head of the last step
	failures int       // in a row
	again    time.Time // when the next step is due, whatever the head
	err      error     // of the last step
	told     string    // what was last said about the state
	status   Environment
}

// candidate is what a head compiles to. One that does not compile, or fails its tests, is not tried again.
type candidate struct {
	commit   string
	bundle   *bundle.Bundle // nil: it does not compile
	program  *ir.Program
	mistakes int
	text     string
}

// brokenBuild is a compilation without an answer.
type brokenBuild struct {
	commit string
	count  int
	again  time.Time
	err    error
}

// failure is what keeps a step from an end, other than the head.
type failure struct {
	reason string // the label of the metric
	err    error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// failed gives an error its reason, unless it has one.
func failed(reason string, err error) error {
	var refusal *bundle.Error
	switch {
	case err == nil, errors.As(err, new(*failure)), errors.Is(err, errMoved):
		return err
	case errors.As(err, &refusal):
		reason = "trust"
	case errors.Is(err, depot.ErrConflict):
		reason = "conflict"
	}
	return &failure{reason, err}
}

// Reasons lists the reasons of failures, as the metric has them.
func Reasons() []string {
	return []string{"repository", "keys", "compile", "destination", "trust", "conflict", "invalid", "tests"}
}

// errMoved is a push in the middle of a step.
var errMoved = errors.New("the branch moved in the middle of the round")

// due reports whether there is something to do.
func (e *environment) due() bool {
	return e.tried != e.p.head.Commit || !e.p.opts.Now().Before(e.again)
}

// step brings the environment as far as it gets. It reports whether the branch moved in between.
func (e *environment) step(ctx context.Context) (moved bool) {
	head := e.p.head.Commit
	next := Environment{Environment: e.name, State: Pending, Head: head}
	err := e.decide(ctx, &next)
	if errors.Is(err, errMoved) {
		return true
	}
	e.tried = head
	if errors.Is(ctx.Err(), context.Canceled) {
		return false // being stopped says nothing
	}
	e.account(&next, err)
	return false
}

// conflicts is how often a step begins again because somebody else published in between.
const conflicts = 4

func (e *environment) decide(ctx context.Context, next *Environment) error {
	keys, err := e.p.opts.Keys()
	if err != nil {
		return failed("keys", err)
	}
	built := e.build(ctx)
	for range conflicts {
		var now *published
		if now, err = e.look(ctx, keys); err != nil {
			return failed("destination", fmt.Errorf("read what is published: %w", err))
		}
		e.now = now
		if err = e.advance(ctx, keys, next, built); !errors.Is(err, depot.ErrConflict) {
			break
		}
	}
	if errors.Is(err, errMoved) {
		return err
	}
	renewed := e.renew(ctx, keys) // whatever has become of the head
	return failed("destination", cmp.Or(err, renewed))
}

// build compiles the head, once. What breaks off is tried again later, and for each new head at once.
func (e *environment) build(ctx context.Context) error {
	head := e.p.head.Commit
	switch {
	case head == "", e.candidate != nil && e.candidate.commit == head:
		return nil
	case e.broken.commit == head && e.p.opts.Now().Before(e.broken.again):
		return e.broken.err
	case e.broken.commit != head:
		e.broken = brokenBuild{commit: head}
	}
	c, err := e.compile(ctx, head)
	if err == nil {
		e.candidate, e.broken, e.compared, e.proposed = c, brokenBuild{}, gate.Change{}, ""
		return nil
	}
	if ctx.Err() != nil {
		return err
	}
	e.broken.count++
	e.broken.again = e.p.opts.Now().Add(e.p.backOff(e.broken.count, firstCompileRetry, longestCompileRetry))
	e.broken.err = failed("compile", fmt.Errorf("compile commit %s: %w", head, err))
	e.p.opts.Failed(e.name, "compile")
	e.p.broken = e.broken.count > 1
	return e.broken.err
}

func (e *environment) compile(ctx context.Context, commit string) (*candidate, error) {
	o := &e.p.opts
	there, err := o.Clone.HasFolder(commit, o.Subdirectory)
	if err != nil {
		return nil, err
	}
	out := Compiled{Mistakes: 1, Text: fmt.Sprintf("the folder %q is not in commit %s", o.Subdirectory, commit)}
	if there {
		if out, err = o.Compile(ctx, Job{o.Clone.GitDir(), commit, o.Subdirectory, e.name}); err != nil {
			return nil, err
		}
	}
	c := &candidate{commit: commit, bundle: out.Bundle, mistakes: out.Mistakes, text: out.Text}
	if out.Bundle == nil {
		e.p.opts.Failed(e.name, "invalid")
		return c, nil
	}
	if m := &out.Bundle.Manifest; m.Environment != e.name || m.Source.Commit != commit || m.Source.Dirty {
		return nil, fmt.Errorf("the compiler made a bundle of commit %s for %s", m.Source.Commit, m.Environment)
	}
	if out.Mistakes > 0 {
		e.p.opts.Failed(e.name, "tests")
	}
	c.program, err = ir.Unpack(out.Bundle)
	return c, err
}

// account notes the outcome of a step, says what is new, and when the next one is due.
func (e *environment) account(next *Environment, err error) {
	now := e.p.opts.Now().UTC()
	e.err, e.again = err, now.Add(e.jitter(e.p.opts.Interval))
	if e.now != nil {
		next.Published = e.now.publication()
	}
	var f *failure
	switch {
	case errors.As(err, &f):
		e.fail(next, f, now)
	default:
		e.failures = 0
		for i := range next.Rules {
			if at := next.Rules[i].Opens; at != nil && at.After(now) && at.Before(e.again) {
				e.again = *at
			}
		}
	}
	if next.Since = e.status.Since; next.State != e.status.State || next.Head != e.status.Head {
		next.Since = now
	}
	e.status = *next
	e.p.update(func(s *Status) {
		for i := range s.Environments {
			if s.Environments[i].Environment == e.name {
				s.Environments[i] = *next
			}
		}
	})
	e.tell(next)
}

func (e *environment) fail(next *Environment, f *failure, now time.Time) {
	next.State, next.Reason, next.Error = Failed, f.reason, f.Error()
	again := e.broken.again
	if f.reason != "compile" { // which is counted when it happens, not when it is met again
		e.failures++
		e.p.opts.Failed(e.name, f.reason)
		wait := e.p.backOff(e.failures, firstRetry, longestRetry)
		if away := (*depot.Unavailable)(nil); errors.As(f.err, &away) {
			wait = max(wait, away.After)
		}
		again = now.Add(wait)
		e.again = again
	} else if again.Before(e.again) {
		e.again = again
	}
	again = again.UTC()
	next.NextTry = &again
}

func (e *environment) jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*e.p.opts.Rand()))
}
