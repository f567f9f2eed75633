package e2e_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/compiler/publish"
	"github.com/suuupra/gateway/internal/depot"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/schema/bundle"
)

// attack changes a copy of the published folder, as somebody could who may write to the place but holds no key.
type attack struct {
	name, reason string
	change       func(s *scene, published, folder string)
}

// attacks run while version 2 and later are served; published is the folder as the team left it.
var attacks = []attack{
	{"signed by a foreign key", "key_unknown", func(s *scene, _, folder string) {
		s.empty(folder)
		foreign := s.keygen()
		s.ok("apply", "--env", "prod", "--to", folder, "--key", filepath.Join(foreign, "release.key"), "--channel-key", filepath.Join(foreign, "channel.key"))
	}},
	{"a channel signed by the release key", "key_not_allowed", func(s *scene, _, folder string) {
		s.ok("apply", "--env", "prod", "--to", folder, "--key", filepath.Join(s.keys, "release.key"), "--channel-key", filepath.Join(s.keys, "release.key"), "--expires", "1000h")
	}},
	{"the bundle of another environment", "wrong_environment", func(s *scene, _, folder string) {
		s.empty(folder)
		s.ok("apply", "--env", "dev", "--to", folder, "--key", filepath.Join(s.keys, "release.key"), "--channel-key", filepath.Join(s.keys, "channel.key"))
		s.edit(filepath.Join(folder, "index.json"), func(data []byte) []byte {
			return bytes.ReplaceAll(data, []byte(bundle.ChannelTag("dev")), []byte(bundle.ChannelTag("prod")))
		})
	}},
	{"a second channel of the same version", "version_fork", func(s *scene, _, folder string) {
		// The folder as it was before the last apply, and another apply on top of it.
		s.empty(folder)
		s.copy(s.earlier, folder)
		s.apply(folder, "--expires", "1000h")
	}},
	{"an older channel put back", "version_older", func(s *scene, _, folder string) {
		s.empty(folder)
		s.copy(s.oldest, folder)
	}},
	{"a flipped byte in a new bundle", "digest_mismatch", func(s *scene, published, folder string) {
		s.version(90)
		s.apply(folder)
		s.edit(s.newShard(published, folder), func(data []byte) []byte {
			data[len(data)/2] ^= 1
			return data
		})
	}},
	{"an expired channel", "channel_expired", func(s *scene, _, folder string) {
		s.publishAt(folder, time.Now().Add(-2*time.Hour), time.Hour)
	}},
	{"an index that is none", "archive_malformed", func(s *scene, _, folder string) {
		s.edit(filepath.Join(folder, "index.json"), func(data []byte) []byte { return data[:len(data)/2] })
	}},
}

// What nobody with the right keys has published is never served, whatever it looks like: the status and the metrics say why,
// and the next good apply is live as if nothing had happened.
func TestAttackers(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	path, to := s.folder()
	state := t.TempDir()
	s.apply(to)
	g := s.gwrun("--bundle", to, "--state", state)
	g.serves(1)
	s.oldest, s.earlier = filepath.Join(t.TempDir(), "oldest"), filepath.Join(t.TempDir(), "earlier")
	s.copy(path, s.oldest)
	served := 1
	next := func() { // a good apply
		t.Helper()
		s.empty(s.earlier)
		s.copy(path, s.earlier)
		served++
		s.version(served)
		s.apply(to)
		g.serves(served)
		g.recovers()
		g.shows("gw_bundle_last_activation_successful", "1")
	}
	next()
	for _, a := range attacks {
		t.Logf("attack: %s", a.name)
		folder := filepath.Join(t.TempDir(), "attacked")
		s.copy(path, folder)
		a.change(s, path, folder)
		s.version(served) // what the attacker needed of the repository is no concern of the team
		s.move(path, path+".good")
		s.move(folder, path)
		g.refuses(a.reason, served)
		if a.reason == "version_older" || a.reason == "version_fork" { // a restart makes it forget nothing
			g.Stop()
			g = s.gwrun("--bundle", to, "--state", state)
			g.refuses(a.reason, served)
		}
		s.empty(path)
		s.move(path+".good", path)
		// What it serves is back in its place: nothing is wrong any more, and nothing new has come.
		g.recovers()
		g.shows("gw_bundle_last_activation_successful", "1")
		next()
	}
}

// refuses waits until the gateway says that it refused something, and why, and wants it to serve what it served before.
func (g *gateway) refuses(reason string, served int) {
	g.t.Helper()
	g.complains(reason)
	g.shows("gw_bundle_last_activation_successful", "0")
	if v, ok := g.metric(fmt.Sprintf("gw_bundle_activations_total{outcome=%q,reason=%q}", "failure", reason)); !ok || v == "0" {
		g.t.Errorf("refusals are counted as %q, want some", v)
	}
	if v := g.served(); v != served {
		g.t.Errorf("version %d is served, want %d", v, served)
	}
}

// A gateway goes on serving when its channel expires, starts again from what it kept, and takes the next good one.
func TestExpiry(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	path, to := s.folder()
	state := t.TempDir()
	s.apply(to)
	g := s.gwrun("--bundle", to, "--state", state)
	g.serves(1)
	s.version(2)
	s.apply(to)
	g.serves(2)
	// The same bundle under a new channel, of which little time is left.
	const left = 8 * time.Second
	s.publishAt(path, time.Now().Add(left-time.Minute), time.Minute)
	testkit.Eventually(t, "the short-lived channel is active", func() bool { return g.status().Running.Version == 3 })
	testkit.Eventually(t, "it expires", func() bool { return time.Now().After(*g.status().Running.ExpiresAt) })
	if v := g.served(); v != 2 {
		t.Errorf("version %d is served after the expiry, want 2", v)
	}
	g.Stop()
	g = s.gwrun("--bundle", to, "--state", state)
	g.WaitLine(`the channel of the last good bundle has expired`)
	g.serves(2)
	s.version(4)
	s.apply(to, "--lift-hold") // the hold is what made the short-lived channel a new one
	g.serves(4)
	g.recovers()
}

// Keys that are listed for one environment sign nothing for another.
func TestKeysOfOneEnvironment(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.keys = s.keygen("--env", "prod")
	trust := filepath.Join(s.keys, "trust.json")
	_, to := s.folder()
	dev := []string{"apply", "--env", "dev", "--to", to, "--key", filepath.Join(s.keys, "release.key"), "--channel-key", filepath.Join(s.keys, "channel.key")}
	if r := s.exits(6, append(dev, "--trust", trust)...); !strings.Contains(r.err, `"dev"`) {
		t.Errorf("apply for dev says %q", r.err)
	}
	s.exits(1, "verify", to, "--trust", trust, "--env", "dev") // nothing has been published

	s.apply(to, "--trust", trust)
	s.ok("verify", to, "--trust", trust, "--env", "prod")
	prod := s.gwrun("--bundle", to)
	prod.serves(1)

	s.ok(dev...) // nothing tells gwctl whose keys these are; those who verify know
	s.exits(6, "verify", to, "--trust", trust, "--env", "dev")
	g := s.gwrun("--bundle", to, "--env", "dev")
	g.WaitLine(`"reason":"key_not_allowed"`)
	if code, _, err := get(g.admin + "/readyz"); err != nil || code != 503 {
		t.Errorf("/readyz answers %d %v before anything was activated, want 503", code, err)
	}
	if code, _, err := get(g.url + "/app/x"); err != nil || code != 503 {
		t.Errorf("a request is answered %d %v, want 503", code, err)
	}
	prod.serves(1)
}

// empty removes a folder.
func (s *scene) empty(path string) {
	s.t.Helper()
	if err := os.RemoveAll(path); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) copy(from, to string) {
	s.t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) edit(path string, change func([]byte) []byte) {
	s.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, change(data), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// newShard finds a blob with a route in it that only the second of two folders has.
func (s *scene) newShard(before, after string) string {
	s.t.Helper()
	names, err := filepath.Glob(filepath.Join(after, "blobs", "sha256", "*"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			s.t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(before, "blobs", "sha256", filepath.Base(name))); err != nil && bytes.Contains(data, []byte("/v90")) {
			return name
		}
	}
	s.t.Fatal("the new bundle has no shard of its own")
	return ""
}

// publishAt publishes what is current in a folder once more, at another time: with a key, but with a clock that gwctl does
// not have.
func (s *scene) publishAt(folder string, now time.Time, lifetime time.Duration) {
	s.t.Helper()
	location, err := depot.ParseLocation(folder)
	if err != nil {
		s.t.Fatal(err)
	}
	to, err := depot.OpenWriter(location, depot.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = to.Close() }()
	got, err := depot.Fetch(s.t.Context(), to, depot.Request{Environment: "prod"})
	if err != nil {
		s.t.Fatal(err)
	}
	v, err := bundle.Peek(got.Raw)
	if err != nil {
		s.t.Fatal(err)
	}
	pem, err := os.ReadFile(filepath.Join(s.keys, "channel.key"))
	if err != nil {
		s.t.Fatal(err)
	}
	key, err := bundle.ParsePrivateKey(pem)
	if err != nil {
		s.t.Fatal(err)
	}
	// A hold with a reason makes it another channel, which is written even if the one there would do.
	_, err = publish.Publish(s.t.Context(), to, v.Bundle, publish.Settings{
		Signers: []bundle.Signer{key}, Now: now, Lifetime: lifetime, Hold: &bundle.Hold{Reason: now.String()},
	})
	if err != nil {
		s.t.Fatal(err)
	}
}
