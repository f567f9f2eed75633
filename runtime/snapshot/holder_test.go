package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/telemetry"
)

func TestMain(m *testing.M) { testkit.NoLeaks(m) }

// counted is an empty snapshot that counts how often it is closed.
func counted(closed *atomic.Int64) *Snapshot {
	s := Empty()
	s.release = append(s.release, func() { closed.Add(1) })
	return s
}

// Requests come and go while the snapshot changes: each sees one that is open, and each snapshot is closed once, when its
// last request has gone and not before.
func TestHolderUnderLoad(t *testing.T) {
	const swaps, readers = 2000, 8
	closed := make([]atomic.Int64, swaps+1)
	snapshots := make([]*Snapshot, swaps+1)
	for i := range snapshots {
		snapshots[i] = counted(&closed[i])
		snapshots[i].Info.Routes = i
	}
	h := NewHolder(snapshots[0])
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			last := 0
			for !stop.Load() {
				s := h.Acquire()
				if closed[s.Info.Routes].Load() != 0 {
					t.Error("acquired a closed snapshot")
				}
				if s.Info.Routes < last {
					t.Errorf("went back from snapshot %d to %d", last, s.Info.Routes)
				}
				last = s.Info.Routes
				if closed[s.Info.Routes].Load() != 0 {
					t.Error("a snapshot was closed under a request")
				}
				s.Release()
			}
		})
	}
	for i := 1; i <= swaps; i++ {
		if old := h.Swap(snapshots[i]); old != snapshots[i-1] {
			t.Fatal("swap returned another snapshot than the one before")
		}
	}
	stop.Store(true)
	wg.Wait()
	for i := range swaps {
		<-snapshots[i].Done()
		if n := closed[i].Load(); n != 1 {
			t.Fatalf("snapshot %d was closed %d times", i, n)
		}
	}
	if h.Peek() != snapshots[swaps] || closed[swaps].Load() != 0 {
		t.Error("the running snapshot was closed")
	}
	h.Peek().Release()
	<-h.Peek().Done()
}

func TestClosedSnapshotIsNotRevived(t *testing.T) {
	var closed atomic.Int64
	s := counted(&closed)
	if !s.retain() {
		t.Fatal("an open snapshot could not be retained")
	}
	s.Release()
	s.Release()
	<-s.Done()
	if s.retain() {
		t.Error("a closed snapshot was retained")
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("releasing once too often went unnoticed")
			}
		}()
		s.Release()
	}()
	if s.retain() || closed.Load() != 1 {
		t.Errorf("after one release too many: retained, or closed %d times", closed.Load())
	}
}

type closer struct {
	name string
	log  *[]string
	err  error
}

func (c *closer) Close() error {
	*c.log = append(*c.log, c.name)
	if c.name == "panics" {
		panic("closing")
	}
	return c.err
}

func (c *closer) Decide(context.Context, *policy.Exchange) policy.Verdict { return policy.Pass }

// The last release closes everything in reverse order, whatever one policy does in Close.
func TestCloseOrder(t *testing.T) {
	var log []string
	var out bytes.Buffer
	m := metrics(t)
	s := Empty()
	s.metrics, s.log = m, slog.New(slog.NewTextHandler(&out, nil))
	for _, id := range []string{"first", "second"} {
		r := &Route{Info: policy.Route{ID: id}, Metrics: m.Route(id), Upstream: m.Upstream("up")}
		r.refs.Store(1)
		for _, name := range []string{id + "/a", "panics", id + "/b"} {
			r.Chain.add(&policy.Kind{Name: "test"}, &closer{name: name, log: &log, err: errors.New(name + " failed")}, r.Metrics.Policy("test"))
		}
		s.routes = append(s.routes, r)
	}
	s.release = append(s.release, func() { log = append(log, "pool 1") }, func() { log = append(log, "pool 2") })
	s.Release()
	<-s.Done()
	want := []string{"second/b", "panics", "second/a", "first/b", "panics", "first/a", "pool 2", "pool 1"}
	if !slices.Equal(log, want) {
		t.Errorf("closed %v, want %v", log, want)
	}
	if text := out.String(); strings.Count(text, "a policy did not close") != 2 || !strings.Contains(text, "first/a failed") || !strings.Contains(text, "panic: closing") {
		t.Errorf("the log says %s", text)
	}
}

func metrics(tb testing.TB) *telemetry.Metrics {
	tb.Helper()
	m, err := telemetry.New(telemetry.Build{Version: "test"})
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// value is a shared value that must be open while somebody holds it.
type value struct{ closed atomic.Int64 }

func (v *value) Close() error { v.closed.Add(1); return nil }

func TestShared(t *testing.T) {
	s := NewShared()
	made := 0
	get := func() (*value, func()) {
		v, release, err := s.Get("k", func() (any, error) { made++; return &value{}, nil })
		if err != nil {
			t.Fatal(err)
		}
		return v.(*value), release
	}
	a, releaseA := get()
	b, releaseB := get()
	if a != b || made != 1 || s.Len() != 1 {
		t.Fatalf("made %d values, %d held", made, s.Len())
	}
	releaseA()
	releaseA() // twice is once
	if a.closed.Load() != 0 || s.Len() != 1 {
		t.Fatal("closed while held")
	}
	c, releaseC := get() // a new snapshot takes its own before the old one lets go
	releaseB()
	if c != a || a.closed.Load() != 0 {
		t.Fatal("the value did not survive")
	}
	releaseC()
	if a.closed.Load() != 1 || s.Len() != 0 {
		t.Fatalf("closed %d times, %d held", a.closed.Load(), s.Len())
	}
	if d, release := get(); d == a || made != 2 {
		t.Error("a closed value came back")
	} else {
		release()
	}
}

func TestSharedFailures(t *testing.T) {
	s := NewShared()
	for name, create := range map[string]func() (any, error){
		"create k: no such key": func() (any, error) { return &value{}, errors.New("no such key") },
		"create k: panic: oh":   func() (any, error) { panic("oh") },
	} {
		v, release, err := s.Get("k", create)
		if err == nil || !strings.HasPrefix(err.Error(), name) || v != nil || release != nil || s.Len() != 0 {
			t.Errorf("got %v, %v, %d held", v, err, s.Len())
		}
	}
	if v, release, err := s.Get("k", func() (any, error) { return 7, nil }); err != nil || v != 7 {
		t.Errorf("after failures: %v, %v", v, err)
	} else {
		release()
	}
}

func TestSharedStorm(t *testing.T) {
	s := NewShared()
	var live [4]atomic.Int64 // values that are open, by key
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := range 2000 {
				k := (w + i) % len(live)
				fails := i%17 == 0
				v, release, err := s.Get(fmt.Sprint(k), func() (any, error) {
					if fails {
						return nil, errors.New("not now")
					}
					live[k].Add(1)
					return &tracked{n: &live[k]}, nil
				})
				if err != nil {
					continue
				}
				if tr := v.(*tracked); tr.closed.Load() {
					t.Error("a held value is closed")
				}
				release()
			}
		})
	}
	wg.Wait()
	if s.Len() != 0 {
		t.Errorf("%d values are held by nobody", s.Len())
	}
	for k := range live {
		if n := live[k].Load(); n != 0 {
			t.Errorf("%d values of key %d are open", n, k)
		}
	}
}

type tracked struct {
	n      *atomic.Int64
	closed atomic.Bool
}

func (v *tracked) Close() error {
	if v.closed.Swap(true) {
		panic("closed twice")
	}
	v.n.Add(-1)
	return nil
}
