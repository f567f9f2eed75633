package apikey

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/apikey"
	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/policy"
)

// FuzzDecide holds that one text alone opens the route, and that the state is asked for nothing but what can be an id.
func FuzzDecide(f *testing.F) {
	w, r := newWorld()
	good := r.key(f, "test", nil).Text()
	for _, s := range []string{good, good + " ", "*", "gw:*", "\r\nDEL x", strings.ToUpper(good), good[:40], "gw_prod_" + good[8:]} {
		f.Add(s, "")
	}
	f.Add(good, "k="+good)
	f.Add(good, "a=b&&=&gw_")
	state := &strict{State: r}
	w.State = state
	h := handlerOf(f, w, `{ maxFailuresPerMinute: 100000 }`)
	f.Fuzz(func(t *testing.T, value, query string) {
		state.tb = t
		w.Advance(time.Minute) // what failed before is forgotten
		x := w.Exchange("GET", "/?"+query, "Accept: */*")
		x.Request.Header.Add("x-api-key", value)
		v := h.Decide(t.Context(), x)
		if want := value == good && !keyInQuery(query); want != (v.Reject == nil) {
			t.Errorf("%q with %q: %s", value, query, policytest.Said(v))
		}
		if v.Reject == nil && (len(x.Request.Header.Fields) != 1 || x.Key == nil) {
			t.Errorf("header %v, key %v", x.Request.Header.Fields, x.Key)
		}
	})
}

// strict fails the test when it is asked for what can be no id.
type strict struct {
	policy.State
	tb testing.TB
}

// Key implements policy.State.
func (s *strict) Key(ctx context.Context, id string) (*policy.KeyRecord, error) {
	if !apikey.IsID(id) {
		s.tb.Errorf("asked for the key %q", id)
	}
	return s.State.Key(ctx, id)
}
