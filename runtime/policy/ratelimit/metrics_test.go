package ratelimit

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/suuupra/gateway/runtime/policy"
)

// TestSaturation shows the highest share of this span and the last, and goes back to nothing without requests.
func TestSaturation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "{ tokensPerInterval: 10, intervalMs: 1000, key: [ip] }")
		one := func() *policy.Exchange { return r.from("192.0.2.1") }
		shown := func(want float64) {
			t.Helper()
			synctest.Wait()
			if got := r.Counts.Of("gw_ratelimit_saturation{route=r,limit=default}"); got < want-1e-9 || got > want+1e-9 {
				t.Errorf("shows %g, want %g", got, want)
			}
		}
		r.burst(3, one)
		shown(0.3)
		r.Advance(second)
		r.burst(1, one)
		shown(0.3) // the highest
		time.Sleep(span)
		shown(0.3) // of the span before
		r.burst(1, one)
		time.Sleep(span)
		shown(0.2)
		r.burst(9, one) // the last one is refused
		shown(1)
		time.Sleep(2 * span)
		shown(0)
		time.Sleep(10 * span)
		r.burst(1, one)
		shown(1)
		if err := r.h.(*handler).Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * span)
		shown(1) // a snapshot that has gone speaks for no route
		r.h.(*handler).limits[0].counts.used.note(0.5)
		shown(1)
	})
}
