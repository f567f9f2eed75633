package jwt

import "testing"

// BenchmarkRemembered is a token that comes again.
func BenchmarkRemembered(b *testing.B) {
	w := newWorld(b)
	h := w.policyOf(b, guide)
	x := w.Exchange("GET", "/", "Authorization: Bearer "+w.token(b, nil))
	b.ReportAllocs()
	for b.Loop() {
		if v := h.Decide(b.Context(), x); v.Reject != nil {
			b.Fatal(v.Reject)
		}
	}
}

// BenchmarkVerified is a token that was not seen before.
func BenchmarkVerified(b *testing.B) {
	w := newWorld(b)
	h := w.policyOf(b, guide).(*handler)
	x := w.Exchange("GET", "/", "Authorization: Bearer "+w.token(b, nil))
	b.ReportAllocs()
	for b.Loop() {
		clear(h.issuers[0].seen.shards[0].all)
		for i := range h.issuers[0].seen.shards {
			clear(h.issuers[0].seen.shards[i].all)
		}
		if v := h.Decide(b.Context(), x); v.Reject != nil {
			b.Fatal(v.Reject)
		}
	}
}

// FuzzToken throws texts at the policy: nothing but a token of the issuer gets in.
func FuzzToken(f *testing.F) {
	w := newWorld(f)
	h := w.policyOf(f, guide)
	f.Add(tamper(w.token(f, nil)))
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		got, x := w.ask(t, h, token)
		if got == "pass" || x.Principal != nil {
			t.Errorf("%q: %s", token, got)
		}
	})
}
