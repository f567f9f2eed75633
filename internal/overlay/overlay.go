// Package overlay lays overlays over a compiled configuration: changes of a few objects, signed, which end by themselves. What comes
// of it depends on the configuration and the overlays alone, so that every gateway of an environment comes to the same.
//
// It must not fetch, keep or verify overlays, and it must not build what serves.
package overlay

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/grant"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/match"
)

// State is what has become of an overlay.
type State string

// The states.
const (
	Active State = "active" // its objects are as it wants them
	Done   State = "done"   // the repository has them as it wants them: it changes nothing any more
	Aside  State = "aside"  // it has no effect; the outcome says why
)

// Outcome is what became of one overlay.
type Outcome struct {
	ID    string
	State State
	Why   string // it is set aside; one sentence, lower case, no final period
	// Holds says that a bundle which is to follow has to wait for it: its strategy is manual, and both have changed an object.
	Holds bool
}

// IneffectiveError is an overlay that has no effect: it may not have one, or everything is as it wants it already.
type IneffectiveError struct{ Why string }

func (e *IneffectiveError) Error() string { return e.Why }

// Judge says why a change may not be made by an overlay; "" if it may. It sees the whole configuration on both sides.
type Judge func(before, after *ir.Program) string

// Lay lays overlays over a program, in the order in which they were issued. It returns the program itself if none of them has an
// effect, and never changes it. Each overlay is laid as a whole or not at all. judge may be nil.
func Lay(base *ir.Program, list []*bundle.Overlay, judge Judge) (*ir.Program, []Outcome) {
	list = Ordered(list)
	laid, taken := base, map[string]string{} // object -> the overlay that has it
	out := make([]Outcome, 0, len(list))
	for _, o := range list {
		next, outcome := layOne(laid, o, taken)
		if outcome.State == Active {
			if why := sound(laid, next, o); why != "" {
				outcome = Outcome{ID: o.ID, State: Aside, Why: why}
			} else if judge != nil {
				if why := judge(base, next); why != "" {
					outcome = Outcome{ID: o.ID, State: Aside, Why: why}
				}
			}
		}
		if outcome.State == Active {
			laid = next
			for i := range o.Changes {
				taken[nameOf(&o.Changes[i])] = o.ID
			}
		}
		out = append(out, outcome)
	}
	return laid, out
}

// Ordered are overlays in the order in which they are laid.
func Ordered(list []*bundle.Overlay) []*bundle.Overlay {
	return slices.SortedFunc(slices.Values(list), func(a, b *bundle.Overlay) int {
		return cmp.Or(a.IssuedAt.Compare(b.IssuedAt.Time), strings.Compare(a.ID, b.ID))
	})
}

func nameOf(c *bundle.Change) string {
	kind := "route"
	if c.Kind == bundle.KindUpstreams {
		kind = "upstream"
	}
	return fmt.Sprintf("%s %q", kind, c.ID)
}

// layOne lays one overlay over a program that none of its objects was changed in by another one.
func layOne(p *ir.Program, o *bundle.Overlay, taken map[string]string) (*ir.Program, Outcome) {
	aside := func(holds bool, format string, args ...any) (*ir.Program, Outcome) {
		return nil, Outcome{ID: o.ID, State: Aside, Why: fmt.Sprintf(format, args...), Holds: holds}
	}
	next := *p
	next.Routes, next.Upstreams = slices.Clone(p.Routes), slices.Clone(p.Upstreams)
	if o.Name != p.Gateway.Name || o.Environment != p.Environment {
		return aside(false, "it is for environment %q of repository %q", o.Environment, o.Name)
	}
	done := true
	for i := range o.Changes {
		c := &o.Changes[i]
		if by := taken[nameOf(c)]; by != "" {
			return aside(false, "%s is changed by overlay %s already", nameOf(c), by)
		}
		current, err := object(p, c)
		if err != nil {
			return aside(false, "%s: %v", nameOf(c), err)
		}
		after := c.After
		if bytes.Equal(current, after) {
			continue
		}
		if !bytes.Equal(current, c.Before) {
			switch o.Strategy {
			case bundle.LiveWins:
			case bundle.Manual:
				return aside(true, "%s was changed in the repository, too", nameOf(c))
			case bundle.Merge:
				if after, err = merge(c, current); err != nil {
					return aside(false, "%s was changed in the repository, too: %v", nameOf(c), err)
				}
			default:
				return aside(false, "%s was changed in the repository, which wins", nameOf(c))
			}
		}
		if bytes.Equal(current, after) {
			continue
		}
		done = false
		if err := put(&next, c, after); err != nil {
			return aside(false, "%s: %v", nameOf(c), err)
		}
	}
	if done {
		return nil, Outcome{ID: o.ID, State: Done}
	}
	return &next, Outcome{ID: o.ID, State: Active}
}

// object is the canonical form of what a change is about; nil: there is none.
func object(p *ir.Program, c *bundle.Change) (json.RawMessage, error) {
	var v any
	if c.Kind == bundle.KindRoutes {
		if i, ok := slices.BinarySearchFunc(p.Routes, c.ID, byRoute); ok {
			v = &p.Routes[i]
		}
	} else if i, ok := slices.BinarySearchFunc(p.Upstreams, c.ID, byUpstream); ok {
		v = &p.Upstreams[i]
	}
	if v == nil {
		return nil, nil
	}
	return bundle.Canonical(v)
}

func byRoute(r ir.Route, id string) int       { return strings.Compare(r.ID, id) }
func byUpstream(u ir.Upstream, id string) int { return strings.Compare(u.ID, id) }

// put makes an object be as it is to be; nil removes it.
func put(p *ir.Program, c *bundle.Change, after json.RawMessage) (err error) {
	if c.Kind == bundle.KindRoutes {
		p.Routes, err = replaced(p.Routes, c.ID, after, byRoute, func(r *ir.Route) string { return r.ID })
		return err
	}
	p.Upstreams, err = replaced(p.Upstreams, c.ID, after, byUpstream, func(u *ir.Upstream) string { return u.ID })
	return err
}

func replaced[T any](list []T, id string, after json.RawMessage, order func(T, string) int, idOf func(*T) string) ([]T, error) {
	i, found := slices.BinarySearchFunc(list, id, order)
	if after == nil {
		if found {
			list = slices.Delete(list, i, i+1)
		}
		return list, nil
	}
	var v T
	if err := ir.DecodeStrict(after, &v); err != nil {
		return nil, fmt.Errorf("this gateway does not understand it: %w", err)
	}
	if got := idOf(&v); got != id {
		return nil, fmt.Errorf("what it is to be calls itself %q", got)
	}
	if found {
		list[i] = v
		return list, nil
	}
	return slices.Insert(list, i, v), nil
}

// sound says why a program with an overlay is none that the compiler would have made; "" if it is. The overlay was compiled with the
// program it was made for, and this may be another one.
func sound(before, after *ir.Program, o *bundle.Overlay) string {
	for i := range after.Routes {
		r := &after.Routes[i]
		if r.Target.Upstream == "" {
			continue
		}
		if _, ok := slices.BinarySearchFunc(after.Upstreams, r.Target.Upstream, byUpstream); !ok {
			return fmt.Sprintf("route %q goes to upstream %q, which there is no more", r.ID, r.Target.Upstream)
		}
	}
	if err := grant.Program(after); err != nil {
		return err.Error()
	}
	if !matches(before, after, o) {
		return ""
	}
	for _, c := range match.Conflicts(after.Routes) {
		return fmt.Sprintf("routes %q and %q would both match the same requests", after.Routes[c.A].ID, after.Routes[c.B].ID)
	}
	return ""
}

// matches reports whether an overlay changes what a route matches.
func matches(before, after *ir.Program, o *bundle.Overlay) bool {
	for i := range o.Changes {
		c := &o.Changes[i]
		if c.Kind != bundle.KindRoutes || c.After == nil {
			continue
		}
		was, had := slices.BinarySearchFunc(before.Routes, c.ID, byRoute)
		is, has := slices.BinarySearchFunc(after.Routes, c.ID, byRoute)
		if !had || !has {
			return true
		}
		a, errA := bundle.Canonical(before.Routes[was].Match)
		b, errB := bundle.Canonical(after.Routes[is].Match)
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			return true
		}
	}
	return false
}

// Between returns what has to be changed to make one program of the other: what an overlay holds. Nothing but routes and upstreams may
// differ. An upstream that is no more is left out: no route goes there, and one that the repository adds meanwhile may.
func Between(before, after *ir.Program) ([]bundle.Change, error) {
	a, errA := bundle.Canonical(before.Gateway)
	b, errB := bundle.Canonical(after.Gateway)
	if err := cmp.Or(errA, errB); err != nil {
		return nil, err
	}
	if !bytes.Equal(a, b) {
		return nil, fmt.Errorf("it changes settings of the gateway; overlays are for routes, upstreams and policies, the rest goes through the repository")
	}
	var out []bundle.Change
	add := func(kind bundle.ShardKind, id string) error {
		c := bundle.Change{Kind: kind, ID: id}
		var err error
		if c.Before, err = object(before, &c); err == nil {
			c.After, err = object(after, &c)
		}
		if err == nil && !bytes.Equal(c.Before, c.After) && (kind == bundle.KindRoutes || c.After != nil) {
			out = append(out, c)
		}
		return err
	}
	ids := map[[2]string]bool{}
	for _, p := range []*ir.Program{before, after} {
		for i := range p.Routes {
			ids[[2]string{string(bundle.KindRoutes), p.Routes[i].ID}] = true
		}
		for i := range p.Upstreams {
			ids[[2]string{string(bundle.KindUpstreams), p.Upstreams[i].ID}] = true
		}
	}
	for k := range ids {
		if err := add(bundle.ShardKind(k[0]), k[1]); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(out, func(a, b bundle.Change) int {
		return cmp.Or(strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.ID, b.ID))
	})
	return out, nil
}

// Pack is a bundle with another program in its place: what serves while overlays are active. It is not signed, and must not leave the
// gateway: what it says of its origin is the bundle's.
func Pack(b *bundle.Bundle, p *ir.Program) (*bundle.Bundle, error) {
	shards, err := ir.Pack(p)
	if err != nil {
		return nil, err
	}
	m := &b.Manifest
	kinds := slices.Clone(m.Kinds)
	for i := range p.Routes {
		kinds = append(kinds, "target/"+p.Routes[i].Target.Type)
		for j := range p.Routes[i].Policies {
			kinds = append(kinds, "policy/"+p.Routes[i].Policies[j].Kind)
		}
	}
	return bundle.New(bundle.Info{
		Name: m.Name, Environment: m.Environment, Source: m.Source, Compiler: m.Compiler.Version, SchemaVersion: m.SchemaVersion, MinRuntime: m.MinRuntime,
		Kinds: kinds,
	}, shards)
}
