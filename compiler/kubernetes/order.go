package kubernetes

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/match"
	v1 "github.com/suuupra/gateway/schema/v1"
)

// candidate is a route that a rule asks for. One that is refused asks for requests that must not go elsewhere.
type candidate struct {
	object  Ref
	field   string
	route   v1.Route
	refused bool
	wide    bool // refused, and stands for more than the rule, whose own matcher cannot be said

	match   ir.Match
	matcher *match.Matcher
	ports   []int // of the listeners it hangs on
	ranked  bool  // rankByMethod has looked at it
}

// compile makes the matcher of a candidate from its route.
func (c *candidate) compile() (err error) {
	c.match = irMatch(&c.route.Matcher)
	c.matcher, err = match.Compile(&c.match)
	return err
}

// add compiles the matcher of a candidate. Candidates come in the order in which Kubernetes ranks them.
func (t *translator) add(c *candidate) {
	if err := c.compile(); err != nil {
		t.find(Finding{
			Grade: Omitted, Reason: "UnsupportedMatch", Object: c.object, Field: c.field, Message: err.Error(),
			Instead: "change the rule, or write the route by hand",
		})
		return
	}
	if path := match.Reserved(c.matcher); path != "" {
		t.find(Finding{
			Grade: Omitted, Reason: "ReservedPath", Object: c.object, Field: c.field,
			Message: fmt.Sprintf("the gateway answers %s itself, on every host", path),
			Instead: "serve it under another path; gwrun --admin moves the gateway's own paths to another address, but they stay reserved",
		})
		return
	}
	t.candidates = append(t.candidates, c)
}

func irMatch(m *v1.Matcher) ir.Match {
	out := ir.Match{Host: m.Host, Path: m.Path, PathRegex: m.PathRegex, Methods: slices.Sorted(slices.Values(m.Methods))}
	for _, name := range slices.Sorted(maps.Keys(m.Headers)) {
		out.Headers = append(out.Headers, ir.Pair{Name: strings.ToLower(name), Value: m.Headers[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(m.Query)) {
		out.Query = append(out.Query, ir.Pair{Name: name, Value: m.Query[name]})
	}
	return out
}

// settle decides which candidates become routes: of those that ask for the same the first, none that ties with an earlier one, and of
// the refused those that keep requests from a more general route.
func (t *translator) settle() []*candidate {
	slices.SortStableFunc(t.candidates, func(a, b *candidate) int { return cmp.Compare(rank(a), rank(b)) })
	kept := t.untie(t.unique(t.candidates))
	var open, closed []*candidate
	for _, c := range kept {
		if c.refused {
			closed = append(closed, c)
		} else {
			open = append(open, c)
		}
	}
	for _, c := range closed {
		if t.customTakes(c) || slices.ContainsFunc(open, func(o *candidate) bool { return mayTakeOver(o, c) }) {
			c.close()
			open = append(open, c)
		}
	}
	slices.SortFunc(open, func(a, b *candidate) int { return cmp.Compare(a.route.ID, b.route.ID) })
	return open
}

// customTakes reports whether requests of a refused candidate could go to a Route.
func (t *translator) customTakes(refused *candidate) bool {
	return slices.ContainsFunc(t.customs, func(c *custom) bool { return c.gone == nil && mayTakeOver(&c.candidate, refused) })
}

// rank puts what stands for more than its rule behind the rules themselves.
func rank(c *candidate) int {
	if c.wide {
		return 1
	}
	return 0
}

// unique keeps the first of the candidates whose matchers are the same: in Kubernetes, too, the others take no request.
func (t *translator) unique(all []*candidate) []*candidate {
	first := map[string]*candidate{}
	var kept []*candidate
	for _, c := range all {
		key := fmt.Sprint(c.match)
		winner, taken := first[key]
		if !taken {
			first[key] = c
			kept = append(kept, c)
			continue
		}
		if c.wide {
			t.find(Finding{
				Grade: Omitted, Reason: "TakenOver", Object: c.object, Field: c.field,
				Message: fmt.Sprintf("requests that it would take go to %s (%s) now", winner.object, winner.field),
				Instead: "do not put the result to use before the rule is written by hand",
			})
			continue
		}
		winner.ports = slices.Concat(winner.ports, c.ports) // other candidates may share the array
		t.find(Finding{
			Grade: Note, Reason: "Shadowed", Object: c.object, Field: c.field,
			Message: fmt.Sprintf("takes no request: %s (%s) comes first and asks for the same", winner.object, winner.field),
			Instead: "remove one of the two",
		})
	}
	return kept
}

// untie settles ties: some requests satisfy two candidates and nothing makes one of them more specific. Kubernetes then goes by age,
// which a config repository has no notion of. Where ranking by method does not tell them apart, the later one is left out.
func (t *translator) untie(all []*candidate) []*candidate {
	for {
		routes := make([]ir.Route, len(all))
		for i, c := range all {
			routes[i].Match = c.match
		}
		ties := match.Conflicts(routes)
		if len(ties) == 0 {
			return all
		}
		if t.rankByMethod(all, ties) {
			continue
		}
		out := map[*candidate]bool{}
		for _, tie := range ties {
			winner, loser := all[tie.A], all[tie.B] // in this order
			if out[winner] || out[loser] {
				continue
			}
			out[loser] = !t.refuseTie(all, winner, loser, &tie.Witness)
		}
		all = slices.DeleteFunc(all, func(c *candidate) bool { return out[c] })
	}
}

// refuseTie reports a candidate that ties with an earlier one. Where a more general route would take its requests, it stays, closed and
// ahead of the other, so that none of its requests goes where it should not. False: it does not stay.
func (t *translator) refuseTie(all []*candidate, winner, loser *candidate, witness *match.Request) bool {
	f := Finding{
		Grade: Omitted, Reason: "Ambiguous", Object: loser.object, Field: loser.field,
		Message: fmt.Sprintf("ties with %s (%s): %s %s%s satisfies both, and Kubernetes would decide by age", winner.object, winner.field, witness.Method, witness.Host, witness.Path),
		Instead: "make one of the two more specific, such as by asking for the other's header too",
	}
	general := slices.ContainsFunc(all, func(o *candidate) bool { return !o.refused && mayTakeOver(o, loser) })
	stays := general && len(loser.match.Methods) == 0
	switch {
	case stays:
		f.Message += "; all its requests are refused, also those that the other would take"
		loser.refused = true
		loser.route.Matcher.Methods = standardMethods
		if err := loser.compile(); err != nil {
			panic(err) // it compiled without them
		}
	case general:
		f.Message += "; its requests go to less specific routes now"
	}
	t.find(f)
	return stays
}

// standardMethods are those of RFC 9110 and RFC 5789, which are all that a match of the Gateway API can name.
var standardMethods = []string{"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}

// rankByMethod settles ties between candidates for the same host and path, none of which names methods. A matcher with methods goes
// before one without, so the first of them, as Kubernetes ranks them, get all standard methods: among themselves they keep their order,
// and so do the others. False: there was nothing of the kind left to do.
func (t *translator) rankByMethod(all []*candidate, ties []match.Conflict) bool {
	done := false
	for _, tie := range ties {
		a := all[tie.A]
		if a.ranked {
			continue
		}
		var group []*candidate
		named := false
		for _, c := range all {
			if c.match.Host == a.match.Host && c.match.Path == a.match.Path && c.match.PathRegex == a.match.PathRegex {
				c.ranked = true
				named = named || len(c.match.Methods) > 0
				group = append(group, c)
			}
		}
		if named {
			continue
		}
		slices.SortStableFunc(group, func(a, b *candidate) int {
			return cmp.Or(cmp.Compare(len(b.match.Headers), len(a.match.Headers)), cmp.Compare(len(b.match.Query), len(a.match.Query)))
		})
		last := 0
		for _, other := range ties {
			if i := slices.Index(group, all[other.A]); i >= 0 {
				last = max(last, min(i, slices.Index(group, all[other.B])))
			}
		}
		for _, c := range group[:last+1] {
			t.giveMethods(c)
		}
		done = true
	}
	return done
}

func (t *translator) giveMethods(c *candidate) {
	c.route.Matcher.Methods = standardMethods
	if err := c.compile(); err != nil {
		panic(err) // it compiled without them
	}
	t.find(Finding{
		Grade: Differs, Reason: "RankedByMethod", Object: c.object, Field: c.field,
		Message: "got a list of all standard methods, to come before others that some requests satisfy too; requests with methods of their own invention pass it by",
	})
}

// mayTakeOver reports whether requests of a refused candidate could go to another one, were it not there. It may err on the side of
// yes: a closed route too many answers 403 in place of 404.
func mayTakeOver(other, refused *candidate) bool {
	return match.Compare(refused.matcher, other.matcher) < 0 && hostsOverlap(other.matcher.Host, refused.matcher.Host) &&
		pathsOverlap(other.matcher, refused.matcher)
}

func hostsOverlap(a, b match.Host) bool {
	switch {
	case a.Any() || b.Any() || a == b:
		return true
	case a.Wildcard && b.Wildcard:
		return strings.HasSuffix(a.Name, "."+b.Name) || strings.HasSuffix(b.Name, "."+a.Name)
	case a.Wildcard:
		return a.Matches(b.Name)
	}
	return b.Matches(a.Name)
}

func pathsOverlap(a, b *match.Matcher) bool {
	if a.Regex != nil || b.Regex != nil {
		return true
	}
	x, y := a.Path, b.Path
	for i := range min(len(x.Segments), len(y.Segments)) {
		if x.Segments[i] != y.Segments[i] {
			return false
		}
	}
	switch {
	case len(x.Segments) < len(y.Segments):
		return x.Subtree
	case len(x.Segments) > len(y.Segments):
		return y.Subtree
	}
	return true
}

// close turns a refused candidate into a route that refuses everybody. Its target is never dialled: the name does not exist
// (RFC 6761 section 6.4).
func (c *candidate) close() {
	c.route.Target = v1.Target{Type: "http", URL: "https://closed.invalid"}
	c.route.Policy = &v1.RoutePolicy{IP: &v1.IPRules{Deny: []string{"0.0.0.0/0", "::/0"}}}
}

// digest tells long names apart.
func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:4])
}
