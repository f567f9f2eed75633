package failures

import (
	"net/netip"
	"testing"
	"time"
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
		if a, b := SourceOf(netip.MustParseAddr(tt.a)), SourceOf(netip.MustParseAddr(tt.b)); (a == b) != tt.same {
			t.Errorf("%s and %s: %x and %x", tt.a, tt.b, a, b)
		}
	}
	if got := SourceOf(netip.Addr{}); got != 0 { // there is always an address; if there were none, all would be one client
		t.Errorf("no address: %x", got)
	}
}

func TestFailuresOfAMinute(t *testing.T) {
	c := New(noon)
	at := noon.Add(45 * time.Second)
	for i := range 3 {
		if wait := c.Wait(1, 3, at); wait != 0 {
			t.Errorf("after %d failures: wait %s", i, wait)
		}
		c.Add(1, at)
	}
	for _, tt := range []struct {
		name  string
		from  Source
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
		if got := c.Wait(tt.from, tt.most, at.Add(tt.after)); got != tt.want {
			t.Errorf("%s: wait %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestClockGoesBack holds that nobody waits longer than a minute, whatever the clock does.
func TestClockGoesBack(t *testing.T) {
	c := New(noon)
	for _, at := range []time.Duration{time.Hour, -time.Hour, -time.Second, -time.Minute, 0, 1 << 62} {
		now := noon.Add(at)
		c.Add(1, now)
		if wait := c.Wait(1, 1, now); wait <= 0 || wait > 2*time.Minute {
			t.Errorf("at %s: wait %s", at, wait)
		}
	}
}

func TestFailuresAreBounded(t *testing.T) {
	c := New(noon)
	for i := range Source(3 * maxSources) {
		c.Add(i, noon)
	}
	if len(c.tries) != maxSources {
		t.Errorf("%d addresses are remembered", len(c.tries))
	}
	last := Source(3*maxSources - 1)
	c.Add(last, noon) // who is known pushes nobody out
	if len(c.tries) != maxSources || c.tries[last] != 2 {
		t.Errorf("%d addresses, the last with %d failures", len(c.tries), c.tries[last])
	}
	c.Wait(1, 1, noon.Add(time.Minute))
	if len(c.tries) != 0 {
		t.Errorf("%d addresses are remembered of the minute before", len(c.tries))
	}
}

func TestRetryAfter(t *testing.T) {
	for wait, want := range map[time.Duration]string{1: "1", time.Second: "1", time.Second + 1: "2", time.Minute: "60"} {
		if got := RetryAfter(wait); got != want {
			t.Errorf("%s: %s, want %s", wait, got, want)
		}
	}
}

func BenchmarkWait(b *testing.B) {
	c := New(noon)
	for i := range Source(maxSources) {
		c.Add(i, noon)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := Source(0); pb.Next(); i++ {
			c.Wait(i*7919%(2*maxSources), 60, noon)
		}
	})
}
