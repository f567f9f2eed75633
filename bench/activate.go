package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
)

// activation is what it costs to bring a new bundle of the same size to life, every route of which changed.
type activation struct {
	cpu       time.Duration // of gwrun, from the publication to the first request served by the new bundle, without load
	failed    int           // requests that failed while bundles were swapped under load
	requests  int
	calm, p99 time.Duration // of requests without and with a swap
}

// paced is the load under which bundles are swapped: far below what the machine can do, so that waiting shows.
const paced = 1000

// activate measures swaps. The two bundles differ in every route, by its timeout, and in one route that only the second
// has: its answer tells when the swap has happened.
func (g *gateway) activate(ctx context.Context, routes, swaps int) (activation, error) {
	var a activation
	small := testkit.Synthetic{Routes: routes}
	// The marker is the last route: the other bundle has one fewer.
	large := testkit.Synthetic{Routes: routes + 1, Policy: "\n      timeout: 20000\n"}
	name := fmt.Sprintf("swap-%d", routes)
	for repo, s := range map[string]testkit.Synthetic{name + "-a": small, name + "-b": large} {
		if err := g.repository(ctx, repo, s); err != nil {
			return a, err
		}
	}
	live, stage := name+"-live", name+"-stage"
	bring := func(repo string) error { return g.apply(ctx, repo, stage) }
	if err := bring(name + "-a"); err != nil {
		return a, err
	}
	if err := publish(g.path(stage), g.path(live)); err != nil {
		return a, err
	}
	s, err := g.run(ctx, "gwrun, swapping", live, small)
	if err != nil {
		return a, err
	}
	defer s.process.stop()

	marker := get(large.Host(routes), large.Path(routes))
	next := name + "-b"
	swap := func() error { // publishes what is staged and waits until it is live
		if err := publish(g.path(stage), g.path(live)); err != nil {
			return err
		}
		want := next == name+"-b"
		if err := s.process.wait(ctx, 30*time.Second, func() bool { return ask(s.addr, marker) == want }); err != nil {
			return err
		}
		if want {
			next = name + "-a"
		} else {
			next = name + "-b"
		}
		return nil
	}

	var costs []time.Duration
	for range swaps {
		if err := bring(next); err != nil {
			return a, err
		}
		before, err := s.process.usage()
		if err != nil {
			return a, err
		}
		if err := swap(); err != nil {
			return a, fmt.Errorf("swap without load: %w", err)
		}
		after, err := s.process.usage()
		if err != nil {
			return a, err
		}
		costs = append(costs, after.cpu-before.cpu)
	}
	slices.Sort(costs)
	a.cpu = costs[len(costs)/2]
	return a, g.underLoad(ctx, s, &a, swaps, func() error { return bring(next) }, swap)
}

// underLoad swaps bundles beneath a steady load, and compares with windows of the same length without a swap.
func (g *gateway) underLoad(ctx context.Context, s *subject, a *activation, swaps int, bring, swap func() error) error {
	window := load{addr: s.addr, requests: s.requests, connections: 8, duration: 4 * time.Second, rate: paced}
	var calm, busy []time.Duration
	for range swaps {
		r := window.run(ctx)
		calm = append(calm, r.quantile(0.99))
		a.failed, a.requests = a.failed+r.failed, a.requests+r.answered+r.failed

		if err := bring(); err != nil { // compiled before the window begins
			return err
		}
		done := make(chan error, 1)
		time.AfterFunc(200*time.Millisecond, func() { done <- swap() })
		r = window.run(ctx)
		if err := <-done; err != nil {
			return fmt.Errorf("swap under load: %w", err)
		}
		busy = append(busy, r.quantile(0.99))
		a.failed, a.requests = a.failed+r.failed, a.requests+r.answered+r.failed
	}
	slices.Sort(calm)
	slices.Sort(busy)
	a.calm, a.p99 = calm[len(calm)/2], busy[len(busy)/2]
	return ctx.Err()
}
