package match

// Tree holds path patterns by segment, so that finding those a path satisfies costs as many steps as the path has
// segments, however many patterns there are. It is one flat list of nodes and one map of edges, which keeps a hundred
// thousand routes small and nearly free for the garbage collector. A Tree is safe for concurrent use once it is built.
//
// The walk in order of specificity is, at each node: the literal child, the capture child, then what ends here, then the
// subtree that starts here.
type Tree struct {
	nodes []treeNode
	edges map[treeEdge]Node
}

// Node is a place in a Tree. The zero Node stands for "none".
type Node uint32

type treeNode struct {
	capture Node
	leaves  [2]uint32 // first entry of those that end here, and of those whose subtree starts here
}

type treeEdge struct {
	from Node
	text string
}

// NewTree returns a Tree without roots; size is the expected number of patterns.
func NewTree(size int) *Tree {
	return &Tree{nodes: make([]treeNode, 1, size+2), edges: make(map[treeEdge]Node, size)}
}

// NewRoot adds the root of a further set of patterns, such as those of one host.
func (t *Tree) NewRoot() Node {
	t.nodes = append(t.nodes, treeNode{})
	return Node(len(t.nodes) - 1)
}

// Insert returns the node at which a pattern ends, making it if need be.
func (t *Tree) Insert(root Node, p Path) Node {
	n := root
	for _, s := range p.Segments {
		next := t.nodes[n].capture
		if !s.Capture {
			next = t.edges[treeEdge{n, s.Text}]
		}
		if next == 0 {
			next = t.NewRoot()
			if s.Capture {
				t.nodes[n].capture = next
			} else {
				t.edges[treeEdge{n, s.Text}] = next
			}
		}
		n = next
	}
	return n
}

// Literal returns the child for a literal segment.
func (t *Tree) Literal(n Node, segment string) Node { return t.edges[treeEdge{n, segment}] }

// Capture returns the child for a capture, which only a segment that is not empty may follow.
func (t *Tree) Capture(n Node) Node { return t.nodes[n].capture }

// Leaf is the caller's entry for the patterns that end at a node, or whose subtree starts there; 0 until it is set.
func (t *Tree) Leaf(n Node, subtree bool) *uint32 {
	if subtree {
		return &t.nodes[n].leaves[1]
	}
	return &t.nodes[n].leaves[0]
}

// MaxVisits is how many steps a lookup may take for the patterns of one host: nodes to visit, and expressions to run, each
// of which counts as ExpressionVisits. A path takes at most two ways from a node, the literal and the capture, so patterns
// that mix both at many depths make the search exponential in that depth. Ordinary tables need some tens.
const MaxVisits = 1024

// Visits returns, for each given root, an upper bound on the nodes that the worst path makes a lookup visit: for a node,
// one, and the worst of its literal children, and its capture child. Nodes are made after their parents, so one pass from
// the last to the first has every child before its parent.
func (t *Tree) Visits(roots []Node) []int {
	const limit = 1 << 30 // keeps the sums from overflowing
	worstLiteral := make([]int, len(t.nodes))
	parent := make([]Node, len(t.nodes))
	for e, n := range t.edges {
		parent[n] = e.from
	}
	visits := make([]int, len(t.nodes))
	for n := len(t.nodes) - 1; n > 0; n-- {
		visits[n] = min(limit, 1+worstLiteral[n]+visits[t.nodes[n].capture])
		if p := parent[n]; p != 0 {
			worstLiteral[p] = max(worstLiteral[p], visits[n])
		}
	}
	out := make([]int, len(roots))
	for i, r := range roots {
		out[i] = visits[r]
	}
	return out
}
