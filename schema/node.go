// Package schema is the public contract of the gateway: what people may write (the v1 definitions), what the compiler
// makes of it (ir), and how it travels (bundle). This package holds the first of the four types, Config: what people
// wrote, every node with its position. It must not import the compiler or the runtime.
package schema

import (
	"strconv"
	"strings"

	"github.com/suuupra/gateway/schema/diag"
)

// Kind is the type of a Node.
type Kind uint8

// The kinds of a Node: JSON's data model with integers and floats told apart.
const (
	Null Kind = iota
	Bool
	Int
	Float
	String
	List
	Map
)

// String names the kind in the words of an error message.
func (k Kind) String() string {
	return [...]string{"null", "true or false", "a whole number", "a decimal number", "a string", "a list", "a map"}[k]
}

// Node is one value in what people wrote. A Node is immutable once a loader has returned it: stages that change a tree
// build new Nodes and share the unchanged ones, so that a pointer comparison tells whether an overlay touched a subtree.
type Node struct {
	Kind   Kind
	Pos    diag.Pos // where the value stands; after overlays, the place that set it
	Width  int      // runes the value spans on its first line, 0 if unknown
	Bool   bool
	Int    int64
	Float  float64
	Str    string
	Items  []*Node // List
	Fields []Field // Map, in source order; names are unique
}

// Field is one entry of a Map.
type Field struct {
	Name  string
	Pos   diag.Pos // where the name stands
	Value *Node
}

// Get returns the value of a field of a Map, or nil.
func (n *Node) Get(name string) *Node {
	if f := n.Field(name); f != nil {
		return f.Value
	}
	return nil
}

// Field returns a field of a Map, or nil.
func (n *Node) Field(name string) *Field {
	if n == nil || n.Kind != Map {
		return nil
	}
	for i := range n.Fields {
		if n.Fields[i].Name == name {
			return &n.Fields[i]
		}
	}
	return nil
}

// At returns the value at a path such as "limits[2].key" below a node, or nil. Names with dots or brackets in them are out of reach.
func (n *Node) At(path string) *Node {
	for step := range strings.SplitSeq(path, ".") {
		name, index, listed := strings.Cut(step, "[")
		if n = n.Get(name); n == nil {
			return nil
		}
		if !listed {
			continue
		}
		i, err := strconv.Atoi(strings.TrimSuffix(index, "]"))
		if err != nil || n.Kind != List || i < 0 || i >= len(n.Items) {
			return nil
		}
		n = n.Items[i]
	}
	return n
}

// Text returns the string of a String node, or "".
func (n *Node) Text() string {
	if n == nil || n.Kind != String {
		return ""
	}
	return n.Str
}

// Any converts the tree to the values encoding/json would decode, with int64 for whole numbers.
func (n *Node) Any() any {
	if n == nil {
		return nil
	}
	switch n.Kind {
	case Bool:
		return n.Bool
	case Int:
		return n.Int
	case Float:
		return n.Float
	case String:
		return n.Str
	case List:
		out := make([]any, len(n.Items))
		for i, it := range n.Items {
			out[i] = it.Any()
		}
		return out
	case Map:
		out := make(map[string]any, len(n.Fields))
		for _, f := range n.Fields {
			out[f.Name] = f.Value.Any()
		}
		return out
	}
	return nil
}

// Describe renders a scalar as a message quotes it, and names the kind of anything larger.
func (n *Node) Describe() string {
	switch n.Kind {
	case Bool:
		return strconv.FormatBool(n.Bool)
	case Int:
		return strconv.FormatInt(n.Int, 10)
	case Float:
		return strconv.FormatFloat(n.Float, 'g', -1, 64)
	case String:
		return strconv.Quote(n.Str)
	}
	return n.Kind.String()
}

// File is one authored file, decoded.
type File struct {
	Path  string // slash-separated, relative to the root
	Layer Layer
	Root  *Node // a Map: apiVersion and the top-level keys
}

// Layer says which patch step a file belongs to. The order is base, tenant, environment, environment x tenant, overlay.
type Layer struct {
	Tenant      string // empty outside tenants/<tenant>/
	Environment string // empty outside environments/<env>/
	Overlay     bool   // the patch of an overlay for Environment, which lies in no repository
}

// Config is what people wrote: the first of the four types.
type Config struct {
	Files []File // sorted by Path
}
