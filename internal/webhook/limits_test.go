package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/suuupra/gateway/internal/gitwatch"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/state/redisstate"
)

// zeros is an endless body, and counts what is read of it.
type zeros struct{ n atomic.Int64 }

func (z *zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	z.n.Add(int64(len(p)))
	return len(p), nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

// One address may fail twenty times, and once each three seconds after; others and good deliveries are not in its way.
func TestFailuresAreThrottled(t *testing.T) {
	r := newRig(t, github())
	n := 0
	bad := func(from string) *delivery {
		n++
		d := push1(t, fmt.Sprint("bad", n)).with("X-Hub-Signature-256", "sha256="+strings.Repeat("0", 64))
		d.from = netip.MustParseAddr(from)
		return d
	}
	for range failureBurst {
		r.want(bad("2001:db8::1"), "401 webhook_signature_invalid")
		good := push1(t, fmt.Sprint("good", n))
		good.from = netip.MustParseAddr("192.0.2.1")
		r.want(good, "202 webhook_accepted")
	}
	d, z := bad("2001:db8::ffff"), &zeros{} // the same /64
	d.reader = z
	if a := r.want(d, "429 webhook_throttled"); a.RetryAfter != 3*time.Second || z.n.Load() != 0 {
		t.Errorf("retry after %s, read %d bytes", a.RetryAfter, z.n.Load())
	}
	r.want(bad("2001:db8:0:1::1"), "401 webhook_signature_invalid")
	r.want(bad("::ffff:192.0.2.1"), "401 webhook_signature_invalid")
	r.clock.Advance(3 * time.Second)
	r.want(bad("2001:db8::1"), "401 webhook_signature_invalid")
	r.want(bad("2001:db8::1"), "429 webhook_throttled")
	// Nor is it a way around to let no body come to its end.
	for i := range failureBurst {
		d := bad("192.0.2.9")
		want := "400 webhook_incomplete"
		d.reader, d.length = broken{}, -1
		if i%2 == 0 {
			d.reader, want = &zeros{}, "413 webhook_too_large"
		}
		r.want(d, want)
	}
	r.want(bad("192.0.2.9"), "429 webhook_throttled")
	// A sender without an address is one of all those.
	for range failureBurst {
		d := bad("::1")
		d.from = netip.Addr{}
		r.want(d, "401 webhook_signature_invalid")
	}
	d = bad("::1")
	d.from = netip.Addr{}
	r.want(d, "429 webhook_throttled")
}

// Bodies that nobody has vouched for take so much memory together, and no more.
func TestMemoryIsBounded(t *testing.T) {
	r := newRig(t, github())
	var done sync.WaitGroup
	var writers []*io.PipeWriter
	for i := range maxBuffered / (maxBody + 1) {
		pr, pw := io.Pipe()
		writers = append(writers, pw)
		d := push1(t, fmt.Sprint("slow", i))
		done.Go(func() {
			r.Receive(context.Background(), &Request{Hook: d.hook, Method: d.method, Header: d.header, ContentLength: -1, Body: pr, From: sender})
		})
		if _, err := pw.Write(make([]byte, maxBody)); err != nil { // returns when it was read
			t.Fatal(err)
		}
	}
	a := r.Receive(context.Background(), &Request{Hook: "config", Method: "POST", Header: push1(t, "x").header, ContentLength: -1, Body: &zeros{}, From: sender})
	if a.Status != http.StatusServiceUnavailable || a.Code != "webhook_busy" || a.RetryAfter != 5*time.Second {
		t.Errorf("got %+v", a)
	}
	for _, w := range writers {
		_ = w.CloseWithError(errors.New("gone"))
	}
	done.Wait()
	r.want(push1(t, "after"), "202 webhook_accepted")
}

func TestReplays(t *testing.T) {
	server := testkit.Redis(t)
	open := func() *redisstate.Client {
		c, err := redisstate.Open(server.URL, redisstate.Options{Environment: "test", Budget: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	a, b := newRigWith(t, Options{Hooks: []Hook{github()}, Seen: open()}), newRigWith(t, Options{Hooks: []Hook{github()}, Seen: open()})
	a.want(push1(t, "one"), "202 webhook_accepted")
	a.want(push1(t, "one"), "202 webhook_duplicate")
	b.want(push1(t, "one"), "202 webhook_duplicate") // the other gateway knows too
	b.want(push1(t, "two"), "202 webhook_accepted")
	// Whoever has no secret cannot use up an id.
	a.want(push1(t, "three").with("X-Hub-Signature-256", ""), "401 webhook_unsigned")
	a.want(push1(t, "three"), "202 webhook_accepted")
	server.Stop()
	a.want(push1(t, "four"), "202 webhook_accepted")
	a.want(push1(t, "four"), "202 webhook_duplicate")
	a.clock.Advance(remembered)
	a.want(push1(t, "four"), "202 webhook_accepted")
}

// A storm of pushes makes somebody look once in two seconds.
func TestStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var looks atomic.Int64
		running := make(chan struct{}, 1)
		d := NewDebouncer(Debounce, func(context.Context) {
			running <- struct{}{} // blocks, and the test ends, if two run at a time
			time.Sleep(500 * time.Millisecond)
			looks.Add(1)
			<-running
		})
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() { d.Run(ctx) })
		r, err := New(Options{Hooks: []Hook{github()}, Hint: func(Hint) { d.Hint() }})
		if err != nil {
			t.Fatal(err)
		}
		body := signGitHub(newDelivery([]byte(`{"ref":"refs/heads/master","repository":{"clone_url":"https://github.com/Codertocat/Hello-World"}}`), "X-GitHub-Event", "push"))
		for i := range 10_000 { // for ten seconds
			h := body.header.Clone()
			h.Set("X-GitHub-Delivery", fmt.Sprint(i))
			a := r.Receive(t.Context(), &Request{Hook: "config", Method: "POST", Header: h, ContentLength: -1, Body: strings.NewReader(string(body.body)), From: sender})
			if a.Code != "webhook_accepted" {
				t.Fatalf("delivery %d: %+v", i, a)
			}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		if n := looks.Load(); n != 5 { // 2.5 s each: two to wait, half of one to look
			t.Errorf("%d looks", n)
		}
		time.Sleep(time.Minute)
		if n := looks.Load(); n != 5 {
			t.Errorf("%d looks, with nobody hinting", n)
		}
		d.Hint()
		time.Sleep(Debounce / 2)
		d.Hint() // the same look answers it
		time.Sleep(Debounce/2 + time.Second)
		if n := looks.Load(); n != 6 {
			t.Errorf("%d looks when the wait is over", n)
		}
		time.Sleep(time.Minute)
		if n := looks.Load(); n != 6 {
			t.Errorf("%d looks for two hints in one wait", n)
		}
		d.Hint()
		synctest.Wait()
		cancel() // in the middle of a wait
		done.Wait()
		if n := looks.Load(); n != 6 {
			t.Errorf("%d looks after the end", n)
		}
	})
}

// A push is seen although nobody would have looked for an hour.
func TestPushIsSeen(t *testing.T) {
	repo := testkit.GitServer(t).Create("config", map[string]string{"a.yaml": "1\n"})
	pool := gitwatch.NewPool(nil)
	heads := make(chan gitwatch.Head, 10)
	watch, err := pool.Watch(gitwatch.Options{Repository: repo.URL, Ref: "main", Interval: time.Hour, Head: func(h gitwatch.Head) { heads <- h }})
	if err != nil {
		t.Fatal(err)
	}
	want := func(commit string) {
		t.Helper()
		select {
		case h := <-heads:
			if h.Commit != commit {
				t.Fatalf("saw %s, want %s", h.Commit, commit)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%s was not seen", commit)
		}
	}
	want(repo.Head())
	d := NewDebouncer(10*time.Millisecond, func(context.Context) { watch.Poke() })
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { d.Run(ctx) })
	r, err := New(Options{
		Hooks: []Hook{{ID: "config", Provider: Generic, Secrets: fixed(secret), Repository: repo.URL, Refs: []string{"main"}}},
		Hint:  func(Hint) { d.Hint() },
	})
	if err != nil {
		t.Fatal(err)
	}
	commit := repo.Commit("second", nil)
	// What the sender says of the commit is not believed: the head is what the repository has.
	body := []byte(fmt.Sprintf(`{"repository":%q,"ref":"refs/heads/main","commit":"%s"}`, repo.URL, strings.Repeat("1", 40)))
	h := http.Header{"Content-Type": {"application/json"}, "X-Signature": {"sha256=" + mac(secret, body)}}
	if a := r.Receive(t.Context(), &Request{Hook: "config", Method: "POST", Header: h, ContentLength: -1, Body: bytes.NewReader(body), From: sender}); a.Code != "webhook_accepted" {
		t.Fatalf("%+v", a)
	}
	want(commit)
	cancel()
	done.Wait()
	pool.Close()
}
