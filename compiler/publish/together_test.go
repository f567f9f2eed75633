package publish

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/suuupra/gateway/internal/depot"
	"github.com/suuupra/gateway/schema/bundle"
)

// barrier lets two publishers read the same channel before either of them commits.
type barrier struct {
	depot.Writer
	ready *sync.WaitGroup
}

func (b barrier) Prepare(ctx context.Context) error {
	b.ready.Done()
	b.ready.Wait()
	return b.Writer.Prepare(ctx)
}

// TestTwoPublishers: both read the same state; exactly one wins. A registry cannot promise it (see the manual), so there
// the second comes after the first.
func TestTwoPublishers(t *testing.T) {
	for name, at := range places(t) {
		if name == "registry" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			k := newKeys(t)
			if _, err := Publish(t.Context(), open(t, at), k.build(t, "prod", "base"), k.settings()); err != nil {
				t.Fatal(err)
			}
			const n = 3
			var ready, done sync.WaitGroup
			ready.Add(n)
			errs := make([]error, n)
			for i := range n {
				b, w := k.build(t, "prod", fmt.Sprint("writer-", i)), barrier{open(t, at), &ready}
				done.Go(func() { _, errs[i] = Publish(t.Context(), w, b, k.settings()) })
			}
			done.Wait()
			won := 0
			for _, err := range errs {
				if err == nil {
					won++
				} else if !errors.Is(err, ErrConflict) {
					t.Errorf("a loser got %v", err)
				}
			}
			if won != 1 {
				t.Errorf("%d of %d publishers won", won, n)
			}
			if v := k.verify(t, fetch(t, at, depot.Request{Environment: "prod"}), "prod"); v.Position.String() != "1.2" {
				t.Errorf("the channel is at %s", v.Position)
			}
		})
	}
}

// TestTwoEnvironmentsAtOnce: writers of different channels do not get in each other's way.
func TestTwoEnvironmentsAtOnce(t *testing.T) {
	for name, at := range places(t) {
		t.Run(name, func(t *testing.T) {
			k := newKeys(t)
			envs := []string{"prod", "staging", "dev"}
			var ready, done sync.WaitGroup
			ready.Add(len(envs))
			for _, env := range envs {
				b, w := k.build(t, env, "a"), barrier{open(t, at), &ready}
				done.Go(func() {
					if _, err := Publish(t.Context(), w, b, k.settings()); err != nil {
						t.Errorf("%s: %v", env, err)
					}
				})
			}
			done.Wait()
			for _, env := range envs {
				k.verify(t, fetch(t, at, depot.Request{Environment: env}), env)
			}
		})
	}
}

// late commits only after another publisher has.
type late struct {
	depot.Writer
	first func()
}

func (l late) Prepare(ctx context.Context) error {
	l.first()
	return l.Writer.Prepare(ctx)
}

func TestSecondPublisherLoses(t *testing.T) {
	for name, at := range places(t) {
		t.Run(name, func(t *testing.T) {
			k := newKeys(t)
			w := late{open(t, at), func() {
				if _, err := Publish(t.Context(), open(t, at), k.build(t, "prod", "fast"), k.settings()); err != nil {
					t.Error(err)
				}
			}}
			_, err := Publish(t.Context(), w, k.build(t, "prod", "slow"), k.settings())
			if !errors.Is(err, ErrConflict) {
				t.Errorf("the slow publisher got %v", err)
			}
		})
	}
}

// watched lets a reader look after each step of a publication.
type watched struct {
	depot.Writer
	look func(step string)
}

func (w watched) Prepare(ctx context.Context) error {
	defer w.look("prepare")
	return w.Writer.Prepare(ctx)
}

func (w watched) Put(ctx context.Context, ref bundle.Ref, data []byte) error {
	defer w.look("put " + ref.Digest.Short())
	return w.Writer.Put(ctx, ref, data)
}

// errCrash is where a publisher dies.
var errCrash = errors.New("crashed")

func (w watched) Commit(context.Context, depot.Commit) error { return errCrash }

// TestReadersSeeWholeBundles: until the channel moves, readers see the bundle before; a publisher that died on its way
// leaves nothing behind that stops the next.
func TestReadersSeeWholeBundles(t *testing.T) {
	for name, at := range places(t) {
		t.Run(name, func(t *testing.T) {
			k := newKeys(t)
			first, second := k.build(t, "prod", "a"), k.build(t, "prod", "b")
			if _, err := Publish(t.Context(), open(t, at), first, k.settings()); err != nil {
				t.Fatal(err)
			}
			see := func(step string, want *bundle.Bundle) {
				t.Helper()
				raw, err := current(t, at, depot.Request{Environment: "prod"})
				if err != nil {
					t.Errorf("%s: %v", step, err)
				} else if v := k.verify(t, raw, "prod"); v.Bundle.Digest() != want.Digest() {
					t.Errorf("%s: a reader sees %s", step, v.Bundle.Digest())
				}
			}
			steps := 0
			var mu sync.Mutex
			w := watched{open(t, at), func(step string) {
				mu.Lock()
				defer mu.Unlock()
				steps++
				see(step, first)
			}}
			if _, err := Publish(t.Context(), w, second, k.settings()); !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
			if steps != 6 { // prepare, two shards, the empty blob, two envelopes
				t.Errorf("%d steps", steps)
			}
			see("after the crash", first)
			if r, err := Publish(t.Context(), open(t, at), second, k.settings()); err != nil || r.Position.String() != "1.2" {
				t.Errorf("the next publisher: %+v, %v", r, err)
			}
			see("after it", second)
		})
	}
}

// TestReadersAndWritersTogether: a reader never gets parts of two bundles.
func TestReadersAndWritersTogether(t *testing.T) {
	for name, at := range places(t) {
		t.Run(name, func(t *testing.T) {
			k := newKeys(t)
			if _, err := Publish(t.Context(), open(t, at), k.build(t, "prod", "0"), k.settings()); err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			var readers sync.WaitGroup
			for range 2 {
				d := open(t, at)
				readers.Go(func() {
					last := bundle.Position{}
					for ctx.Err() == nil {
						got, err := depot.Fetch(ctx, d, depot.Request{Environment: "prod"})
						if ctx.Err() != nil {
							return
						}
						if err != nil {
							t.Errorf("a reader: %v", err)
							return
						}
						v, err := bundle.Verify(got.Raw, bundle.Check{Trust: k.trust, Environment: "prod", Now: now, NeedChannel: true, Last: last})
						if err != nil {
							t.Errorf("a reader after %s: %v", last, err)
							return
						}
						last = v.Position
					}
				})
			}
			w := open(t, at)
			for i := range 8 {
				if _, err := Publish(t.Context(), w, k.build(t, "prod", fmt.Sprint(i+1)), k.settings()); err != nil {
					t.Errorf("writer: %v", err)
				}
			}
			stop()
			readers.Wait()
		})
	}
}

func BenchmarkPublishFolder10k(b *testing.B) {
	benchmarkPlace(b, func(w depot.Writer, s Settings, next func() *bundle.Bundle) {
		for b.Loop() {
			if _, err := Publish(b.Context(), w, next(), s); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkFetchFolder10k(b *testing.B) {
	benchmarkPlace(b, func(w depot.Writer, s Settings, next func() *bundle.Bundle) {
		if _, err := Publish(b.Context(), w, next(), s); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			got, err := depot.Fetch(b.Context(), w, depot.Request{Environment: "prod"})
			if err == nil {
				_, err = bundle.Verify(got.Raw, bundle.Check{Trust: s.Trust, Now: now})
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

// benchmarkPlace offers a folder and bundles of 5 MB in 256 shards, each with all shards new.
func benchmarkPlace(b *testing.B, f func(w depot.Writer, s Settings, next func() *bundle.Bundle)) {
	k := newKeys(b)
	route := strings.Repeat("x", 480)
	n := 0
	f(open(b, filepath.Join(b.TempDir(), "bundles")), k.settings(), func() *bundle.Bundle {
		n++
		var shards []bundle.Shard
		for i := range 256 {
			var data strings.Builder
			for j := range 39 {
				fmt.Fprintf(&data, `,{"id":"r-%d-%d-%d","plan":"%s"}`, n, i, j, route)
			}
			shards = append(shards, bundle.Shard{Path: fmt.Sprintf("routes/%02x", i), Kind: bundle.KindRoutes, Objects: 39, Data: []byte("[" + data.String()[1:] + "]")})
		}
		made, err := bundle.New(bundle.Info{Name: "shop", Environment: "prod", Compiler: "1", SchemaVersion: "v1", MinRuntime: "0.1.0"}, shards)
		if err == nil {
			err = made.Sign(k.release)
		}
		if err != nil {
			b.Fatal(err)
		}
		return made
	})
}
