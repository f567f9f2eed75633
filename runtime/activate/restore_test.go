package activate_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/runtime/activate"
	"github.com/suuupra/gateway/schema/bundle"
)

// file is where a version of epoch 1 is kept.
func (g *gateway) file(version int) string {
	return filepath.Join(g.dir, fmt.Sprintf("%010d-%019d.gwb", 1, version))
}

// again stops a gateway and starts another one on its directory.
func (g *gateway) again(change func(o *setup)) *gateway {
	g.t.Helper()
	g.stop()
	o := setup{mode: activate.Auto, dir: g.dir, pub: g.pub, clock: g.clock}
	if change != nil {
		change(&o)
	}
	return start(g.t, o)
}

func (g *gateway) restore(want string) {
	g.t.Helper()
	ok, err := g.Restore(g.t.Context())
	if err != nil || ok != (want != "nothing") {
		g.t.Errorf("restore gives %v, %v", ok, err)
	}
	g.want(want)
}

// three activates versions 1.1 to 1.3, a minute apart, and returns what was offered.
func three(t *testing.T) (*gateway, []*bundle.Raw) {
	t.Helper()
	g := start(t, setup{mode: activate.Auto, dir: t.TempDir()})
	var raws []*bundle.Raw
	for n := range 3 {
		raws = append(raws, g.mustOffer(g.program(n)))
		g.clock.Advance(time.Minute)
	}
	return g, raws
}

func TestRestore(t *testing.T) {
	g, raws := three(t)
	activated := g.Status().ActivatedAt
	archive := mustArchive(t, g)
	g = g.again(nil)
	g.restore("1.3")
	if st := g.Status(); !st.ActivatedAt.Equal(activated) || g.ETag() != "etag-1.3" || st.Failure != nil {
		t.Errorf("status is %+v, etag %q", st, g.ETag())
	}
	if !bytes.Equal(mustArchive(t, g), archive) {
		t.Error("the archive is another one")
	}
	if err := g.Offer(t.Context(), raws[2], "etag-1.3"); err != nil || g.swaps != 1 {
		t.Errorf("offered again what runs: %v, %d swaps", err, g.swaps)
	}
	if err := g.Offer(t.Context(), raws[1], "etag-1.2"); activate.Reason(err) != "version_older" {
		t.Errorf("an older one gives %v", err)
	}
	g.mustOffer(g.program(9))
	g.want("1.4")
}

func TestRestoreNothing(t *testing.T) {
	g := start(t, setup{mode: activate.Off, dir: t.TempDir()})
	g.restore("nothing")
	g.mustOffer(g.program(1)) // the first one, in every mode
	g.want("1.1")
	without := start(t, setup{mode: activate.Auto})
	if ok, err := without.Restore(t.Context()); ok || err != nil {
		t.Errorf("without a store: %v, %v", ok, err)
	}
}

// An expired channel blocks what is new, never a start.
func TestRestoreExpired(t *testing.T) {
	g, raws := three(t)
	g.clock.Advance(24 * time.Hour)
	g = g.again(nil)
	g.restore("1.3")
	if log := g.log.String(); strings.Count(log, "the channel of the last good bundle has expired") != 1 {
		t.Errorf("it does not say so: %s", log)
	}
	if err := g.Offer(t.Context(), raws[2], "etag"); activate.Reason(err) != "channel_expired" {
		t.Errorf("offered again what runs: %v", err)
	}
	g.mustOffer(g.program(9))
	g.want("1.4")
}

// A newest bundle that was damaged leaves the one before, but not the way back.
func TestRestoreOlder(t *testing.T) {
	g, raws := three(t)
	g.stop()
	truncate(t, g.file(3))
	g = g.again(nil)
	g.restore("1.2")
	if s := g.holder.Peek(); s.Info.Floor.String() != "1.3" || g.ETag() != "" {
		t.Errorf("floor is %s, etag %q", s.Info.Floor, g.ETag())
	}
	if log := g.log.String(); !strings.Contains(log, "a kept bundle cannot be used") || !strings.Contains(log, "serving an older bundle than before the restart") {
		t.Errorf("it does not say so: %s", log)
	}
	for i, version := range []string{"1.1", "1.2"} {
		if err := g.Offer(t.Context(), raws[i], ""); activate.Reason(err) != "version_older" {
			t.Errorf("%s, which is older than the floor, gives %v", version, err)
		}
	}
	g.pub.Version = 2
	fork := g.pub.Publish(g.program(77))
	if err := g.Offer(t.Context(), fork, ""); activate.Reason(err) != "version_fork" {
		t.Errorf("another bundle with the floor's version gives %v", err)
	}
	if err := g.Offer(t.Context(), raws[2], "etag-1.3"); err != nil { // the floor's own version mends it
		t.Error(err)
	}
	g.want("1.3")
	if s := g.holder.Peek(); !s.Info.Floor.IsZero() {
		t.Errorf("floor is still %s", s.Info.Floor)
	}
	g = g.again(nil)
	g.restore("1.3")
}

func truncate(t *testing.T, file string) {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, info.Size()/2); err != nil {
		t.Fatal(err)
	}
}

// Without any bundle that can be used, the position still holds: an attacker who destroys the bundles gains no way back.
func TestFloorWithoutBundles(t *testing.T) {
	g, raws := three(t)
	g.stop()
	for v := 1; v <= 3; v++ {
		truncate(t, g.file(v))
	}
	g = g.again(nil)
	g.restore("nothing")
	if err := g.Offer(t.Context(), raws[1], ""); activate.Reason(err) != "version_older" {
		t.Errorf("an older one gives %v", err)
	}
	g.want("nothing")
	if err := g.Offer(t.Context(), raws[2], ""); err != nil {
		t.Error(err)
	}
	g.want("1.3")
}

// Files that were moved about are not taken for what their names say.
func TestRenamedGeneration(t *testing.T) {
	g, _ := three(t)
	g.stop()
	if err := os.Rename(g.file(1), g.file(9)); err != nil {
		t.Fatal(err)
	}
	g = g.again(nil)
	g.restore("1.3")
}

// A damaged state file leaves what the bundles say.
func TestRestoreWithoutState(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"gone":    os.Remove,
		"corrupt": func(path string) error { return os.WriteFile(path, []byte("{"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			g, raws := three(t)
			g.stop()
			if err := damage(filepath.Join(g.dir, "state.json")); err != nil {
				t.Fatal(err)
			}
			g = g.again(nil)
			g.restore("1.3")
			if err := g.Offer(t.Context(), raws[1], ""); activate.Reason(err) != "version_older" {
				t.Errorf("an older one gives %v", err)
			}
		})
	}
}

// Positions of one environment say nothing about another one, whose versions start small.
func TestOtherEnvironment(t *testing.T) {
	g, _ := three(t)
	g.pub.Environment, g.pub.Version = "test", 0
	h := g.again(func(o *setup) { o.env = "test" })
	h.restore("nothing")
	if !strings.Contains(h.log.String(), "was used for another environment") {
		t.Error("it does not say so")
	}
	h.mustOffer(h.program(1))
	h.mustOffer(h.program(2))
	h.want("1.2")
	h = h.again(func(o *setup) { o.env = "test" })
	h.restore("1.2")
}

// A gwrun that is too old for the newest bundle, or does not trust its key any more, takes none rather than a wrong one.
func TestRestoreVerifiesAgain(t *testing.T) {
	g, _ := three(t)
	stranger := g.again(func(o *setup) { o.pub = nil })
	stranger.restore("nothing")
	old := stranger.again(func(o *setup) { o.pub, o.runtime = g.pub, "0.0.9" })
	old.restore("nothing")
	again := old.again(func(o *setup) { o.runtime = "1.0.0" })
	again.restore("1.3")
}

// A disk that is full does not undo an activation, and Archive and Stock know the running bundle all the same.
func TestDiskFull(t *testing.T) {
	g, _ := three(t)
	full := filepath.Join(t.TempDir(), "moved")
	if err := os.Rename(g.dir, full); err != nil { // every write fails from now on
		t.Fatal(err)
	}
	raw := g.mustOffer(g.program(50))
	g.want("1.4")
	if log := g.log.String(); strings.Count(log, "the bundle could not be kept") != 1 || g.Status().Failure != nil {
		t.Errorf("status %+v, log %s", g.Status(), log)
	}
	want, err := bundle.EncodeArchive(raw)
	if err != nil || !bytes.Equal(mustArchive(t, g), want) {
		t.Errorf("the archive is not that of the running bundle: %v", err)
	}
	checkStock(t, g, raw)
	if err := os.Rename(full, g.dir); err != nil {
		t.Fatal(err)
	}
	if err := g.Offer(t.Context(), raw, "etag-1.4"); err != nil || g.swaps != 4 { // offered again, it is kept
		t.Errorf("offered again: %v, %d swaps", err, g.swaps)
	}
	g = g.again(nil)
	g.restore("1.4")
}

func checkStock(t *testing.T, g *gateway, raw *bundle.Raw) {
	t.Helper()
	stock := g.Stock()
	for d, data := range raw.Blobs {
		if got, ok := stock(d); !ok || !bytes.Equal(got, data) {
			t.Errorf("blob %s is not in stock", d.Short())
		}
	}
	if _, ok := stock(bundle.DigestOf([]byte("something else"))); ok {
		t.Error("a blob is in stock that is not of the running bundle")
	}
}

func TestArchiveAndStock(t *testing.T) {
	for name, dir := range map[string]string{"with a store": t.TempDir(), "without": ""} {
		t.Run(name, func(t *testing.T) {
			g := start(t, setup{mode: activate.Auto, dir: dir})
			if _, ok := g.Stock()(bundle.DigestOf(nil)); ok {
				t.Error("something is in stock before anything runs")
			}
			for n := range 5 {
				raw := g.mustOffer(g.program(n))
				want, err := bundle.EncodeArchive(raw)
				if err != nil || !bytes.Equal(mustArchive(t, g), want) {
					t.Errorf("the archive is not that of version %d: %v", n, err)
				}
				checkStock(t, g, raw)
			}
			bad := g.program(9)
			bad.Routes[0].Target.Upstream = "nowhere"
			if _, err := g.offer(bad); err == nil {
				t.Error("a bad one was taken")
			}
			if v := g.running(); v != "1.5" || len(mustArchive(t, g)) == 0 {
				t.Errorf("%s runs", v)
			}
		})
	}
}

// Status does not wait for a slow activation.
func TestStatusDuringActivation(t *testing.T) {
	g := start(t, setup{mode: activate.Auto, dir: t.TempDir()})
	first := g.mustOffer(g.program(1))
	reached, release := make(chan struct{}), make(chan struct{})
	g.store.OnStep(func(name string) {
		if name == "archive" {
			close(reached)
			<-release
		}
	})
	done := make(chan error, 1)
	go func() { _, err := g.offer(g.program(2)); done <- err }()
	<-reached // on a disk that hangs
	if st := g.Status(); st.Failure != nil || g.ETag() != "etag-1.2" {
		t.Errorf("status is %+v, etag %q", st, g.ETag())
	}
	g.want("1.2")
	if data := mustArchive(t, g); len(data) == 0 || bytes.Contains(data, first.Channel) {
		t.Error("the archive is not that of what runs")
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
