package health

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// checking bounds the checks under way in the whole process: thousands of endpoints must not open thousands of connections.
var checking = make(chan struct{}, 64)

// firstCheck is the time within which a new endpoint is checked for the first time: at once, but not all in one moment.
const firstCheck = 200 * time.Millisecond

// startChecks runs the checks until the returned function is called, which waits for the one under way.
func (h *Host) startChecks() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		wait := time.Duration(h.c.Rand() % uint64(min(firstCheck, ms(h.c.Check.Interval))+1))
		timer := time.NewTimer(wait)
		defer timer.Stop()
		for {
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
			select {
			case checking <- struct{}{}:
			case <-ctx.Done():
				return
			}
			err := h.check(ctx)
			<-checking
			if ctx.Err() != nil {
				return
			}
			h.checked(err)
			timer.Reset(h.pause())
		}
	}()
	return func() { cancel(); <-done }
}

// pause is the interval, up to as much shorter or longer as the jitter says.
func (h *Host) pause() time.Duration {
	interval := ms(h.c.Check.Interval)
	spread := interval * time.Duration(h.c.Check.JitterPercent) / 100
	return max(interval-spread+time.Duration(h.c.Rand()%uint64(2*spread+1)), time.Millisecond)
}

// check asks the endpoint once.
func (h *Host) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ms(h.c.Check.Timeout))
	defer cancel()
	var err error
	switch h.c.Check.Type {
	case "tcp":
		var c net.Conn
		if c, err = h.dial(ctx); err == nil {
			err = c.Close()
		}
	case "grpc":
		err = h.checkGRPC(ctx)
	default:
		err = h.checkHTTP(ctx)
	}
	if err != nil && ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %s", ms(h.c.Check.Timeout))
	}
	return err
}

// target is the address that is checked.
func (h *Host) target() string {
	host, port, err := net.SplitHostPort(h.c.Address)
	if err != nil || h.c.Check.Port == 0 {
		return h.c.Address
	}
	port = strconv.FormatInt(h.c.Check.Port, 10)
	return net.JoinHostPort(host, port)
}

func (h *Host) dial(ctx context.Context) (net.Conn, error) {
	if h.c.Dial == nil {
		return nil, errors.New("nobody dials")
	}
	return h.c.Dial(ctx, h.target())
}

// Bounds of the answer to a check, in bytes: more is no health report.
const (
	maxCheckHead = 16 << 10
	maxCheckBody = 4 << 10
)

// checkHTTP sends one request on a connection of its own. Redirects are answers like any other, never followed.
func (h *Host) checkHTTP(ctx context.Context) error {
	c, err := h.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	k := h.c.Check
	req, err := http.NewRequestWithContext(ctx, cmp.Or(k.Method, http.MethodGet), "http://"+h.c.Address+cmp.Or(k.Path, "/"), nil)
	if err != nil {
		return err
	}
	req.Host = cmp.Or(k.Host, h.c.HostHeader, h.c.Address)
	req.Close = true
	req.Header.Set("User-Agent", "gwrun-health-check")
	if err := req.Write(c); err != nil {
		return err
	}
	bounded := &io.LimitedReader{R: c, N: maxCheckHead + maxCheckBody}
	resp, err := http.ReadResponse(bufio.NewReader(bounded), req)
	if err != nil {
		if bounded.N <= 0 {
			return errors.New("the answer is too long")
		}
		return fmt.Errorf("read the answer: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	for _, s := range k.Status {
		if status := int64(resp.StatusCode); s.From <= status && status <= s.To {
			return nil
		}
	}
	return fmt.Errorf("answered %d", resp.StatusCode)
}

// checkGRPC asks by the health checking protocol of gRPC (grpc.health.v1).
func (h *Host) checkGRPC(ctx context.Context) error {
	// The dialer brings TLS, if there is any: to the library the connection is a plain one.
	client, err := grpc.NewClient("passthrough:///"+h.target(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return h.dial(ctx) }),
		grpc.WithUserAgent("gwrun-health-check"), grpc.WithAuthority(cmp.Or(h.c.HostHeader, h.c.Address)),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxCheckBody)),
	)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	resp, err := healthpb.NewHealthClient(client).Check(ctx, &healthpb.HealthCheckRequest{Service: h.c.Check.Service}, grpc.WaitForReady(false))
	if err != nil {
		return err
	}
	if s := resp.GetStatus(); s != healthpb.HealthCheckResponse_SERVING {
		return fmt.Errorf("answered %s", s)
	}
	return nil
}
