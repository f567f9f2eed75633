package signedurl

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/v1"
)

// compile returns nil where signatures are switched off.
func compile(c *policy.CompileContext, s *v1.SignedURL) *Plan {
	s.ApplyDefaults()
	if !*s.Enabled {
		return nil
	}
	if len(s.Keys) == 0 {
		c.Report(diag.Error, "GW3042", "", `add keys: [{ id: k1, secretRef: "env:URL_KEY" }]`, "signedUrl has no keys to check signatures with")
		return nil
	}
	p := &Plan{ClockSkewSeconds: *s.ClockSkewSeconds}
	for i, k := range s.Keys {
		if slices.ContainsFunc(s.Keys[:i], func(o v1.SigningKey) bool { return o.ID == k.ID }) {
			c.Report(diag.Error, "GW3040", fmt.Sprintf("keys[%d].id", i), "give the new key an id of its own, and sign with that",
				"two keys have the id %q, so that a signature does not say which of them made it", k.ID)
		}
		p.Keys = append(p.Keys, Key{ID: k.ID, SecretRef: k.SecretRef})
	}
	slices.SortFunc(p.Keys, func(a, b Key) int { return cmp.Compare(a.ID, b.ID) })
	if s.MaxLifetime != nil {
		if s.MaxLifetime.Std() < time.Second {
			c.Report(diag.Error, "GW2103", "maxLifetime", "write 1h, or leave it out for any lifetime",
				"maxLifetime is %s, must be at least 1s: signatures expire on whole seconds", *s.MaxLifetime)
		}
		p.MaxLifetimeMs = int64(*s.MaxLifetime)
	}
	return p
}
