// Package keyset keeps the keys of token issuers at hand: it fetches key sets (RFC 7517) and the metadata that names them (OpenID
// Connect Discovery 1.0), ahead of need, and hands out the last good ones. It fetches from where the configuration says and from
// nowhere else, and never on a client's word more often than is decent. It must not verify tokens.
package keyset

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/internal/jose"
	"github.com/suuupra/gateway/runtime/policy"
)

// When keys are fetched.
const (
	fetchTimeout     = 5 * time.Second
	leastAge         = 5 * time.Minute // however short the answer says it may be kept
	mostAge          = 24 * time.Hour  // however long
	usualAge         = 10 * time.Minute
	keepGood         = 24 * time.Hour // how long keys stay good that could not be fetched again, counted from when they were due
	firstPause       = time.Second    // after a failure; doubles with each in a row
	mostPause        = 5 * time.Minute
	mostPauseWithout = 30 * time.Second // while there are no keys at all
	askAgain         = 30 * time.Second // between two fetches because of a key id that nobody knows
	unknownFor       = time.Minute      // how long such an id is not asked for again
	tellEvery        = 20               // failures in a row from one warning to the next
	mostUnknown      = 1000             // ids that are remembered as unknown
)

// Env is what the fetchers use. All fields are required.
type Env struct {
	Log     *slog.Logger
	Metrics policy.Metrics
	Now     func() time.Time
	// Client fetches for one source: it must follow no redirects, and must dial only what the source may have dialled.
	Client func(private bool) *http.Client
}

// Sets is the fetchers of a process, one for each issuer and place of keys.
type Sets struct {
	env Env

	mu  sync.Mutex
	all map[place]*fetcher
}

// place tells one fetcher from another.
type place struct {
	issuer, jwks, discovery string
	private                 bool
}

// New makes a set of fetchers. It owns nothing until somebody holds a key set.
func New(env Env) *Sets { return &Sets{env: env, all: map[place]*fetcher{}} }

// Hold implements policy.KeySets. The first holder of a source starts its fetcher, the last one stops it.
func (s *Sets) Hold(src policy.KeySource) (policy.KeySet, error) {
	if err := check(src); err != nil {
		return nil, err
	}
	at := place{src.Issuer, src.JWKSURI, src.DiscoveryURL, src.Private}
	age := min(max(src.MaxAge, leastAge), mostAge)
	if src.MaxAge == 0 {
		age = usualAge
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.all[at]
	if f == nil {
		f = newFetcher(&s.env, src, age)
		s.all[at] = f
	}
	f.refs++
	f.atMost(age)
	return &held{sets: s, at: at, fetcher: f}, nil
}

// check refuses what the compiler would not have let through: a bundle may come from another compiler.
func check(src policy.KeySource) error {
	text := src.JWKSURI
	if text == "" {
		text = src.DiscoveryURL
	}
	if (src.JWKSURI == "") == (src.DiscoveryURL == "") {
		return fmt.Errorf("issuer %q: exactly one of the key set's address and the metadata's is needed", src.Issuer)
	}
	return checkURL(text, src.Private)
}

func checkURL(text string, private bool) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return fmt.Errorf("%q is no URL", text)
	case u.User != nil:
		return fmt.Errorf("the URL of host %q holds credentials", u.Hostname())
	case u.Hostname() == "":
		return fmt.Errorf("%q names no host", text)
	case u.Scheme == "https", u.Scheme == "http" && private:
		return nil
	}
	return fmt.Errorf("%q must be an https URL", text)
}

// held is one holder's part in a fetcher.
type held struct {
	*fetcher
	sets *Sets
	at   place
	once sync.Once
}

// Close implements policy.KeySet.
func (h *held) Close() error {
	h.once.Do(func() {
		h.sets.mu.Lock()
		h.refs--
		last := h.refs == 0
		if last {
			delete(h.sets.all, h.at)
		}
		h.sets.mu.Unlock()
		if last {
			h.stop()
		}
	})
	return nil
}

// fetcher keeps the keys of one issuer.
type fetcher struct {
	env    *Env
	source policy.KeySource
	client *http.Client
	refs   int // guarded by Sets.mu

	hits, misses, fetched, failed, lastGood policy.Series

	cancel context.CancelFunc
	done   chan struct{}
	wake   chan struct{} // asks the loop for a fetch now

	atHand atomic.Pointer[atHand] // what each request looks at

	mu      sync.Mutex
	age     time.Duration // what the configuration says
	set     *jose.Set     // nil: never had any
	text    string        // what it was read from
	good    time.Time     // until when the keys may be used
	asked   time.Time     // when an unknown id was the reason for a fetch last
	unknown map[string]time.Time
	failing int           // failures in a row
	round   chan struct{} // closed at the end of the fetch under way, or of the next one
}

// atHand is keys and until when they may be used.
type atHand struct {
	set  *jose.Set
	good time.Time
}

func newFetcher(env *Env, src policy.KeySource, age time.Duration) *fetcher {
	ctx, cancel := context.WithCancel(context.Background())
	f := &fetcher{
		env: env, source: src, age: age, client: env.Client(src.Private), cancel: cancel, done: make(chan struct{}), wake: make(chan struct{}, 1),
		unknown: map[string]time.Time{}, round: make(chan struct{}),
		hits: env.Metrics.Series(Hits, src.Issuer), misses: env.Metrics.Series(Misses, src.Issuer),
		fetched: env.Metrics.Series(Fetches, src.Issuer, "success"), failed: env.Metrics.Series(Fetches, src.Issuer, "failure"),
		lastGood: env.Metrics.Series(LastSuccess, src.Issuer),
	}
	go f.loop(ctx)
	return f
}

func (f *fetcher) stop() {
	f.cancel()
	<-f.done
	f.client.CloseIdleConnections()
}

// atMost shortens the time between fetches to the shortest that any holder asks for.
func (f *fetcher) atMost(age time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.age = min(f.age, age)
}

// loop fetches ahead of need until the fetcher is stopped.
func (f *fetcher) loop(ctx context.Context) {
	defer close(f.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-f.wake:
		}
		pause := f.refresh(ctx)
		timer.Reset(pause)
	}
}

// refresh fetches once, and returns when to do so again.
func (f *fetcher) refresh(ctx context.Context) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	got, err := f.fetch(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() {
		close(f.round)
		f.round = make(chan struct{})
	}()
	if err != nil {
		return f.failure(err)
	}
	f.fetched.Add(1)
	f.failing = 0
	now := f.env.Now()
	f.lastGood.Set(float64(now.Unix()))
	if got.text != f.text { // the same keys stay the same set: what was verified with them need not be again
		f.env.Log.Info("keys of an issuer fetched", slog.String("issuer", f.source.Issuer), slog.Int("keys", got.set.Len()))
		for _, s := range got.skipped {
			f.env.Log.Warn("a key of an issuer is not used", slog.String("issuer", f.source.Issuer), slog.String("key", s.ID), slog.String("why", s.Why))
		}
		f.set, f.text = got.set, got.text
		clear(f.unknown)
	}
	age := f.age
	if got.fresh >= 0 {
		age = min(max(got.fresh, leastAge), mostAge)
	}
	f.good = now.Add(age + keepGood)
	f.atHand.Store(&atHand{f.set, f.good})
	ahead := age * 4 / 5
	return ahead - time.Duration(rand.Int64N(int64(age/10))) // gateways must not all ask at once
}

// failure notes a fetch that failed, and returns the pause after it: full jitter, so that gateways do not all come back at once.
// The caller holds mu.
func (f *fetcher) failure(err error) time.Duration {
	f.failed.Add(1)
	f.failing++
	most := mostPause
	if f.set == nil { // nobody gets in meanwhile
		most = mostPauseWithout
	}
	most = min(firstPause<<min(f.failing-1, 20), most)
	pause := most/10 + time.Duration(rand.Int64N(int64(most)))
	level := slog.LevelDebug
	if f.failing%tellEvery == 1 {
		level = slog.LevelWarn
	}
	f.env.Log.Log(context.Background(), level, "fetching the keys of an issuer failed", slog.String("issuer", f.source.Issuer), slog.Any("error", err),
		slog.Bool("has_keys", f.set != nil), slog.Duration("next_try", pause))
	return pause
}

// Keys implements policy.KeySet.
func (f *fetcher) Keys(ctx context.Context, id string) (*jose.Set, error) {
	f.mu.Lock()
	now := f.env.Now()
	switch {
	case f.set == nil:
		if f.failing > 0 { // the loop tries again by itself; a request does not wait for an issuer that is away
			f.mu.Unlock()
			f.misses.Add(1)
			return nil, policy.ErrKeysAway
		}
	case now.After(f.good):
		f.mu.Unlock()
		f.misses.Add(1)
		return nil, policy.ErrKeysAway
	case id == "" || f.set.Has(id) || !f.mayAsk(id, now):
		set := f.set
		f.mu.Unlock()
		f.hits.Add(1)
		return set, nil
	default:
		f.asked = now
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
	round := f.round
	f.mu.Unlock()
	f.misses.Add(1)
	return f.await(ctx, round, id)
}

// Current implements policy.KeySet.
func (f *fetcher) Current() *jose.Set {
	k := f.atHand.Load()
	if k == nil || f.env.Now().After(k.good) {
		return nil
	}
	return k.set
}

// mayAsk reports whether an id that no key has is a reason to ask the issuer. Whoever makes ids up gets no more than a fetch now and
// then out of it. The caller holds mu.
func (f *fetcher) mayAsk(id string, now time.Time) bool {
	return f.failing == 0 && now.Sub(f.asked) >= askAgain && now.After(f.unknown[id])
}

// await waits for the end of a fetch.
func (f *fetcher) await(ctx context.Context, round <-chan struct{}, id string) (*jose.Set, error) {
	select {
	case <-round:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-f.done:
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.set == nil {
		return nil, policy.ErrKeysAway
	}
	if id != "" && !f.set.Has(id) {
		if len(f.unknown) >= mostUnknown {
			clear(f.unknown)
		}
		f.unknown[strings.Clone(id)] = f.env.Now().Add(unknownFor)
	}
	return f.set, nil
}
