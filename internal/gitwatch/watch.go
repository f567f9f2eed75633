// Package gitwatch asks git repositories where their branches stand, and tells who wants to know when one has moved. A look
// is what git ls-remote does: it fetches no objects. One process asks a repository at one pace, however many want to know.
//
// It judges addresses first, bounds what a server may send, and gives credentials to the host they were meant for alone. It
// must not fetch, clone or run a git program; whoever does can build on Remote.
package gitwatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

const (
	defaultInterval = 30 * time.Second
	minInterval     = 10 * time.Millisecond // against a slip; people write seconds
	maxBackOff      = 5 * time.Minute
	spacing         = time.Second // between two looks, even when poked
)

// Options say what to watch.
type Options struct {
	// Repository is an https or ssh URL, or http to a loopback address. A name and password may stand in the URL; they show
	// nowhere. With Local it may be a directory, or file:// and its path.
	Repository string
	Ref        string        // branch or tag; empty is HEAD
	Token      string        // password for https where the URL has none
	Local      bool          // take a directory of this machine: for use by whoever owns it, never for what a configuration says
	Interval   time.Duration // between two looks, ±20 %; 0 is 30 s. The shortest one of a repository counts
	// Head hears of each new head: the first one, and any other after it, backwards too. It is called by one goroutine at a
	// time, and the next look waits for it. One that is under way when the watch is closed still ends.
	Head func(Head)
}

// Head is where a ref stands.
type Head struct {
	Ref    string    // its full name
	Commit string    // hexadecimal; what an annotated tag leads to
	Seen   time.Time // when it was first seen there
}

// Status is what a watch has to say about itself.
type Status struct {
	Head       Head      // the last one that was seen; zero before the first
	LastLook   time.Time // whatever came of it
	LastAnswer time.Time // the last look that found the ref
	Err        string    // why the last look did not; without credentials, one line
	Failures   int       // in a row
	Since      time.Time // of the first of them
	Next       time.Time // the next look, unless somebody asks for one earlier
}

// Pool holds the watchers of a process: one for each repository and set of credentials. It is safe for concurrent use.
type Pool struct {
	log     *slog.Logger
	random  func() float64
	running sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	watchers map[key]*watcher
}

// key tells repositories apart. Whoever comes with other credentials may see another repository, or none.
type key struct{ address, user, password string }

// NewPool makes a pool. It must be closed. A nil log drops everything.
func NewPool(log *slog.Logger) *Pool {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Pool{log: log, random: rand.Float64, watchers: map[key]*watcher{}}
}

// Watch judges the options and starts to look; the first look is at once. It opens no connection before it returns.
func (p *Pool) Watch(o Options) (*Watch, error) {
	a, err := parseRepository(o.Repository, o.Local)
	if err != nil {
		return nil, fmt.Errorf("watch repository: %w", err)
	}
	names, err := ParseRef(o.Ref)
	if err != nil {
		return nil, fmt.Errorf("watch %w", err)
	}
	if o.Head == nil {
		return nil, errors.New("watch repository: nobody wants to know")
	}
	if o.Interval <= 0 {
		o.Interval = defaultInterval
	}
	password := a.password
	if password == "" {
		password = o.Token
	}
	w := &Watch{names: names, interval: max(o.Interval, minInterval), report: o.Head}
	k := key{a.String(), a.user, password}

	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errors.New("watch repository: the pool is closed")
	}
	shared := p.watchers[k]
	if shared == nil {
		see, err := newSight(a, o.Token)
		if err != nil {
			return nil, fmt.Errorf("watch repository: %w", err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		shared = p.watcher(k, see, cancel)
		defer p.running.Go(func() { shared.run(ctx) }) // with the watch in it
	}
	w.watcher = shared
	shared.join(w)
	return w, nil
}

func parseRepository(address string, local bool) (*Address, error) {
	if path, ok := strings.CutPrefix(address, "file://"); ok && local && strings.HasPrefix(path, "/") {
		address = path
	}
	a, err := ParseAddress(address)
	if err != nil {
		return nil, err
	}
	if _, directory := a.Directory(); directory && !local {
		return nil, errors.New("a directory is not taken here; use https:// or ssh://")
	}
	return a, nil
}

// watcher makes the one of a repository. The caller holds mu.
func (p *Pool) watcher(k key, see sight, cancel context.CancelFunc) *watcher {
	w := &watcher{
		pool: p, key: k, see: see, cancel: cancel, poke: make(chan struct{}, 1), watches: map[*Watch]struct{}{},
		secrets: Spellings(k.password), log: p.log.With("repository", k.address),
	}
	p.watchers[k] = w
	return w
}

// Close ends all watches and waits for looks under way, which are cancelled.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	for k, w := range p.watchers {
		w.cancel()
		delete(p.watchers, k)
	}
	p.mu.Unlock()
	p.running.Wait()
}

// leave takes a watch out of its watcher, and ends that with the last.
func (p *Pool) leave(w *Watch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if shared := w.watcher; shared.part(w) && p.watchers[shared.key] == shared {
		shared.cancel()
		delete(p.watchers, shared.key)
	}
}
