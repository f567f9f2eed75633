package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"
)

// effort is how long and how often things are measured.
type effort struct {
	rounds int
	window time.Duration // of load on one server
	// of the other workloads
	kindRounds int
	kindWindow time.Duration
	// of gwrun with policies
	policyRounds int
	policyWindow time.Duration
	swaps        int
	sizes        []int // routes beyond 1
	streams      int
	deadline     time.Duration
}

// The closed loop's width: enough that every server always has work, few enough that no queue is measured.
const connections = 32

// sample is one server in one round.
type sample struct {
	cpu      time.Duration // of the server, per request
	rate     float64       // requests a second
	p50, p99 time.Duration
	rss      int64
}

// measure loads the subjects in turn, A B C A B C, so that what the machine does besides falls on all of them alike. The
// first round warms up and is dropped. A subject that fails is left out from then on, and has no samples.
func measure(ctx context.Context, w workload, subjects []*subject, e effort, progress func(string)) (map[string][]sample, error) {
	out, failed := map[string][]sample{}, map[string]error{}
	for round := range e.rounds + 1 {
		for _, s := range subjects {
			if failed[s.name] != nil {
				continue
			}
			window := e.window
			if round == 0 {
				window = min(window, time.Second)
			}
			got, err := once(ctx, w, s, window)
			if err != nil {
				failed[s.name] = err
				delete(out, s.name)
			} else if round > 0 {
				out[s.name] = append(out[s.name], got)
			}
		}
		progress(fmt.Sprintf("round %d of %d", round, e.rounds))
	}
	return out, errors.Join(slices.Collect(maps.Values(failed))...)
}

func once(ctx context.Context, w workload, s *subject, window time.Duration) (sample, error) {
	before, err := s.process.usage()
	if err != nil {
		return sample{}, err
	}
	r, err := w.run(ctx, s, window)
	if err != nil {
		return sample{}, err
	}
	if err := ctx.Err(); err != nil {
		return sample{}, err
	}
	after, err := s.process.usage()
	if err != nil {
		return sample{}, err
	}
	if r.failed > 0 || r.answered == 0 {
		return sample{}, fmt.Errorf("%s: %d of %d requests failed, first: %s", s.name, r.failed, r.failed+r.answered, r.firstFail)
	}
	return sample{
		cpu: (after.cpu - before.cpu) / time.Duration(r.answered), rate: r.perSecond(),
		p50: r.quantile(0.50), p99: r.quantile(0.99), rss: after.rss,
	}, nil
}

// median of one property over the rounds.
func median[T int64 | float64 | time.Duration](samples []sample, of func(sample) T) T {
	values := make([]T, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// ratio is the median of a/b taken round by round: two servers measured moments apart share the machine's mood.
func ratio(a, b []sample, of func(sample) float64) float64 {
	values := make([]float64, min(len(a), len(b)))
	for i := range values {
		values[i] = of(a[i]) / of(b[i])
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func cpuOf(s sample) float64  { return float64(s.cpu) }
func rateOf(s sample) float64 { return s.rate }

func cpuTime(s sample) time.Duration { return s.cpu }
func p50Of(s sample) time.Duration   { return s.p50 }
func p99Of(s sample) time.Duration   { return s.p99 }

// idleStreams opens n event streams through the subject, waits for the first event of each, and returns the resident memory
// each adds.
func idleStreams(ctx context.Context, s *subject, request []byte, n int) (int64, error) {
	before, err := s.process.usage()
	if err != nil {
		return 0, err
	}
	var open []net.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	buf := make([]byte, 4096)
	for i := range n {
		c, err := net.DialTimeout("tcp", s.addr, 5*time.Second)
		if err != nil {
			return 0, fmt.Errorf("stream %d: %w", i, err)
		}
		open = append(open, c)
		if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			return 0, err
		}
		if _, err := c.Write(request); err != nil {
			return 0, fmt.Errorf("stream %d: %w", i, err)
		}
		if err := firstEvent(c, buf); err != nil {
			return 0, fmt.Errorf("stream %d: %w", i, err)
		}
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	after, err := s.process.usage()
	if err != nil {
		return 0, err
	}
	return (after.rss - before.rss) / int64(n), nil
}

func firstEvent(c net.Conn, buf []byte) error {
	for have := 0; have < len(buf); {
		n, err := c.Read(buf[have:])
		if err != nil {
			return fmt.Errorf("%w after %q", err, buf[:have])
		}
		have += n
		if string(buf[:min(have, 12)]) != "HTTP/1.1 200" {
			return fmt.Errorf("answered %q", buf[:have])
		}
		head, body, complete := bytes.Cut(buf[:have], []byte("\r\n\r\n"))
		if complete && !bytes.Contains(head, []byte("text/event-stream")) {
			return fmt.Errorf("answered without a stream: %q", head)
		}
		if bytes.Contains(body, []byte("data: 1\n\n")) {
			return nil
		}
	}
	return fmt.Errorf("no event in %d bytes", len(buf))
}
