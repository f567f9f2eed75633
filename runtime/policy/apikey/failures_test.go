package apikey

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/policy"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func TestSources(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "1.2.0.192", false},
		{"2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"fe80::1%eth0", "fe80::1%eth1", true},
		{"2001:db8::1", "192.0.2.1", false},
	} {
		if a, b := sourceOf(netip.MustParseAddr(tt.a)), sourceOf(netip.MustParseAddr(tt.b)); (a == b) != tt.same {
			t.Errorf("%s and %s: %x and %x", tt.a, tt.b, a, b)
		}
	}
	if got := sourceOf(netip.Addr{}); got != 0 { // there is always an address; if there were none, all would be one client
		t.Errorf("no address: %x", got)
	}
}

func TestFailuresOfAMinute(t *testing.T) {
	f := newFailures(noon)
	at := noon.Add(45 * time.Second)
	for i := range 3 {
		if wait := f.wait(1, 3, at); wait != 0 {
			t.Errorf("after %d failures: wait %s", i, wait)
		}
		f.add(1, at)
	}
	for _, tt := range []struct {
		name  string
		from  source
		most  int64
		after time.Duration
		want  time.Duration
	}{
		{"at the bound", 1, 3, 0, 15 * time.Second},
		{"on a route with a higher one", 1, 4, 0, 0},
		{"on a route with a lower one", 1, 1, 0, 15 * time.Second},
		{"another client", 2, 1, 0, 0},
		{"at the end of the minute", 1, 3, 15*time.Second - 1, 1},
		{"in the next", 1, 3, 15 * time.Second, 0},
		{"and back again: it is forgotten", 1, 3, 0, 0},
	} {
		if got := f.wait(tt.from, tt.most, at.Add(tt.after)); got != tt.want {
			t.Errorf("%s: wait %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestClockGoesBack holds that nobody waits longer than a minute, whatever the clock does.
func TestClockGoesBack(t *testing.T) {
	f := newFailures(noon)
	for _, at := range []time.Duration{time.Hour, -time.Hour, -time.Second, -time.Minute, 0, 1 << 62} {
		now := noon.Add(at)
		f.add(1, now)
		if wait := f.wait(1, 1, now); wait <= 0 || wait > 2*time.Minute {
			t.Errorf("at %s: wait %s", at, wait)
		}
	}
}

func TestFailuresAreBounded(t *testing.T) {
	f := newFailures(noon)
	for i := range source(3 * maxSources) {
		f.add(i, noon)
	}
	if len(f.tries) != maxSources {
		t.Errorf("%d addresses are remembered", len(f.tries))
	}
	last := source(3*maxSources - 1)
	f.add(last, noon) // who is known pushes nobody out
	if len(f.tries) != maxSources || f.tries[last] != 2 {
		t.Errorf("%d addresses, the last with %d failures", len(f.tries), f.tries[last])
	}
	f.wait(1, 1, noon.Add(time.Minute))
	if len(f.tries) != 0 {
		t.Errorf("%d addresses are remembered of the minute before", len(f.tries))
	}
}

// TestSwapIsNoFreshStart has two generations of the policy, and two routes, share what is known of a client.
func TestSwapIsNoFreshStart(t *testing.T) {
	w, r := newWorld()
	held := &held{}
	w.Shared = held
	good := r.key(t, "test", nil)
	before := handlerOf(t, w, `{ maxFailuresPerMinute: 2 }`)
	for range 2 {
		before.Decide(t.Context(), w.Exchange("GET", "/", "X-API-Key: x"))
	}
	w.Route = policy.Route{ID: "another"}
	after := handlerOf(t, w, `{ header: X-Key, maxFailuresPerMinute: 2 }`)
	if err := before.(interface{ Close() error }).Close(); err != nil {
		t.Fatal(err)
	}
	if got := policytest.Said(after.Decide(t.Context(), w.Exchange("GET", "/", "X-Key: "+good.Text()))); got != "429 too_many_failures" {
		t.Errorf("on another route after a swap: %s", got)
	}
	if held.made != 1 || held.refs != 1 {
		t.Errorf("made %d times, %d hold it", held.made, held.refs)
	}
}

// held shares one value.
type held struct {
	value      any
	made, refs int
}

// Get implements policy.Shared.
func (h *held) Get(_ string, create func() (any, error)) (any, func(), error) {
	h.refs++
	if h.value != nil {
		return h.value, func() { h.refs-- }, nil
	}
	h.made++
	var err error
	h.value, err = create()
	return h.value, func() { h.refs-- }, err
}

// TestGuessersAtOnce has many clients at a time: each is counted for itself.
func TestGuessersAtOnce(t *testing.T) {
	w, _ := newWorld()
	h := handlerOf(t, w, `{ maxFailuresPerMinute: 10 }`)
	var all sync.WaitGroup
	for client := range byte(8) {
		all.Go(func() {
			verdicts := map[string]int{}
			for range 50 {
				x := w.Exchange("GET", "/", "X-API-Key: x")
				x.ClientIP = netip.AddrFrom4([4]byte{192, 0, 2, client})
				verdicts[policytest.Said(h.Decide(t.Context(), x))]++
			}
			if verdicts["401 key_invalid"] != 10 || verdicts["429 too_many_failures"] != 40 {
				t.Errorf("client %d: %v", client, verdicts)
			}
		})
	}
	all.Wait()
}

func BenchmarkFailures(b *testing.B) {
	f := newFailures(noon)
	for i := range source(maxSources) {
		f.add(i, noon)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := source(0); pb.Next(); i++ {
			f.wait(i*7919%(2*maxSources), 60, noon)
		}
	})
}
