package publish

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/depot"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/schema/bundle"
)

func TestMain(m *testing.M) { testkit.NoLeaks(m) }

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

type keys struct {
	release, channel *bundle.PrivateKey
	trust            *bundle.Trust
}

func newKeys(t testing.TB) keys {
	t.Helper()
	var k keys
	var file bundle.TrustFile
	for role, into := range map[bundle.Role]**bundle.PrivateKey{bundle.RoleRelease: &k.release, bundle.RoleChannel: &k.channel} {
		key, err := bundle.GenerateKey(bundle.Ed25519)
		if err != nil {
			t.Fatal(err)
		}
		entry, err := bundle.TrustKeyOf(key.Public(), role)
		if err != nil {
			t.Fatal(err)
		}
		*into, file.Keys = key, append(file.Keys, entry)
	}
	data, err := file.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if k.trust, err = bundle.ParseTrust(data); err != nil {
		t.Fatal(err)
	}
	return k
}

// build makes a bundle with one route of the given id, and an upstream all of them share.
func (k keys) build(t *testing.T, environment, id string) *bundle.Bundle {
	t.Helper()
	b, err := bundle.New(bundle.Info{
		Name: "shop", Environment: environment, Compiler: "0.1.0", SchemaVersion: "gateway.suuupra.dev/v1", MinRuntime: "0.1.0",
	}, []bundle.Shard{
		{Path: "routes/00", Kind: bundle.KindRoutes, Objects: 1, Data: []byte(`[{"id":"` + id + `"}]`)},
		{Path: "upstreams/00", Kind: bundle.KindUpstreams, Objects: 1, Data: []byte(`[{"id":"u"}]`)},
		{Path: "upstreams/01", Kind: bundle.KindUpstreams, Objects: 1, Data: []byte(`[{"id":"u"}]`)}, // the same bytes
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Sign(k.release); err != nil {
		t.Fatal(err)
	}
	return b
}

func (k keys) settings() Settings {
	return Settings{Signers: []bundle.Signer{k.channel}, Trust: k.trust, Now: now}
}

func (k keys) verify(t *testing.T, raw *bundle.Raw, environment string) *bundle.Verdict {
	t.Helper()
	v, err := bundle.Verify(raw, bundle.Check{Trust: k.trust, Environment: environment, Now: now, NeedChannel: true})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// places are empty destinations of every kind, each a real one. Open may be called again for a second client.
func places(t *testing.T) map[string]string {
	return map[string]string{
		"folder":   filepath.Join(t.TempDir(), "bundles"),
		"web":      testkit.BundleServer(t).URL,
		"git":      "git+" + testkit.GitServer(t).Create("config", map[string]string{"README.md": "hello"}).URL + "#bundles",
		"registry": "oci://" + testkit.Registry(t).Host + "/shop/bundles",
	}
}

func open(t testing.TB, at string) depot.Writer {
	t.Helper()
	l, err := depot.ParseLocation(at)
	if err != nil {
		t.Fatal(err)
	}
	w, err := depot.OpenWriter(l, depot.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func fetch(t *testing.T, at string, r depot.Request) *bundle.Raw {
	t.Helper()
	raw, err := Current(t.Context(), open(t, at), r)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestPublish(t *testing.T) {
	for name, at := range places(t) {
		t.Run(name, func(t *testing.T) {
			k := newKeys(t)
			first, second := k.build(t, "prod", "a"), k.build(t, "prod", "b")

			r, err := Publish(t.Context(), open(t, at), first, k.settings())
			if err != nil {
				t.Fatal(err)
			}
			if !r.Published || r.Renewed || r.Position.String() != "1.1" || r.Channel.Previous != "" {
				t.Errorf("first: %+v", r)
			}
			if got := r.Channel.ExpiresAt.Sub(r.Channel.IssuedAt.Time); got != 7*24*time.Hour {
				t.Errorf("the channel is valid for %s", got)
			}
			v := k.verify(t, fetch(t, at, depot.Request{Environment: "prod"}), "prod")
			if v.Bundle.Digest() != first.Digest() || v.Position != r.Position {
				t.Errorf("fetched %s at %s", v.Bundle.Digest(), v.Position)
			}

			again, err := Publish(t.Context(), open(t, at), first, k.settings())
			if err != nil || again.Published || again.Position != r.Position {
				t.Errorf("the same again: %+v, %v", again, err)
			}
			late := k.settings()
			late.Now = now.Add(4 * 24 * time.Hour)
			renewed, err := Publish(t.Context(), open(t, at), first, late)
			if err != nil || !renewed.Published || !renewed.Renewed || renewed.Position.String() != "1.2" {
				t.Errorf("the same, later: %+v, %v", renewed, err)
			}

			next, err := Publish(t.Context(), open(t, at), second, k.settings())
			if err != nil || next.Position.String() != "1.3" || next.Channel.Previous != renewed.Position.Digest || next.Renewed {
				t.Errorf("second: %+v, %v", next, err)
			}
			// the first bundle is still there, by digest, and a rollback leads to it: a new version that names an old bundle
			old := fetch(t, at, depot.Request{Bundle: first.Digest()})
			if v, err := bundle.Verify(old, bundle.Check{Trust: k.trust, Environment: "prod"}); err != nil || v.Channel != nil {
				t.Fatalf("the old bundle: %+v, %v", v, err)
			}
			hold := k.settings()
			hold.Hold = &bundle.Hold{Reason: "checkout is failing", By: "ana"}
			rollback, err := Rollback(t.Context(), open(t, at), "prod", "", hold)
			if err != nil || rollback.Position.String() != "1.4" || rollback.Channel.Hold == nil || rollback.Channel.Replaces != second.Digest() {
				t.Errorf("rollback: %+v, %v", rollback, err)
			}
			v = k.verify(t, fetch(t, at, depot.Request{}), "prod")
			if v.Bundle.Digest() != first.Digest() || v.Channel.Hold == nil || v.Channel.Hold.By != "ana" {
				t.Errorf("after the rollback: %+v", v.Channel)
			}
		})
	}
}

func TestRollback(t *testing.T) {
	k := newKeys(t)
	at := filepath.Join(t.TempDir(), "bundles")
	s := k.settings()
	s.Hold = &bundle.Hold{Reason: "checkout is failing"}
	roll := func(to bundle.Digest, s Settings) (Result, error) {
		return Rollback(t.Context(), open(t, at), "prod", to, s)
	}
	if _, err := roll("", s); !errors.Is(err, depot.ErrNotFound) {
		t.Errorf("in an empty place: %v", err)
	}
	var all []*bundle.Bundle
	for i := range 3 {
		all = append(all, k.build(t, "prod", fmt.Sprint(i)))
		r, err := Publish(t.Context(), open(t, at), all[i], k.settings())
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if _, err := roll("", s); !errors.Is(err, depot.ErrNotFound) {
				t.Errorf("with nothing before: %v", err)
			}
		} else if r.Channel.Replaces != all[i-1].Digest() {
			t.Errorf("%d replaces %s", i, r.Channel.Replaces)
		}
	}
	for name, c := range map[string]struct {
		to   bundle.Digest
		edit func(*Settings)
		want string
	}{
		"to what is current": {all[2].Digest(), nil, "is current already"},
		"to nothing known":   {bundle.DigestOf(nil), nil, "not found"},
		"without trust":      {"", func(s *Settings) { s.Trust = nil }, "--trust"},
		"without a reason":   {"", func(s *Settings) { s.Hold = nil }, "--reason"},
		"with a stale plan":  {"", func(s *Settings) { s.Base = &bundle.Position{Epoch: 1, Version: 1} }, "the plan was made for 1.1"},
	} {
		bad := s
		if c.edit != nil {
			c.edit(&bad)
		}
		if r, err := roll(c.to, bad); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	r, err := roll(all[0].Digest(), s)
	if err != nil || r.Channel.Manifest.Digest != all[0].Digest() || r.Position.String() != "1.4" || r.Channel.Replaces != all[2].Digest() {
		t.Errorf("to a certain bundle: %+v, %v", r, err)
	}
	r, err = roll("", s) // and forward again
	if err != nil || r.Channel.Manifest.Digest != all[2].Digest() {
		t.Errorf("back from the rollback: %+v, %v", r, err)
	}
	late := s
	late.Now = now.Add(6 * 24 * time.Hour)
	if r, err = Publish(t.Context(), open(t, at), all[2], late); err != nil || !r.Renewed || r.Channel.Replaces != all[0].Digest() {
		t.Errorf("a renewal forgets what was before: %+v, %v", r, err)
	}
}

func TestEnvironmentsShareAPlace(t *testing.T) {
	for name, at := range places(t) {
		t.Run(name, func(t *testing.T) {
			k := newKeys(t)
			for _, env := range []string{"prod", "staging"} {
				if r, err := Publish(t.Context(), open(t, at), k.build(t, env, "a"), k.settings()); err != nil || r.Position.String() != "1.1" {
					t.Fatalf("%s: %+v, %v", env, r, err)
				}
			}
			for _, env := range []string{"prod", "staging"} {
				k.verify(t, fetch(t, at, depot.Request{Environment: env}), env)
			}
			_, err := Current(t.Context(), open(t, at), depot.Request{})
			if err == nil || !strings.Contains(err.Error(), "prod, staging") {
				t.Errorf("without an environment: %v", err)
			}
			_, err = Current(t.Context(), open(t, at), depot.Request{Environment: "dev"})
			if !errors.Is(err, depot.ErrNotFound) || !strings.Contains(err.Error(), "prod, staging") {
				t.Errorf("an unknown environment: %v", err)
			}
		})
	}
}

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

func TestStalePlan(t *testing.T) {
	k := newKeys(t)
	at := filepath.Join(t.TempDir(), "bundles")
	s := k.settings()
	s.Base = &bundle.Position{}
	first, err := Publish(t.Context(), open(t, at), k.build(t, "prod", "a"), s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Publish(t.Context(), open(t, at), k.build(t, "prod", "b"), s); !errors.Is(err, ErrConflict) {
		t.Errorf("a plan for an empty place: %v", err)
	}
	s.Base = &first.Position
	if _, err := Publish(t.Context(), open(t, at), k.build(t, "prod", "b"), s); err != nil {
		t.Errorf("a fresh plan: %v", err)
	}
}

func TestNothingIsWrittenThatGatewaysWouldRefuse(t *testing.T) {
	k, other := newKeys(t), newKeys(t)
	at := filepath.Join(t.TempDir(), "bundles")
	for name, c := range map[string]struct {
		build func() *bundle.Bundle
		edit  func(*Settings)
		want  bundle.Reason
	}{
		"foreign release key":  {func() *bundle.Bundle { return other.build(t, "prod", "a") }, nil, bundle.KeyUnknown},
		"foreign channel key":  {nil, func(s *Settings) { s.Signers = []bundle.Signer{other.channel} }, bundle.KeyUnknown},
		"release key for both": {nil, func(s *Settings) { s.Signers = []bundle.Signer{k.release} }, bundle.KeyNotAllowed},
	} {
		s, b := k.settings(), k.build(t, "prod", "a")
		if c.build != nil {
			b = c.build()
		}
		if c.edit != nil {
			c.edit(&s)
		}
		_, err := Publish(t.Context(), open(t, at), b, s)
		var refused *bundle.Error
		if !errors.As(err, &refused) || refused.Reason != c.want {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(at); !os.IsNotExist(err) {
			t.Errorf("%s: something was written (%v)", name, err)
		}
	}
}

func TestForeignChannelAtTheDestination(t *testing.T) {
	k, lost := newKeys(t), newKeys(t)
	at := filepath.Join(t.TempDir(), "bundles")
	for range 3 {
		if _, err := Publish(t.Context(), open(t, at), lost.build(t, "prod", fmt.Sprint(time.Now().UnixNano())), lost.settings()); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Publish(t.Context(), open(t, at), k.build(t, "prod", "a"), k.settings())
	var refused *bundle.Error
	if !errors.As(err, &refused) || refused.Reason != bundle.KeyUnknown || !strings.Contains(err.Error(), "--epoch 2") {
		t.Errorf("on top of a channel nobody here signed: %v", err)
	}
	s := k.settings()
	s.Epoch = 2
	r, err := Publish(t.Context(), open(t, at), k.build(t, "prod", "a"), s)
	if err != nil || r.Position.String() != "2.1" {
		t.Errorf("in a new epoch: %+v, %v", r, err)
	}
}

func TestWrongRepository(t *testing.T) {
	k := newKeys(t)
	at := filepath.Join(t.TempDir(), "bundles")
	if _, err := Publish(t.Context(), open(t, at), k.build(t, "prod", "a"), k.settings()); err != nil {
		t.Fatal(err)
	}
	b := k.build(t, "prod", "b")
	info := bundle.Info{Name: "other", Environment: "prod", Compiler: "0.1.0", SchemaVersion: "v1", MinRuntime: "0.1.0"}
	b, err := bundle.New(info, b.Shards)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Sign(k.release); err != nil {
		t.Fatal(err)
	}
	_, err = Publish(t.Context(), open(t, at), b, k.settings())
	var refused *bundle.Error
	if !errors.As(err, &refused) || refused.Reason != bundle.WrongName {
		t.Errorf("Publish: %v", err)
	}
}

func TestSettings(t *testing.T) {
	k := newKeys(t)
	for name, edit := range map[string]func(*Settings){
		"no channel key": func(s *Settings) { s.Signers = nil },
		"no clock":       func(s *Settings) { s.Now = time.Time{} },
		"no lifetime":    func(s *Settings) { s.Lifetime = time.Second },
	} {
		s := k.settings()
		edit(&s)
		at := filepath.Join(t.TempDir(), "bundles")
		if r, err := Publish(t.Context(), open(t, at), k.build(t, "prod", "a"), s); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// TestGitHistoryStays: each publication is a commit of its own, what nobody needs is left out of the tree, and files
// that are not ours stay.
func TestGitHistoryStays(t *testing.T) {
	k := newKeys(t)
	repo := testkit.GitServer(t).Create("config", map[string]string{"README.md": "hello"})
	at := "git+" + repo.URL + "#main" // on top of a branch that holds something else
	for i := range 3 {
		if _, err := Publish(t.Context(), open(t, at), k.build(t, "prod", fmt.Sprint("r", i)), k.settings()); err != nil {
			t.Fatal(err)
		}
	}
	repo.Git("fetch", "--quiet", "origin")
	subjects := strings.Split(strings.TrimSpace(repo.Git("log", "--format=%s", "origin/main")), "\n")
	if len(subjects) != 4 || !strings.HasPrefix(subjects[0], "Publish prod 1.3: sha256:") {
		t.Errorf("log: %q", subjects)
	}
	names := strings.Fields(repo.Git("ls-tree", "-r", "--name-only", "origin/main"))
	if !slices.Contains(names, "README.md") || !slices.Contains(names, "index.json") || !slices.Contains(names, "oci-layout") {
		t.Errorf("tree: %q", names)
	}
	// 3 bundles: image, envelope, route; 1 shared upstream; the empty blob; the channel's image and envelope; README, index, layout
	if len(names) != 3*3+1+1+2+3 {
		t.Errorf("%d files: %q", len(names), names)
	}
	repo.Git("fsck", "--full")
}

func TestRefusedPushSaysWhy(t *testing.T) {
	k := newKeys(t)
	repo := testkit.GitServer(t).Create("config", nil)
	hook := filepath.Join(repo.Dir, "hooks", "update")
	if err := os.MkdirAll(filepath.Dir(hook), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(hook, []byte("#!/bin/sh\necho protected branch >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := Publish(t.Context(), open(t, "git+"+repo.URL+"#bundles"), k.build(t, "prod", "a"), k.settings())
	if err == nil || errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "the server refused the push") {
		t.Errorf("Publish: %v", err)
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
				raw, err := Current(t.Context(), open(t, at), depot.Request{Environment: "prod"})
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
			raw, err := Current(b.Context(), w, depot.Request{Environment: "prod"})
			if err == nil {
				_, err = bundle.Verify(raw, bundle.Check{Trust: s.Trust, Now: now})
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
