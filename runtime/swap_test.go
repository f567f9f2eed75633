package runtime_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	goruntime "runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
)

// ticker is an upstream: /fast answers at once, /events counts without end, /slow answers when it is told to.
func ticker(t *testing.T) (url string, slow chan struct{}) {
	t.Helper()
	slow = make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch {
		case strings.HasPrefix(q.URL.Path, "/events"):
			w.Header().Set("Content-Type", "text/event-stream")
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for n := 0; ; n++ {
				if _, err := fmt.Fprintf(w, "data: %d\n\n", n); err != nil {
					return
				}
				_ = http.NewResponseController(w).Flush()
				select {
				case <-tick.C:
				case <-q.Context().Done():
					return
				}
			}
		case strings.HasPrefix(q.URL.Path, "/slow"):
			select {
			case <-slow:
			case <-q.Context().Done():
			}
		}
		body, _ := io.ReadAll(q.Body)
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		_, _ = w.Write(body)
	}))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s.URL, slow
}

// variant is one of two configurations: they differ in a route, in its policies, and in the upstream's settings.
func variant(t testing.TB, url, name string, differ int64) *ir.Program {
	t.Helper()
	prog := compile(t, `
routes:
  - id: fast
    matcher: { path: "/fast/*" }
    target: { type: http, url: "`+url+`" }
  - id: events
    matcher: { path: "/events/*" }
    target: { type: http, url: "`+url+`" }
  - id: slow
    matcher: { path: "/slow/*" }
    target: { type: http, url: "`+url+`" }
`)
	prog.Upstreams[0].ConnectTimeout += differ
	with(t, prog, "fast", testPlan{Name: name + "1"}, testPlan{Name: name + "2"})
	with(t, prog, "events", testPlan{Name: name})
	return prog
}

// stream reads events until the response breaks off.
type stream struct {
	version string
	last    atomic.Int64
	ended   chan error
}

func (r *rig) stream(c *http.Client) *stream {
	r.t.Helper()
	resp, err := c.Get("http://" + r.addr + "/events/1")
	if err != nil {
		r.t.Fatal(err)
	}
	s := &stream{version: resp.Header.Get("X-Passed"), ended: make(chan error, 1)}
	s.last.Store(-1)
	go func() {
		defer func() { _ = resp.Body.Close() }()
		in := bufio.NewScanner(resp.Body)
		for in.Scan() {
			var n int64
			if _, err := fmt.Sscanf(in.Text(), "data: %d", &n); err != nil {
				continue
			}
			if n != s.last.Load()+1 {
				s.ended <- fmt.Errorf("event %d after %d", n, s.last.Load())
				return
			}
			s.last.Store(n)
		}
		s.ended <- in.Err() // nil: it looked complete
	}()
	return s
}

// goesOn waits for events that come from now on.
func (s *stream) goesOn(t testing.TB) {
	t.Helper()
	from := s.last.Load()
	testkit.Eventually(t, "a stream goes on", func() bool {
		select {
		case err := <-s.ended:
			t.Fatalf("a stream of version %s ended: %v", s.version, err)
		default:
		}
		return s.last.Load() > from+1
	})
}

// Hundreds of swaps under load: no request fails, breaks off, or sees two configurations, and no stream notices.
func TestSwapUnderLoad(t *testing.T) {
	const swaps, clients, streams = 200, 8, 4
	url, _ := ticker(t)
	r := newRig(t, options{grace: 50 * time.Millisecond})
	variants := []*ir.Program{variant(t, url, "A", 0), variant(t, url, "B", 1)}
	r.activate(variants[0])
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	defer transport.CloseIdleConnections()
	c := &http.Client{Transport: transport}
	var open []*stream
	for range streams {
		open = append(open, r.stream(c))
	}
	var stop atomic.Bool
	var served [2]atomic.Int64
	var wg sync.WaitGroup
	for n := range clients {
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				if err := ask(c, r.addr, strings.Repeat("x", (i*997+n)%40_000), &served); err != nil {
					t.Errorf("client %d, request %d: %v", n, i, err)
					return
				}
			}
		})
	}
	for n := 1; n <= swaps; n++ {
		seen := served[0].Load() + served[1].Load()
		r.activate(variants[n%2])
		if n%10 == 0 { // let each client get through in between
			testkit.Eventually(t, "requests are served between swaps", func() bool {
				return served[0].Load()+served[1].Load() > seen+clients || t.Failed()
			})
		}
	}
	for _, s := range open {
		s.goesOn(t)
	}
	stop.Store(true)
	wg.Wait()
	t.Logf("%d requests by one configuration, %d by the other", served[0].Load(), served[1].Load())
	if served[0].Load() == 0 || served[1].Load() == 0 {
		t.Error("one configuration never served")
	}
	r.metric(`gw_snapshots_draining 1`) // the one that the streams began on
	r.stop()
	for _, s := range open {
		if err := <-s.ended; err == nil {
			t.Error("a stream that was cut looked complete")
		}
	}
}

// ask sends a request and checks that all of the answer came, and that one configuration made it.
func ask(c *http.Client, addr, body string, served *[2]atomic.Int64) error {
	resp, err := c.Post("http://"+addr+"/fast/1", "text/plain", strings.NewReader(body))
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != 200 || string(got) != body {
		return fmt.Errorf("status %d with %d of %d bytes", resp.StatusCode, len(got), len(body))
	}
	switch passed := strings.Join(resp.Header.Values("X-Passed"), " "); passed { // what a request met first it leaves last
	case "A2 A1":
		served[0].Add(1)
	case "B2 B1":
		served[1].Add(1)
	default:
		return fmt.Errorf("one request met policies %q", passed)
	}
	return nil
}

// Streams stay on their snapshot until the drain timeout is over, and are then cut so that their clients can tell. Those
// which began afterwards are left alone, also if the first byte of their request came before the swap.
func TestDrainTimeout(t *testing.T) {
	const drain = 300 * time.Millisecond
	url, _ := ticker(t)
	r := newRig(t, options{Options: runtime.Options{DrainTimeout: drain, DrainJitter: 20 * time.Millisecond}, grace: 50 * time.Millisecond})
	r.activate(variant(t, url, "A", 0))
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	c := &http.Client{Transport: transport}
	old := r.stream(c)
	slow := r.dial()
	slow.send("GET /slow/1 HTTP/1.1\r\nHost: example.com\r\n\r\n")
	late := r.dial()
	late.send("GET /events/1 HTTP/1.1\r\n")
	r.metric(`gw_requests_in_flight 2`)
	begun := time.Now()
	r.activate(variant(t, url, "B", 1))
	young := r.stream(c)
	late.send("Host: example.com\r\n\r\n")
	if old.version != "A" || young.version != "B" {
		t.Fatalf("streams began on %s and %s", old.version, young.version)
	}
	old.goesOn(t)
	if err := <-old.ended; !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the stream ended with %v, want a cut that can be seen", err)
	}
	if took := time.Since(begun); took < drain {
		t.Errorf("the stream was cut after %s, before the drain timeout", took)
	}
	resp, err := slow.receive("GET")
	if err != nil {
		t.Fatal(err)
	}
	if code, _ := resp.problem(t); resp.status != 503 || code != "drain_timeout" || resp.field("Retry-After") != "1" {
		t.Errorf("a request without an answer gets %d %s", resp.status, code)
	}
	r.metric(`gw_snapshots_draining 0`)
	young.goesOn(t)
	for line := ""; !strings.Contains(line, "data: 100"); { // half a second of events
		if line, err = late.r.ReadString('\n'); err != nil {
			t.Fatalf("a stream on the new configuration was cut: %v", err)
		}
	}
}

// A swap cuts no exchange whose route is the same afterwards, however long it lasts; those whose route changed are cut. So many old
// snapshots are kept for such exchanges, and not more.
func TestKeptRoutes(t *testing.T) {
	const drain = 100 * time.Millisecond
	url, _ := ticker(t)
	r := newRig(t, options{Options: runtime.Options{DrainTimeout: drain, DrainJitter: 10 * time.Millisecond}, grace: 50 * time.Millisecond})
	version := func(slow string) *ir.Program {
		prog := variant(t, url, "A", 0)
		with(t, prog, "slow", testPlan{Name: slow})
		return prog
	}
	r.activate(version("S0"))
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	kept := r.stream(&http.Client{Transport: transport})
	changed := r.dial()
	changed.send("GET /slow/1 HTTP/1.1\r\nHost: example.com\r\n\r\n")
	r.metric(`gw_requests_in_flight 2`)
	r.activate(version("S1"))
	resp, err := changed.receive("GET")
	if err != nil {
		t.Fatal(err)
	}
	if code, _ := resp.problem(t); resp.status != 503 || code != "drain_timeout" {
		t.Errorf("an exchange on a route that changed gets %d %s", resp.status, code)
	}
	kept.goesOn(t)
	for n := range 40 { // snapshots that nobody is on do not count
		r.activate(version(fmt.Sprint("R", n)))
	}
	for swapped := time.Now(); time.Since(swapped) < 2*drain; {
		kept.goesOn(t)
	}
	r.metric(`gw_snapshots_draining 1`)
	young := r.stream(&http.Client{Transport: transport})
	for n := range 16 {
		r.activate(version(fmt.Sprint("S", n+2)))
		one := r.stream(&http.Client{Transport: transport}) // keeps the snapshot it began on
		defer func() { <-one.ended }()
	}
	if err := <-kept.ended; !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the oldest stream ended with %v, want a cut that can be seen", err)
	}
	young.goesOn(t)
	defer func() { <-young.ended }()
	r.stop()
}

// Ten thousand swaps leave no goroutine, no memory, and no shared value behind.
func TestTenThousandSwaps(t *testing.T) {
	swaps := 10_000
	if raceEnabled {
		swaps = 500
	}
	url, _ := ticker(t)
	r := newRig(t, options{})
	var verdicts [2]*bundle.Verdict
	for i, name := range []string{"A", "B"} {
		verdicts[i] = r.pub.Verify(r.pub.Publish(variant(t, url, name, int64(i))))
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	c := &http.Client{Transport: transport}
	var served [2]atomic.Int64
	swap := func(n int) {
		for i := range n {
			next, err := r.builder.Build(t.Context(), verdicts[i%2], r.Running())
			if err != nil {
				t.Fatal(err)
			}
			r.Swap(next)
			if i%100 == 0 {
				if err := ask(c, r.addr, "x", &served); err != nil {
					t.Fatal(err)
				}
			}
		}
		r.metric(`gw_snapshots_draining 0`)
	}
	state := func() (goroutines int, heap uint64) {
		transport.CloseIdleConnections()
		r.metric(`gw_connections_open 0`)
		for range 3 {
			goruntime.GC()
		}
		var m goruntime.MemStats
		goruntime.ReadMemStats(&m)
		return goruntime.NumGoroutine(), m.HeapAlloc
	}
	swap(200)
	values := r.shared.Len()
	goroutines, heap := state()
	begun := time.Now()
	swap(swaps)
	t.Logf("%d swaps in %s", swaps, time.Since(begun))
	if n := r.shared.Len(); n != values {
		t.Errorf("%d shared values, %d before", n, values)
	}
	afterGoroutines, afterHeap := state()
	t.Logf("goroutines %d to %d, heap %d KiB to %d KiB", goroutines, afterGoroutines, heap>>10, afterHeap>>10)
	if afterGoroutines > goroutines+5 {
		t.Errorf("%d goroutines, %d before", afterGoroutines, goroutines)
	}
	if afterHeap > heap+1<<20 { // a hundred bytes a swap would show
		t.Errorf("heap grew from %d to %d bytes", heap, afterHeap)
	}
}

// Stopping twice is stopping once, and a snapshot that comes too late is closed.
func TestShutdown(t *testing.T) {
	url, _ := ticker(t)
	r := newRig(t, options{})
	v := r.pub.Verify(r.pub.Publish(variant(t, url, "A", 0)))
	first, err := r.builder.Build(t.Context(), v, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Swap(first)
	late, err := r.builder.Build(t.Context(), v, first)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 2 {
		if err := r.Shutdown(t.Context()); err != nil {
			t.Errorf("shutdown %d: %v", n, err)
		}
	}
	select {
	case <-first.Done():
	default:
		t.Error("shutdown returned before the snapshot was closed")
	}
	r.Swap(late)
	<-late.Done()
	if !r.Running().IsEmpty() || r.shared.Len() != 0 {
		t.Errorf("what came late runs, or %d shared values are left", r.shared.Len())
	}
}
