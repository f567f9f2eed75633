package router

import (
	"regexp"
	"slices"
	"strings"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/match"
)

// maxHost is the length of the longest host name; no pattern is for a longer one.
const maxHost = 253

// Lookup finds the route that takes a request. host is as match.NormalizeHost returns it, path as match.NormalizePath does;
// rawQuery is without "?". Captures are written to params from its start; nothing is allocated if it has room for them and
// the routes that are tried have no pathRegex. h may be nil, for no headers.
func (r *Router) Lookup(method, host, path, rawQuery string, h *httpmsg.Header, params []policy.Param) Result {
	s := search{
		Router:  r,
		request: request{method: method, bit: methodBit(method), rawQuery: rawQuery, header: h},
		path:    path,
		params:  params[:0],
	}
	if at := s.hosts(host); at != 0 {
		e := &r.entries[at]
		for i, name := range r.names[e.names] {
			s.params[i].Name = name
		}
		return Result{Index: int(e.index), Params: s.params, Outcome: Found}
	}
	res := Result{Index: -1, Params: params[:0]}
	if s.refusedMethod {
		res.Outcome, res.Allow = MethodNotAllowed, r.allow(s, host)
	}
	return res
}

// search is one lookup under way.
type search struct {
	*Router
	request
	path          string
	params        []policy.Param // captures on the way to where the search is
	refusedMethod bool           // some route takes the request but for its method
	collect       *allowed       // if set, no route is accepted, and the methods of those that fit go here
}

// hosts tries the tables of a host from the most specific to the least, and returns the entry found or 0.
func (s *search) hosts(host string) uint32 {
	if len(host) <= maxHost {
		if t := s.exact[host]; t != nil {
			if at := s.table(t); at != 0 {
				return at
			}
		}
		if len(s.wildcard) > 0 {
			if at := s.wildcards(host); at != 0 {
				return at
			}
		}
	}
	if s.any != nil {
		return s.table(s.any)
	}
	return 0
}

func (s *search) wildcards(host string) uint32 {
	for i := 1; len(host)-i > s.minSuffix; i++ { // from 1: there is a label before the dot
		if host[i] != '.' || len(host)-i-1 > s.maxSuffix {
			continue
		}
		if t := s.wildcard[host[i+1:]]; t != nil {
			if at := s.table(t); at != 0 {
				return at
			}
		}
	}
	return 0
}

func (s *search) table(t *hostTable) uint32 {
	if at := s.walk(t.root, strings.TrimPrefix(s.path, "/"), true); at != 0 {
		return at
	}
	s.params = s.params[:0]
	if t.regexes != nil {
		return t.regexes.find(s.path, s)
	}
	return 0
}

// walk returns the most specific entry below a node. rest is the path from the next segment on, if there is one more.
func (s *search) walk(n match.Node, rest string, more bool) uint32 {
	if !more {
		if at := s.leaf(*s.tree.Leaf(n, false)); at != 0 {
			return at
		}
		return s.leaf(*s.tree.Leaf(n, true))
	}
	segment, after := rest, ""
	slash := strings.IndexByte(rest, '/')
	if slash >= 0 {
		segment, after = rest[:slash], rest[slash+1:]
	}
	if child := s.tree.Literal(n, segment); child != 0 {
		if at := s.walk(child, after, slash >= 0); at != 0 {
			return at
		}
	}
	if child := s.tree.Capture(n); child != 0 && segment != "" {
		s.params = append(s.params, policy.Param{Value: segment})
		if at := s.walk(child, after, slash >= 0); at != 0 {
			return at
		}
		s.params = s.params[:len(s.params)-1]
	}
	return s.leaf(*s.tree.Leaf(n, true))
}

// takes reports whether an entry takes the request, and notes it if only the method stands against that. An expression is
// run last.
func (s *search) takes(at uint32, expr *regexp.Regexp, path string) bool {
	e := &s.entries[at]
	method := e.takesMethod(&s.request)
	if !method && s.refusedMethod && s.collect == nil {
		return false // known already; the rest makes no difference
	}
	if !e.takesRest(&s.request) || expr != nil && !expr.MatchString(path) {
		return false
	}
	if !method {
		s.refusedMethod = true
		if s.collect != nil {
			s.collect.add(e)
		}
	}
	return method
}

// allowed collects the methods of the routes that would take a request.
type allowed struct {
	standard methodSet
	others   []string
}

func (a *allowed) add(e *entry) {
	a.standard |= e.methods
	if e.more != nil {
		a.others = append(a.others, e.more.methods...)
	}
}

// allow searches again for all the routes that would take the request but for its method. No route takes it, so the
// search visits every one.
func (r *Router) allow(s search, host string) string {
	var a allowed
	again := search{Router: r, request: s.request, path: s.path, params: s.params[:0], collect: &a}
	again.hosts(host)
	methods := a.others
	for i, m := range standardMethods {
		if a.standard&(1<<i) != 0 {
			methods = append(methods, m)
		}
	}
	slices.Sort(methods)
	return strings.Join(slices.Compact(methods), ", ")
}
