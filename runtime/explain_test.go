package runtime_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit/publisher"
	"github.com/suuupra/gateway/runtime/policy/all"
	"github.com/suuupra/gateway/runtime/simulate"
	"github.com/suuupra/gateway/schema/ir"
)

func pick(r *rand.Rand, of ...string) string { return of[r.IntN(len(of))] }

// randomProgram has routes that overlap a lot. Each answers with its own id.
func randomProgram(t *testing.T, pub *publisher.Publisher, r *rand.Rand) *ir.Program {
	t.Helper()
	prog := pub.Program("127.0.0.1:9")
	for i := range 30 {
		route := publisher.Route(fmt.Sprintf("r%02d", i), "up")
		m := ir.Match{Host: pick(r, "", "", "a.example.com", "b.example.com", "*.example.com", "*.b.example.com")}
		if r.IntN(6) == 0 {
			m.PathRegex = pick(r, "/a/[0-9]+", "/[ab]/.*", "/(a|b)/c", "/.*c")
		} else {
			m.Path = pick(r, "/*", "/a", "/a/*", "/a/{x}", "/{x}/c", "/a/b/c", "/{x}/{y}/c", "/a/b/*", "/b/{x}/*", "/a/", "/%C3%A9/*")
		}
		for _, method := range []string{"DELETE", "GET", "POST"} {
			if r.IntN(4) == 0 {
				m.Methods = append(m.Methods, method)
			}
		}
		for _, name := range []string{"x-forwarded-proto", "x-tenant"} {
			if r.IntN(8) == 0 {
				m.Headers = append(m.Headers, ir.Pair{Name: name, Value: pick(r, "*", "https", "one")})
			}
		}
		if r.IntN(8) == 0 {
			m.Query = []ir.Pair{{Name: "q", Value: pick(r, "*", "1", "a b")}}
		}
		route.Match = m
		prog.Routes = append(prog.Routes, route)
		with(t, prog, route.ID, testPlan{Name: route.ID, Do: "answer", Status: 200})
	}
	return prog
}

// What explain says about a request is what the gateway does with it.
func TestExplainAgrees(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	g := newRig(t, options{})
	outcomes := map[string]int{}
	for round := range 20 {
		prog := randomProgram(t, g.pub, r)
		if round%2 == 1 {
			prog.Gateway.TrustedProxies = []string{"127.0.0.0/8"}
		}
		g.activate(prog)
		c := g.dial()
		for range 100 {
			method := pick(r, "GET", "GET", "POST", "DELETE", "PUT")
			host := pick(r, "a.example.com", "b.example.com", "A.Example.COM:8080", "x.b.example.com", "other.test", "example.com.")
			target := randomPath(r) + pick(r, "", "", "?q", "?q=1", "?q=a+b", "?q=a%20b&q=1", "?p=1&q=2")
			var pairs []ir.Pair
			text := ""
			for _, name := range []string{"X-Forwarded-Proto", "X-Tenant"} {
				if r.IntN(2) == 0 {
					pairs = append(pairs, ir.Pair{Name: name, Value: pick(r, "https", "one", "two")})
					text += name + ": " + pairs[len(pairs)-1].Value + "\r\n"
				}
			}
			q, err := simulate.ParseRequest(method, "http://"+host+target, pairs)
			if err != nil {
				t.Fatalf("%s%s: %v", host, target, err)
			}
			want, err := simulate.Explain(prog, all.Kinds(), q)
			if err != nil {
				t.Fatal(err)
			}
			c.send("%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", method, target, host, text)
			resp, err := c.receive(method)
			if err != nil {
				t.Fatalf("%s %s%s: %v", method, host, target, err)
			}
			outcome := compareExplanation(resp, want)
			if strings.HasPrefix(outcome, "differs") {
				t.Errorf("round %d: %s %s%s with %v: %s", round, method, host, target, pairs, outcome)
			}
			outcomes[outcome]++
		}
	}
	t.Log(outcomes)
	for _, o := range []string{"served", "400", "404", "405", "reserved"} {
		if outcomes[o] == 0 {
			t.Errorf("no request came out as %s: the test sees too little", o)
		}
	}
}

func compareExplanation(got *response, want *simulate.Explanation) string {
	switch {
	case want.Winner != nil:
		if got.status != 200 || got.field("X-Passed") != want.Winner.Route {
			return fmt.Sprintf("differs: explained as served by %s, was %d by %q", want.Winner.Route, got.status, got.field("X-Passed"))
		}
		return "served"
	case want.Status != 0:
		if got.status != want.Status {
			return fmt.Sprintf("differs: explained as %d (%s), was %d by %q", want.Status, want.Reason, got.status, got.field("X-Passed"))
		}
		if allow := got.field("Allow"); allow != "" && !strings.HasSuffix(want.Reason, allow) {
			return fmt.Sprintf("differs: explained as %q, allowed was %q", want.Reason, allow)
		}
		return fmt.Sprint(want.Status)
	case got.status != 404: // reserved, and this gateway has none
		return fmt.Sprintf("differs: explained as reserved, was %d by %q", got.status, got.field("X-Passed"))
	}
	return "reserved"
}

func randomPath(r *rand.Rand) string {
	if r.IntN(12) == 0 {
		return pick(r, "/admin", "/admin/x", "/health", "/x/../metrics", "/%61dmin")
	}
	n := r.IntN(5)
	var b strings.Builder
	for range n {
		b.WriteString("/")
		b.WriteString(pick(r, "a", "b", "c", "a", "b", "c", "1", "22", "%61", ".", "..", "", "%c3%a9", "A", "x.y", "%2e", "%41", "~"))
	}
	if n == 0 || r.IntN(4) == 0 {
		b.WriteString("/")
	}
	if r.IntN(25) == 0 {
		b.WriteString(pick(r, "%2f", ";x", "%zz", "%00"))
	}
	return b.String()
}

// The list of policies in an explanation is in the order in which the gateway asks them.
func TestExplainPipeline(t *testing.T) {
	g := newRig(t, options{})
	prog := compile(t, routes("http://127.0.0.1:9", ""))
	g.activate(prog)
	q, err := simulate.ParseRequest("GET", "/small/1", nil)
	if err != nil {
		t.Fatal(err)
	}
	e, err := simulate.Explain(prog, all.Kinds(), q)
	if err != nil {
		t.Fatal(err)
	}
	var explained, asked []string
	for _, s := range e.Winner.Pipeline {
		if s.Policy != "" {
			explained = append(explained, s.Phase+" "+s.Policy)
		}
	}
	for _, route := range g.Running().Routes() {
		if route.Info.ID == e.Winner.Route {
			for _, s := range route.Chain.Steps() {
				asked = append(asked, s.Kind.Phase.String()+" "+s.Kind.Name)
			}
		}
	}
	if len(asked) == 0 || !slices.Equal(explained, asked) {
		t.Errorf("explained %v, asked %v", explained, asked)
	}
}
