package rewrite

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/suuupra/gateway/internal/facts"
	"github.com/suuupra/gateway/internal/template"
	"github.com/suuupra/gateway/runtime/policy"
)

// maxTarget bounds a path, and a query, that was rewritten, in bytes: a template may insert what a client sends many times over.
const maxTarget = 16 << 10

// handler is the policy of one route.
type handler struct {
	names *facts.Names
	path  *template.Template // nil: the request's
	strip string             // without a slash at its end
	add   string             // the same
	query *edits             // nil: the request's
}

func build(_ context.Context, e *policy.Env, p *Plan) (policy.Handler, error) {
	h := &handler{names: facts.Of(e.Route.Pattern), strip: p.StripPrefix, add: p.AddPrefix}
	for _, prefix := range []string{p.StripPrefix, p.AddPrefix} { // a bundle may come from elsewhere than compile
		if prefix == "" {
			continue
		}
		if err := normal(prefix); err != nil {
			return nil, err
		}
		if strings.HasSuffix(prefix, "/") {
			return nil, fmt.Errorf("the prefix %q ends with a slash", prefix)
		}
	}
	var err error
	if p.Path != "" {
		if p.StripPrefix != "" {
			return nil, errors.New("there are both a path and a prefix to strip")
		}
		if h.path, err = parsePath(h.names, p.Path); err != nil {
			return nil, fmt.Errorf("path: %w", err)
		}
	}
	if p.Query != nil {
		if h.query, err = newEdits(h.names, p.Query); err != nil {
			return nil, fmt.Errorf("query: %w", err)
		}
	}
	return h, nil
}

// Decide implements policy.Handler.
func (h *handler) Decide(_ context.Context, x *policy.Exchange) policy.Verdict {
	r := x.Facts(h.names)
	path, ok := h.forward(&r)
	if !ok || len(path) > maxTarget || normal(path) != nil {
		return unsafe("the path that the upstream would see is not one the gateway forwards")
	}
	query := x.RawQuery
	if h.query != nil {
		var v policy.Verdict
		if query, v = h.query.apply(query, &r); v.Reject != nil {
			return v
		}
	}
	x.ForwardPath, x.ForwardQuery = path, query
	return policy.Pass
}

// forward is the path for the upstream. Captures are inserted as they came: an escaped slash stays within its segment.
func (h *handler) forward(r *facts.Request) (string, bool) {
	path := r.Path
	if h.path != nil {
		var ok bool
		if path, ok = h.path.Expand(r.Value); !ok {
			return "", false
		}
	} else if rest, under := strings.CutPrefix(path, h.strip); under && (rest == "" || rest[0] == '/') {
		path = rest // "/api" is no prefix of "/apix"
	}
	if h.add != "" {
		return h.add + path, true
	}
	if path == "" {
		return "/", true
	}
	return path, true
}

// unsafe refuses a request that only the rewriting has made a bad one: nothing of it may reach the upstream.
func unsafe(detail string) policy.Verdict {
	return policy.Refuse(&policy.Reject{Status: 400, Code: "rewrite_unsafe", Detail: detail})
}
