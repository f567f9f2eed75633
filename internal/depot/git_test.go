package depot

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/schema/bundle"
)

// signed makes a publication by hand: a bundle of the given shards, and the channel that names it.
func signed(t *testing.T, key *bundle.PrivateKey, version int64, data ...[]byte) (*bundle.Raw, Commit) {
	t.Helper()
	var shards []bundle.Shard
	for i, d := range data {
		shards = append(shards, bundle.Shard{Path: fmt.Sprintf("routes/%02x", i), Kind: bundle.KindRoutes, Data: d})
	}
	b, err := bundle.New(bundle.Info{Name: "shop", Environment: "prod", Compiler: "1", SchemaVersion: "v1", MinRuntime: "0.1.0"}, shards)
	if err == nil {
		err = b.Sign(key)
	}
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	raw := b.Raw()
	raw.Channel, err = bundle.SignChannel(bundle.Channel{
		Name: "shop", Environment: "prod", Epoch: 1, Version: version, Manifest: b.Ref(),
		IssuedAt: bundle.TimeOf(now), ExpiresAt: bundle.TimeOf(now.Add(time.Hour)),
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	c := Commit{Message: fmt.Sprint("version ", version)}
	if c.Bundle, err = bundle.BundleArtifact(raw.Manifest); err != nil {
		t.Fatal(err)
	}
	if c.Head, err = bundle.ChannelArtifact(raw.Channel); err != nil {
		t.Fatal(err)
	}
	return raw, c
}

func commit(t *testing.T, w Writer, raw *bundle.Raw, c Commit) {
	t.Helper()
	if err := w.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, data := range append([][]byte{[]byte(bundle.EmptyBlob), raw.Manifest, raw.Channel}, values(raw.Blobs)...) {
		if err := w.Put(t.Context(), bundle.RefOf(data), data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

func values(m map[bundle.Digest][]byte) [][]byte {
	var out [][]byte
	for _, v := range m {
		out = append(out, v)
	}
	return out
}

func openAt(t *testing.T, at string) Depot {
	t.Helper()
	l, err := ParseLocation(at)
	if err != nil {
		t.Fatal(err)
	}
	d, err := Open(l, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func newKey(t *testing.T) *bundle.PrivateKey {
	t.Helper()
	key, err := bundle.GenerateKey(bundle.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// noise is canonical JSON that neither compresses nor makes good deltas.
func noise(seed uint64) []byte {
	rng := rand.New(rand.NewPCG(seed, 1))
	var b strings.Builder
	b.WriteString(`["`)
	for range 200_000 {
		b.WriteByte(byte('a' + rng.IntN(26)))
	}
	b.WriteString(`"]`)
	return []byte(b.String())
}

// TestGitFetchesWhatIsNew: a gateway that follows a branch does not fetch all of it each time.
func TestGitFetchesWhatIsNew(t *testing.T) {
	repo := testkit.GitServer(t).Create("config", map[string]string{"README.md": "hello"})
	at, key := "git+"+repo.URL+"#bundles", newKey(t)
	writer, reader := openAt(t, at).(*gitDepot), openAt(t, at).(*gitDepot)
	shared := [][]byte{noise(1), noise(2), noise(3), noise(4)}

	raw, c := signed(t, key, 1, append(shared, []byte("[1]"))...)
	commit(t, writer, raw, c)
	if _, err := Fetch(t.Context(), reader, Request{Environment: "prod"}); err != nil {
		t.Fatal(err)
	}
	first := reader.size
	if first < 800_000 {
		t.Fatalf("the first fetch unpacked %d bytes only", first)
	}
	expect := c.Head.Descriptor.Digest
	raw, c = signed(t, key, 2, append(shared, []byte("[2]"))...)
	c.Expect = expect
	commit(t, writer, raw, c)
	got, err := Fetch(t.Context(), reader, Request{Environment: "prod"})
	if err != nil || !bytes.Equal(got.Raw.Channel, raw.Channel) {
		t.Fatalf("second: %v", err)
	}
	if more := reader.size - first; more > 50_000 {
		t.Errorf("the second fetch unpacked %d bytes, the first %d", more, first)
	}

	// a rewritten branch is taken as it is: whether it went back is for the channel's version to tell
	repo.Git("fetch", "--quiet", "origin", "bundles")
	repo.Git("push", "--quiet", "--force", "origin", "FETCH_HEAD~1:refs/heads/bundles")
	back, err := Fetch(t.Context(), reader, Request{Environment: "prod"})
	if err != nil {
		t.Fatal(err)
	}
	if ch, _, err := bundle.PeekChannel(back.Raw.Channel); err != nil || ch.Version != 1 {
		t.Errorf("after the rewrite: version %d, %v", ch.Version, err)
	}
	repo.Git("push", "--quiet", "--force", "origin", "main:refs/heads/bundles") // a branch without a layout
	if _, err := Fetch(t.Context(), reader, Request{Environment: "prod"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("a branch without bundles: %v", err)
	}
}

func TestGitLinksAreNotFollowed(t *testing.T) {
	repo := testkit.GitServer(t).Create("config", map[string]string{"real.json": `{"manifests":[],"mediaType":"x","schemaVersion":2}`})
	repo.Git("update-index", "--add", "--cacheinfo", "120000,"+strings.TrimSpace(repo.Git("hash-object", "-w", "real.json"))+",index.json")
	repo.Git("commit", "--quiet", "--message", "a link")
	repo.Git("push", "--quiet", "origin", "HEAD")
	_, err := openAt(t, "git+"+repo.URL+"#main").Look(t.Context(), "prod", "")
	if err == nil || !strings.Contains(err.Error(), "not a plain file") {
		t.Errorf("Look: %v", err)
	}
}

func TestGitFaults(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		want   func(error) bool
	}{
		{"no such repository", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, func(err error) bool { return errors.Is(err, ErrNotFound) }},
		{"credentials wanted", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }, text("credentials")},
		{"overloaded", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "60")
			w.WriteHeader(503)
		}, func(err error) bool {
			var u *Unavailable
			return errors.As(err, &u) && u.After == time.Minute
		}},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		}, text("redirect")},
		{"not git", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, text("fetch")},
		{"endless", func(w http.ResponseWriter, r *http.Request) {
			line := []byte("001e# service=git-upload-pack\n")
			_, _ = w.Write(line)
			for r.Context().Err() == nil {
				if _, err := w.Write(bytes.Repeat([]byte("0000"), 4096)); err != nil {
					return
				}
			}
		}, text("fetch")},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewServer(c.answer)
			defer s.Close()
			_, err := openAt(t, "git+"+s.URL+"/r.git#main").Look(t.Context(), "prod", "")
			if err == nil || !c.want(err) {
				t.Errorf("Look: %v", err)
			}
		})
	}
}

func text(s string) func(error) bool {
	return func(err error) bool { return strings.Contains(err.Error(), s) }
}
