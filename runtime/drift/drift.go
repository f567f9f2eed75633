// Package drift compares what runs with what the git repository says: which commits are missing, which files changed, and
// whether any of that changes the compiled content. It only reads and reports. It must not activate anything, must not
// compile by itself (the compiler is injected, and belongs in a process of its own), and keeps the types of go-git inside.
package drift

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/suuupra/gateway/internal/gitwatch"
	"github.com/suuupra/gateway/runtime/telemetry"
)

const (
	defaultInterval = time.Minute
	minSpacing      = 2 * time.Second // between checks that were asked for by Trigger
)

// Compiled is the outcome of compiling one commit.
type Compiled struct {
	ContentDigest string // of the content, as the manifest has it; empty if the commit does not compile
	Diagnostics   int    // errors
	Text          string // the first of them, for people
}

// Running is what serves at the moment. All fields are empty before the first activation.
type Running struct {
	Commit        string
	ContentDigest string
	Environment   string
	Dirty         bool // built from a work tree that was not committed
}

// Options are the settings of a Watcher.
type Options struct {
	// Repository is an https or ssh URL, http to a loopback address, or a directory. A name and password may stand in the
	// URL; they show nowhere.
	Repository   string
	Ref          string        // branch or tag; empty is HEAD
	Subdirectory string        // of the repository that holds the configuration; empty is its root
	WorkDir      string        // keeps the clone of a remote repository, for one process; empty is a temporary one
	Interval     time.Duration // between two checks, ±20 %; 0 is a minute
	Token        string        // password for https where the URL has none (GWRUN_GIT_TOKEN)

	// Compile compiles a commit of the repository that lies in gitDir. An error says that it could not be tried; a commit
	// with mistakes is a Compiled without digest.
	Compile func(ctx context.Context, gitDir, commit, subdirectory, environment string) (Compiled, error)
	Running func() Running
	Report  func(Report) // called after each check, one at a time; may be nil
	Metrics Metrics      // may be nil

	Now  func() time.Time // nil is time.Now
	Rand func() float64   // jitter, [0,1); nil is math/rand
	Log  *slog.Logger     // nil drops everything
}

// Metrics takes the outcome of each check that could be made. *telemetry.Metrics is one.
type Metrics interface{ DriftChecked(telemetry.Drift) }

// Watcher compares, at an interval or when asked to. It is safe for concurrent use.
type Watcher struct {
	opts    Options
	origin  origin
	subdir  string
	secrets []string
	temp    string // to remove
	trigger chan struct{}
	turn    chan struct{} // a token for the one check that may run
	cache   compileCache  // guarded by turn
	lastTip *tip          // guarded by turn
	lastKey key           // guarded by turn

	mu     sync.Mutex
	report Report
	rest   time.Duration // what the server asked for with the last answer
}

// New judges the options. It opens no connection.
func New(o Options) (*Watcher, error) {
	if o.Compile == nil || o.Running == nil {
		return nil, errors.New("drift: Compile and Running must be set")
	}
	if o.Interval <= 0 {
		o.Interval = defaultInterval
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Float64
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	w := &Watcher{opts: o, trigger: make(chan struct{}, 1), turn: make(chan struct{}, 1)}
	a, err := gitwatch.ParseAddress(o.Repository)
	if err != nil {
		return nil, fmt.Errorf("drift repository: %w", err)
	}
	names, err := gitwatch.ParseRef(o.Ref)
	if err != nil {
		return nil, fmt.Errorf("drift %w", err)
	}
	if w.subdir, err = parseSubdirectory(o.Subdirectory); err != nil {
		return nil, fmt.Errorf("drift %w", err)
	}
	w.secrets = gitwatch.Spellings(a.Password(), o.Token)
	if dir, ok := a.Directory(); ok {
		w.origin = &directory{dir: dir, names: names}
	} else {
		work, err := w.workDir()
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256([]byte(a.String()))
		dir := filepath.Join(work, "drift-"+hex.EncodeToString(sum[:8])+".git")
		if w.origin, err = newRemote(a, o.Token, dir, names, usualLimits()); err != nil {
			return nil, fmt.Errorf("drift repository: %w", err)
		}
	}
	w.report = Report{
		Repository: a.String(), Ref: names[0].String(), Subdirectory: w.subdir, State: Unknown, Since: o.Now().UTC(),
		CommitsBehind: -1, CommitsAhead: -1, ContentDiffers: Maybe, Files: []File{},
	}
	return w, nil
}

func (w *Watcher) workDir() (string, error) {
	if dir := w.opts.WorkDir; dir != "" {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", fmt.Errorf("drift work directory: %w", err)
		}
		return filepath.Abs(dir)
	}
	dir, err := os.MkdirTemp("", "gwrun-drift-")
	if err != nil {
		return "", fmt.Errorf("drift work directory: %w", err)
	}
	w.temp = dir
	return dir, nil
}

// Close removes the temporary clone. Call it when Run has returned.
func (w *Watcher) Close() error {
	w.origin.rest()
	if w.temp == "" {
		return nil
	}
	return os.RemoveAll(w.temp)
}

// Last returns the report of the last check, or one with the state unknown before the first.
func (w *Watcher) Last() Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.report
}

// Trigger asks for a check soon: after an activation, or when a webhook hints at a push. Many of them make one check.
func (w *Watcher) Trigger() {
	select {
	case w.trigger <- struct{}{}:
	default:
	}
}

// Run checks at once and then at the interval, until ctx ends. While the repository cannot be read, it asks ever less
// often, down to once in five minutes.
func (w *Watcher) Run(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		select {
		case <-w.trigger: // the check to come answers it
		default:
		}
		if r := w.Check(ctx); r.Stale {
			failures++
		} else {
			failures = 0
		}
		if wait, rest := w.pace(failures); !w.pause(ctx, wait, rest) {
			return
		}
	}
}

// pace says how long to wait for the next check, and how long even when one is asked for.
func (w *Watcher) pace(failures int) (wait, rest time.Duration) {
	wait = gitwatch.Pause(w.opts.Interval, failures, w.opts.Rand())
	w.mu.Lock()
	defer w.mu.Unlock()
	return max(wait, w.rest), max(min(minSpacing, wait), w.rest)
}

// pause waits for the next check: for d, or for a trigger, but never less than rest.
func (w *Watcher) pause(ctx context.Context, d, rest time.Duration) bool {
	spacing := time.NewTimer(rest)
	defer spacing.Stop()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	case <-w.trigger:
	}
	select {
	case <-ctx.Done():
		return false
	case <-spacing.C:
		return true
	}
}

// Check compares now and returns the report. Only one check runs at a time; others wait for their turn.
func (w *Watcher) Check(ctx context.Context) Report {
	select {
	case w.turn <- struct{}{}:
	case <-ctx.Done():
		return w.Last()
	}
	defer func() { <-w.turn }()
	defer w.origin.rest()
	running, last := w.opts.Running(), w.Last()
	next, err := w.compare(ctx, running, last)
	if ctx.Err() != nil {
		return last // being stopped says nothing about the repository
	}
	now := w.opts.Now().UTC()
	w.heed(err)
	if err != nil {
		next.Error, next.Stale = gitwatch.Redact(err, w.secrets), true
		if !last.Stale {
			next.StaleSince = &now
		}
	} else {
		next.CheckedAt, next.Stale, next.StaleSince = now, false, nil
	}
	if next.State != last.State {
		next.Since = now
	}
	w.publish(last, next)
	return next
}

// heed keeps what a server asked for with Retry-After.
func (w *Watcher) heed(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest = 0
	var later *gitwatch.Later
	if errors.As(err, &later) {
		w.rest = later.After
	}
}

func (w *Watcher) publish(last, next Report) {
	w.mu.Lock()
	w.report = next
	w.mu.Unlock()
	log := w.opts.Log.With("repository", next.Repository, "ref", next.Ref)
	switch {
	case next.Error != "" && next.Error != last.Error:
		log.Warn("drift check failed", "error", next.Error, "stale", next.Stale)
	case next.Error == "" && last.Error != "":
		log.Info("drift check works again")
	}
	if next.State != last.State {
		log.Info("drift state changed", "state", string(next.State), "was", string(last.State),
			"head", next.Head, "running", next.Running, "behind", next.CommitsBehind)
	}
	if w.opts.Metrics != nil && !next.Stale {
		w.opts.Metrics.DriftChecked(next.Metrics())
	}
	if w.opts.Report != nil {
		w.opts.Report(next)
	}
}
