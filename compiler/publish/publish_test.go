package publish

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// current reads a bundle, as gwctl does, without believing it.
func current(t testing.TB, at string, r depot.Request) (*bundle.Raw, error) {
	t.Helper()
	got, err := depot.Fetch(t.Context(), open(t, at), r)
	if err != nil {
		return nil, err
	}
	return got.Raw, nil
}

func fetch(t *testing.T, at string, r depot.Request) *bundle.Raw {
	t.Helper()
	raw, err := current(t, at, r)
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
			_, err := current(t, at, depot.Request{})
			if err == nil || !strings.Contains(err.Error(), "prod, staging") {
				t.Errorf("without an environment: %v", err)
			}
			_, err = current(t, at, depot.Request{Environment: "dev"})
			if !errors.Is(err, depot.ErrNotFound) || !strings.Contains(err.Error(), "prod, staging") {
				t.Errorf("an unknown environment: %v", err)
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

// What somebody published with a key no gateway knows must not pass for current: applying it again with the right keys
// mends it.
func TestOtherKeysAreNotCurrent(t *testing.T) {
	right, wrong := newKeys(t), newKeys(t)
	for name, mixed := range map[string]keys{
		"channel key": {release: right.release, channel: wrong.channel},
		"release key": {release: wrong.release, channel: right.channel},
	} {
		t.Run(name, func(t *testing.T) {
			at := t.TempDir()
			to := open(t, at)
			careless := Settings{Signers: []bundle.Signer{mixed.channel}, Now: now}
			if _, err := Publish(t.Context(), to, mixed.build(t, "prod", "a"), careless); err != nil {
				t.Fatal(err)
			}
			settings := Settings{Signers: []bundle.Signer{right.channel}, Now: now}
			r, err := Publish(t.Context(), to, right.build(t, "prod", "a"), settings)
			if err != nil || !r.Published {
				t.Fatalf("published %t, %v", r.Published, err)
			}
			right.verify(t, fetch(t, at, depot.Request{Environment: "prod"}), "prod")
			if r, err = Publish(t.Context(), to, right.build(t, "prod", "a"), settings); err != nil || r.Published {
				t.Errorf("a third time: published %t, %v", r.Published, err)
			}
		})
	}
}
