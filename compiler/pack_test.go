package compiler_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
)

// randomProgram makes a program out of nothing; the compiler has no part in it.
func randomProgram(r *rand.Rand, routes int) *ir.Program {
	word := func() string { return fmt.Sprintf("%x", r.Uint64())[:1+r.IntN(12)] }
	p := &ir.Program{Environment: "prod", Gateway: ir.Gateway{Name: word(), Listeners: []ir.Listener{}, TrustedProxies: []string{"10.0.0.0/8"}}, Origins: ir.Origins{}}
	for i := range r.IntN(20) {
		p.Upstreams = append(p.Upstreams, ir.Upstream{ID: fmt.Sprintf("u%04d", i), Scheme: "http", Endpoints: []ir.Endpoint{{Address: word() + ":80"}}, MaxIdle: int64(r.IntN(100))})
	}
	for i := range routes {
		route := ir.Route{ID: fmt.Sprintf("r%06d", i), Match: ir.Match{Path: "/" + word() + "/ü\u2028<&>"}, Target: ir.Target{Type: "http", Upstream: word()}, Forward: ir.Forward{Timeout: r.Int64N(1 << 40)}}
		if r.IntN(2) == 0 {
			route.Match.Headers = []ir.Pair{{Name: word(), Value: strings.Repeat(word(), r.IntN(50))}}
			route.Policies = []ir.Policy{{Kind: "bodyLimit", Plan: []byte(fmt.Sprintf(`{"maxBytes":%d}`, r.IntN(1<<30)))}}
		}
		p.Routes = append(p.Routes, route)
		p.Origins["routes/"+route.ID] = diag.Pos{File: word() + ".yaml", Line: 1 + r.IntN(1000), Col: 1 + r.IntN(100)}
	}
	return p
}

func TestPackUnpack(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 30 {
		want := randomProgram(r, 1+r.IntN(3000))
		shuffled := *want
		shuffled.Routes, shuffled.Upstreams = slices.Clone(want.Routes), slices.Clone(want.Upstreams)
		r.Shuffle(len(shuffled.Routes), func(i, j int) {
			shuffled.Routes[i], shuffled.Routes[j] = shuffled.Routes[j], shuffled.Routes[i]
		})
		a, b := emit(t, want, load.Origin{}), emit(t, &shuffled, load.Origin{})
		if a.Digest() != b.Digest() {
			t.Fatal("the order of the routes decides the bytes")
		}
		got, err := ir.Unpack(a)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatal("packed and unpacked, the program is another")
		}
	}
}

// TestShards changes, adds and removes one route at a time: the shards that do not hold it stay as they are, and none grows
// beyond its size.
func TestShards(t *testing.T) {
	const target = 256 << 10
	r := rand.New(rand.NewPCG(9, 10))
	p := randomProgram(r, 6000)
	p.Origins = nil
	p.Routes[17].Match.Headers = []ir.Pair{{Name: "large", Value: strings.Repeat("x", 2*target)}}
	shards := func() map[string][]byte {
		list, err := ir.Pack(p)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string][]byte{}
		for _, s := range list {
			if len(s.Data) > target && s.Objects > 1 {
				t.Errorf("shard %s has %d bytes and %d objects", s.Path, len(s.Data), s.Objects)
			}
			if s.Kind == bundle.KindRoutes {
				out[s.Path] = s.Data
			}
		}
		return out
	}
	last := shards()
	if len(last) < 5 {
		t.Fatalf("%d shards are too few to tell anything", len(last))
	}
	for i := range 60 {
		before := slices.Clone(p.Routes)
		n := r.IntN(len(p.Routes))
		switch i % 3 {
		case 0:
			p.Routes[n].Forward.Timeout++
		case 1:
			p.Routes = append(p.Routes, ir.Route{ID: fmt.Sprintf("new%d", i), Match: ir.Match{Path: "/new"}})
		default:
			p.Routes = slices.Delete(slices.Clone(p.Routes), n, n+1)
		}
		now := shards()
		changed := 0
		for path := range maps.Keys(now) {
			if !bytes.Equal(now[path], last[path]) {
				changed++
			}
		}
		for path := range last {
			if now[path] == nil {
				changed++
			}
		}
		// A route more or less may split a shard in two, or join two; a changed one of the same size may not.
		if most := map[bool]int{true: 1, false: 3}[i%3 == 0]; changed < 1 || changed > most {
			t.Errorf("step %d of %d routes: %d shards changed, at most %d may", i, len(before), changed, most)
		}
		last = now
	}
}

// TestPackGrows adds routes one by one, past every split.
func TestPackGrows(t *testing.T) {
	p := &ir.Program{Environment: "prod"}
	filler := []ir.Pair{{Name: "x", Value: strings.Repeat("y", 4000)}}
	for i := range 400 {
		p.Routes = append(p.Routes, ir.Route{ID: fmt.Sprintf("r%d", i), Match: ir.Match{Path: "/", Headers: filler}})
		list, err := ir.Pack(p)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, s := range list {
			if s.Kind == bundle.KindRoutes {
				n += s.Objects
			}
		}
		if n != len(p.Routes) {
			t.Fatalf("%d routes in, %d in the shards", len(p.Routes), n)
		}
	}
}
