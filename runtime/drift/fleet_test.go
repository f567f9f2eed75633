package drift

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/schema/bundle"
)

// board is a Board in memory: each test says what the others have written there.
type board struct {
	mu sync.Mutex

	others  map[string]string
	refused int
	err     error

	calls atomic.Int64
}

func (b *board) Exchange(_ context.Context, _ []byte, each func(string, time.Duration, []byte)) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls.Add(1)
	if b.err != nil {
		return 0, b.err
	}
	for name, text := range b.others {
		each(name, 3*time.Second, []byte(text))
	}
	return b.refused, nil
}

func (b *board) says(t *testing.T, i Instance) {
	t.Helper()
	data, err := i.encode()
	if err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.others[i.Instance] = string(data)
}

// running is a gateway of prod at a version; the digest follows from it.
func running(name string, version int64) Instance {
	i := Instance{Instance: name, Environment: "prod", Gwrun: "0.1.0", Mode: "auto", StartedAt: noon, At: noon}
	if version > 0 {
		i.Version, i.Epoch, i.Digest, i.Commit = version, 1, string(digestOf(version)), "c0ffee"
	}
	return i
}

func digestOf(version int64) bundle.Digest { return bundle.DigestOf(fmt.Append(nil, version)) }

func short(version int64) string { return digestOf(version).Short() }

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// rig is a Fleet of gateway a, a minute of grace, and a clock.
type rig struct {
	*Fleet
	board *board
	clock *testkit.Clock
	log   strings.Builder
}

func newRig() *rig {
	r := &rig{board: &board{others: map[string]string{}}, clock: testkit.NewClock(noon)}
	r.Fleet = NewFleet(FleetOptions{
		Board: r.board, Own: func() Instance { return running("a", 7) }, Grace: time.Minute, Now: r.clock.Now,
		Log: slog.New(slog.NewTextHandler(&r.log, nil)),
	})
	return r
}

// after looks when some time has gone by.
func (r *rig) after(t *testing.T, d time.Duration, own Instance) FleetReport {
	t.Helper()
	r.clock.Advance(d)
	r.Exchange(t.Context(), own)
	return r.Last()
}

func TestFleet(t *testing.T) {
	held := running("c", 6)
	held.Waiting = &Waiting{Version: 7, Epoch: 1, Digest: string(digestOf(7)), Why: "sync is in dry-run; it verifies and builds", Held: []string{HeldBySync}}
	failing := running("c", 6)
	failing.Error = "key_unknown"
	off := running("c", 6)
	off.Mode = "off"
	fork := running("c", 7)
	fork.Digest = string(digestOf(99))
	renewed := running("c", 6)
	renewed.Digest = string(digestOf(7))
	ahead := running("c", 8)
	for name, tt := range map[string]struct {
		other   Instance
		detail  string
		late    []string // after the grace
		digests int
	}{
		"all agree":                          {running("c", 7), "3 of 3 run 1.7", nil, 1},
		"one is held":                        {held, "2 of 3 run 1.7", []string{"c runs 1.6 " + short(6) + "; 1.7 waits: sync is in dry-run; it verifies and builds"}, 2},
		"one refuses":                        {failing, "2 of 3 run 1.7", []string{"c runs 1.6 " + short(6) + "; error key_unknown"}, 2},
		"one is off":                         {off, "2 of 3 run 1.7", []string{"c runs 1.6 " + short(6) + "; sync is off"}, 2},
		"one runs nothing":                   {running("c", 0), "2 of 3 run 1.7", []string{"c runs nothing"}, 1},
		"one has an older channel":           {renewed, "2 of 3 run 1.7", []string{"c runs 1.6 " + short(7)}, 1},
		"two bundles of one version":         {fork, "2 of 3 run 1.7", []string{"c runs 1.7 " + short(99)}, 2},
		"the others have not followed":       {ahead, "1 of 3 run 1.8", []string{"a runs 1.7 " + short(7), "b runs 1.7 " + short(7)}, 2},
		"its name sorts before all, runs on": {running("0", 7), "3 of 3 run 1.7", nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig()
			r.board.says(t, running("b", 7))
			r.board.says(t, tt.other)
			for _, step := range []time.Duration{0, 30 * time.Second, 30 * time.Second} {
				if got := r.after(t, step, running("a", 7)); !got.Known || len(got.Late) != 0 || got.Detail != tt.detail || got.Digests != tt.digests {
					t.Fatalf("within the grace: %+v", got)
				}
			}
			got := r.after(t, time.Second, running("a", 7))
			if c := got.Class(); !slices.Equal(got.Late, tt.late) || c.Detected != (tt.late != nil) || !c.Known || !slices.Equal(c.Details, tt.late) {
				t.Errorf("after the grace: %+v, class %+v", got, c)
			}
			if len(got.Instances) != 3 || !slices.IsSortedFunc(got.Instances, byName) || got.Instances[1].SeenAt == nil {
				t.Errorf("instances %+v", got.Instances)
			}
			if n := strings.Count(r.log.String(), "level=WARN"); n != min(len(tt.late), 1) {
				t.Errorf("%d warnings:\n%s", n, r.log.String())
			}
		})
	}
}

// A gateway that moves is behind, but well: releases may come faster than gateways look.
func TestFleetThatIsAlwaysOneBehind(t *testing.T) {
	r := newRig()
	for version := int64(2); version < 20; version++ {
		r.board.says(t, running("b", version-1))
		if got := r.after(t, 50*time.Second, running("a", version)); len(got.Late) != 0 {
			t.Fatalf("version %d: %+v", version, got.Late)
		}
	}
	if got := r.after(t, 61*time.Second, running("a", 19)); !slices.Equal(got.Late, []string{"b runs 1.18 " + short(18)}) {
		t.Errorf("one that stands still: %q", got.Late)
	}
	r.board.says(t, running("b", 19))
	if got := r.after(t, time.Second, running("a", 19)); len(got.Late) != 0 || !strings.Contains(r.log.String(), "run the same again") {
		t.Errorf("one that follows in the end: %q\n%s", got.Late, r.log.String())
	}
}

func TestFleetThatCannotBeSeen(t *testing.T) {
	alone := NewFleet(FleetOptions{})
	if c := alone.last.Class(); c.Known || c.Detected || c.Detail != "gateways see each other through Redis, and none is configured" {
		t.Errorf("without a board: %+v", c)
	}
	r := newRig()
	if c := r.last.Class(); c.Known || c.Detail != "not compared yet" {
		t.Errorf("before the first look: %+v", c)
	}
	r.board.says(t, running("b", 6))
	r.after(t, 0, running("a", 7))
	r.board.err = errors.New("the shared state is away")
	if got := r.after(t, 40*time.Second, running("a", 7)); got.Known || len(got.Instances) != 0 || got.Class().Detected ||
		got.Detail != "the other gateways cannot be seen: the shared state is away" {
		t.Errorf("while it is away: %+v", got)
	}
	r.board.err = nil
	if got := r.after(t, 21*time.Second, running("a", 7)); len(got.Late) != 1 {
		t.Errorf("what was late before is late still: %+v", got)
	}
	if got := r.after(t, time.Second, Instance{Instance: "a", Environment: "prod", Digest: "none"}); got.Known || !strings.Contains(got.Detail, "describe this gateway: digest: ") {
		t.Errorf("a gateway that cannot describe itself: %+v", got)
	}
}

// What stands in Redis under the name of this gateway counts for nothing.
func TestFleetSeesItselfAsItIs(t *testing.T) {
	r := newRig()
	r.board.says(t, running("a", 1000))
	if got := r.after(t, 0, running("a", 7)); len(got.Instances) != 1 || got.Instances[0].Version != 7 || got.Refused != 0 {
		t.Errorf("%+v", got)
	}
}

func TestHostileReportsOfAFleet(t *testing.T) {
	good, err := running("b", 7).encode()
	if err != nil {
		t.Fatal(err)
	}
	swap := func(old, now string) string {
		if !strings.Contains(string(good), old) {
			t.Fatalf("%s lacks %s", good, old)
		}
		return strings.Replace(string(good), old, now, 1)
	}
	digest := string(digestOf(7))
	waiting := func(w string) string { return swap(`"at":`, `"waiting":`+w+`,"at":`) }
	for name, text := range map[string]string{
		"nothing":                     "",
		"no JSON":                     "{",
		"two values":                  string(good) + "{}",
		"another gateway":             swap(`"instance":"b"`, `"instance":"c"`),
		"another environment":         swap(`"environment":"prod"`, `"environment":"dev"`),
		"a digest that is none":       swap(digest, "sha256:x"),
		"a digest of another kind":    swap(digest, "md5:0123"),
		"a version without a digest":  swap(digest, ""),
		"a negative version":          swap(`"version":7`, `"version":-7`),
		"a version beyond all":        swap(`"version":7`, `"version":1e300`),
		"a commit that is none":       swap("c0ffee", "HEAD"),
		"a long commit":               swap("c0ffee", strings.Repeat("c", 65)),
		"a mode with colours":         swap(`"auto"`, `"\u001b[31mred"`),
		"a long version of gwrun":     swap(`"0.1.0"`, `"`+strings.Repeat("1", 65)+`"`),
		"a class that is none":        swap(`"at":`, `"drift":["moon"],"at":`),
		"many classes":                swap(`"at":`, `"drift":["live","live","live","live","live"],"at":`),
		"a reason with a line end":    waiting(`{"digest":"` + digest + `","why":"a\nb"}`),
		"a long reason":               waiting(`{"digest":"` + digest + `","why":"` + strings.Repeat("x", 244) + `"}`),
		"a kind of rule that is none": waiting(`{"digest":"` + digest + `","why":"","held":["moon"]}`),
		"waiting for nothing":         waiting(`{"why":""}`),
		"a time that is none":         swap(`"at":"2026-01-01T12:00:00Z"`, `"at":"soon"`),
		"too long":                    string(good) + strings.Repeat(" ", 2048),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig()
			r.board.others["b"], r.board.refused = text, 1
			r.after(t, 0, running("a", 7))
			got := r.after(t, 0, running("a", 7))
			if len(got.Instances) != 1 || got.Refused != 2 || got.Detail != "1 of 1 run 1.7; 2 reports of gateways that cannot be read" {
				t.Errorf("%+v", got)
			}
			if n := strings.Count(r.log.String(), "level=WARN"); n != 1 {
				t.Errorf("it is logged %d times:\n%s", n, r.log.String())
			}
		})
	}
	t.Run("names that are none", func(t *testing.T) {
		for _, name := range []string{"", "-b", "a b", "b\n", "é", strings.Repeat("b", 129)} {
			i := running("b", 7)
			i.Instance = name
			if _, err := i.encode(); err == nil {
				t.Errorf("a gateway may call itself %q", name)
			}
		}
	})
}

// A newer gateway says more than this one understands.
func TestReportOfANewerGateway(t *testing.T) {
	data, err := running("b", 7).encode()
	if err != nil {
		t.Fatal(err)
	}
	i, err := decodeInstance("b", "prod", []byte(strings.Replace(string(data), "{", `{"mood":"good","seenAt":"2026-01-01T12:00:00Z",`, 1)))
	if err != nil || i.Version != 7 || i.SeenAt != nil {
		t.Errorf("%+v, %v", i, err)
	}
}

func TestLongestReportFits(t *testing.T) {
	name := strings.Repeat("n", maxName)
	i := running(name, 7)
	i.Version, i.Epoch, i.Commit = 1<<62, 1<<62, strings.Repeat("c", maxWord)
	i.Gwrun, i.Mode, i.Error = strings.Repeat("1", maxWord), strings.Repeat("m", maxWord), strings.Repeat("e", maxWord)
	i.Environment, i.Drift, i.ActivatedAt = strings.Repeat("e", 64), classes, &noon
	i.Waiting = &Waiting{Version: 1 << 62, Epoch: 1 << 62, Digest: string(digestOf(1)), Why: strings.Repeat(`"<&`, 200) + "\n", Held: HeldKinds}
	data, err := i.encode()
	if err != nil || len(data) > maxReport {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
	got, err := decodeInstance(name, i.Environment, data)
	if err != nil || len(got.Waiting.Why) != maxWhy+len(cut) {
		t.Errorf("%+v, %v", got, err)
	}
}

// A gateway says at once what has changed, else every five seconds, and looks more often while a rollout is under way.
func TestPaceOfAFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var version atomic.Int64
		version.Store(7)
		b := &board{others: map[string]string{}}
		f := NewFleet(FleetOptions{Board: b, Own: func() Instance { i := running("a", version.Load()); i.At = time.Now(); return i }, Grace: 30 * time.Second, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); f.Run(ctx) }()
		var before int64 // nothing was asked for before the start, however soon the other goroutine runs
		calls := func(within time.Duration) int {
			time.Sleep(within)
			synctest.Wait()
			now := b.calls.Load()
			n := now - before
			before = now
			return int(n)
		}
		if n := calls(500 * time.Millisecond); n != 1 {
			t.Errorf("%d at the start", n)
		}
		if n := calls(20 * time.Second); n != 4 {
			t.Errorf("%d in twenty seconds in which nothing happens", n)
		}
		version.Store(8)
		if n := calls(time.Second); n != 1 {
			t.Errorf("%d in the second after a change", n)
		}
		b.says(t, running("b", 7))
		calls(5 * time.Second) // until it is seen
		if n := calls(10 * time.Second); n != 10 {
			t.Errorf("%d in ten seconds of a rollout", n)
		}
		calls(30 * time.Second)
		if n := calls(10 * time.Second); n != 2 {
			t.Errorf("%d in ten seconds after it got stuck", n)
		}
		stop()
		<-done
	})
}

func FuzzInstance(f *testing.F) {
	for _, i := range []Instance{running("b", 0), running("b", 7)} {
		data, err := i.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"instance":"b","environment":"prod","waiting":{"digest":"sha256:` + strings.Repeat("0", 64) + `","why":"held","held":["gate"]}}`))
	f.Add([]byte(`{"instance":"b","instance":"c"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		i, err := decodeInstance("b", "prod", data)
		if err != nil {
			return
		}
		again, err := i.encode()
		if err != nil {
			t.Fatalf("%q is read and cannot be written: %v", data, err)
		}
		for _, text := range []string{i.Runs(), because(&i), string(again)} {
			if !plain(text) {
				t.Errorf("%q reaches a terminal", text)
			}
		}
	})
}
