package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// workload is one kind of traffic that every server which can carry it is measured under.
type workload struct {
	name   string
	unit   string                // what CPU is counted for
	can    func(s *subject) bool // nil: every server
	run    func(ctx context.Context, s *subject, w time.Duration) (result, error)
	budget float64 // CPU, as a multiple of nginx; 0: none
}

// workloads are the rows beside the plain keep-alive proxy, in the order of the table.
func workloads(id identity) []workload {
	secure := func(s *subject) bool { return s.secure != "" }
	both := func(s *subject) bool { return s.secure != "" && s.http2 }
	http1 := id.client("http/1.1")
	return []workload{
		{name: "new connections", unit: "a connection", run: loaded(func(s *subject) load {
			return load{addr: s.addr, requests: [][]byte{getOnce(s.host, s.prefix+"/")}, connections: connections, fresh: true}
		})},
		{name: "TLS, keep-alive", unit: "a request", can: secure, run: loaded(func(s *subject) load {
			return load{addr: s.secure, requests: [][]byte{get(s.host, s.prefix+"/")}, connections: connections, secure: http1}
		})},
		{name: "TLS, new connections", unit: "a handshake", can: secure, run: loaded(func(s *subject) load {
			return load{addr: s.secure, requests: [][]byte{getOnce(s.host, s.prefix+"/")}, connections: connections, secure: http1, fresh: true}
		})},
		{name: "HTTP/2 over TLS, 4 connections of 16 streams", unit: "a request", can: both, run: func(ctx context.Context, s *subject, w time.Duration) (result, error) {
			return multiplexed{addr: s.secure, host: s.host, path: s.prefix + "/", secure: id.client("h2"), connections: 4, streams: 16, duration: w}.run(ctx)
		}},
		{name: "1 KB bodies", unit: "a request", run: bodies(1 << 10)},
		{name: "100 KB bodies", unit: "a request", run: bodies(100 << 10)},
		{name: "10 MB bodies", unit: "a request", run: bodies(10 << 20)},
		{name: "100 KB uploads", unit: "a request", run: loaded(func(s *subject) load {
			return load{addr: s.addr, requests: [][]byte{post(s.host, s.prefix+pathUpload, 100<<10)}, connections: 8}
		})},
		{name: "event streams, 500 at an event a second", unit: "an event", run: func(ctx context.Context, s *subject, w time.Duration) (result, error) {
			return fanOut(ctx, s, 500, max(w, 3*eventPace))
		}},
		{name: "WebSocket echo, 64 sockets", unit: "a message", run: func(ctx context.Context, s *subject, w time.Duration) (result, error) {
			return echoes(ctx, s, 64, w)
		}},
	}
}

// loaded is a workload that the plain load generator makes.
func loaded(of func(s *subject) load) func(context.Context, *subject, time.Duration) (result, error) {
	return func(ctx context.Context, s *subject, w time.Duration) (result, error) {
		l := of(s)
		l.duration = w
		return l.run(ctx), nil
	}
}

// bodies asks for bodies of n bytes over few connections: one of 10 MB keeps a core busy.
func bodies(n int) func(context.Context, *subject, time.Duration) (result, error) {
	return loaded(func(s *subject) load {
		return load{addr: s.addr, requests: [][]byte{get(s.host, fmt.Sprintf("%s%s%d", s.prefix, pathSize, n))}, connections: 8, buffer: 64 << 10}
	})
}

// plain is the workload of the first table: keep-alive, small answers.
func plain() workload {
	return workload{name: "plain", unit: "a request", budget: 1.3, run: loaded(func(s *subject) load {
		return load{addr: s.addr, requests: s.requests, connections: connections}
	})}
}

// compare measures one workload on every server that can carry it, and adds a row for each.
func (b *bench) compare(ctx context.Context, w workload, subjects []*subject) {
	var able []*subject
	for _, s := range subjects {
		if w.can == nil || w.can(s) {
			able = append(able, s)
		}
	}
	progress(w.name)
	e := b.effort
	e.rounds, e.window = e.kindRounds, e.kindWindow
	samples, err := measure(ctx, w, able, e, func(string) {})
	if err != nil {
		b.errs = append(b.errs, fmt.Errorf("%s: %w", w.name, err))
	}
	nginx := samples["nginx"]
	for _, s := range able {
		got := samples[s.name]
		what := w.name + ": " + s.name
		if len(got) == 0 {
			b.kinds = append(b.kinds, unmeasured(what, "", "see the error below"))
			continue
		}
		r := row{what: what, value: fmt.Sprintf("%s CPU %s, %.0f/s, p50 %s, p99 %s", microseconds(median(got, cpuTime)), w.unit,
			median(got, rateOf), microseconds(median(got, p50Of)), microseconds(median(got, p99Of)))}
		if len(nginx) > 0 {
			r.ratio = fmt.Sprintf("CPU %.2f, p50 %.2f, p99 %.2f", ratio(got, nginx, cpuOf),
				ratio(got, nginx, func(s sample) float64 { return float64(s.p50) }), ratio(got, nginx, func(s sample) float64 { return float64(s.p99) }))
		}
		b.kinds = append(b.kinds, r)
	}
}

// echoes trades messages over sockets that were opened beforehand.
func echoes(ctx context.Context, s *subject, sockets int, w time.Duration) (result, error) {
	open := make([]*socket, 0, sockets)
	defer func() {
		for _, k := range open {
			_ = k.conn.Close()
		}
	}()
	for range sockets {
		k, err := openSocket(ctx, s.addr, s.host, s.prefix+pathEcho)
		if err != nil {
			return result{}, fmt.Errorf("%s: open a WebSocket: %w", s.name, err)
		}
		open = append(open, k)
	}
	ctx, cancel := context.WithTimeout(ctx, w)
	defer cancel()
	return together(sockets, func(i int) result {
		var r result
		for ctx.Err() == nil {
			begin := time.Now()
			if err := open[i].trade(); err != nil {
				r.fail(err)
				return r
			}
			r.answered++
			r.latencies = append(r.latencies, time.Since(begin))
		}
		return r
	}), nil
}

// fanOut opens event streams and takes the age of each event when it arrives. It counts those that came within w.
func fanOut(ctx context.Context, s *subject, streams int, w time.Duration) (result, error) {
	readers := make([]*eventReader, 0, streams)
	defer func() {
		for _, r := range readers {
			_ = r.conn.Close()
		}
	}()
	for range streams {
		r, err := openEvents(ctx, s.addr, get(s.host, s.prefix+pathEvents))
		if err != nil {
			return result{}, fmt.Errorf("%s: open an event stream: %w", s.name, err)
		}
		readers = append(readers, r)
	}
	end := time.Now().Add(w)
	return together(streams, func(i int) result {
		var r result
		for {
			age, err := readers[i].next(end)
			switch {
			case errors.Is(err, errOver):
				return r
			case err != nil:
				r.fail(err)
				return r
			}
			r.answered++
			r.latencies = append(r.latencies, age)
		}
	}), nil
}
