// Package source brings bundles to a gateway: it asks a folder, a .gwb file, a web server, a git branch or a registry for
// the current bundle of an environment, again and again, and hands over exactly the bytes it received. It must not judge
// them: whoever takes them verifies them first. Nor does it keep them; that is for package state.
package source

import (
	"context"
	"fmt"
	"time"

	"github.com/suuupra/gateway/internal/depot"
	"github.com/suuupra/gateway/schema/bundle"
)

// ErrNotModified says that the channel is still the one of the ETag that was given.
var ErrNotModified = depot.ErrNotModified

// ErrNotFound says that there is nothing at the source for this environment.
var ErrNotFound = depot.ErrNotFound

// Request says what the caller has already.
type Request struct {
	// Last is the ETag of the bundle that was last activated, not of one that was merely fetched: a candidate that failed
	// is offered again.
	Last string
	// Have returns a blob the caller holds, so that it is not fetched. May be nil.
	Have func(bundle.Digest) ([]byte, bool)
	// Check sees channel and manifest before any shard is fetched, so that nobody makes us download what we would refuse.
	// May be nil.
	Check func(channel, manifest []byte) error
}

// Received is a bundle as it came.
type Received = depot.Received

// Fetcher is where a Poller gets bundles from. Source is one.
type Fetcher interface {
	// Fetch returns the current bundle, or ErrNotModified.
	Fetch(ctx context.Context, r Request) (*Received, error)
}

// Options say how to reach a source.
type Options struct {
	Credentials depot.Credentials
	UserAgent   string
}

// Source is one place and one environment.
type Source struct {
	depot       depot.Depot
	location    depot.Location
	environment string
}

// Open reads where (see depot.ParseLocation for the forms) without connecting to it.
func Open(where, environment string, o Options) (*Source, error) {
	l, err := depot.ParseLocation(where)
	if err != nil {
		return nil, err
	}
	if environment != "" && !bundle.IsEnvironment(environment) {
		return nil, fmt.Errorf("open bundle source: %q is not the name of an environment", environment)
	}
	d, err := depot.Open(l, depot.Options{Credentials: o.Credentials, UserAgent: o.UserAgent})
	if err != nil {
		return nil, err
	}
	return &Source{depot: d, location: l, environment: environment}, nil
}

// Fetch reads the current bundle. It makes one small request if nothing changed.
func (s *Source) Fetch(ctx context.Context, r Request) (*Received, error) {
	return depot.Fetch(ctx, s.depot, depot.Request{
		Environment: s.environment, Bundle: s.location.Bundle, Last: r.Last, Have: r.Have, Check: r.Check,
	})
}

// Approvals reads the approvals that lie at the source for the environment. None of them is verified.
func (s *Source) Approvals(ctx context.Context) ([][]byte, error) {
	view, err := s.depot.Look(ctx, s.environment, "")
	if err != nil {
		return nil, fmt.Errorf("read approvals: %w", err)
	}
	envelopes, _, err := depot.Approvals(ctx, view, s.environment)
	if err != nil {
		return nil, fmt.Errorf("read approvals: %w", err)
	}
	return envelopes, nil
}

// String returns the location, without credentials.
func (s *Source) String() string { return s.location.String() }

// Local reports whether the source is a file or folder, which costs next to nothing to ask.
func (s *Source) Local() bool {
	return s.location.Kind == depot.Files || s.location.Kind == depot.Archive
}

// Close releases connections.
func (s *Source) Close() error { return s.depot.Close() }

// Pace says how often a source is asked.
type Pace struct {
	Interval time.Duration // between two polls, give or take a fifth
	Backoff  time.Duration // the longest wait between two polls that fail
	Gap      time.Duration // the shortest wait before a poll that was asked for
}

// Pace returns 1 s for files, so that a change is live within 2 s, and 30 s with a backoff to 5 min for anything else.
func (s *Source) Pace() Pace {
	if s.Local() {
		return Pace{Interval: time.Second, Backoff: time.Second, Gap: 50 * time.Millisecond}
	}
	return Pace{Interval: 30 * time.Second, Backoff: 5 * time.Minute, Gap: time.Second}
}
