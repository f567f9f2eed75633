package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/snapshot"
	"github.com/suuupra/gateway/runtime/state/memstate"
)

func TestMain(m *testing.M) { testkit.NoLeaks(m) }

// shared is a state that several gateways of a test have, and that can go away.
type shared struct {
	policy.State
	mu       sync.Mutex
	away     error
	replicas int
	asked    []policy.Bucket // since the last look
	hold     chan struct{}   // not nil: an answer waits until it is closed
	pause    func()          // not nil: the way there, and the way back
	answered time.Time       // with pause: when the last answer was made
	now      func() time.Time
}

func newShared(w *policytest.World) *shared {
	return &shared{State: memstate.New(memstate.Options{Now: w.Now}), replicas: 1, now: w.Now}
}

func (s *shared) Take(ctx context.Context, buckets []policy.Bucket) ([]policy.Taken, error) {
	s.mu.Lock()
	s.asked = append(s.asked, buckets...)
	away, hold := s.away, s.hold
	s.mu.Unlock()
	if hold != nil {
		<-hold
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if away != nil {
		return nil, away
	}
	if s.pause != nil {
		s.pause()
		s.answered = s.now()
		defer s.pause()
	}
	return s.State.Take(ctx, buckets)
}

func (s *shared) Replicas() int { return s.replicas }

func (s *shared) leave() { s.setAway(policy.ErrStateAway) }
func (s *shared) back()  { s.setAway(nil) }

func (s *shared) setAway(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = err
}

// costs are the tokens that were asked for since the last look.
func (s *shared) costs() (out []int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.asked {
		out = append(out, b.Cost)
	}
	s.asked = nil
	return out
}

// names are the buckets that were asked since the last look.
func (s *shared) names() (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.asked {
		out = append(out, b.Name)
	}
	s.asked = nil
	return out
}

// rig is one policy of one gateway.
type rig struct {
	*policytest.World
	state *shared
	h     policy.Handler
}

// world is one with a state that is shared, in which values survive a swap as they do in a gateway.
func world() (*policytest.World, *shared) {
	w := policytest.NewWorld()
	s := newShared(w)
	w.State, w.Shared = s, snapshot.NewShared()
	return w, s
}

// newRig builds what an author would write below rateLimit, as YAML in one line. The route has auth.jwt and auth.apiKey.
func newRig(tb testing.TB, yaml string) *rig {
	tb.Helper()
	w, s := world()
	return &rig{w, s, w.Build(tb, Kind, plan(tb, yaml))}
}

func plan(tb testing.TB, yaml string) []byte {
	tb.Helper()
	return policytest.MustCompile(tb, Kind, policytest.Route{Policy: "auth: { jwt: {}, apiKey: {} }\nrateLimit: " + yaml})
}

// send asks about a request, and shows what the client gets to see of the limits: the verdict and the fields.
func (r *rig) send(x *policy.Exchange) (verdict string, fields httpmsg.Header) {
	v := r.h.Decide(context.Background(), x)
	resp := &httpmsg.Response{Status: 200}
	if v.Reject != nil {
		resp.Status, resp.Header.Fields = v.Reject.Status, append(resp.Header.Fields, v.Reject.Header...)
	}
	r.h.(policy.ResponseHandler).Respond(context.Background(), x, resp)
	return policytest.Said(v), resp.Header
}

// from is a request of a client.
func (r *rig) from(ip string) *policy.Exchange {
	x := r.Exchange("GET", "/users")
	x.ClientIP = netip.MustParseAddr(ip)
	return x
}

// burst sends n requests and counts those that pass.
func (r *rig) burst(n int, x func() *policy.Exchange) (passed int) {
	for range n {
		if said, _ := r.send(x()); said == "pass" {
			passed++
		}
	}
	return passed
}

// lines are header fields, one a line.
func lines(h httpmsg.Header) string {
	var b strings.Builder
	for _, f := range h.Fields {
		fmt.Fprintf(&b, "%s: %s\n", f.Name, f.Value)
	}
	return b.String()
}

// count is what the metric of requests says of an outcome.
func (r *rig) count(limit, keyType, outcome string) float64 {
	return r.Counts.Of(fmt.Sprintf("gw_ratelimit_requests_total{route=r,limit=%s,key_type=%s,outcome=%s}", limit, keyType, outcome))
}

var errBroken = errors.New("broken")

const second = time.Second
