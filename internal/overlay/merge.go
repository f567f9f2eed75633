package overlay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/suuupra/gateway/schema/bundle"
)

// merges are the parts of an object that may be taken from an overlay while the repository has changed the rest of it. All others
// decide who may pass, or where to: what comes of two opinions about those is for a person to say (a service that checks tokens itself,
// and a route without a policy, make an open door if each comes from another hand). A new part is one of them until somebody lists it here.
var merges = map[bundle.ShardKind][]string{
	bundle.KindRoutes: {"forward", "policies/compression", "policies/headers", "policies/rewrite"},
	bundle.KindUpstreams: {
		"balance", "connectTimeout", "health", "idleTimeout", "limits", "maxConnections", "maxIdle", "outlier",
	},
}

// merge takes of an object what the overlay has changed, and the rest as the repository has it now. A part that both have changed, or
// that protects, is an error.
func merge(c *bundle.Change, current json.RawMessage) (json.RawMessage, error) {
	if c.Before == nil || c.After == nil || current == nil {
		return nil, fmt.Errorf("an object that is added or removed cannot be merged")
	}
	var sides [3]map[string]json.RawMessage
	for i, raw := range []json.RawMessage{c.Before, c.After, current} {
		var err error
		if sides[i], err = parts(raw); err != nil {
			return nil, err
		}
	}
	before, after, now := sides[0], sides[1], sides[2]
	names := map[string]json.RawMessage{}
	maps.Copy(names, before)
	maps.Copy(names, after)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		ours := !bytes.Equal(before[name], after[name])
		switch {
		case !ours, bytes.Equal(after[name], now[name]):
			continue
		case !slices.Contains(merges[c.Kind], name):
			return nil, fmt.Errorf("the overlay changes %s, which is never merged", strings.ReplaceAll(name, "/", " "))
		case !bytes.Equal(before[name], now[name]):
			return nil, fmt.Errorf("both change %s", strings.ReplaceAll(name, "/", " "))
		}
		if value, ok := after[name]; ok {
			now[name] = value
		} else {
			delete(now, name)
		}
	}
	return whole(now, current, c.After)
}

// parts takes an object apart: its members, and of its policies each kind.
func parts(raw json.RawMessage) (map[string]json.RawMessage, error) {
	var out map[string]json.RawMessage
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, err
	}
	list, err := policiesOf(raw)
	if err != nil {
		return nil, err
	}
	for _, p := range list {
		if name := "policies/" + p.kind; out[name] == nil {
			out[name] = p.raw
			continue
		}
		return nil, fmt.Errorf("it has two policies of kind %s", p.kind)
	}
	delete(out, "policies")
	return out, nil
}

type piece struct {
	kind string
	raw  json.RawMessage
}

// policiesOf are the policies of a route, in pipeline order.
func policiesOf(raw json.RawMessage) ([]piece, error) {
	var route struct{ Policies []json.RawMessage }
	if err := json.Unmarshal(raw, &route); err != nil {
		return nil, err
	}
	var out []piece
	for _, p := range route.Policies {
		var head struct{ Kind string }
		if err := json.Unmarshal(p, &head); err != nil {
			return nil, err
		}
		out = append(out, piece{head.Kind, p})
	}
	return out, nil
}

// whole puts parts together again. The policies stand in the order that both sides have them in; one that only the overlay has stands
// where it has it.
func whole(all map[string]json.RawMessage, current, after json.RawMessage) (json.RawMessage, error) {
	mine, err := policiesOf(after)
	if err != nil {
		return nil, err
	}
	theirs, err := policiesOf(current)
	if err != nil {
		return nil, err
	}
	var policies []json.RawMessage
	for _, kind := range interleave(theirs, mine) {
		if raw, ok := all["policies/"+kind]; ok {
			policies = append(policies, raw)
			delete(all, "policies/"+kind)
		}
	}
	if policies != nil {
		raw, err := json.Marshal(policies)
		if err != nil {
			return nil, err
		}
		all["policies"] = raw
	}
	return bundle.Canonical(all)
}

// interleave lists the kinds of both, in an order that both agree with: pipeline order is one for all routes.
func interleave(a, b []piece) []string {
	var out []string
	at := func(list []piece, kind string) int {
		return slices.IndexFunc(list, func(p piece) bool { return p.kind == kind })
	}
	next := 0
	for _, p := range a {
		if i := at(b, p.kind); i >= next {
			for _, q := range b[next:i] {
				out = append(out, q.kind)
			}
			next = i + 1
		}
		out = append(out, p.kind)
	}
	for _, q := range b[next:] {
		out = append(out, q.kind)
	}
	return out
}
