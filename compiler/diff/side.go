package diff

import (
	"strings"

	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
)

// side is one program, indexed.
type side struct {
	program *ir.Program // nil if there is none
	origins ir.Origins
	named   map[string]*ir.Upstream
	inline  map[string]*ir.Upstream
	routes  map[string]*ir.Route
	users   map[string]int    // upstream -> routes that name it
	renamed map[string]string // of the old side: upstream -> its new id
}

func newSide(p *ir.Program) *side {
	s := &side{
		program: p, named: map[string]*ir.Upstream{}, inline: map[string]*ir.Upstream{},
		routes: map[string]*ir.Route{}, users: map[string]int{},
	}
	if p == nil {
		return s
	}
	s.origins = p.Origins
	s.routes = make(map[string]*ir.Route, len(p.Routes))
	for i := range p.Upstreams {
		if u := &p.Upstreams[i]; inline(u.ID) {
			index(s.inline, u.ID, u)
		} else {
			index(s.named, u.ID, u)
		}
	}
	for i := range p.Routes {
		r := &p.Routes[i]
		index(s.routes, r.ID, r)
		s.users[r.Target.Upstream]++
	}
	return s
}

// index adds an object under its id. The compiler refuses an id that is used twice; a program that has one all the same
// must still not hide the second object from a report.
func index[T any](m map[string]*T, id string, x *T) {
	for m[id] != nil {
		id += " (again)"
	}
	m[id] = x
}

func (s *side) gateway() *ir.Gateway {
	if s.program == nil {
		return nil
	}
	return &s.program.Gateway
}

func (s *side) upstream(id string) *ir.Upstream {
	if u := s.inline[id]; u != nil {
		return u
	}
	return s.named[id]
}

func (s *side) summary() Side {
	out := Side{Routes: len(s.routes), Upstreams: len(s.named), absent: s.program == nil}
	if s.program != nil {
		out.Environment, out.Name = s.program.Environment, s.program.Gateway.Name
	}
	return out
}

// guarded counts the routes that ask for a credential.
func (s *side) guarded() int {
	n := 0
	for _, r := range s.routes {
		if Guarded(r) {
			n++
		}
	}
	return n
}

// origin says who set a value: the place of the value itself, or of the nearest thing around it that has one. The zero
// position says that nobody knows. It is near unless it is the object's, or that of a whole section of it: where an object begins,
// nobody wrote a default.
func (s *side) origin(k Kind, id string, keys []string, list bool) (pos diag.Pos, near bool) {
	if len(s.origins) == 0 {
		return diag.Pos{}, false
	}
	root := string(k)
	if k != Gateway {
		root += "s/" + id
	}
	if len(keys) == 2 && keys[0] == "target" && keys[1] == "pathPrefix" {
		keys = []string{"target", "url"} // which it is a part of
	}
	for n := len(keys); n > 0; n-- {
		at := root + "/" + joinKeys(keys[:n])
		if p, ok := s.origins[at]; ok {
			return p, n == len(keys) || n > 1
		}
		if p, ok := s.origins[at+"[0]"]; ok && list && n == len(keys) {
			return p, true
		}
	}
	if p, ok := s.origins[root]; ok {
		return p, false
	}
	return s.origins[root+"/"], false
}

// joinKeys spells a path: names with dots between them, and in brackets what stands in a list.
func joinKeys(keys []string) string {
	var b strings.Builder
	for i, k := range keys {
		if i > 0 && !strings.HasPrefix(k, "[") {
			b.WriteByte('.')
		}
		b.WriteString(k)
	}
	return b.String()
}
