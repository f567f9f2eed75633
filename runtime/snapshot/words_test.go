package snapshot

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/suuupra/gateway/schema/ir"
)

// What the routes have alike is kept once; nothing about them changes, however close they come to each other.
func TestWords(t *testing.T) {
	plan := func(s string) json.RawMessage { return json.RawMessage(s) }
	routes := []ir.Route{
		{ID: "a", Match: ir.Match{Host: "h", Path: "/a", Methods: []string{"GET", "PUT"}}, Policies: []ir.Policy{{Kind: "k", Plan: plan(`{"n":1}`)}}},
		{ID: "b", Match: ir.Match{Host: "h", Path: "/b", Methods: []string{"GET", "PUT"}}, Policies: []ir.Policy{{Kind: "k", Plan: plan(`{"n":1}`)}}},
		{ID: "c", Match: ir.Match{Host: "h", Path: "/c", Methods: []string{"GET\x03PUT"}}, Policies: []ir.Policy{{Kind: "k", Plan: plan(`{"n":2}`)}}},
		{ID: "d", Match: ir.Match{Path: "/d", Methods: []string{"GETPUT"}}, Policies: []ir.Policy{{Kind: "k"}, {Kind: "k", Plan: plan(`{"n":1}`)}}},
		{ID: "e", Tenant: "h", Match: ir.Match{Path: "/e"}, Target: ir.Target{Type: "http", Upstream: "u", Plan: plan(`{}`)}},
	}
	w := newWords()
	var kept []ir.Route
	for i := range routes {
		kept = append(kept, w.route(&routes[i]))
	}
	if !reflect.DeepEqual(kept, routes) {
		t.Errorf("kept %+v\nof   %+v", kept, routes)
	}
	if &kept[0].Match.Methods[0] != &kept[1].Match.Methods[0] || &kept[0].Policies[0] != &kept[1].Policies[0] {
		t.Error("what is alike is kept twice")
	}
	if &kept[0].Policies[0] == &routes[0].Policies[0] {
		t.Error("what the decoder made is kept")
	}
}
