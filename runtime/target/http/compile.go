package httptarget

import (
	"net/url"
	"strings"

	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/target"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/match"
	"github.com/suuupra/gateway/schema/v1"
)

// Kind forwards to a server named by the route's url, or to a named upstream.
var Kind = target.Kind{
	TargetKind: policy.DefineTarget(Name, compile),
	Build: func(r *ir.Route, m target.Metrics, e *target.Env) (target.Target, error) {
		t, err := Build(r, m, e)
		if err != nil {
			return nil, err
		}
		return t, nil
	},
}

func compile(c *policy.TargetContext, s *v1.Target) (string, *Plan) {
	if s.Upstream != "" {
		if c.Named(s.Upstream) {
			return s.Upstream, nil
		}
		return "", nil // reported where references are checked
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		c.Errorf("GW5001", "url", "%q is not a URL", s.URL)
		return "", nil
	}
	prefix := strings.TrimSuffix(u.EscapedPath(), "/")
	if prefix == "" {
		return c.Inline(u), nil
	}
	// The prefix goes in front of a normalised path; it must not undo the normalisation.
	if canonical, reason := match.NormalizePath(prefix); reason != "" || canonical != prefix {
		c.Errorf("GW5001", "url", "path %q of the target is not in its normal form", prefix)
		return "", nil
	}
	return c.Inline(u), &Plan{PathPrefix: prefix}
}
