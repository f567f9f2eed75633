package headers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/suuupra/gateway/internal/facts"
	"github.com/suuupra/gateway/internal/headerfield"
	"github.com/suuupra/gateway/internal/template"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
)

// maxValue bounds a value that was filled in, in bytes: a template may name what a client sends many times over.
const maxValue = 8 << 10

// handler is the policy of one route.
type handler struct {
	names   *facts.Names
	request edits
}

// both is the policy of a route that edits responses too.
type both struct {
	handler
	response edits
	log      *slog.Logger
	warned   atomic.Bool
}

// edits are ready for use: fields that go away, folded, and then those that come.
type edits struct {
	drop  []string
	write []field
}

type field struct {
	name  string
	value *template.Template
}

func build(_ context.Context, e *policy.Env, p *Plan) (policy.Handler, error) {
	h := handler{names: facts.Of(e.Route.Pattern)}
	var err error
	if h.request, err = h.edits(p.Request, ofRequest); err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	if p.Response.empty() {
		return &h, nil
	}
	b := &both{handler: h, log: e.Log}
	if b.response, err = h.edits(p.Response, ofResponse); err != nil {
		return nil, fmt.Errorf("response: %w", err)
	}
	return b, nil
}

func (h *handler) edits(p *Edits, forbidden func(string) (string, string)) (edits, error) {
	var out edits
	if p.empty() {
		return out, nil
	}
	set, add := slices.Sorted(maps.Keys(p.Set)), slices.Sorted(maps.Keys(p.Add))
	for _, name := range slices.Concat(p.Remove, set, add) { // a bundle may come from elsewhere than compile
		if problem, _ := forbidden(name); problem != "" {
			return out, errors.New(problem)
		}
		if !headerfield.IsName(name) {
			return out, fmt.Errorf("%q is no name of a field", name)
		}
	}
	for _, name := range slices.Concat(p.Remove, set) {
		out.drop = append(out.drop, headerfield.Fold(name))
	}
	for _, from := range []struct {
		names  []string
		values map[string]string
	}{{set, p.Set}, {add, p.Add}} {
		for _, name := range from.names {
			t, err := parse(h.names, from.values[name])
			if err != nil {
				return out, fmt.Errorf("%s: %w", name, err)
			}
			out.write = append(out.write, field{name, t})
		}
	}
	return out, nil
}

// clear removes the fields that go away. Names are compared as the servers behind may read them: a client that could send x_user
// where X-User is set would be believed by some.
func (e *edits) clear(h *httpmsg.Header) {
	if len(e.drop) > 0 {
		h.Fields = slices.DeleteFunc(h.Fields, func(f httpmsg.Field) bool { return headerfield.Among(f.Name, e.drop) })
	}
}

// fit returns what a name stands for, if that can be part of a value.
func fit(r *facts.Request, name string) (string, bool) {
	value, ok := r.Value(name)
	return value, ok && headerfield.IsValue(value)
}

// fill returns the value of the field for a request. Space that is left at its ends, where a fact is absent, is no part of a value (RFC
// 9110 section 5.5).
func (f *field) fill(r *facts.Request) (string, bool) {
	value, ok := f.value.Expand(func(name string) (string, bool) { return fit(r, name) })
	value = strings.Trim(value, " \t")
	return value, ok && len(value) <= maxValue
}

// says reports whether there is anything to say: a field whose facts are all absent is left out.
func (f *field) says(value string) bool { return value != "" || len(f.value.Names()) == 0 }

// Decide implements policy.Handler.
func (h *handler) Decide(_ context.Context, x *policy.Exchange) policy.Verdict {
	h.request.clear(&x.Request.Header)
	x.NoTrailers = x.NoTrailers || len(h.request.write)+len(h.request.drop) > 0 // what is removed, or set, must not come behind the body
	r := x.Facts(h.names)
	for i := range h.request.write {
		f := &h.request.write[i]
		value, ok := f.fill(&r)
		if !ok {
			return f.refuse(&r)
		}
		if f.says(value) {
			x.Request.Header.Add(f.name, value)
		}
	}
	return policy.Pass
}

// refuse says why the field cannot be filled in for this request. What a token says is its issuer's doing, and never repeated.
func (f *field) refuse(r *facts.Request) policy.Verdict {
	for _, name := range f.value.Names() {
		path, isClaim := facts.ClaimPath(name)
		if _, ok := fit(r, name); isClaim && !ok {
			return policy.Refuse(&policy.Reject{
				Status: 403, Code: "claim_unusable", Detail: fmt.Sprintf("the claim %s of the token cannot be passed on", path),
			})
		}
	}
	return policy.Refuse(&policy.Reject{
		Status: 400, Code: "header_unusable", Detail: fmt.Sprintf("the field %s cannot be filled in for this request", f.name),
	})
}

// Respond implements policy.ResponseHandler. The response has come already: a field that cannot be filled in is left out of it.
func (b *both) Respond(ctx context.Context, x *policy.Exchange, resp *httpmsg.Response) {
	b.response.clear(&resp.Header)
	r := x.Facts(b.names)
	for i := range b.response.write {
		f := &b.response.write[i]
		value, ok := f.fill(&r)
		switch {
		case !ok:
			level := slog.LevelDebug
			if b.warned.CompareAndSwap(false, true) {
				level = slog.LevelWarn
			}
			b.log.Log(ctx, level, "a response field cannot be filled in and is left out; only the first time is a warning", slog.String("field", f.name))
		case f.says(value):
			resp.Header.Add(f.name, value)
		}
	}
}
