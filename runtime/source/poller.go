package source

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/suuupra/gateway/internal/depot"
	"github.com/suuupra/gateway/schema/bundle"
)

// Config is what a Poller needs.
type Config struct {
	From Fetcher
	Pace Pace
	// Handle takes a bundle. Nil means that it is live: its ETag becomes the Last of the requests to come. After an error
	// the bundle is offered again with the next poll. Called by one goroutine at a time.
	Handle func(ctx context.Context, r *Received) error
	Have   func(bundle.Digest) ([]byte, bool)   // see Request
	Check  func(channel, manifest []byte) error // see Request
	Last   string                               // ETag of the bundle the gateway started with, if it is known
	Rand   func() float64                       // in [0, 1); nil is math/rand/v2
	Report func(s Status)                       // sees the status after each poll; may be nil
}

// Status is what a Poller has to say about itself.
type Status struct {
	LastRequest  time.Time // the last poll, whatever came of it
	LastAnswer   time.Time // the last poll the source answered, be it with "not modified"
	LastDownload time.Time // the last time a bundle came
	LastAccepted time.Time // the last time Handle took one
	ETag         string    // of that
	Err          error     // why the last poll brought nothing, nil if it did
	Stage        Stage     // where Err happened
	Since        time.Time // of the first of the failures in a row
	Failures     int       // in a row
	Next         time.Time // the next poll, unless somebody asks for one earlier
}

// Stage says who failed.
type Stage string

// The stages.
const (
	StageFetch  Stage = "fetch"  // the source did not answer
	StageVerify Stage = "verify" // it answered with something else than a bundle we may take
	StageHandle Stage = "handle" // the bundle was not accepted
)

// Poller asks a source at intervals, with jitter so that a fleet does not ask in step, backs off while it fails, does as
// Retry-After says, and asks at once when poked.
type Poller struct {
	config Config
	poke   chan struct{}

	mu     sync.Mutex
	status Status
}

// NewPoller returns a poller; Run makes it poll.
func NewPoller(c Config) *Poller {
	if c.Rand == nil {
		c.Rand = rand.Float64
	}
	return &Poller{config: c, poke: make(chan struct{}, 1), status: Status{ETag: c.Last}}
}

// Poke asks for a poll now: a webhook is a hint to look, and carries nothing itself. Pokes that come while a poll is
// running or due become one more poll.
func (p *Poller) Poke() {
	select {
	case p.poke <- struct{}{}:
	default:
	}
}

// Status returns the present status.
func (p *Poller) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

// Run polls until ctx ends. The first poll is at once.
func (p *Poller) Run(ctx context.Context) {
	for ctx.Err() == nil {
		wait, rest := p.poll(ctx)
		if !p.sleep(ctx, wait, rest) {
			return
		}
	}
}

// sleep waits for the next poll: wait unless poked, and never less than rest.
func (p *Poller) sleep(ctx context.Context, wait, rest time.Duration) bool {
	timer := time.NewTimer(rest)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	}
	timer.Reset(max(0, wait-rest))
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-p.poke:
	}
	return true
}

// poll asks once. It returns how long to wait, and how long to wait even when poked.
func (p *Poller) poll(ctx context.Context) (wait, rest time.Duration) {
	select {
	case <-p.poke: // this poll is what it asked for
	default:
	}
	s := p.Status()
	s.LastRequest = time.Now()
	r, err := p.config.From.Fetch(ctx, Request{Last: s.ETag, Have: p.config.Have, Check: p.config.Check})
	stage := StageFetch
	var refused *bundle.Error
	switch {
	case errors.Is(err, ErrNotModified):
		s.LastAnswer, err = time.Now(), nil
	case errors.As(err, &refused):
		s.LastAnswer, stage = time.Now(), StageVerify
	case err == nil:
		s.LastAnswer, s.LastDownload = time.Now(), time.Now()
		stage = StageHandle
		if err = p.config.Handle(ctx, r); err == nil {
			s.LastAccepted, s.ETag = time.Now(), r.ETag
		}
	}
	if ctx.Err() != nil {
		return 0, 0 // stopping is no failure of the source
	}
	wait, rest = p.account(&s, stage, err)
	s.Next = time.Now().Add(wait)
	p.mu.Lock()
	p.status = s
	p.mu.Unlock()
	if p.config.Report != nil {
		p.config.Report(s)
	}
	return wait, rest
}

// account notes the outcome of a poll and chooses the pause after it.
func (p *Poller) account(s *Status, stage Stage, err error) (wait, rest time.Duration) {
	pace := p.config.Pace
	wait, rest = pace.Interval, pace.Gap
	if err == nil {
		s.Err, s.Stage, s.Failures, s.Since = nil, "", 0, time.Time{}
		return p.jitter(wait), rest
	}
	if s.Failures == 0 {
		s.Since = time.Now()
	}
	s.Failures++
	s.Err, s.Stage = fmt.Errorf("%s bundle: %w", stage, err), stage
	// Only a source in trouble is left alone for longer. What it lacks or has wrong may be mended any moment.
	if stage == StageFetch && !errors.Is(err, ErrNotFound) {
		for range min(s.Failures-1, 32) { // the first failure changes nothing yet
			wait = min(2*wait, max(pace.Backoff, pace.Interval))
		}
	}
	wait = p.jitter(wait)
	var later *depot.Unavailable
	if errors.As(err, &later) && later.After > 0 {
		rest = later.After
		wait = max(wait, rest)
	}
	return wait, rest
}

// jitter moves a pause by up to a fifth, either way.
func (p *Poller) jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*p.config.Rand()))
}
