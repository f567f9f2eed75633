// Package publisher keeps what is published for some environments at what one branch of a repository says. It compiles each new head
// once, in whatever process it is handed, and publishes what the gates let pass; what they hold it proposes, and asks again until
// somebody approves, a window opens or the head moves on. It renews channels before they expire.
//
// It remembers nothing that it could not read again: the branch and the destination are all there is, so that it may be killed at any
// moment, and a second one beside it does no harm. It must not decide what a gate decides, nor lift a hold.
package publisher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/suuupra/gateway/compiler/publish"
	"github.com/suuupra/gateway/internal/depot"
	"github.com/suuupra/gateway/internal/gate"
	"github.com/suuupra/gateway/internal/gitclone"
	"github.com/suuupra/gateway/internal/gitwatch"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
)

// DefaultInterval is how often the destination is asked for approvals, holds and other publishers, ±20 %.
const DefaultInterval = 30 * time.Second

const (
	firstRetry   = 2 * time.Second // after a failure of a server
	longestRetry = 5 * time.Minute
	// A compilation that broke off is repeated, ever less often: one commit that takes a minute to fail must not keep a processor
	// busy for good.
	firstCompileRetry   = time.Minute
	longestCompileRetry = time.Hour
	stepTimeout         = 15 * time.Minute // of one environment in one round, whatever servers do
)

// Job is one compilation.
type Job struct{ GitDir, Commit, Subdirectory, Environment string }

// Compiled is what came of a Job.
type Compiled struct {
	Bundle   *bundle.Bundle // unsigned; nil: the commit does not compile
	Mistakes int            // in the configuration; beside a bundle: tests that fail
	Text     string         // the first of them, for people
}

// Keys are what a publication is signed with and verified by.
type Keys struct {
	Release, Channel bundle.Signer
	Trust            *bundle.Trust
}

// Options are the settings of a Publisher.
type Options struct {
	Clone        *gitclone.Clone
	Subdirectory string   // of the repository that holds the configuration; empty is its root
	Environments []string // at least one, each once
	To           depot.Writer
	Place        string // To, as people write it and without credentials

	// Compile compiles a commit. An error says that there is no answer about it; a commit with mistakes is no error.
	Compile func(context.Context, Job) (Compiled, error)
	Compare func(before, after *ir.Program) gate.Change
	Keys    func() (*Keys, error) // asked for anew each time, so that a rotation needs no restart

	Lifetime time.Duration // of channels, which are renewed at half of it; 0 is publish.DefaultLifetime
	Interval time.Duration // 0 is DefaultInterval

	Told   func(Event)                      // hears what became of each commit, once; may be nil
	Failed func(environment, reason string) // counts; the environment is empty for what all share. May be nil
	Log    *slog.Logger                     // nil drops everything
	Now    func() time.Time                 // nil is time.Now
	Rand   func() float64                   // jitter, [0,1); nil is math/rand
}

// Publisher publishes. Run or Once is called by one goroutine; the other methods may be called by any.
type Publisher struct {
	opts         Options
	log          *slog.Logger
	environments []*environment
	wake         chan struct{}

	// The repository, as this process last saw it. For the goroutine of Run.
	head     gitclone.Head
	failures int       // to fetch, in a row
	again    time.Time // when to fetch after a failure
	broken   bool      // the clone may be what keeps a head from being compiled

	mu      sync.Mutex
	moved   bool   // the branch may be elsewhere than head
	sighted string // the head that somebody has seen last
	answers bool   // and that is news: the repository is well, whatever came of the last fetch
	status  Status
}

// New judges the options. It opens no connection.
func New(o Options) (*Publisher, error) {
	if o.Clone == nil || o.To == nil || o.Compile == nil || o.Compare == nil || o.Keys == nil || len(o.Environments) == 0 {
		return nil, errors.New("publisher: Clone, To, Compile, Compare, Keys and Environments must be set")
	}
	o.Lifetime = cmp.Or(o.Lifetime, publish.DefaultLifetime)
	if o.Lifetime < publish.MinLifetime {
		return nil, fmt.Errorf("publisher: channels that are valid for %s would expire before gateways see them", o.Lifetime)
	}
	if o.Interval <= 0 {
		o.Interval = DefaultInterval
	}
	if o.Told == nil {
		o.Told = func(Event) {}
	}
	if o.Failed == nil {
		o.Failed = func(string, string) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Float64
	}
	p := &Publisher{opts: o, log: o.Log, wake: make(chan struct{}, 1), moved: true}
	p.status = Status{Repository: o.Clone.Address(), Subdirectory: o.Subdirectory, To: o.Place}
	known := map[string]bool{}
	for _, name := range o.Environments {
		if !bundle.IsEnvironment(name) || known[name] {
			return nil, fmt.Errorf("publisher: environment %.80q is no name of one, or is there twice", name)
		}
		known[name] = true
		e := &environment{p: p, name: name, log: o.Log.With("environment", name)}
		e.status = Environment{Environment: name, State: Pending, Since: o.Now().UTC()}
		p.environments = append(p.environments, e)
		p.status.Environments = append(p.status.Environments, e.status)
	}
	return p, nil
}

// Moved says that somebody has seen the branch at a commit. It returns at once.
func (p *Publisher) Moved(commit string) {
	p.mu.Lock()
	if p.status.Head == nil || p.status.Head.Commit != commit {
		p.moved, p.answers, p.sighted = true, p.answers || p.sighted != commit, commit
	}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Run publishes until ctx ends.
func (p *Publisher) Run(ctx context.Context) {
	for ctx.Err() == nil {
		p.round(ctx)
		if !p.pause(ctx) {
			return
		}
	}
}

// Once makes one round. The error tells what could not be done; what was decided is in Status.
func (p *Publisher) Once(ctx context.Context) error {
	errs := []error{p.round(ctx)}
	for _, e := range p.environments {
		if e.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", e.name, e.err))
		}
	}
	return errors.Join(errs...)
}

// round brings every environment that is due as far as it gets.
func (p *Publisher) round(ctx context.Context) error {
	err := p.fetch(ctx)
	for i := 0; i < len(p.environments) && ctx.Err() == nil; i++ {
		e := p.environments[i]
		if !e.due() {
			continue
		}
		step, cancel := context.WithTimeout(ctx, stepTimeout)
		moved := e.step(step)
		cancel()
		switch {
		case moved: // a push in between: nobody wants the older head any more
			err, i = p.fetch(ctx), -1
		case p.broken:
			err = p.fetchAnew(ctx)
		}
	}
	return err
}

// fetchAnew makes the clone anew.
func (p *Publisher) fetchAnew(ctx context.Context) error {
	p.broken = false
	if err := p.opts.Clone.Discard(); err != nil {
		p.log.Warn("the clone of the repository cannot be made anew", "error", err)
		return err
	}
	p.update(func(*Status) { p.moved = true })
	return p.fetch(ctx)
}

// fetch brings the head of the branch, if it may have moved.
func (p *Publisher) fetch(ctx context.Context) error {
	p.mu.Lock()
	needed := p.moved && (p.answers || !p.opts.Now().Before(p.again))
	if needed {
		p.moved, p.answers = false, false // a push from here on is another one
	}
	p.mu.Unlock()
	if !needed {
		return nil
	}
	head, err := p.opts.Clone.Fetch(ctx)
	if ctx.Err() != nil {
		return ctx.Err() // being stopped says nothing about the repository
	}
	now := p.opts.Now().UTC()
	if err != nil {
		p.failures++
		wait := p.backOff(p.failures, firstRetry, longestRetry)
		if later := (*gitwatch.Later)(nil); errors.As(err, &later) {
			wait = max(wait, later.After)
		}
		p.again = now.Add(wait)
		p.opts.Failed("", "repository")
		if p.failures == 1 {
			p.log.Warn("the repository cannot be fetched; what is published stays, and it is tried again", "error", err)
		}
		p.update(func(s *Status) {
			p.moved = true
			s.Error = err.Error()
			if s.ErrorSince == nil {
				s.ErrorSince = &now
			}
		})
		return err
	}
	if p.failures > 0 {
		p.log.Info("the repository can be fetched again", "failures", p.failures)
	}
	p.failures, p.again = 0, time.Time{}
	if head != p.head {
		p.log.Info("new head", "ref", head.Ref, "commit", head.Commit)
	}
	p.head = head
	p.update(func(s *Status) {
		s.Error, s.ErrorSince, s.FetchedAt = "", nil, &now
		if s.Ref = head.Ref; s.Head == nil || s.Head.Commit != head.Commit {
			s.Head = &Head{Commit: head.Commit, Seen: now}
		}
	})
	return nil
}

// backOff is how long to wait after so many failures in a row.
func (p *Publisher) backOff(failures int, first, longest time.Duration) time.Duration {
	d := min(longest, first<<min(failures-1, 16))
	return time.Duration(float64(d) * (0.8 + 0.4*p.opts.Rand()))
}

// pause waits until something is due, or somebody has seen the branch move.
func (p *Publisher) pause(ctx context.Context) bool {
	now := p.opts.Now()
	next := now.Add(p.opts.Interval)
	if p.failures > 0 && p.again.Before(next) {
		next = p.again
	}
	for _, e := range p.environments {
		switch {
		case e.due():
			next = now
		case e.again.Before(next):
			next = e.again
		}
	}
	timer := time.NewTimer(next.Sub(now))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-p.wake:
	}
	return true
}
