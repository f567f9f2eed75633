package drift

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/schema/bundle"
)

// keys are those of one team, and the trust file they are listed in.
type keys struct {
	t                *testing.T
	release, channel *bundle.PrivateKey
	file             bundle.TrustFile
}

func newKeys(t *testing.T) *keys {
	t.Helper()
	k := &keys{t: t}
	k.release, k.channel = k.add(bundle.RoleRelease), k.add(bundle.RoleChannel)
	return k
}

// add makes a key and lists it.
func (k *keys) add(role bundle.Role) *bundle.PrivateKey {
	k.t.Helper()
	key, err := bundle.GenerateKey(bundle.Ed25519)
	k.check(err)
	entry, err := bundle.TrustKeyOf(key.Public(), role)
	k.check(err)
	k.file.Keys = append(k.file.Keys, entry)
	return key
}

func (k *keys) check(err error) {
	if err != nil {
		k.t.Helper()
		k.t.Fatal(err)
	}
}

func (k *keys) encode() []byte {
	k.t.Helper()
	data, err := k.file.Encode()
	k.check(err)
	return data
}

// archive is a bundle of prod whose channel is issued at noon.
func (k *keys) archive(lifetime time.Duration) ([]byte, bundle.Position) {
	k.t.Helper()
	b, err := bundle.New(bundle.Info{
		Name: "shop", Environment: "prod", Source: bundle.Source{Commit: strings.Repeat("c0", 20)}, Compiler: "0.0.0-test",
		SchemaVersion: "gateway.suuupra.dev/v1", MinRuntime: "0.1.0",
	}, []bundle.Shard{{Path: "gateway", Kind: "gateway", Data: []byte("{}")}})
	k.check(err)
	k.check(b.Sign(k.release))
	raw := b.Raw()
	raw.Channel, err = bundle.SignChannel(bundle.Channel{
		Name: "shop", Environment: "prod", Epoch: 1, Version: 7, Manifest: b.Ref(), IssuedAt: bundle.TimeOf(noon), ExpiresAt: bundle.TimeOf(noon.Add(lifetime)),
	}, k.channel)
	k.check(err)
	data, err := bundle.EncodeArchive(raw)
	k.check(err)
	_, at, err := bundle.PeekChannel(raw.Channel)
	k.check(err)
	return data, at
}

// guarded is a TrustWatcher over a trust file on disk.
type guarded struct {
	*TrustWatcher
	path  string
	clock *testkit.Clock
	at    bundle.Position
	reads int // of the archive
	err   error
	log   strings.Builder
}

func newGuarded(t *testing.T, k *keys, lifetime time.Duration) *guarded {
	t.Helper()
	g := &guarded{path: filepath.Join(t.TempDir(), "trust.json"), clock: testkit.NewClock(noon)}
	g.write(t, k.encode())
	var data []byte
	data, g.at = k.archive(lifetime)
	g.TrustWatcher = NewTrustWatcher(TrustOptions{
		File: g.path, Started: k.encode(), Environment: "prod", Read: func() ([]byte, error) { return os.ReadFile(g.path) },
		Running: func() bundle.Position { return g.at },
		Archive: func() ([]byte, error) { g.reads++; return data, g.err },
		Now:     g.clock.Now, Log: slog.New(slog.NewTextHandler(&g.log, nil)),
	})
	return g
}

func (g *guarded) write(t *testing.T, data []byte) {
	t.Helper()
	if err := os.WriteFile(g.path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (g *guarded) class() Class { return g.Check().Class(g.clock.Now()) }

func TestTrustOfAChannelThatExpires(t *testing.T) {
	const day = 24 * time.Hour
	for name, tt := range map[string]struct {
		after    time.Duration
		detected bool
		detail   string
	}{
		"new":                 {0, false, "the channel expires in 8 days"},
		"at half its time":    {4 * day, false, "the channel expires in 4 days"},
		"before the quarter":  {6*day - time.Second, false, "the channel expires in 2 days"},
		"at the quarter":      {6 * day, true, "the channel expires in 2 days"},
		"a second before":     {8*day - time.Second, true, "the channel expires in 1 second"},
		"when it expires":     {8 * day, true, "the channel has expired 0 seconds ago; publish it again with gwctl apply"},
		"three hours after":   {8*day + 3*time.Hour, true, "the channel has expired 3 hours ago; publish it again with gwctl apply"},
		"five minutes before": {8*day - 5*time.Minute, true, "the channel expires in 5 minutes"},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKeys(t)
			g := newGuarded(t, k, 8*day)
			g.clock.Advance(tt.after)
			if c := g.class(); !c.Known || c.Detected != tt.detected || c.Detail != tt.detail {
				t.Errorf("%+v", c)
			}
			r := g.Last()
			if r.Keys.Release[0] != k.release.Public().ID() || r.Keys.Channel[0] != k.channel.Public().ID() || !r.ExpiresAt.Equal(noon.Add(8*day)) ||
				r.Expired != (tt.after >= 8*day) || r.FileChanged || r.Refused != nil {
				t.Errorf("%+v", r)
			}
		})
	}
}

// A trust file that was changed after the start, and what that means for what runs.
func TestTrustFileThatChanged(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(t *testing.T, g *guarded, k *keys)
		reason string // of the refusal
		detail string // its beginning
		drift  bool
	}{
		"a key more": {
			func(t *testing.T, g *guarded, k *keys) { k.add(bundle.RoleRelease); g.write(t, k.encode()) },
			"", "the channel expires in 8 days; trust.json has changed and takes effect with a restart", false,
		},
		"a threshold raised": {
			func(t *testing.T, g *guarded, k *keys) {
				k.add(bundle.RoleRelease)
				k.file.Thresholds.Release = 2
				g.write(t, k.encode())
			},
			"signature_missing", "trust.json, as it is now, refuses what runs: signature_missing: the manifest needs 2 signatures by release keys", true,
		},
		"a threshold of this environment raised": {
			func(t *testing.T, g *guarded, k *keys) {
				k.add(bundle.RoleChannel)
				k.file.Environments = map[string]bundle.Thresholds{"prod": {Channel: 2}}
				g.write(t, k.encode())
			},
			"signature_missing", "trust.json, as it is now, refuses what runs: signature_missing: the channel needs 2 signatures by channel keys", true,
		},
		"the release key withdrawn": {
			func(t *testing.T, g *guarded, k *keys) {
				k.add(bundle.RoleRelease)
				k.file.Keys = k.file.Keys[1:]
				g.write(t, k.encode())
			},
			"key_unknown", "trust.json, as it is now, refuses what runs: key_unknown: the manifest is signed by key ", true,
		},
		"the release key for another environment": {
			func(t *testing.T, g *guarded, k *keys) {
				k.file.Keys[0].Environments = []string{"dev"}
				g.write(t, k.encode())
			},
			"key_not_allowed", "trust.json, as it is now, refuses what runs: key_not_allowed: ", true,
		},
		"no trust file any more": {
			func(t *testing.T, g *guarded, _ *keys) {
				if err := os.Remove(g.path); err != nil {
					t.Fatal(err)
				}
			},
			"", "trust.json cannot be used as it is now, a restart would fail: open ", true,
		},
		"a trust file that is none": {
			func(t *testing.T, g *guarded, _ *keys) { g.write(t, []byte("{\x1b[31m")) },
			"", "trust.json cannot be used as it is now, a restart would fail: ", true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKeys(t)
			g := newGuarded(t, k, 8*24*time.Hour)
			if c := g.class(); c.Detected {
				t.Fatalf("before: %+v", c)
			}
			tt.change(t, g, k)
			g.class()
			c := g.class()
			r := g.Last()
			reason := ""
			if r.Refused != nil {
				reason = r.Refused.Reason
			}
			if !c.Known || c.Detected != tt.drift || !strings.HasPrefix(c.Detail, tt.detail) || reason != tt.reason || !r.FileChanged || !plain(c.Detail) {
				t.Errorf("%+v, %+v", c, r)
			}
			warned := strings.Count(g.log.String(), "level=WARN")
			if warned != map[bool]int{true: 1}[tt.drift] {
				t.Errorf("%d warnings:\n%s", warned, g.log.String())
			}
			g.write(t, g.o.Started)
			if c := g.class(); c.Detected || g.Last().FileChanged {
				t.Errorf("when it is as it was: %+v", c)
			}
			if tt.drift && !strings.Contains(g.log.String(), "fits what runs again") {
				t.Errorf("nobody is told:\n%s", g.log.String())
			}
		})
	}
}

func TestTrustOfNothing(t *testing.T) {
	g := newGuarded(t, newKeys(t), time.Hour)
	at := g.at
	g.at = bundle.Position{}
	if c := g.class(); !c.Known || c.Detected || c.Detail != "nothing is running" || g.Last().Keys != nil || g.reads != 0 {
		t.Errorf("%+v after %d reads", c, g.reads)
	}
	g.at, g.err = at, errors.New("the disk is gone")
	if c := g.class(); c.Known || c.Detected || c.Detail != "read what runs: the disk is gone" {
		t.Errorf("%+v", c)
	}
	g.err = nil
	g.class()
	if c := g.class(); !c.Known || c.Detected || g.reads != 2 {
		t.Errorf("%+v after %d reads: what runs is read once", c, g.reads)
	}
}

// The names are part of the admin API.
func TestTrustReportAsJSON(t *testing.T) {
	k := newKeys(t)
	g := newGuarded(t, k, time.Hour)
	data, err := json.Marshal(g.Check())
	want := `{"checkedAt":"2026-01-01T12:00:00Z","expiresAt":"2026-01-01T13:00:00Z","keys":{"release":["` + k.release.Public().ID() + `"],"channel":["` +
		k.channel.Public().ID() + `"]},"expiring":false,"expired":false,"fileChanged":false}`
	if err != nil || string(data) != want {
		t.Errorf("%s, %v", data, err)
	}
}

func TestPaceOfTrust(t *testing.T) {
	g := newGuarded(t, newKeys(t), 8*24*time.Hour)
	synctest.Test(t, func(t *testing.T) {
		var version atomic.Int64
		version.Store(g.at.Version)
		g.o.Now, g.o.Running = time.Now, func() bundle.Position { return bundle.Position{Epoch: 1, Version: version.Load()} }
		var n atomic.Int64
		g.o.Report = func(*TrustReport) { n.Add(1) }
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); g.Run(ctx) }()
		time.Sleep(29500 * time.Millisecond)
		synctest.Wait()
		if n.Load() != 3 {
			t.Errorf("%d times in half a minute", n.Load())
		}
		version.Add(1)
		time.Sleep(time.Second)
		synctest.Wait()
		stop()
		<-done
		if n.Load() != 4 || g.reads != 2 {
			t.Errorf("%d times, %d reads, after something else runs", n.Load(), g.reads)
		}
	})
}

func TestClasses(t *testing.T) {
	var c Classes
	if all := c.All(); len(all) != 0 {
		t.Errorf("%+v", all)
	}
	at := func(s int) time.Time { return noon.Add(time.Duration(s) * time.Second) }
	c.Set(at(0), Class{Class: ClassTrust, Known: true})
	c.Set(at(1), Class{Class: ClassSource, Detected: true}) // of what is not known nothing is detected
	c.Set(at(2), Live(nil))
	c.Set(at(3), Class{Class: ClassTrust, Known: true, Detail: "other words"})
	c.Set(at(4), Class{Class: ClassSource, Known: true, Detected: true})
	c.Set(at(5), Live([]string{"a", "b"}))
	c.Set(at(6), Live([]string{"a", "b", "c"}))
	want := []Class{
		{Class: ClassSource, Known: true, Detected: true, Since: at(4)},
		{Class: ClassLive, Known: true, Detected: true, Since: at(5), Detail: "3 overlays are active"},
		{Class: ClassTrust, Known: true, Since: at(0), Detail: "other words"},
	}
	all := c.All()
	if len(all) != len(want) {
		t.Fatalf("%+v", all)
	}
	for i := range want {
		if g, w := all[i], want[i]; g.Class != w.Class || g.Known != w.Known || g.Detected != w.Detected || !g.Since.Equal(w.Since) || g.Detail != w.Detail {
			t.Errorf("got %+v, want %+v", g, w)
		}
	}
	if got := strings.Join(c.Detected(), " "); got != "source live" {
		t.Errorf("detected: %s", got)
	}
}
