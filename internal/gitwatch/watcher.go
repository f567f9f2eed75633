package gitwatch

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// Watch is one ref of a repository.
type Watch struct {
	watcher  *watcher
	names    []plumbing.ReferenceName
	interval time.Duration
	report   func(Head)

	mu     sync.Mutex
	status Status
}

// Poke asks for a look now: a webhook is a hint, and carries nothing itself. Pokes that come while a look is running or due
// make one more, not sooner than a second after it. A server that asked to be left alone for longer is.
func (w *Watch) Poke() {
	select {
	case w.watcher.poke <- struct{}{}:
	default:
	}
}

// Status returns the present status.
func (w *Watch) Status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status
}

// Close ends the watch. It is idempotent, and may be called from Head.
func (w *Watch) Close() { w.watcher.pool.leave(w) }

// watcher asks one repository for all who watch it.
type watcher struct {
	pool    *Pool
	key     key
	see     sight
	cancel  context.CancelFunc
	poke    chan struct{}
	secrets []string
	log     *slog.Logger

	mu      sync.Mutex
	watches map[*Watch]struct{}
}

func (w *watcher) join(one *Watch) {
	w.mu.Lock()
	w.watches[one] = struct{}{}
	w.mu.Unlock()
	one.Poke() // it wants to know now, not when the others would look again
}

// part reports whether the last watch has left.
func (w *watcher) part(one *Watch) (last bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.watches, one)
	return len(w.watches) == 0
}

// present returns the watches, and the shortest interval among them.
func (w *watcher) present() ([]*Watch, time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all, interval := make([]*Watch, 0, len(w.watches)), maxBackOff
	for one := range w.watches {
		all = append(all, one)
		if len(all) == 1 || one.interval < interval {
			interval = one.interval
		}
	}
	return all, interval
}

func (w *watcher) run(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		select {
		case <-w.poke: // the look to come answers it
		default:
		}
		at, before := time.Now(), failures
		found, err := w.see.look(ctx)
		w.see.rest() // a connection that is kept would be kept by the server too
		if ctx.Err() != nil {
			return // being stopped says nothing about the repository
		}
		if failures++; err == nil {
			failures = 0
		}
		watches, interval := w.present()
		wait, rest := pace(interval, failures, err, w.pool.random())
		for _, one := range watches {
			one.account(w, at, found, err, time.Now().Add(wait))
		}
		w.tell(err, before, failures)
		if !w.pause(ctx, wait, rest) {
			return
		}
	}
}

// pace says how long to wait for the next look, and how long even when poked.
func pace(interval time.Duration, failures int, err error, random float64) (wait, rest time.Duration) {
	wait = Pause(interval, failures, random)
	rest = min(spacing, wait)
	var later *Later
	if errors.As(err, &later) {
		rest = later.After
		wait = max(wait, rest)
	}
	return wait, rest
}

// Pause is the time to the next look after so many failures in a row: the interval, doubled for each up to five minutes, and
// moved by up to a fifth either way, so that a fleet does not ask in step. random is in [0,1).
func Pause(interval time.Duration, failures int, random float64) time.Duration {
	d, most := interval, max(interval, maxBackOff)
	for range failures {
		if d = min(2*d, most); d == most {
			break
		}
	}
	return time.Duration(float64(d) * (0.8 + 0.4*random))
}

// pause waits: for wait unless poked, and never less than rest.
func (w *watcher) pause(ctx context.Context, wait, rest time.Duration) bool {
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
	case <-w.poke:
	}
	return true
}

// tell logs the first of the failures in a row, and their end.
func (w *watcher) tell(err error, before, failures int) {
	switch {
	case err != nil && before == 0:
		w.log.Warn("git repository cannot be asked", "error", Redact(err, w.secrets))
	case err == nil && before > 0:
		w.log.Info("git repository answers again", "failures", before)
	case err != nil:
		w.log.Debug("git repository still cannot be asked", "error", Redact(err, w.secrets), "failures", failures)
	}
}

// account notes the outcome of a look, and reports a new head. A repository that answers without the ref is not in trouble:
// it is asked again as usual.
func (w *Watch) account(by *watcher, at time.Time, found refs, err error, next time.Time) {
	head := Head{Seen: at}
	if err == nil {
		head.Ref, head.Commit, err = found.find(w.names)
	}
	s := w.Status()
	s.LastLook, s.Next = at, next
	moved := false
	if err != nil {
		if s.Failures++; s.Failures == 1 {
			s.Since = at
		}
		s.Err = Redact(err, by.secrets)
	} else {
		s.LastAnswer, s.Err, s.Failures, s.Since = at, "", 0, time.Time{}
		if moved = head.Commit != s.Head.Commit || head.Ref != s.Head.Ref; moved {
			s.Head = head
		}
	}
	w.mu.Lock()
	w.status = s
	w.mu.Unlock()
	if moved {
		by.log.Info("git ref moved", "ref", head.Ref, "commit", head.Commit)
		w.report(head)
	}
}
