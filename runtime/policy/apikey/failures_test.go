package apikey

import (
	"net/netip"
	"sync"
	"testing"

	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/policy"
)

// TestSwapIsNoFreshStart has two generations of the policy, and two routes, share what is known of a client.
func TestSwapIsNoFreshStart(t *testing.T) {
	w, r := newWorld()
	held := &held{}
	w.Shared = held
	good := r.key(t, "test", nil)
	before := handlerOf(t, w, `{ maxFailuresPerMinute: 2 }`)
	for range 2 {
		before.Decide(t.Context(), w.Exchange("GET", "/", "X-API-Key: x"))
	}
	w.Route = policy.Route{ID: "another"}
	after := handlerOf(t, w, `{ header: X-Key, maxFailuresPerMinute: 2 }`)
	if err := before.(interface{ Close() error }).Close(); err != nil {
		t.Fatal(err)
	}
	if got := policytest.Said(after.Decide(t.Context(), w.Exchange("GET", "/", "X-Key: "+good.Text()))); got != "429 too_many_failures" {
		t.Errorf("on another route after a swap: %s", got)
	}
	if held.made != 1 || held.refs != 1 {
		t.Errorf("made %d times, %d hold it", held.made, held.refs)
	}
}

// held shares one value.
type held struct {
	value      any
	made, refs int
}

// Get implements policy.Shared.
func (h *held) Get(_ string, create func() (any, error)) (any, func(), error) {
	h.refs++
	if h.value != nil {
		return h.value, func() { h.refs-- }, nil
	}
	h.made++
	var err error
	h.value, err = create()
	return h.value, func() { h.refs-- }, err
}

// TestGuessersAtOnce has many clients at a time: each is counted for itself.
func TestGuessersAtOnce(t *testing.T) {
	w, _ := newWorld()
	h := handlerOf(t, w, `{ maxFailuresPerMinute: 10 }`)
	var all sync.WaitGroup
	for client := range byte(8) {
		all.Go(func() {
			verdicts := map[string]int{}
			for range 50 {
				x := w.Exchange("GET", "/", "X-API-Key: x")
				x.ClientIP = netip.AddrFrom4([4]byte{192, 0, 2, client})
				verdicts[policytest.Said(h.Decide(t.Context(), x))]++
			}
			if verdicts["401 key_invalid"] != 10 || verdicts["429 too_many_failures"] != 40 {
				t.Errorf("client %d: %v", client, verdicts)
			}
		})
	}
	all.Wait()
}
