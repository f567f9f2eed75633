package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/compiler/publish"
	"github.com/suuupra/gateway/internal/depot"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/schema/bundle"
)

func TestMain(m *testing.M) { testkit.NoLeaks(m) }

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// publisher publishes bundles that differ in one route.
type publisher struct {
	at               string
	release, channel *bundle.PrivateKey
	trust            *bundle.Trust
}

func newPublisher(t *testing.T, at string) *publisher {
	t.Helper()
	p := &publisher{at: at}
	var file bundle.TrustFile
	for role, into := range map[bundle.Role]**bundle.PrivateKey{bundle.RoleRelease: &p.release, bundle.RoleChannel: &p.channel} {
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
	if p.trust, err = bundle.ParseTrust(data); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *publisher) build(t *testing.T, id string) *bundle.Bundle {
	t.Helper()
	shards := []bundle.Shard{{Path: "routes/00", Kind: bundle.KindRoutes, Objects: 1, Data: []byte(`[{"id":"` + id + `"}]`)}}
	for i := range 10 { // ten that never change
		shards = append(shards, bundle.Shard{Path: fmt.Sprintf("upstreams/%02d", i), Kind: bundle.KindUpstreams, Data: fmt.Appendf(nil, `[%d]`, i)})
	}
	b, err := bundle.New(bundle.Info{Name: "shop", Environment: "prod", Compiler: "0.1.0", SchemaVersion: "v1", MinRuntime: "0.1.0"}, shards)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Sign(p.release); err != nil {
		t.Fatal(err)
	}
	return b
}

func (p *publisher) publish(t *testing.T, id string) *bundle.Bundle {
	t.Helper()
	l, err := depot.ParseLocation(p.at)
	if err != nil {
		t.Fatal(err)
	}
	w, err := depot.OpenWriter(l, depot.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	b := p.build(t, id)
	if _, err := publish.Publish(t.Context(), w, b, publish.Settings{Signers: []bundle.Signer{p.channel}, Trust: p.trust, Now: now}); err != nil {
		t.Fatal(err)
	}
	return b
}

func (p *publisher) verify(t *testing.T, r *Received) *bundle.Verdict {
	t.Helper()
	v, err := bundle.Verify(r.Raw, bundle.Check{Trust: p.trust, Environment: "prod", Now: now, NeedChannel: true})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func open(t *testing.T, at string) *Source {
	t.Helper()
	s, err := Open(at, "prod", Options{UserAgent: "gwrun/test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// stock is what a gateway holds: the blobs of bundles it has verified.
type stock map[bundle.Digest][]byte

func (s stock) have(d bundle.Digest) ([]byte, bool) { data, ok := s[d]; return data, ok }

func (s stock) add(r *Received) {
	for d, data := range r.Raw.Blobs {
		s[d] = data
	}
	s[bundle.DigestOf(r.Raw.Manifest)] = r.Raw.Manifest
}

func TestFetch(t *testing.T) {
	for name, at := range map[string]string{
		"folder":   filepath.Join(t.TempDir(), "bundles"),
		"web":      testkit.BundleServer(t).URL,
		"git":      "git+" + testkit.GitServer(t).Create("config", nil).URL + "#bundles",
		"registry": "oci://" + testkit.Registry(t).Host + "/shop/bundles",
	} {
		t.Run(name, func(t *testing.T) {
			p, s := newPublisher(t, at), open(t, at)
			if _, err := s.Fetch(t.Context(), Request{}); !errors.Is(err, ErrNotFound) {
				t.Errorf("from an empty place: %v", err)
			}
			first := p.publish(t, "a")
			r, err := s.Fetch(t.Context(), Request{})
			if err != nil {
				t.Fatal(err)
			}
			if v := p.verify(t, r); v.Bundle.Digest() != first.Digest() || r.Blobs != 12 {
				t.Errorf("first: %s, %d blobs", v.Bundle.Digest(), r.Blobs)
			}
			if _, err := s.Fetch(t.Context(), Request{Last: r.ETag}); !errors.Is(err, ErrNotModified) {
				t.Errorf("nothing changed: %v", err)
			}
			held := stock{}
			held.add(r)

			second := p.publish(t, "b")
			next, err := s.Fetch(t.Context(), Request{Last: r.ETag, Have: held.have})
			if err != nil {
				t.Fatal(err)
			}
			if v := p.verify(t, next); v.Bundle.Digest() != second.Digest() || next.Blobs != 2 { // the envelope and one shard
				t.Errorf("second: %s, %d blobs", v.Bundle.Digest(), next.Blobs)
			}
			// the ETag is that of the last activated: the candidate is offered until it is taken
			if again, err := s.Fetch(t.Context(), Request{Last: r.ETag, Have: held.have}); err != nil || again.ETag != next.ETag {
				t.Errorf("asked again: %v", err)
			}
			// a new client, as after a restart, with the ETag it kept
			if _, err := open(t, at).Fetch(t.Context(), Request{Last: next.ETag}); !errors.Is(err, ErrNotModified) {
				t.Errorf("after a restart: %v", err)
			}
			// what the stock returns is checked: a damaged cache is not handed on
			bad := stock{}
			for d := range held {
				bad[d] = []byte("damaged")
			}
			whole, err := s.Fetch(t.Context(), Request{Have: bad.have})
			if err != nil || whole.Blobs != 12 {
				t.Errorf("with a damaged stock: %v", err)
			}
			// whoever refuses the manifest gets no shards
			stop := errors.New("refused")
			if _, err := s.Fetch(t.Context(), Request{Check: func(channel, manifest []byte) error {
				if len(channel) == 0 || !bytes.Equal(manifest, next.Raw.Manifest) {
					t.Errorf("Check saw %d and %d bytes", len(channel), len(manifest))
				}
				return stop
			}}); !errors.Is(err, stop) {
				t.Errorf("refused by Check: %v", err)
			}
		})
	}
}

func TestArchive(t *testing.T) {
	at := filepath.Join(t.TempDir(), "site.gwb")
	p, s := newPublisher(t, at), open(t, at)
	if _, err := s.Fetch(t.Context(), Request{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("no file: %v", err)
	}
	b := p.build(t, "a")
	c := bundle.Channel{Name: "shop", Environment: "prod", Epoch: 1, Version: 1, Manifest: b.Ref(), IssuedAt: bundle.TimeOf(now), ExpiresAt: bundle.TimeOf(now.Add(time.Hour))}
	envelope, err := bundle.SignChannel(c, p.channel)
	if err != nil {
		t.Fatal(err)
	}
	write := func(channel []byte) []byte {
		data, err := b.Encode(channel)
		if err == nil {
			err = os.WriteFile(at, data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	write(nil)
	r, err := s.Fetch(t.Context(), Request{})
	if err != nil || r.Raw.Channel != nil {
		t.Fatalf("without a channel: %v", err)
	}
	data := write(envelope)
	r, err = s.Fetch(t.Context(), Request{Last: r.ETag})
	if err != nil || p.verify(t, r).Bundle.Digest() != b.Digest() {
		t.Fatalf("with a channel: %v", err)
	}
	if _, err := s.Fetch(t.Context(), Request{Last: r.ETag}); !errors.Is(err, ErrNotModified) {
		t.Errorf("nothing changed: %v", err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(at, data, 0o644); err != nil {
		t.Fatal(err)
	}
	var refused *bundle.Error
	if _, err := s.Fetch(t.Context(), Request{Last: "x"}); !errors.As(err, &refused) {
		t.Errorf("a flipped bit: %v", err)
	}
	if _, err := open(t, t.TempDir()).Fetch(t.Context(), Request{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("an empty folder: %v", err)
	}
}

// TestWebFaults: whatever a web server does, nothing but a complete bundle comes out, in bounded time and memory.
func TestWebFaults(t *testing.T) {
	host := testkit.BundleServer(t)
	p := newPublisher(t, host.URL)
	p.publish(t, "a")
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { t.Error("the redirect was followed") }))
	t.Cleanup(elsewhere.Close)
	index, blob := "index.json", "blobs/sha256/"
	status := func(code int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
		}
	}
	endless := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"x"`)
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}
	for _, c := range []struct {
		name, file string
		answer     http.HandlerFunc
		want       func(error) bool
	}{
		{"304 to a first fetch", index, status(304), contains("304 Not Modified")},
		{"error of the server", index, status(500), unavailable(0)},
		{"overloaded", index, status(503, "Retry-After", "120"), unavailable(2 * time.Minute)},
		{"too many requests", index, status(429, "Retry-After", "7"), unavailable(7 * time.Second)},
		{"Retry-After of years", index, status(429, "Retry-After", "99999999"), unavailable(time.Hour)},
		{"no credentials", index, status(401), contains("check the credentials")},
		{"gone", index, status(404), func(err error) bool { return errors.Is(err, ErrNotFound) }},
		{"redirect to another host", index, status(302, "Location", elsewhere.URL), contains("not followed")},
		{"redirect in a circle", index, status(302, "Location", "/bundles/index.json"), contains("not followed")},
		{"endless index", index, endless, refused(bundle.TooLarge)},
		{"endless blob", blob, endless, refused(bundle.TooLarge)},
		{"compressed", index, status(200, "Content-Encoding", "gzip"), contains("compressed")},
		{"index of something else", index, write("<html>login</html>"), refused(bundle.ArchiveMalformed)},
		{"blob of something else", blob, write("<html>login</html>"), refused(bundle.DigestMismatch)},
		{"empty blob", blob, write(""), refused(bundle.DigestMismatch)},
		{"partial content", blob, status(206), contains("206")},
		{"cut off in an index", index, cut, unavailable(0)},
		{"cut off in a blob", blob, cut, unavailable(0)},
	} {
		t.Run(c.name, func(t *testing.T) {
			host.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, c.file) {
					return false
				}
				c.answer(w, r)
				return true
			})
			defer host.Intercept(nil)
			r, err := open(t, host.URL).Fetch(t.Context(), Request{})
			if r != nil || err == nil || !c.want(err) {
				t.Errorf("Fetch: %v, %v", r, err)
			}
		})
	}
	if r, err := open(t, host.URL).Fetch(t.Context(), Request{}); err != nil {
		t.Error(err)
	} else {
		p.verify(t, r)
	}
}

func contains(text string) func(error) bool {
	return func(err error) bool { return strings.Contains(err.Error(), text) }
}

func refused(reason bundle.Reason) func(error) bool {
	return func(err error) bool {
		var e *bundle.Error
		return errors.As(err, &e) && e.Reason == reason
	}
}

func unavailable(after time.Duration) func(error) bool {
	return func(err error) bool {
		var u *depot.Unavailable
		return errors.As(err, &u) && u.After == after
	}
}

func write(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }
}

// cut announces more than it sends, and closes the connection.
func cut(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = w.Write([]byte(`{"manifests`))
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		conn.Close()
	}
}

func TestWebPollIsOneSmallRequest(t *testing.T) {
	host := testkit.BundleServer(t)
	p, s := newPublisher(t, host.URL), open(t, host.URL)
	p.publish(t, "a")
	r, err := s.Fetch(t.Context(), Request{})
	if err != nil {
		t.Fatal(err)
	}
	host.Requests()
	if _, err := s.Fetch(t.Context(), Request{Last: r.ETag}); !errors.Is(err, ErrNotModified) {
		t.Error(err)
	}
	if got := host.Requests(); !slices.Equal(got, []string{"GET index.json 304"}) {
		t.Errorf("a poll made the requests %q", got)
	}
}

func TestWebCredentials(t *testing.T) {
	host := testkit.BundleServer(t)
	newPublisher(t, host.URL).publish(t, "a")
	seen := make(chan string, 100)
	host.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		user, password, _ := r.BasicAuth()
		seen <- r.Header.Get("Authorization") + "|" + user + "|" + password + "|" + r.UserAgent()
		return false
	})
	for _, c := range []struct {
		where string
		token string
		want  string
	}{
		{host.URL, "", "|||gwrun/test"},
		{host.URL, "t0ken", "Bearer t0ken|||gwrun/test"},
		{strings.Replace(host.URL, "http://", "http://ana:s3cret@", 1), "t0ken", "Basic YW5hOnMzY3JldA==|ana|s3cret|gwrun/test"},
	} {
		s, err := Open(c.where, "prod", Options{Credentials: depot.Credentials{WebToken: c.token}, UserAgent: "gwrun/test"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Fetch(t.Context(), Request{}); err != nil {
			t.Fatal(err)
		}
		s.Close()
		if got := <-seen; got != c.want {
			t.Errorf("sent %q, want %q", got, c.want)
		}
		for len(seen) > 0 {
			<-seen
		}
		if text := s.String() + fmt.Sprintf("%+v %#v", s.location, s.location); strings.Contains(text, "s3cret") || strings.Contains(text, "t0ken") {
			t.Errorf("the location prints its password: %s", text)
		}
	}
}

// TestErrorsKeepSecrets: no error of any transport shows the password that was in the address.
func TestErrorsKeepSecrets(t *testing.T) {
	free := testkit.FreePort(t) // nobody listens
	for _, where := range []string{
		"http://ana:s3cret@" + free + "/x",
		"git+http://ana:s3cret@" + free + "/x.git#main",
		"oci://ana:s3cret@" + free + "/x",
	} {
		s := open(t, where)
		_, err := s.Fetch(t.Context(), Request{})
		if err == nil || strings.Contains(err.Error(), "s3cret") || strings.Contains(s.String(), "s3cret") {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, where := range []string{"https://ana:s3cret@exa mple/", "https://ana:s3cret%zz@example.com/", "http://ana:s3cret@example.com/", "git+https://ana:s3cret@example.com/x"} {
		if _, err := Open(where, "prod", Options{}); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("Open: %v", err)
		}
	}
}

func TestDamagedFolder(t *testing.T) {
	at := filepath.Join(t.TempDir(), "bundles")
	p := newPublisher(t, at)
	b := p.publish(t, "a")
	name := func(i int) string { return filepath.Join(at, "blobs", "sha256", b.Manifest.Shards[i].Digest.Hex()) }
	if err := os.Remove(name(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, at).Fetch(t.Context(), Request{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("a missing blob: %v", err)
	}
	if err := os.WriteFile(name(1), []byte("[7]"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, at).Fetch(t.Context(), Request{}); err == nil || !refused(bundle.DigestMismatch)(err) {
		t.Errorf("another blob under this name: %v", err)
	}
	p.publish(t, "b") // publishing mends what it can: it writes every blob it does not find intact
	r, err := open(t, at).Fetch(t.Context(), Request{})
	if err != nil {
		t.Fatal(err)
	}
	p.verify(t, r)
}

// TestFolderIsSeenAtOnce: well within the two seconds that are promised, even if the folder comes later.
func TestFolderIsSeenAtOnce(t *testing.T) {
	at := filepath.Join(t.TempDir(), "later", "bundles")
	p, s := newPublisher(t, at), open(t, at)
	taken := make(chan bundle.Digest, 10)
	poller := NewPoller(Config{From: s, Pace: s.Pace(), Handle: func(_ context.Context, r *Received) error {
		taken <- p.verify(t, r).Bundle.Digest()
		return nil
	}})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{}, 2)
	go func() { poller.Run(ctx); done <- struct{}{} }()
	go func() { s.Watch(ctx, poller.Poke); done <- struct{}{} }()
	for _, id := range []string{"a", "b", "c"} {
		want := p.publish(t, id).Digest()
		start := time.Now()
		select {
		case got := <-taken:
			if got != want {
				t.Errorf("took %s, want %s", got, want)
			}
			t.Logf("%s after %s", id, time.Since(start))
		case <-time.After(10 * time.Second):
			t.Fatalf("%s was not seen", id)
		}
	}
	stop()
	<-done
	<-done
}
