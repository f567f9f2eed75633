// Package router finds the route that takes a request. It is the fast form of package match, whose rules of specificity it
// follows exactly: a tree per host, walked segment by segment, so that the cost of a lookup depends on the request and not
// on the number of routes.
//
// What bounds a lookup: a host asks for its exact tree, for one tree per label that a wildcard could stand before, and for
// the tree without a host. Within a tree the walk goes no deeper than the longest pattern and, since each node leads to at
// most one literal and one capture, visits no more nodes than match.MaxVisits, which Build verifies. Routes on the same path
// are tried one after the other, but for those that want another value of the header that most of them ask for. Only
// pathRegex routes whose literal prefix fits the path are tried, each in time linear in the path; they count as visits.
//
// It must not normalise, decide about policies, or answer requests. A Router is immutable and safe for concurrent use.
package router

import (
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/match"
)

// Outcome says how a lookup ended.
type Outcome uint8

// The outcomes.
const (
	NotFound         Outcome = iota // answered 404
	Found                           // Index is the route
	MethodNotAllowed                // answered 405 with Allow: some route would take the request but for its method
)

// String names the outcome.
func (o Outcome) String() string {
	return [...]string{"not found", "found", "method not allowed"}[o]
}

// Result is what a lookup found.
type Result struct {
	Index   int            // of the route in the list given to Build; -1 unless Outcome is Found
	Params  []policy.Param // the captures in the order of the pattern, in the memory of the slice given to Lookup
	Outcome Outcome
	Allow   string // value of the Allow header if Outcome is MethodNotAllowed: sorted, separated by ", "
}

// Router is the routes of one snapshot.
type Router struct {
	tree      *match.Tree
	exact     map[string]*hostTable
	wildcard  map[string]*hostTable // by the suffix after "*."
	any       *hostTable            // nil if no route is for any host
	entries   []entry               // in the order in which routes on one path are tried; entry 0 is unused
	names     [][]string            // names of captures, shared by the patterns that have the same
	divisions []division
	minSuffix int // bytes of the shortest and the longest wildcard suffix
	maxSuffix int
}

// hostTable is the routes of one host pattern.
type hostTable struct {
	root    match.Node
	regexes *regexTable // nil if there are none
}

// entry is one route at its place in a tree.
type entry struct {
	index   uint32
	next    uint32 // the next entry on the same path, 0 at the end
	names   uint32 // names of its captures, index into Router.names
	methods methodSet
	more    *conditions // nil for most routes
}

// methodSet holds the standard methods as bits; anyMethod alone means that there is no list.
type methodSet uint16

const anyMethod methodSet = 1 << 15

var standardMethods = [...]string{"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}

// methodBit returns the bit of a standard method, 0 for any other.
func methodBit(method string) methodSet {
	switch method {
	case "CONNECT":
		return 1 << 0
	case "DELETE":
		return 1 << 1
	case "GET":
		return 1 << 2
	case "HEAD":
		return 1 << 3
	case "OPTIONS":
		return 1 << 4
	case "PATCH":
		return 1 << 5
	case "POST":
		return 1 << 6
	case "PUT":
		return 1 << 7
	case "TRACE":
		return 1 << 8
	}
	return 0
}
