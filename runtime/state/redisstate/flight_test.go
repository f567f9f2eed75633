package redisstate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/policy"
)

// wait returns once so many Takes wait for a flight.
func (t *terminal) wait(tb testing.TB, n int) {
	tb.Helper()
	testkit.Eventually(tb, fmt.Sprint(n, " wait"), func() bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		return len(t.waiting) == n
	})
}

// TestCompany has many ask while no flight returns: those who wait travel together, each gets its own answer, and who does not fly
// any more keeps nobody.
func TestCompany(t *testing.T) {
	server := testkit.Redis(t)
	c, db := newRig(t, server.URL, Options{Budget: generous}).calm(t), direct(t, server.URL)
	if _, err := c.Take(t.Context(), one("warm", 9, 1)); err != nil {
		t.Fatal(err)
	}
	if err := db.LPush(t.Context(), c.key('b', "list"), "x").Err(); err != nil {
		t.Fatal(err)
	}
	before := c.counts.Of("gw_state_calls_total{call=take}")
	resume := hang(t, server.URL)
	t.Cleanup(resume)

	const many = 300
	var wg sync.WaitGroup
	ask := func(ctx context.Context, name string, check func([]policy.Taken, error)) {
		wg.Go(func() { check(c.Take(ctx, one(name, 1000, 1))) })
	}
	good := func(taken []policy.Taken, err error) {
		if err != nil || !taken[0].Granted || taken[0].Remaining != 999 {
			t.Errorf("its own bucket: %+v, %v", taken, err)
		}
	}
	for i := range flights {
		ask(t.Context(), fmt.Sprint("out", i), good)
	}
	testkit.Eventually(t, "all flights are out", func() bool {
		c.terminal.mu.Lock()
		defer c.terminal.mu.Unlock()
		return c.terminal.out == flights
	})
	leaving, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	ask(leaving, "left", func(_ []policy.Taken, err error) { left <- err })
	c.terminal.wait(t, 1)
	for i := range many {
		ask(t.Context(), fmt.Sprint("many", i), good)
	}
	ask(t.Context(), "list", func(_ []policy.Taken, err error) {
		if !errors.Is(err, policy.ErrStateAway) {
			t.Errorf("a bucket that is none: %v", err)
		}
	})
	c.terminal.wait(t, 1+many+1)
	leave()
	if err := <-left; !errors.Is(err, policy.ErrStateAway) || !errors.Is(err, context.Canceled) {
		t.Errorf("who left: %v", err)
	}
	resume()
	wg.Wait()
	made := c.counts.Of("gw_state_calls_total{call=take}") - before
	if least := float64(flights + (many+1+passengers-1)/passengers); made < least || made > least+flights {
		t.Errorf("%g round trips for %d Takes, want %g", made, flights+many+1, least)
	}
	if n := c.terminal.out; n != 0 {
		t.Errorf("%d flights never came back", n)
	}
	if got, err := c.Take(t.Context(), one("left", 9, 1)); err != nil || got[0].Remaining != 8 {
		t.Errorf("the tokens of who left before it flew: %+v, %v", got, err)
	}
}

// TestCompanyGivesUp has nobody wait longer than its budget, whoever is out, and finds flights again when the server is back.
func TestCompanyGivesUp(t *testing.T) {
	server := testkit.Redis(t)
	c := newRig(t, server.URL, Options{Budget: 50 * time.Millisecond}).calm(t)
	resume := hang(t, server.URL)
	t.Cleanup(resume)
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if err := take(t, c.Client); !errors.Is(err, policy.ErrStateAway) {
				t.Errorf("no ErrStateAway: %v", err)
			}
		})
	}
	wg.Wait()
	c.terminal.mu.Lock()
	if c.terminal.out != 0 || len(c.terminal.waiting) != 0 {
		t.Errorf("%d are out and %d wait", c.terminal.out, len(c.terminal.waiting))
	}
	c.terminal.mu.Unlock()
	resume()
	testkit.Eventually(t, "it is used again", func() bool { return take(t, c.Client) == nil })
}
