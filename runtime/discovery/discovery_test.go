package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/discovery/provider"
	"github.com/suuupra/gateway/schema/ir"
)

func TestMain(m *testing.M) { testkit.NoLeaks(m) }

// watch is one whose provider is the test.
func watch(t *testing.T) (*Watch, provider.Sink, *strings.Builder) {
	t.Helper()
	log := &strings.Builder{}
	sinks := make(chan provider.Sink)
	w := follow(func(ctx context.Context, sink provider.Sink) { sinks <- sink; <-ctx.Done() }, "test", Env{
		Now: time.Now, Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelInfo})),
	})
	t.Cleanup(func() { _ = w.Close() })
	return w, <-sinks, log
}

func at(addresses ...string) []Endpoint {
	var out []Endpoint
	for _, a := range addresses {
		out = append(out, Endpoint{Address: a})
	}
	return out
}

func addresses(w *Watch) string {
	var out []string
	for _, e := range w.Endpoints() {
		out = append(out, e.Address)
	}
	return strings.Join(out, " ")
}

func TestLastGoodAnswerStays(t *testing.T) {
	w, sink, log := watch(t)
	sink.Failed(errors.New("the server is away"))
	select {
	case <-w.Known():
		t.Error("known before the first answer")
	default:
	}
	if s := w.Status(); s.Failures != 1 || s.LastError != "the server is away" || s.LastSuccess != nil {
		t.Errorf("%+v", s)
	}
	sink.Found(at("10.0.0.2:80", "10.0.0.1:80", "10.0.0.2:80"))
	<-w.Known()
	for range 3 {
		sink.Failed(errors.New("away again"))
	}
	if s := w.Status(); addresses(w) != "10.0.0.1:80 10.0.0.2:80" || s.Failures != 3 || s.LastSuccess == nil || s.Endpoints != 2 {
		t.Errorf("left: %q, %+v", addresses(w), s)
	}
	sink.Found(nil) // a provider that says so is believed
	if s := w.Status(); addresses(w) != "" || s.Failures != 0 || s.LastError != "" || s.Changes != 2 {
		t.Errorf("left: %q, %+v", addresses(w), s)
	}
	if n := strings.Count(log.String(), "discovery failed"); n != 2 {
		t.Errorf("told %d times:\n%s", n, log)
	}
}

// TestLongError has a server talk without end.
func TestLongError(t *testing.T) {
	w, sink, log := watch(t)
	sink.Failed(fmt.Errorf("it says %s", strings.Repeat("ä", 1<<20)))
	if s := w.Status().LastError; len(s) > 600 || len(log.String()) > 2000 || !strings.HasSuffix(s, "ä...") {
		t.Errorf("kept %d bytes of an error, logged %d", len(s), len(log.String()))
	}
}

// TestEqualAnswers holds that subscribers hear of changes and of nothing else.
func TestEqualAnswers(t *testing.T) {
	w, sink, _ := watch(t)
	calls := 0
	w.Subscribe(func() { calls++ })
	zone := func(z string) Endpoint {
		return Endpoint{Address: "10.0.0.1:80", Metadata: []ir.Pair{{Name: "zone", Value: z}}}
	}
	for i, step := range []struct {
		list []Endpoint
		want int
	}{
		{nil, 1}, // the first answer is one, even if it is empty
		{[]Endpoint{}, 1},
		{at("10.0.0.1:80", "10.0.0.2:80"), 2},
		{at("10.0.0.2:80", "10.0.0.1:80"), 2},
		{at("10.0.0.2:80", "10.0.0.1:80", "10.0.0.2:80"), 2},
		{[]Endpoint{{Address: "10.0.0.1:80", Metadata: []ir.Pair{}}, {Address: "10.0.0.2:80"}}, 2},
		{[]Endpoint{{Address: "10.0.0.1:80", Weight: 5}, {Address: "10.0.0.2:80"}}, 3},
		{[]Endpoint{zone("a"), zone("b")}, 4},
		{[]Endpoint{zone("b"), zone("a")}, 4}, // told twice, and in another order each time
		{[]Endpoint{zone("b")}, 5},
		{nil, 6},
	} {
		if sink.Found(step.list); calls != step.want {
			t.Errorf("step %d: %d calls, want %d", i, calls, step.want)
		}
	}
}

// TestDuplicates has the same endpoints come twice, with different weights, in every order: one answer.
func TestDuplicates(t *testing.T) {
	w, sink, _ := watch(t)
	var list []Endpoint
	for i := range 100 {
		for weight := range int64(3) {
			list = append(list, Endpoint{Address: fmt.Sprintf("10.0.0.%d:80", i), Weight: weight + 1})
		}
	}
	for range 50 {
		sink.Found(list)
		slices.Reverse(list)
		list = append(list[7:], list[:7]...)
	}
	if s := w.Status(); s.Changes != 1 || s.Endpoints != 100 {
		t.Errorf("%+v", s)
	}
}

func TestTooMany(t *testing.T) {
	w, sink, log := watch(t)
	var list []Endpoint
	for i := range MaxEndpoints + 1 {
		list = append(list, Endpoint{Address: fmt.Sprintf("10.0.%d.%d:80", i/256, i%256)})
	}
	sink.Found(list[:MaxEndpoints])
	if strings.Contains(log.String(), "left out") || w.Status().Endpoints != MaxEndpoints {
		t.Errorf("%d: %s", w.Status().Endpoints, log)
	}
	slices.Reverse(list)
	for range 3 {
		sink.Found(list)
	}
	if n := w.Status().Endpoints; n != MaxEndpoints || strings.Count(log.String(), "left out") != 1 || !strings.Contains(log.String(), "tooMany=1") {
		t.Errorf("%d:\n%s", n, log)
	}
}

// TestUnusable has addresses among the others that are none.
func TestUnusable(t *testing.T) {
	w, sink, log := watch(t)
	sink.Found(at("10.0.0.1:80", "users.internal:80", "a_b-c:65535", "[fd00::1]:80",
		"", "10.0.0.1", ":80", "10.0.0.1:0", "10.0.0.1:65536", "10.0.0.1:http", "10.0.0.1:-1", "fd00::1:80", "a]b:80", "a b:80", "user@host:80",
		"http://a:80", "a/b:80", "a\n:80", strings.Repeat("a", 254)+":80"))
	if got := addresses(w); got != "10.0.0.1:80 [fd00::1]:80 a_b-c:65535 users.internal:80" || !strings.Contains(log.String(), "unusable=15") {
		t.Errorf("%s\n%s", got, log)
	}
}

// TestCancel holds that a subscriber is not called after its cancel has returned, not even by a change that is under way.
func TestCancel(t *testing.T) {
	w, sink, _ := watch(t)
	running, release, order := make(chan struct{}), make(chan struct{}), make(chan string, 2)
	cancel := w.Subscribe(func() {
		close(running)
		<-release
		order <- "called"
	})
	told := make(chan struct{})
	go func() { defer close(told); sink.Found(at("10.0.0.1:80")) }()
	<-running
	go func() { cancel(); order <- "cancelled" }()
	testkit.Eventually(t, "it is being cancelled", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.subscribers) == 0
	})
	close(release)
	if a, b := <-order, <-order; a != "called" || b != "cancelled" {
		t.Errorf("first %s, then %s", a, b)
	}
	<-told
	sink.Found(nil) // would close running again
	cancel()
}

// TestCancelBySubscriber has one subscriber cancel another.
func TestCancelBySubscriber(t *testing.T) {
	w, sink, _ := watch(t)
	var calls [2]int
	var cancel [2]func()
	for i := range calls {
		cancel[i] = w.Subscribe(func() { calls[i]++; cancel[1-i]() })
	}
	sink.Found(at("10.0.0.1:80"))
	sink.Found(nil)
	if calls != [2]int{2, 0} && calls != [2]int{0, 2} {
		t.Errorf("%v", calls)
	}
}

// TestClose holds that Close waits for the provider, as often as it is called, and from everywhere.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended, late atomic.Bool
		release := make(chan struct{})
		w := follow(func(ctx context.Context, sink provider.Sink) {
			<-ctx.Done()
			<-release
			sink.Failed(ctx.Err())
			ended.Store(true)
		}, "test", Env{Now: time.Now, Log: slog.New(slog.DiscardHandler)})
		w.Subscribe(func() { late.Store(true) })
		closed := make(chan bool)
		for range 3 {
			go func() { _ = w.Close(); closed <- ended.Load() }()
		}
		synctest.Wait()
		close(release)
		for range 3 {
			if !<-closed {
				t.Error("Close did not wait")
			}
		}
		_ = w.Close()
		if late.Load() {
			t.Error("a subscriber was called at the end")
		}
	})
}

func TestOpen(t *testing.T) {
	if _, err := Open(&ir.Discovery{}, Env{}); err == nil || err.Error() != "discovery names no provider" {
		t.Errorf("%v", err)
	}
	dialed := make(chan struct{}, 100)
	dial := func(context.Context, string, string) (net.Conn, error) {
		dialed <- struct{}{}
		return nil, errors.New("nobody is there")
	}
	w, err := Open(&ir.Discovery{DNS: &ir.DNS{Name: "a.test.", Type: "A", Port: 80, Servers: []string{"127.0.0.1:1"}}}, Env{Dial: dial})
	if err != nil {
		t.Fatal(err)
	}
	<-dialed // that nobody is there is no error, but a thing to say
	testkit.Eventually(t, "it has failed", func() bool { return w.Status().Failures > 0 })
	if s := w.Status(); s.Provider != "dns" || w.String() != "discovery by dns" || !strings.Contains(s.LastError, "nobody is there") {
		t.Errorf("%+v", s)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}
