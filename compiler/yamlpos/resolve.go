package yamlpos

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

// resolver gives the nodes of one document their meaning.
type resolver struct {
	src      *source
	diags    *diag.List
	anchors  map[*yaml.Node]*anchored
	reported int            // diagnostics so far, also those beyond maxReported
	aliased  int            // nodes added by aliases so far
	unusable bool           // what is left of the tree must not be looked at
	slab     []schema.Node  // nodes not handed out yet; one allocation for many
	fields   []schema.Field // the same for fields
	items    []*schema.Node
	trail    []step
}

// anchored is a node that aliases may name, resolved once.
type anchored struct {
	node   *schema.Node
	extent extent
	open   bool // being resolved: an alias to it would contain itself
}

// extent is how large a resolved node is.
type extent struct {
	nodes  int // itself and everything below, aliases followed
	height int // maps and lists inside one another, itself included
	end    int // column after its last character, 0 if that is not on the line it starts on
}

// maxProperty bounds how far the end of a tag or an anchor is looked for, in bytes.
const maxProperty = 256

// maxReported bounds the diagnostics of one file; one note says how many there were beyond it.
const maxReported = 100

// step is one part of the way from the root to a node; name is "" for an item of a list.
type step struct {
	name  string
	index int
}

func (r *resolver) root(n *yaml.Node) *schema.Node {
	if n.Kind != yaml.MappingNode {
		node, _ := r.node(n, 0)
		r.unusable = true
		if node != nil {
			r.report(diag.Diagnostic{
				Code: "GW1114", Pos: node.Pos, Width: node.Width,
				Message: fmt.Sprintf("the file holds %s, it must be a map of fields", node.Kind),
				Hint:    `begin with "apiVersion: gateway.suuupra.dev/v1", followed by keys such as "routes:"`,
			})
		}
		return nil
	}
	node, _ := r.node(n, 0)
	return node
}

// node resolves n, which stands depth maps and lists deep. It returns nil only once the tree is unusable.
func (r *resolver) node(n *yaml.Node, depth int) (*schema.Node, extent) {
	if n.Kind == yaml.AliasNode {
		return r.alias(n, depth)
	}
	if n.Anchor == "" {
		return r.resolve(n, depth)
	}
	a := &anchored{open: true}
	r.anchors[n] = a
	a.node, a.extent = r.resolve(n, depth)
	a.open = false
	return a.node, a.extent
}

func (r *resolver) alias(n *yaml.Node, depth int) (*schema.Node, extent) {
	d := diag.Diagnostic{Pos: r.src.pos(n.Line, n.Column), Width: utf8.RuneCountInString(n.Value) + 1}
	a := r.anchors[n.Alias]
	switch {
	case a == nil || a.open:
		d.Code, d.Message = "GW1111", fmt.Sprintf("the alias *%s stands inside the value it names", n.Value)
		d.Hint = "write the value out"
	case a.node == nil:
		return nil, extent{}
	case r.aliased+a.extent.nodes > MaxAliased:
		d.Code = "GW1110"
		d.Message = fmt.Sprintf("the aliases of this file add more than %d values to it", MaxAliased)
		d.Hint = "use a named policy, or write the values out"
	case depth+a.extent.height > MaxDepth:
		d.Code, d.Message = "GW1112", fmt.Sprintf("values are nested more than %d deep", MaxDepth)
	default:
		r.aliased += a.extent.nodes
		return a.node, extent{nodes: a.extent.nodes, height: a.extent.height, end: n.Column + d.Width}
	}
	r.unusable = true
	r.report(d)
	return nil, extent{}
}

func (r *resolver) resolve(n *yaml.Node, depth int) (*schema.Node, extent) {
	if n.Kind == yaml.ScalarNode {
		return r.scalar(n)
	}
	node := r.newNode()
	node.Pos = r.src.pos(n.Line, n.Column)
	if depth >= MaxDepth {
		r.unusable = true
		r.report(diag.Diagnostic{
			Code: "GW1112", Pos: node.Pos, Width: 1,
			Message: fmt.Sprintf("values are nested more than %d deep", MaxDepth),
		})
		return nil, extent{}
	}
	var ext extent
	if n.Kind == yaml.MappingNode {
		r.checkTag(n, "!!map")
		ext = r.mapping(n, node, depth)
	} else {
		r.checkTag(n, "!!seq")
		ext = r.sequence(n, node, depth)
	}
	if ext.end = r.closing(n, ext.end); ext.end > 0 {
		node.Width = ext.end - n.Column
	}
	ext.nodes++
	ext.height++
	return node, ext
}

// closing returns the column after the bracket that ends a flow collection on the line it starts on, given the column
// after its last item there, or 0.
func (r *resolver) closing(n *yaml.Node, column int) int {
	if n.Style&yaml.FlowStyle == 0 || column == 0 {
		return 0
	}
	rest := r.src.from(n.Line, column)
	i := 0
	for i < len(rest) && (rest[i] == ' ' || rest[i] == '\t' || rest[i] == ',') {
		i++
	}
	if i < len(rest) && (rest[i] == ']' || rest[i] == '}') {
		return column + i + 1
	}
	return 0
}

func (r *resolver) sequence(n *yaml.Node, node *schema.Node, depth int) extent {
	node.Kind = schema.List
	ext := extent{end: r.opening(n)}
	if len(n.Content) == 0 {
		return ext
	}
	node.Items = take(&r.items, len(n.Content))
	for i, c := range n.Content {
		r.trail = append(r.trail, step{index: i})
		item, e := r.node(c, depth+1)
		r.trail = r.trail[:len(r.trail)-1]
		if r.unusable {
			break
		}
		node.Items[i] = item
		ext.add(e, n.Line == c.Line)
	}
	return ext
}

// opening returns the column after the bracket that starts a flow collection, past its tag and anchor, or 0.
func (r *resolver) opening(n *yaml.Node) int {
	if n.Style&yaml.FlowStyle == 0 {
		return 0
	}
	rest := r.src.from(n.Line, n.Column)
	skipped := properties(rest)
	if skipped >= len(rest) {
		return 0
	}
	return n.Column + utf8.RuneCount(rest[:skipped]) + 1
}

// add counts a child in.
func (e *extent) add(child extent, sameLine bool) {
	e.nodes += child.nodes
	e.height = max(e.height, child.height)
	e.end = child.end
	if !sameLine {
		e.end = 0
	}
}

func (r *resolver) mapping(n *yaml.Node, node *schema.Node, depth int) extent {
	node.Kind = schema.Map
	ext := extent{end: r.opening(n)}
	if len(n.Content) == 0 {
		return ext
	}
	fields := take(&r.fields, len(n.Content)/2)[:0]
	var seen map[string]int
	if len(n.Content) > 32 {
		seen = make(map[string]int, len(n.Content)/2)
	}
	for i := 0; i+1 < len(n.Content) && !r.unusable; i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		name, keep := r.key(k)
		if r.unusable {
			break
		}
		r.trail = append(r.trail, step{name: name, index: -1})
		if keep && r.duplicate(k, name, fields, seen) {
			keep = false
		}
		value, e := r.node(v, depth+1)
		r.trail = r.trail[:len(r.trail)-1]
		ext.add(e, n.Line == v.Line)
		if !keep || value == nil {
			continue
		}
		if seen != nil {
			seen[name] = len(fields)
		}
		fields = append(fields, schema.Field{Name: name, Pos: r.keyPos(k), Value: value})
	}
	node.Fields = fields
	return ext
}

// keyPos is where the name itself stands, past a tag or an anchor.
func (r *resolver) keyPos(k *yaml.Node) diag.Pos {
	column := k.Column
	if k.Anchor != "" || k.Style&yaml.TaggedStyle != 0 {
		rest := r.src.from(k.Line, column)
		if skipped := properties(rest); skipped < len(rest) {
			column += utf8.RuneCount(rest[:skipped])
		}
	}
	return r.src.pos(k.Line, column)
}

// duplicate reports a name the map already has, with both places.
func (r *resolver) duplicate(k *yaml.Node, name string, fields []schema.Field, seen map[string]int) bool {
	first := -1
	if seen != nil {
		if i, ok := seen[name]; ok {
			first = i
		}
	} else {
		for i := range fields {
			if fields[i].Name == name {
				first = i
				break
			}
		}
	}
	if first < 0 {
		return false
	}
	r.report(diag.Diagnostic{
		Code: "GW1106", Pos: r.keyPos(k), Width: utf8.RuneCountInString(name), Path: r.path(),
		Message: fmt.Sprintf("%q is written twice in the same map", name),
		Notes:   []diag.Note{{Pos: fields[first].Pos, Message: "first written here"}},
		Hint:    "keep one of them; a list holds several values of one kind",
	})
	return true
}

// key reads the name of a field. It reports false if the field must be left out.
func (r *resolver) key(k *yaml.Node) (string, bool) {
	if k.Kind == yaml.ScalarNode && k.Style == 0 && k.Anchor == "" && k.Tag == "!!str" && !mayMean(k.Value) {
		return k.Value, true // nearly every name there is
	}
	d := diag.Diagnostic{Pos: r.src.pos(k.Line, k.Column), Width: utf8.RuneCountInString(k.Value)}
	if k.Kind == yaml.AliasNode {
		r.report(diag.Diagnostic{
			Code: "GW1113", Pos: d.Pos, Width: d.Width + 1,
			Message: fmt.Sprintf("the alias *%s stands where a name must be", k.Value), Hint: "write the name out",
		})
		return "", false
	}
	if k.Kind != yaml.ScalarNode {
		r.report(diag.Diagnostic{
			Code: "GW1113", Pos: d.Pos, Width: 1,
			Message: "a map or a list stands where a name must be", Hint: "names are strings",
		})
		return "", false
	}
	if k.Anchor != "" {
		r.anchors[k] = &anchored{}
		r.anchors[k].node, r.anchors[k].extent = r.scalarQuietly(k)
	}
	quoted := k.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0
	if k.Style&yaml.TaggedStyle != 0 && k.Tag != "!!str" {
		r.checkTag(k, "!!str")
		return k.Value, true
	}
	if quoted || k.Tag == "!!str" && k.Style&yaml.TaggedStyle != 0 {
		if k.Style&yaml.DoubleQuotedStyle != 0 {
			r.checkEscapes(k, d.Pos)
		}
		return k.Value, true
	}
	if k.Value == "<<" {
		d.Code, d.Message = "GW1107", "merge keys (<<) are not part of the dialect"
		d.Hint = `name the shared settings in "policies:" and list them in "use:", or write the fields out`
		r.report(d)
		return "", false
	}
	// A word such as "on" is ambiguous as a value; as a name it can only be the word, and retry has a field of that name.
	if p := plain(k.Value); p.code != "GW1101" && (p.kind != schema.String || p.code != "") {
		d.Code, d.Message = "GW1113", fmt.Sprintf("the name %s is %s, names are strings", display(k.Value), p.kind)
		d.Hint = "quote it: " + strconv.Quote(k.Value)
		r.report(d)
	}
	return k.Value, true
}

func display(s string) string {
	if s == "" {
		return "(nothing)"
	}
	return s
}

// scalarQuietly resolves the key an anchor names without reporting on it a second time.
func (r *resolver) scalarQuietly(n *yaml.Node) (*schema.Node, extent) {
	loud := r.diags
	r.diags = &diag.List{}
	defer func() { r.diags = loud }()
	return r.scalar(n)
}

func (r *resolver) report(d diag.Diagnostic) {
	if r.reported++; r.reported > maxReported {
		return
	}
	if d.Path == "" {
		d.Path = r.path()
	}
	r.diags.Add(d)
}

// path spells the way to the current node as an author would: routes[3].matcher.path.
func (r *resolver) path() string {
	var b strings.Builder
	for _, s := range r.trail {
		switch {
		case s.index >= 0:
			fmt.Fprintf(&b, "[%d]", s.index)
		case b.Len() > 0:
			b.WriteString("." + s.name)
		default:
			b.WriteString(s.name)
		}
	}
	return b.String()
}

// newNode hands out one node of a slab: a file has thousands, and one allocation each would double the time.
func (r *resolver) newNode() *schema.Node {
	if len(r.slab) == 0 {
		r.slab = make([]schema.Node, 128)
	}
	n := &r.slab[0]
	r.slab = r.slab[1:]
	return n
}

// take cuts n elements off a slab.
func take[T any](slab *[]T, n int) []T {
	if n > 32 {
		return make([]T, n)
	}
	if len(*slab) < n {
		*slab = make([]T, 256)
	}
	out := (*slab)[:n:n]
	*slab = (*slab)[n:]
	return out
}

// properties returns how many bytes at the start of text are tags, anchors and the blanks after them.
func properties(text []byte) int {
	i := 0
	for i < len(text) && (text[i] == '!' || text[i] == '&') {
		end := bytes.IndexAny(text[i:min(len(text), i+maxProperty)], " \t")
		if end < 0 {
			return len(text)
		}
		i += end
		for i < len(text) && (text[i] == ' ' || text[i] == '\t') {
			i++
		}
	}
	return i
}
