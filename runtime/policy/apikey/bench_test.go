package apikey

import (
	"context"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/apikey"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
)

// BenchmarkDecide is what the policy costs a request. "wrong secret" and "unknown id" make the same computations, so that their
// times tell nothing about which ids there are.
func BenchmarkDecide(b *testing.B) {
	w, r := newWorld()
	good := r.key(b, "test", nil)
	unknown, err := apikey.Generate("test", r.random)
	if err != nil {
		b.Fatal(err)
	}
	wrong := good
	wrong.Secret = unknown.Secret
	for _, bb := range []struct{ name, text, want string }{
		{"good key", good.Text(), ""},
		{"wrong secret", wrong.Text(), "key_invalid"},
		{"unknown id", unknown.Text(), "key_invalid"},
		{"malformed", "nonsense", "key_invalid"},
		{"no key", "", "key_missing"},
	} {
		b.Run(bb.name, func(b *testing.B) {
			w.State, w.Metrics = lookup{keys: r.keys}, discard{}
			h := handlerOf(b, w, `{ requiredScopes: [read] }`).(*handler)
			h.most = 1 << 62 // nobody is throttled here
			fields := []httpmsg.Field{{Name: "Host", Value: "a"}, {Name: "Accept", Value: "*/*"}}
			if bb.text != "" {
				fields = append(fields, httpmsg.Field{Name: "X-API-Key", Value: bb.text})
			}
			x := w.Exchange("GET", "/orders?sort=name")
			b.ReportAllocs()
			for b.Loop() {
				x.Request.Header.Fields = append(x.Request.Header.Fields[:0], fields...)
				code := ""
				if v := h.Decide(b.Context(), x); v.Reject != nil {
					code = v.Reject.Code
				}
				if code != bb.want {
					b.Fatal(code)
				}
			}
		})
	}
}

// lookup is records without their lock.
type lookup struct {
	policy.State
	keys map[string]*policy.KeyRecord
}

// Key implements policy.State.
func (l lookup) Key(_ context.Context, id string) (*policy.KeyRecord, error) { return l.keys[id], nil }

// KeyUsed implements policy.State.
func (lookup) KeyUsed(string, time.Time) {}

// discard is metrics that nobody looks at.
type discard struct{}

// Series implements policy.Metrics.
func (discard) Series(*policy.Vector, ...string) policy.Series { return discard{} }

// Add implements policy.Series.
func (discard) Add(float64) {}

// Set implements policy.Series.
func (discard) Set(float64) {}
