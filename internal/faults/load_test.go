package faults_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// answer is what came back for one request.
type answer struct {
	at     time.Time // of sending
	took   time.Duration
	status int  // 0: the connection broke
	wrong  bool // 200 with the body of another request, or part of one
	code   string
	err    error
}

// load sends requests at a rate, whatever becomes of them: an open model, so that a slow server does not slow its clients.
type load struct {
	url    string
	client *http.Client
	cancel context.CancelFunc
	ended  sync.WaitGroup

	mu      sync.Mutex
	answers []answer
}

// clientPatience is longer than any timeout of the gateway: what a client waits for longer is hung.
const clientPatience = 20 * time.Second

var identity atomic.Int64

func startLoad(t *testing.T, url string, perSecond int) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	transport := &http.Transport{MaxIdleConnsPerHost: 256}
	l := &load{url: url, client: &http.Client{Transport: transport, Timeout: clientPatience}, cancel: cancel}
	l.ended.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(perSecond))
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				l.ended.Go(func() { l.add(l.ask()) })
			case <-ctx.Done():
				return
			}
		}
	})
	t.Cleanup(func() { l.stop(); transport.CloseIdleConnections() })
	return l
}

// stop sends nothing more and waits for the last answers.
func (l *load) stop() []answer {
	l.cancel()
	l.ended.Wait()
	return l.answers
}

func (l *load) add(a answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers = append(l.answers, a)
}

// good counts the 200s of requests sent since.
func (l *load) good(since time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, a := range l.answers {
		if a.status == http.StatusOK && a.at.After(since) {
			n++
		}
	}
	return n
}

func (l *load) ask() (a answer) {
	id := strconv.FormatInt(identity.Add(1), 10)
	a.at = time.Now()
	defer func() { a.took = time.Since(a.at) }()
	resp, err := l.client.Get(l.url + id) //nolint:noctx // bounded by the client's timeout
	if err != nil {
		a.err = err
		return a
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	a.status = resp.StatusCode
	switch {
	case err != nil:
		a.err, a.status = err, 0
	case a.status == http.StatusOK:
		a.wrong = string(body) != id
	default:
		_, after, _ := strings.Cut(string(body), `"code":"`)
		a.code, _, _ = strings.Cut(after, `"`)
	}
	return a
}

// phase is a part of the answers, by when they were asked for.
type phase []answer

func between(all []answer, from, to time.Time) phase {
	var out phase
	for _, a := range all {
		if !a.at.Before(from) && a.at.Before(to) {
			out = append(out, a)
		}
	}
	return out
}

// split parts those that were answered before a moment from those that were under way then.
func (p phase) split(at time.Time) (before, under phase) {
	for _, a := range p {
		if a.at.Add(a.took).Before(at) {
			before = append(before, a)
		} else {
			under = append(under, a)
		}
	}
	return before, under
}

func (p phase) count(is func(a answer) bool) int {
	n := 0
	for _, a := range p {
		if is(a) {
			n++
		}
	}
	return n
}

func isGood(a answer) bool { return a.status == http.StatusOK && !a.wrong }

// share of good answers, in percent.
func (p phase) share() float64 {
	if len(p) == 0 {
		return 0
	}
	return 100 * float64(p.count(isGood)) / float64(len(p))
}

func (p phase) quantile(q float64) time.Duration {
	if len(p) == 0 {
		return 0
	}
	times := make([]time.Duration, len(p))
	for i, a := range p {
		times[i] = a.took
	}
	slices.Sort(times)
	return times[min(int(q*float64(len(times))), len(times)-1)]
}

// refusals lists what was answered in place of 200, the most frequent first.
func (p phase) refusals() string {
	counts := map[string]int{}
	for _, a := range p {
		switch {
		case isGood(a):
		case a.status == 0:
			counts["broken connection"]++
		default:
			counts[strings.TrimSpace(fmt.Sprintf("%d %s", a.status, a.code))]++
		}
	}
	names := make([]string, 0, len(counts))
	for name := range counts {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return counts[b] - counts[a] })
	for i, name := range names {
		names[i] = fmt.Sprintf("%d x %s", counts[name], name)
	}
	return strings.Join(names, ", ")
}

var errNone = errors.New("no error")

// firstError is for messages.
func (p phase) firstError() error {
	for _, a := range p {
		if a.err != nil {
			return a.err
		}
	}
	return errNone
}
