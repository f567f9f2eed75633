package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// pause is the time between two requests of a client: the machine has other work to do.
const pause = 2 * time.Millisecond

// lastCall is how long a gateway that ends waits for another request on a connection, and then some less.
const lastCall = 300 * time.Millisecond

// traffic is a number of clients who ask one after the other, each on one connection it keeps alive.
type traffic struct {
	t        *testing.T
	cancel   context.CancelFunc
	clients  sync.WaitGroup
	dials    atomic.Int64
	answers  atomic.Int64
	refused  atomic.Int64 // new connections that nobody took
	stopping atomic.Bool  // the gateway has been asked to end
	mu       sync.Mutex
	failures []string
}

// startTraffic lets clients ask until end is called. Requests are POSTs, which no HTTP client repeats behind its user's
// back.
func startTraffic(t *testing.T, url string, clients int) *traffic {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	tr := &traffic{t: t, cancel: cancel}
	for range clients {
		tr.clients.Go(func() { tr.client(ctx, url) })
	}
	t.Cleanup(func() { cancel(); tr.clients.Wait() })
	return tr
}

func (tr *traffic) client(ctx context.Context, url string) {
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		tr.dials.Add(1)
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	transport := &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 1}
	defer transport.CloseIdleConnections()
	c := &http.Client{Transport: transport, Timeout: patience}
	tick := time.NewTicker(pause)
	defer tick.Stop()
	newest, answered := 0, time.Now()
	for ctx.Err() == nil {
		version, err := ask(c, url)
		silent := time.Since(answered)
		answered = time.Now()
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			tr.refused.Add(1)
			return // the gateway has ended
		case err != nil && tr.stopping.Load() && silent > lastCall:
			continue // this machine gave the client no time: its connection was closed as an idle one
		case err != nil:
			tr.fail(err.Error())
		case version < newest:
			tr.fail(fmt.Sprintf("version %d after version %d", version, newest))
		default:
			newest = version
			tr.answers.Add(1)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// ask sends one request and returns the version that served it.
func ask(c *http.Client, url string) (int, error) {
	resp, err := c.Post(url, "text/plain", strings.NewReader("hello"))
	if err != nil {
		return 0, err
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return 0, err
	}
	if resp.StatusCode != http.StatusOK || versionOf(string(body)) == 0 {
		return 0, fmt.Errorf("%s: %s", resp.Status, body)
	}
	return versionOf(string(body)), nil
}

func (tr *traffic) fail(what string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.failures = append(tr.failures, what)
}

// end stops the clients and fails the test if a single request failed. It returns how many were answered.
func (tr *traffic) end() int64 {
	tr.t.Helper()
	tr.cancel()
	return tr.wait()
}

// wait is end for clients who stop by themselves.
func (tr *traffic) wait() int64 {
	tr.t.Helper()
	tr.clients.Wait()
	for i, f := range tr.failures {
		if i == 5 {
			tr.t.Errorf("and %d more", len(tr.failures)-i)
			break
		}
		tr.t.Errorf("a request failed: %s", f)
	}
	if tr.answers.Load() == 0 {
		tr.t.Error("no request was answered")
	}
	return tr.answers.Load()
}
