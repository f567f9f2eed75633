package redisstate

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/overlays"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/bundle"
)

func TestOverlays(t *testing.T) {
	server := testkit.Redis(t)
	a := open(t, server.URL, Options{Budget: generous, Environment: "prod"})
	b := open(t, server.URL, Options{Budget: generous, Environment: "prod"})
	other := open(t, server.URL, Options{Budget: generous, Environment: "staging"})
	ctx, soon := t.Context(), time.Now().Add(time.Hour)
	swap := func(c *Client, id, before, next string, want bool) {
		t.Helper()
		var was, is []byte
		if before != "" {
			was = []byte(before)
		}
		if next != "" {
			is = []byte(next)
		}
		if ok, err := c.SwapOverlay(ctx, id, was, is, soon); err != nil || ok != want {
			t.Errorf("%s from %q to %q: %t, %v", id, before, next, ok, err)
		}
	}
	swap(a, "inc", "", "one", true)
	swap(b, "inc", "", "two", false)
	swap(b, "inc", "one", "two", true)
	swap(a, "inc", "one", "three", false)
	swap(a, "inc", "one", "", false)
	swap(a, "nul", "", "\x00\xff\r\n", true)
	all, err := a.Overlays(ctx)
	if err != nil || len(all) != 2 || string(all["inc"]) != "two" || string(all["nul"]) != "\x00\xff\r\n" {
		t.Errorf("%q, %v", all, err)
	}
	if all, err := other.Overlays(ctx); err != nil || len(all) != 0 {
		t.Errorf("another environment has %q, %v", all, err)
	}
	swap(b, "none", "", "", true)
	for i := range bundle.MaxOverlays - 2 {
		swap(a, fmt.Sprint("full", i), "", "x", true)
	}
	if ok, err := b.SwapOverlay(ctx, "more", nil, []byte("x"), soon); ok || !errors.Is(err, overlays.ErrFull) {
		t.Errorf("one too many: %t, %v", ok, err)
	}
	for i := range bundle.MaxOverlays - 2 {
		swap(a, fmt.Sprint("full", i), "x", "", true)
	}
	ttl := server.Do("PTTL", "gw:overlays:prod")
	swap(a, "inc", "two", "", true)
	if ttl == "-1" || ttl == "-2" {
		t.Errorf("it would stay for ever: %s", ttl)
	}

	// What somebody else has written there.
	server.Do("HSET", "gw:overlays:prod", "large", strings.Repeat("x", bundle.MaxOverlay+1), strings.Repeat("n", 64), "x")
	if all, err := a.Overlays(ctx); err != nil || len(all) != 1 {
		t.Errorf("%d are read, %v", len(all), err)
	}
	for i := range mostOverlays {
		server.Do("HSET", "gw:overlays:prod", fmt.Sprint("n", i), "x")
	}
	if _, err := a.Overlays(ctx); !errors.Is(err, errOverlayCrowd) {
		t.Errorf("%v", err)
	}
	server.Do("DEL", "gw:overlays:prod")
	server.Do("SET", "gw:overlays:prod", "x")
	if _, err := a.Overlays(ctx); err == nil {
		t.Error("a text is read as overlays")
	}
	server.Stop()
	if _, err := a.Overlays(ctx); !errors.Is(err, policy.ErrStateAway) {
		t.Errorf("%v", err)
	}
}
