package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
)

// fleet is three gateways that share one Redis, and the load on them.
type fleet struct {
	*scene
	redis    *testkit.RedisServer
	gateways []*gateway
}

const (
	rate  = 100 // tokens a second
	burst = 200
)

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{scene: newScene(t), redis: testkit.Redis(t)}
	f.extra = append(f.extra, "GWRUN_REDIS="+f.redis.URL)
	route := func(id, policy string) string {
		return fmt.Sprintf("  - id: %s\n    matcher: { path: /%[1]s }\n    target: { type: http, url: %q }\n    policy: { rateLimit: { tokensPerInterval: %d, intervalMs: 10000, burst: %d, key: [route], replicas: 3%s } }\n",
			id, f.app, 10*rate, burst, policy)
	}
	f.commit("limits", map[string]string{"routes/limits.yaml": apiVersion + "routes:\n" +
		route("exact", "") + route("leased", ", localPercent: 5") + route("share", "") + route("open", ", onError: open") + route("closed", ", onError: closed")})
	_, to := f.folder()
	f.apply(to)
	for range 3 {
		g := f.gwrun("--bundle", to)
		g.serves(1)
		f.gateways = append(f.gateways, g)
	}
	testkit.Eventually(t, "the gateways know of each other", func() bool {
		for _, g := range f.gateways {
			if st := g.status().SharedState; st == nil || st.Replicas != 3 {
				return false
			}
		}
		return true
	})
	return f
}

// counted is what became of a load.
type counted struct {
	admitted, limited, refused int64
	// Of those admitted, how many a gateway let through by itself because Redis took longer than 20 ms: a busy machine does that. And
	// how often that was: each time a token may have been taken that nobody got.
	alone, unanswered int64
	took              time.Duration // from before the first request to the last answer that was 429
}

// press asks every gateway for a route as fast as some clients can, for a time, and then until the limit is reached.
func (f *fleet) press(route string, least time.Duration) counted {
	f.t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 8}
	defer transport.CloseIdleConnections()
	ask := &http.Client{Transport: transport, Timeout: patience}
	alone, unanswered := f.sum(route, `gw_ratelimit_requests_total{key_type="route",limit="default",outcome="degraded_allowed",route="%s"}`), f.sum(route, `gw_ratelimit_state_errors_total{route="%s"}`)
	var admitted, limited, refused atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	var last atomic.Int64
	for _, g := range f.gateways {
		for range 2 {
			all.Go(func() {
				for {
					resp, err := ask.Get(g.url + "/" + route)
					if err != nil {
						f.t.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
					over := time.Since(began)
					switch resp.StatusCode {
					case 200:
						admitted.Add(1)
						if over > least+patience { // nothing limits it
							return
						}
						if over > least && route == "open" {
							return
						}
					case 429:
						limited.Add(1)
						for old := last.Load(); int64(over) > old && !last.CompareAndSwap(old, int64(over)); old = last.Load() {
						}
						if over > least {
							return
						}
					default:
						refused.Add(1)
						if over > least {
							return
						}
					}
				}
			})
		}
	}
	all.Wait()
	return counted{
		admitted: admitted.Load(), limited: limited.Load(), refused: refused.Load(), took: time.Duration(last.Load()),
		alone:      f.sum(route, `gw_ratelimit_requests_total{key_type="route",limit="default",outcome="degraded_allowed",route="%s"}`) - alone,
		unanswered: f.sum(route, `gw_ratelimit_state_errors_total{route="%s"}`) - unanswered,
	}
}

// sum adds up a series of a route over the gateways.
func (f *fleet) sum(route, series string) int64 {
	f.t.Helper()
	total := int64(0)
	for _, g := range f.gateways {
		text, ok := g.metric(fmt.Sprintf(series, route))
		if !ok { // the route does not count that
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			f.t.Fatalf(series+": %q", route, text)
		}
		total += n
	}
	return total
}

// exactly reports whether what Redis let through is what the bucket gives, within 1 percent.
func (c counted) exactly(idle int64) bool {
	want := bound(c.took)
	return c.refused == 0 && c.admitted-c.alone <= want+1 && c.admitted-c.alone >= want*99/100-1-idle-c.unanswered
}

// bound is what a bucket that was full gives in a time.
func bound(took time.Duration) int64 { return burst + int64(took.Seconds()*rate) }

// TestLimitAcrossGateways holds what three gateways let through together to the limit: with Redis exactly, with a part handed out
// locally, and by shares while Redis is away. GATEWAY_LIMIT_SECONDS sets how long each part takes.
func TestLimitAcrossGateways(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	least := 4 * time.Second
	if text := os.Getenv("GATEWAY_LIMIT_SECONDS"); text != "" {
		var err error
		if least, err = time.ParseDuration(text + "s"); err != nil {
			t.Fatal(err)
		}
	}
	exact := f.press("exact", least)
	t.Logf("exact: %+v, the bucket gives %d", exact, bound(exact.took))
	if !exact.exactly(0) {
		t.Errorf("exact: %+v, want within 1 percent of %d", exact, bound(exact.took))
	}
	leased := f.press("leased", least)
	t.Logf("leased: %+v, the bucket gives %d", leased, bound(leased.took))
	const idle = 3 * burst * 5 / 100 // what can lie unused at three gateways
	if leased.unanswered *= idle; !leased.exactly(idle) {
		t.Errorf("leased: %+v, want at most %d, and no less than %d fewer", leased, bound(leased.took), idle)
	}
	f.redis.Stop()
	share := f.press("share", least)
	t.Logf("share: %+v, the bucket gives %d", share, bound(share.took))
	if want := bound(share.took); share.admitted > want+3 || share.admitted < want*8/10 || share.refused > 0 {
		t.Errorf("without Redis: %+v, want at most %d: three shares", share, want)
	}
	if open := f.press("open", time.Second); open.limited+open.refused > 0 || open.admitted == 0 {
		t.Errorf("without Redis, open: %+v", open)
	}
	if closed := f.press("closed", time.Second/2); closed.admitted+closed.limited > 0 || closed.refused == 0 {
		t.Errorf("without Redis, closed: %+v", closed)
	}
	f.redis.Restart()
	testkit.Eventually(t, "the gateways count in Redis again", func() bool {
		for _, g := range f.gateways {
			if code, _, err := get(g.url + "/closed"); err != nil || code == 503 {
				return false
			}
		}
		return true
	})
	again := f.press("exact", least)
	t.Logf("again: %+v, the bucket gives %d", again, bound(again.took))
	if !again.exactly(0) {
		t.Errorf("after Redis came back, empty: %+v, want within 1 percent of %d", again, bound(again.took))
	}
	for _, g := range f.gateways {
		if v, _ := g.metric("gw_panics_total"); v != "0" {
			t.Errorf("%s panics", v)
		}
		if strings.Contains(g.Output(), `"level":"ERROR"`) {
			t.Errorf("errors in the log:\n%s", g.Output())
		}
	}
}
