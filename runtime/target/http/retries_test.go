package httptarget_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	httptarget "github.com/suuupra/gateway/runtime/target/http"
	"github.com/suuupra/gateway/schema/ir"
)

// retrying is a policy that repeats nearly everything, at once.
func retrying() *ir.Retry {
	return &ir.Retry{
		Attempts: 2, Methods: []string{"DELETE", "GET", "HEAD", "OPTIONS", "PUT", "TRACE"},
		On:          []string{ir.RetryConnectFailure, ir.RetryReset, ir.RetryTimeout, ir.RetryRefusedStream, ir.RetryStatusGateway, ir.RetryStatus429},
		BackoffBase: 1, BackoffMax: 10, BudgetPercent: 100, BudgetMin: 3,
	}
}

// told makes a proxy's metrics go to a recorder.
func (o *options) told() *httptarget.Told {
	m := &httptarget.Told{}
	o.metrics = m
	return m
}

// deadAddr is an address nobody listens on.
func deadAddr(t *testing.T) string {
	t.Helper()
	l := listen(t)
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// script is an origin that plays one answer after another, one per request; when they are used up it says ok. An answer of "" closes
// the connection, "read" does so when much of a body has come, "hang" says nothing, and one without "bad" in it ends with its connection.
func script(t *testing.T, asked *atomic.Int64, answers ...string) *origin {
	t.Helper()
	return startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
		for {
			head := o.head(r)
			if head == "" {
				return
			}
			switch {
			case strings.Contains(head, "Content-Length: 1\r\n"):
				_, _ = r.Discard(1)
			case strings.Contains(head, "X-Whole"):
				_, _ = r.Discard(len("1\r\nx\r\n0\r\n\r\n"))
			}
			n := int(asked.Add(1))
			answer := ok
			if n <= len(answers) {
				answer = answers[n-1]
			}
			switch answer {
			case "hang":
				untilGone(c)
				return
			case "read":
				_, _ = r.Discard(sureRead)
				return
			}
			_, _ = io.WriteString(c, answer)
			if answer != ok && !strings.Contains(answer, "bad") {
				return
			}
		}
	})
}

func status(n int, fields string) string {
	return fmt.Sprintf("HTTP/1.1 %d X\r\n%sContent-Length: 3\r\n\r\nbad", n, fields)
}

const (
	get      = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
	post     = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx"
	keyed    = "POST / HTTP/1.1\r\nHost: h\r\nIdempotency-Key: 1\r\nContent-Length: 1\r\n\r\nx"
	longPut  = "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n"
	openPut  = "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"
	wholePut = "PUT / HTTP/1.1\r\nHost: h\r\nX-Whole: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"

	sureRead = 50_000 // more of a body than is gathered before it is sent
)

// TestRetries holds when an attempt is repeated, on the wire.
func TestRetries(t *testing.T) {
	for _, tt := range []struct {
		name     string
		first    []string // answers to the first requests
		request  string   // get unless it says otherwise
		edit     func(*options)
		status   string
		attempts int64
		code     string   // of the reject
		repeated []string // what metrics were told
		refused  []string
		header   string // in the answer
	}{
		{name: "no failure", status: "200", attempts: 1},
		{name: "bad gateway", first: []string{status(502, "")}, status: "200", attempts: 2, repeated: []string{"status"}},
		{name: "gateway timeout", first: []string{status(504, "")}, status: "200", attempts: 2, repeated: []string{"status"}},
		{name: "any 5xx", first: []string{status(500, ""), status(599, "")}, edit: func(o *options) { o.forward.Retry.On = []string{ir.RetryStatus5xx} }, status: "200", attempts: 3, repeated: []string{"status", "status"}},
		{name: "reset", first: []string{"", ""}, status: "200", attempts: 3, repeated: []string{"upstream_reset", "upstream_reset"}},
		{name: "reset within the head", first: []string{"HTTP/1.1 200 O"}, status: "200", attempts: 2, repeated: []string{"upstream_reset"}},
		{name: "malformed", first: []string{"HELLO\r\n\r\n"}, status: "200", attempts: 2, repeated: []string{"upstream_bad_response"}},
		{name: "per-try timeout", first: []string{"hang"}, edit: func(o *options) { o.forward.Retry.PerTryTimeout = 100 }, status: "200", attempts: 2, repeated: []string{"upstream_timeout"}},
		{name: "header timeout", first: []string{"hang"}, edit: func(o *options) { o.forward.HeaderTimeout = 100 }, status: "200", attempts: 2, repeated: []string{"upstream_timeout"}},
		{name: "too many requests", first: []string{status(429, "")}, status: "200", attempts: 2, repeated: []string{"status"}},
		{
			name: "attempts run out on a response", first: []string{status(503, ""), status(503, ""), status(503, "X-Last: 1\r\n")},
			status: "503", attempts: 3, repeated: []string{"status", "status"}, refused: []string{"attempts"}, header: "X-Last: 1\r\n",
		},
		{
			name: "attempts run out on an error", first: []string{"", "", ""}, status: "502", attempts: 3, code: "upstream_reset",
			repeated: []string{"upstream_reset", "upstream_reset"}, refused: []string{"attempts"},
		},
		{name: "not a condition", first: []string{status(500, "")}, status: "500", attempts: 1},
		{name: "not found", first: []string{status(404, "")}, status: "404", attempts: 1},
		{name: "not idempotent", first: []string{status(502, "")}, request: post, status: "502", attempts: 1},
		{name: "not idempotent, reset", first: []string{""}, request: post, status: "502", attempts: 1, code: "upstream_reset"},
		{name: "idempotency key", first: []string{status(502, "")}, request: keyed, status: "200", attempts: 2, repeated: []string{"status"}},
		{name: "a chunked body that is there", first: []string{""}, request: wholePut, status: "200", attempts: 2, repeated: []string{"upstream_reset"}},
		{name: "a body was read", first: []string{"read"}, request: longPut + strings.Repeat("x", sureRead), status: "502", attempts: 1, code: "upstream_reset"},
		{name: "a body is on its way, a status", first: []string{status(503, "")}, request: openPut, status: "503", attempts: 1},
		{name: "a hint was handed on", first: []string{"HTTP/1.1 103 Early Hints\r\n\r\n" + status(502, "")}, status: "103", attempts: 1},
		{name: "a hint was handed on, reset", first: []string{"HTTP/1.1 103 Early Hints\r\n\r\n"}, status: "103", attempts: 1, code: "upstream_reset"},
		{name: "a 100 is no hint", first: []string{"HTTP/1.1 100 Continue\r\n\r\n"}, status: "200", attempts: 2, repeated: []string{"upstream_reset"}},
		{name: "the response has begun", first: []string{"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"}, status: "200", attempts: 1, code: "upstream_reset"},
		{name: "the header of a response has come", first: []string{"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"}, status: "200", attempts: 1, code: "upstream_reset"},
		{name: "retry after nothing", first: []string{status(503, "Retry-After: 0\r\n")}, status: "200", attempts: 2, repeated: []string{"status"}},
		{name: "retry after too long", first: []string{status(503, "Retry-After: 9\r\n")}, status: "503", attempts: 1, refused: []string{"retry_after"}, header: "Retry-After: 9\r\n"},
		{
			name: "no budget", first: []string{status(502, "")}, edit: func(o *options) { o.forward.Retry.BudgetMin, o.forward.Retry.BudgetPercent = 0, 0 },
			status: "502", attempts: 1, refused: []string{"budget"},
		},
		{name: "no policy", first: []string{status(502, "")}, edit: func(o *options) { o.forward.Retry = nil }, status: "502", attempts: 1},
		{name: "no policy, reset", first: []string{""}, edit: func(o *options) { o.forward.Retry = nil }, status: "502", attempts: 1, code: "upstream_reset"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var asked atomic.Int64
			o := defaults(script(t, &asked, tt.first...).addr)
			o.forward.Retry = retrying()
			if tt.edit != nil {
				tt.edit(&o)
			}
			told := o.told()
			p := startProxy(t, o)
			c := dial(t, p.addr)
			if tt.request == "" {
				tt.request = get
			}
			c.send(tt.request)
			head := c.head()
			contains(t, head, "HTTP/1.1 "+tt.status, tt.header)
			if tt.attempts > 1 {
				contains(t, head, fmt.Sprintf("X-Gateway-Attempts: %d\r\n", tt.attempts))
			} else {
				lacks(t, head, "X-Gateway-Attempts")
			}
			_ = c.Close()
			eventually(t, "the end of the exchange", func() bool { return p.count() == 1 })
			if got := asked.Load(); got != tt.attempts || p.attempts[0] != int(tt.attempts) {
				t.Errorf("asked %d times, recorded %d; want %d", got, p.attempts[0], tt.attempts)
			}
			if got := p.codes(); got != tt.code && !(tt.code == "" && got == "client_closed") {
				t.Errorf("code %q, want %q", got, tt.code)
			}
			if got := told.Repeated(); !slices.Equal(got, tt.repeated) {
				t.Errorf("repeated for %v, want %v", got, tt.repeated)
			}
			if got := told.Refused(); !slices.Equal(got, tt.refused) {
				t.Errorf("not repeated for %v, want %v", got, tt.refused)
			}
		})
	}
}

// TestRetryOfAHeldBody has an upstream fail before it asked for the body: nothing of that was read, and it goes to the next one.
func TestRetryOfAHeldBody(t *testing.T) {
	for _, tt := range []struct {
		name     string
		upstream func(t *testing.T, asked *atomic.Int64) options
	}{
		{"http1", func(t *testing.T, asked *atomic.Int64) options {
			return defaults(startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
				if o.head(r) == "" || asked.Add(1) == 1 {
					return
				}
				_, _ = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
				if b := make([]byte, 5); readFull(r, b) {
					fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n%s", b)
				}
			}).addr)
		}},
		{"http2", func(t *testing.T, asked *atomic.Int64) options {
			return origin2(t, func(w http.ResponseWriter, r *http.Request) {
				if asked.Add(1) == 1 {
					panic(http.ErrAbortHandler) // RST_STREAM
				}
				b, _ := io.ReadAll(r.Body)
				_, _ = w.Write(b)
			})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var asked atomic.Int64
			o := tt.upstream(t, &asked)
			o.forward.Retry = retrying()
			p := startProxy(t, o)
			c := dial(t, p.addr)
			c.send("PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
			if got := c.head(); got != "HTTP/1.1 100 Continue\r\n\r\n" {
				t.Fatalf("got %q", got)
			}
			c.send("hello")
			contains(t, c.head(), "200 OK", "X-Gateway-Attempts: 2\r\n")
			if got := c.exactly(5); got != "hello" {
				t.Errorf("got %q", got)
			}
		})
	}
}

func readFull(r io.Reader, b []byte) bool { _, err := io.ReadFull(r, b); return err == nil }

// TestRetryGoesElsewhere has one of two endpoints fail in every way: the next attempt is the other one's.
func TestRetryGoesElsewhere(t *testing.T) {
	good := startOrigin(t, answering(ok))
	for name, bad := range map[string]string{
		"refused": deadAddr(t),
		"status":  startOrigin(t, answering(status(503, ""))).addr,
		"reset":   startOrigin(t, func(o *origin, _ net.Conn, r *bufio.Reader) { o.head(r) }).addr,
	} {
		t.Run(name, func(t *testing.T) {
			o := defaults(bad, good.addr)
			o.upstream.Balance = &ir.Balance{Strategy: ir.BalanceRoundRobin}
			o.forward.Retry = retrying()
			told := o.told()
			p := startProxy(t, o)
			for range 8 {
				c := dial(t, p.addr)
				c.send(get)
				contains(t, c.head(), "200 OK")
				if got := c.exactly(2); got != "ok" {
					t.Errorf("got %q", got)
				}
				_ = c.Close()
			}
			if got := len(told.Repeated()); got < 4 { // those that are repeated take a turn as well
				t.Errorf("%d of 8 were repeated, want every second one", got)
			}
			if most := slices.Max(p.attempts); most != 2 {
				t.Errorf("%d attempts", most)
			}
		})
	}
}

// TestConnectFailuresPassOver has routes without a retry policy meet endpoints that are down.
func TestConnectFailuresPassOver(t *testing.T) {
	live := startOrigin(t, answering(ok)).addr
	var dead []string
	for range 4 {
		dead = append(dead, deadAddr(t))
	}
	for _, tt := range []struct {
		name      string
		endpoints []string
		status    string
		attempts  int
	}{
		{"the only one", dead[:1], "502", 1},
		{"both", dead[:2], "502", 2},
		{"one, and one that lives", []string{dead[0], live}, "200", 2},
		{"two, and one that lives", []string{dead[0], dead[1], live}, "200", 3},
		{"as many as are tried", dead[:3], "502", 3},
		{"more than are tried", dead, "502", 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := defaults(tt.endpoints...)
			o.upstream.Balance = &ir.Balance{Strategy: ir.BalanceRoundRobin}
			p := startProxy(t, o)
			const exchanges = 12 // whatever endpoint the turn begins with
			for range exchanges {
				c := dial(t, p.addr)
				c.send(post)
				contains(t, c.head(), "HTTP/1.1 "+tt.status)
				_ = c.Close()
			}
			eventually(t, "the end of the exchanges", func() bool { return p.count() == exchanges })
			least := tt.attempts
			if tt.status == "200" {
				least = 1
			}
			if slices.Max(p.attempts) > tt.attempts || slices.Min(p.attempts) < least {
				t.Errorf("%v attempts, want up to %d", p.attempts, tt.attempts)
			}
		})
	}
}

// TestOneDeadline holds that the route's timeout is for all attempts together, and that of an attempt for each.
func TestOneDeadline(t *testing.T) {
	for _, tt := range []struct {
		name              string
		timeout, perTry   int64
		low, high         int64 // attempts
		repeated, refused string
	}{
		{"the route's is shorter", 100, 10_000, 1, 1, "", "deadline"},
		{"three fit in", 350, 100, 2, 4, "upstream_timeout", "deadline"},
		{"the attempts run out before", 20_000, 20, 21, 21, "upstream_timeout", "attempts"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var asked atomic.Int64
			o := defaults(startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
				o.head(r)
				asked.Add(1)
				untilGone(c)
			}).addr)
			o.forward.Timeout = tt.timeout
			o.forward.Retry = retrying()
			o.forward.Retry.Attempts, o.forward.Retry.PerTryTimeout = 20, tt.perTry
			told := o.told()
			p := startProxy(t, o)
			c := dial(t, p.addr)
			begun := time.Now()
			c.send(get)
			contains(t, c.head(), "504 Gateway Timeout")
			if took := time.Since(begun); tt.refused == "deadline" && took < time.Duration(tt.timeout)*time.Millisecond {
				t.Errorf("gave up after %v", took)
			}
			if got := p.codes(); got != "upstream_timeout" {
				t.Errorf("code %s", got)
			}
			if got := asked.Load(); got < tt.low || got > tt.high {
				t.Errorf("%d attempts, want %d to %d", got, tt.low, tt.high)
			}
			if got := told.Refused(); !slices.Equal(got, []string{tt.refused}) {
				t.Errorf("not repeated for %v", got)
			}
		})
	}
}

// TestRetryAfterIsWaitedFor has the upstream ask for a second.
func TestRetryAfterIsWaitedFor(t *testing.T) {
	var asked atomic.Int64
	o := defaults(script(t, &asked, status(503, "Retry-After: 1\r\n")).addr)
	o.forward.Retry = retrying()
	o.forward.Retry.BackoffMax = 1000
	p := startProxy(t, o)
	c := dial(t, p.addr)
	begun := time.Now()
	c.send(get)
	contains(t, c.head(), "200 OK")
	if took := time.Since(begun); took < time.Second {
		t.Errorf("asked again after %v", took)
	}
}

// TestClientLeavesBetweenAttempts has the client go while the gateway waits to ask again.
func TestClientLeavesBetweenAttempts(t *testing.T) {
	var asked atomic.Int64
	o := defaults(script(t, &asked, status(503, "Retry-After: 60\r\n")).addr)
	o.forward.Retry = retrying()
	o.forward.Timeout, o.forward.Retry.BackoffMax = 0, 100_000
	o.forward.Breaker = &ir.Breaker{Window: 10_000, MinimumCalls: 100, ErrorPercent: 50, OpenFor: 100, MaxOpenFor: 100, HalfOpenRampFor: 50}
	told := o.told()
	p := startProxy(t, o)
	c := dial(t, p.addr)
	c.send(get)
	eventually(t, "a repetition is decided upon", func() bool { return len(told.Repeated()) == 1 })
	_ = c.Close()
	eventually(t, "client_closed", func() bool { return p.codes() == "client_closed" })
	if b, _ := p.target.Breaker(); b.Calls != 1 || asked.Load() != 1 {
		t.Errorf("the breaker counts %d calls, the upstream %d", b.Calls, asked.Load())
	}
	eventually(t, "nothing is under way", func() bool { g := p.pool.Gauges(nil); return g.Retries == 0 && g.Requests == 0 })
}

// TestAStreamIsNoRetry holds that a response which lasts gives its place in the budget to others.
func TestAStreamIsNoRetry(t *testing.T) {
	var asked atomic.Int64
	o := defaults(script(t, &asked, status(503, ""), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbad\r\n", status(503, "")).addr)
	o.forward.Retry = retrying()
	o.forward.Retry.BudgetPercent, o.forward.Retry.BudgetMin = 0, 1
	p := startProxy(t, o)
	stream := dial(t, p.addr)
	stream.send(get)
	contains(t, stream.head(), "200 OK")
	if got := stream.exactly(len("3\r\nbad\r\n")); got != "3\r\nbad\r\n" {
		t.Fatalf("got %q", got)
	}
	c := dial(t, p.addr)
	c.send(get)
	contains(t, c.head(), "200 OK", "X-Gateway-Attempts: 2\r\n")
}

// TestSlowClientIsNoFailure has clients use up the time of the exchange: neither the breaker nor health hears of that.
func TestSlowClientIsNoFailure(t *testing.T) {
	http2 := func(t *testing.T) options {
		return origin2(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	}
	http1 := func(t *testing.T) options {
		return defaults(startOrigin(t, func(_ *origin, c net.Conn, _ *bufio.Reader) { untilGone(c) }).addr)
	}
	for _, tt := range []struct {
		name, request string
		upstream      func(*testing.T) options
	}{
		{"short body", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nx", http1},
		{"long body", longPut + "x", http1},
		{"chunked body", openPut, http1},
		{"long body, http2", longPut + "x", http2},
		{"chunked body, http2", openPut, http2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := tt.upstream(t)
			o.forward.Timeout, o.settings.Timeouts.BodyIdle = 100, 400
			o.forward.Breaker = &ir.Breaker{Window: 10_000, MinimumCalls: 1, ErrorPercent: 1, OpenFor: 60_000, MaxOpenFor: 60_000}
			o.upstream.Outlier = &ir.Outlier{Consecutive5xx: 1, ConsecutiveGatewayFailure: 1, Interval: 60_000, BaseEjection: 60_000, MaxEjection: 60_000, MaxEjectedPercent: 100}
			told := o.told()
			p := startProxy(t, o)
			c := dial(t, p.addr)
			c.send(tt.request)
			contains(t, c.head(), "408 Request Timeout")
			if got := p.codes(); got != "body_timeout" {
				t.Errorf("code %s", got)
			}
			if got := told.States(); len(got) != 0 || p.pool.Gauges(nil).Ejected != 0 {
				t.Errorf("the breaker is %v, %d endpoints are ejected", got, p.pool.Gauges(nil).Ejected)
			}
		})
	}
}
