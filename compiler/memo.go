package compiler

import (
	"slices"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/v1"
)

// memo remembers across the environments of one repository what was found out about a node: an overlay that does not touch
// an object shares its node with the base, so most of an environment is known before it is looked at. Only what had nothing
// to complain about is remembered for one object; mistakes are found again, and merged when they are printed.
type memo struct {
	base    *resolver // with base and tenants applied, nil until it is needed
	said    diag.List // what that had to say
	valid   map[shapeOf]bool
	matches map[*schema.Node]*ir.Match // by matcher
	between []betweenRoutes
	falls   []falls
	routes  map[*schema.Node]*loweredRoute
}

// shapeOf is one judgement. A YAML alias lets objects of different kinds share a node, so the node alone does not name it.
type shapeOf struct {
	def  string
	node *schema.Node
}

func newMemo() *memo {
	return &memo{valid: map[shapeOf]bool{}}
}

// expect makes room for about as many routes as an environment has.
func (m *memo) expect(routes int) {
	if m.matches == nil {
		m.matches, m.routes = make(map[*schema.Node]*ir.Match, routes), make(map[*schema.Node]*loweredRoute, routes)
	}
}

// validate checks a node against a definition once.
func (m *memo) validate(def string, n *schema.Node, path string, diags *diag.List) {
	key := shapeOf{def, n}
	if m.valid[key] {
		return
	}
	var l diag.List
	v1.Validate(def, n, path, &l)
	diags.Merge(l)
	m.valid[key] = l.Len() == 0
}

// matched is all that routes can say about each other: who they are, and the matcher of each.
type matched struct {
	id      string
	matcher *schema.Node
}

// betweenRoutes is what was found between a set of routes. Few environments change a matcher, so few sets are kept.
type betweenRoutes struct {
	routes []matched
	said   diag.List
}

// guarded is a route with its guards, see guardsOf.
type guarded struct {
	matched
	guards string
}

// falls is what was found of the methods of a set of routes.
type falls struct {
	routes []guarded
	said   diag.List
}

// known returns what was found between the same routes before.
func (m *memo) known(routes []matched) (diag.List, bool) {
	for _, b := range m.between {
		if slices.Equal(b.routes, routes) {
			return b.said, true
		}
	}
	return diag.List{}, false
}

// loweredRoute is a route in compiled form, with everything it was made from.
type loweredRoute struct {
	madeOf
	uses   []*schema.Node // the named policies, in their order
	route  ir.Route
	inline *ir.Upstream // the upstream its url stands for
	policy *schema.Node // with the defaults and the named policies laid under it
	guards string       // see guardsOf
}

// madeOf is what can differ while the node of the route is the same.
type madeOf struct {
	id, tenant, sender string
	private            string // the tenants that may have private addresses dialled
	defaults           *schema.Node
}
