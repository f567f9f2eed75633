package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// breath is the time between two requests of one client of a load: what counts is that somebody always asks, not how fast.
const breath = 20 * time.Millisecond

// clientsEach is how many clients of a load ask each gateway.
const clientsEach = 2

// loadPaths are what the clients of a load ask for, in turn.
var loadPaths = []string{"/app/order", "/door/in"}

// load is clients at several gateways who ask all the while, each on one connection it keeps alive. It knows which answers are right at
// which time: those that some version gives which is published then.
type load struct {
	t       *testing.T
	cancel  context.CancelFunc
	clients sync.WaitGroup
	entries []*entry
	answers atomic.Int64
	lost    atomic.Int64 // requests that were under way at a gateway when it was killed

	mu       sync.Mutex
	right    [][]string // the answers that are right; the last of them counts now
	failures []string
}

// entry is the way to one gateway, as a load balancer has it.
type entry struct {
	url   string
	inUse sync.RWMutex // read-locked by each request under way, locked while nobody is sent there
	dying atomic.Bool  // it is being killed
}

// startLoad lets clients ask the gateways until end is called. The answers are those that are right at first.
func startLoad(t *testing.T, urls []string, answers ...string) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{t: t, cancel: cancel, right: [][]string{answers}}
	for _, url := range urls {
		e := &entry{url: url}
		l.entries = append(l.entries, e)
		for range clientsEach {
			l.clients.Go(func() { l.client(ctx, e) })
		}
	}
	t.Cleanup(func() { cancel(); l.clients.Wait() })
	return l
}

// may makes more answers right: something is about to be published.
func (l *load) may(answers ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.right = append(l.right, slices.Concat(l.right[len(l.right)-1], answers))
}

// only makes all other answers wrong: every gateway has been seen to give these.
func (l *load) only(answers ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.right = append(l.right, answers)
}

// now is a moment, for isRight.
func (l *load) now() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.right) - 1
}

// isRight reports whether an answer was right at any time since a moment.
func (l *load) isRight(since int, answer string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.right[since:], func(r []string) bool { return slices.Contains(r, answer) })
}

// leave sends nobody to a gateway any more, and waits until those who are there have their answers.
func (l *load) leave(k int) { l.entries[k].inUse.Lock() }

// loses is leave for a gateway that is killed meanwhile: whoever is there has no answer.
func (l *load) loses(k int, kill func()) {
	e := l.entries[k]
	e.dying.Store(true)
	kill()
	e.inUse.Lock()
	e.dying.Store(false)
}

// join ends leave and loses.
func (l *load) join(k int) { l.entries[k].inUse.Unlock() }

func (l *load) client(ctx context.Context, e *entry) {
	transport := &http.Transport{MaxIdleConnsPerHost: 1}
	defer transport.CloseIdleConnections()
	c := &http.Client{Transport: transport, Timeout: patience}
	tick := time.NewTicker(breath)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !e.inUse.TryRLock() {
			transport.CloseIdleConnections() // whoever is there next knows nothing of them
			continue
		}
		l.request(c, e, loadPaths[n%len(loadPaths)])
		e.inUse.RUnlock()
	}
}

// request sends one and judges the answer. It is a POST, which no HTTP client repeats behind its user's back.
func (l *load) request(c *http.Client, e *entry, path string) {
	since, dying := l.now(), e.dying.Load()
	got, err := answerOf(c.Post(e.url+path, "text/plain", strings.NewReader("hello")))
	switch {
	case err != nil && (dying || e.dying.Load()):
		l.lost.Add(1)
	case err != nil:
		l.fail(err.Error())
	case !l.isRight(since, got):
		l.fail(fmt.Sprintf("%s: no version of that time answers %q", path, got))
	default:
		l.answers.Add(1)
	}
}

// answerOf says in a word what a response is: v3 from version 3 of the routes, open or shut from the door.
func answerOf(resp *http.Response, err error) (string, error) {
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return "", err
	}
	switch body := string(data); {
	case resp.StatusCode == http.StatusOK && versionOf(body) > 0:
		return appAnswer(versionOf(body)), nil
	case resp.StatusCode == http.StatusOK && strings.Contains(body, `"target":"/door/in"`):
		return doorAnswer(false), nil
	case resp.StatusCode == http.StatusForbidden:
		return doorAnswer(true), nil
	default:
		return resp.Status + ": " + body, nil
	}
}

// appAnswer is what a version of the routes answers.
func appAnswer(version int) string { return fmt.Sprintf("v%d", version) }

// doorAnswer is what the door answers.
func doorAnswer(guarded bool) string {
	if guarded {
		return "shut"
	}
	return "open"
}

func (l *load) fail(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures = append(l.failures, what)
}

// failed returns the requests that failed until now.
func (l *load) failed() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.failures)
}

// end stops the clients, fails the test if a single request failed, and returns how many were answered.
func (l *load) end() int64 {
	l.t.Helper()
	l.cancel()
	l.clients.Wait()
	for i, f := range l.failed() {
		if i == 5 {
			l.t.Errorf("and %d more", len(l.failures)-i)
			break
		}
		l.t.Errorf("a request failed: %s", f)
	}
	if l.answers.Load() == 0 {
		l.t.Error("no request was answered")
	}
	return l.answers.Load()
}
