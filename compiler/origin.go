package compiler

import (
	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/ir"
)

// originTable remembers which nodes made which compiled objects. Turning it into addresses costs a string per field, so
// that is done only for those who ask: build, diff and explain do, validate does not.
type originTable struct{ roots []originRoot }

type originRoot struct {
	object string // e.g. "routes/users-api"
	field  string // below the object, e.g. "policy"; empty for the object itself
	node   *schema.Node
}

func (t *originTable) add(object, field string, n *schema.Node) {
	if n != nil {
		t.roots = append(t.roots, originRoot{object, field, n})
	}
}

// flatten gives every map, list and scalar its address. Later roots win: a route's effective policy is recorded after
// its own.
func (t *originTable) flatten() ir.Origins {
	out := ir.Origins{}
	for _, r := range t.roots {
		if r.field == "" {
			out[r.object] = r.node.Pos
		}
		flatten(out, r.object, r.field, r.node)
	}
	return out
}

func flatten(out ir.Origins, object, field string, n *schema.Node) {
	if field != "" {
		out[object+"/"+field] = n.Pos
	}
	for _, f := range n.Fields {
		flatten(out, object, join(field, f.Name), f.Value)
	}
}
