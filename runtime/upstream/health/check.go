package health

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// checking bounds the checks under way in the whole process: thousands of endpoints, all of them silent, must not use up the file
// descriptors that exchanges need. Checks wait for their turn, and the next interval begins when they end.
var checking = make(chan struct{}, 256)

// firstCheck is the time within which a new endpoint is checked for the first time: at once, but not all in one moment.
const firstCheck = 500 * time.Millisecond

// checker runs the active checks of one host. Between two checks it is a timer, not a goroutine.
type checker struct {
	host   *Host
	turns  chan struct{}
	ctx    context.Context // of all checks
	cancel context.CancelFunc
	under  sync.WaitGroup // the check under way

	mu     sync.Mutex
	timer  *time.Timer
	closed bool
}

func startChecks(h *Host) *checker {
	k := &checker{host: h, turns: checking}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	k.mu.Lock()
	defer k.mu.Unlock()
	k.timer = time.AfterFunc(random(h, min(firstCheck, h.interval())), k.run)
	return k
}

// close ends the checks and waits for the one under way. It is idempotent.
func (k *checker) close() {
	k.mu.Lock()
	k.closed = true
	k.timer.Stop()
	k.mu.Unlock()
	k.cancel()
	k.under.Wait()
}

// run is one check, once it is its turn.
func (k *checker) run() {
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		return
	}
	k.under.Add(1)
	k.mu.Unlock()
	defer k.under.Done()
	select {
	case k.turns <- struct{}{}:
	case <-k.ctx.Done():
		return
	}
	began := k.host.c.Now()
	failure := k.host.check(k.ctx)
	<-k.turns
	if k.ctx.Err() != nil {
		return // it was cut off, which says nothing
	}
	k.host.checked(began, failure)
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.closed {
		k.timer.Reset(k.host.pause())
	}
}

func (h *Host) interval() time.Duration { return max(ms(h.c.Check.Interval), 10*time.Millisecond) }
func (h *Host) timeout() time.Duration  { return max(ms(h.c.Check.Timeout), time.Millisecond) }

// pause is the interval, up to as much shorter or longer as the jitter says.
func (h *Host) pause() time.Duration {
	spread := h.interval() / 100 * time.Duration(h.c.Check.JitterPercent)
	return max(h.interval()-spread+random(h, 2*spread), time.Millisecond)
}

// random is a time from 0 to most.
func random(h *Host, most time.Duration) time.Duration {
	return time.Duration(h.c.Rand() % uint64(most+1))
}

// checkError is a check that failed.
type checkError struct {
	reason string // one of the fixed list
	err    error
}

// detail is the error as people may see it: what a server sends must not fill the log.
func (e *checkError) detail() string {
	const most = 200
	text := strings.ToValidUTF8(e.err.Error(), "\uFFFD")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + " ..."
	}
	return text
}

func failed(reason, format string, args ...any) *checkError {
	return &checkError{reason, fmt.Errorf(format, args...)}
}

// check asks the endpoint once, on a connection of its own. Whatever the server does, it ends with the timeout.
func (h *Host) check(ctx context.Context) *checkError {
	ctx, cancel := context.WithTimeout(ctx, h.timeout())
	defer cancel()
	failure := h.ask(ctx)
	if by, _ := ctx.Deadline(); failure != nil && !time.Now().Before(by) { // a dialer's own timer may be ahead of the context's
		failure = failed(CheckTimeout, "no answer within %s", h.timeout())
	}
	if failure != nil && !errors.Is(ctx.Err(), context.Canceled) {
		h.c.Log.Debug("health check failed", slog.String("upstream", h.c.Upstream), slog.String("endpoint", h.c.Address),
			slog.String("reason", failure.reason), slog.String("detail", failure.detail()))
	}
	return failure
}

func (h *Host) ask(ctx context.Context) *checkError {
	if h.c.Dial == nil {
		return failed(CheckConnect, "there is nobody to connect")
	}
	nc, err := h.c.Dial(ctx, h.target())
	if err != nil {
		return &checkError{CheckConnect, err}
	}
	defer func() { _ = nc.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	switch h.c.Check.Type {
	case "tcp":
		return nil
	case "grpc":
		return h.askGRPC(ctx, nc)
	}
	return h.askHTTP(ctx, nc)
}

// target is the address that is checked.
func (h *Host) target() string {
	host, _, err := net.SplitHostPort(h.c.Address)
	if err != nil || h.c.Check.Port == 0 {
		return h.c.Address
	}
	return net.JoinHostPort(host, strconv.FormatInt(h.c.Check.Port, 10))
}
