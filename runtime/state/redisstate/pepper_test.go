package redisstate

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/state/keystore"
)

// TestPeppers has gateways of different peppers on one server: the first says which it is, and who has another one shows it.
func TestPeppers(t *testing.T) {
	server := testkit.Redis(t)
	db := direct(t, server.URL)
	gateway := func(env, pepper string) *rig {
		return newRig(t, server.URL, Options{Budget: generous, Environment: env, Pepper: pepper}).calm(t)
	}
	first := gateway("test", "aaaa")
	testkit.Eventually(t, "it is written down", func() bool { return db.Get(t.Context(), "gw:pepper:test").Val() == "aaaa" })
	same, none, elsewhere := gateway("test", "aaaa"), gateway("test", ""), gateway("prod", "bbbb")
	for name, c := range map[string]*rig{"the first": first, "of the same": same, "of none": none, "of another environment": elsewhere} {
		if err := c.ComparePepper(t.Context()); err != nil || c.Status().OtherPepper || slices.Contains(c.counts.All(), "gw_state_other_pepper{} 1") {
			t.Errorf("the gateway %s: %v, %+v", name, err, c.Status())
		}
	}
	other := gateway("test", "bbbb")
	testkit.Eventually(t, "the difference shows before anybody asks", func() bool { return other.Status().OtherPepper })
	for range 2 {
		if err := other.ComparePepper(t.Context()); !errors.Is(err, keystore.ErrPepper) {
			t.Errorf("%v, want ErrPepper", err)
		}
	}
	if got := other.counts.All(); !slices.Contains(got, "gw_state_other_pepper{} 1") {
		t.Errorf("counted %q", got)
	}
	log := other.log.String()
	if strings.Count(log, "level=ERROR") != 1 || !strings.Contains(log, "the same GWRUN_API_KEY_PEPPER") || !strings.Contains(log, "key=gw:pepper:test") {
		t.Errorf("logged %s", log)
	}

	// It was replaced on purpose: the old gateways are gone, and the key is deleted.
	for _, c := range []*rig{first, same} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	db.Del(t.Context(), "gw:pepper:test")
	if err := other.ComparePepper(t.Context()); err != nil || other.Status().OtherPepper || db.Get(t.Context(), "gw:pepper:test").Val() != "bbbb" {
		t.Errorf("after that: %v, %+v", err, other.Status())
	}
	if log := other.log.String(); strings.Count(log, "is that of the other gateways again") != 1 {
		t.Errorf("logged %s", log)
	}
}

// TestPepperIsComparedAgain changes what the server has while it is away.
func TestPepperIsComparedAgain(t *testing.T) {
	server := testkit.Redis(t)
	c := newRig(t, server.URL, Options{Budget: generous, Pepper: "aaaa"}).calm(t)
	db := direct(t, server.URL)
	testkit.Eventually(t, "it is written down", func() bool { return db.Get(t.Context(), "gw:pepper").Val() == "aaaa" })
	db.Set(t.Context(), "gw:pepper", "bbbb", 0)
	for range failuresToOpen {
		c.failed(&awayError{why: reasonRefused})
	}
	testkit.Eventually(t, "it is compared when the server is back", func() bool { return c.Status().OtherPepper })
	server.Stop()
	if err := c.ComparePepper(t.Context()); err == nil || errors.Is(err, keystore.ErrPepper) || !c.Status().OtherPepper {
		t.Errorf("while the server is away: %v, %+v", err, c.Status())
	}
}
