package diff

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/schema/ir"
)

// office is a program whose routes share a policy, but for one with a policy of its own that says the same.
func office(allow string, timeout int64, edit ...func(*ir.Program)) *ir.Program {
	p := many(200)
	for i := range p.Routes {
		r := &p.Routes[i]
		r.Policies = append(r.Policies, policyOf("ip", fmt.Sprintf(`{"allow":[%q]}`, allow)))
		r.Forward.Timeout = timeout
		p.Origins["routes/"+r.ID+"/policy.ip.allow"] = at3("policies/office.yaml", 4, 18)
		if timeout != 60000 { // the default, which nobody writes
			p.Origins["routes/"+r.ID+"/policy.timeout"] = at3("gateway.yaml", 15, 14)
		}
	}
	p.Origins["routes/route-000007/policy.ip.allow"] = at3("routes/seven.yaml", 9, 20)
	for _, e := range edit {
		e(p)
	}
	return p
}

func nth(n int, edit func(*ir.Route)) func(*ir.Program) {
	return func(p *ir.Program) { edit(&p.Routes[n]) }
}

// TestGoldenShared holds that a line is told once, whatever else changes on some of its routes, and that programs get everything.
func TestGoldenShared(t *testing.T) {
	r := Programs(office("10.0.0.0/8", 30000), office("0.0.0.0/0", 60000,
		nth(3, func(r *ir.Route) { r.Match.Host = "*.example.com" }), nth(5, func(r *ir.Route) { r.ID = "other" })))
	testkit.Golden(t, "testdata/shared.txt", []byte(written(t, r, "text")))
	if got, want := r.Summary(), "0 added, 0 removed, 200 changed; 201 security risks, 200 availability risks"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	var doc struct{ Objects, Effects, Risks []any }
	if err := json.Unmarshal([]byte(written(t, r, "json")), &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Objects) != 200 || len(doc.Effects) != 200 || len(doc.Risks) != 401 {
		t.Errorf("JSON holds %d objects, %d effects and %d risks", len(doc.Objects), len(doc.Effects), len(doc.Risks))
	}
}

// TestSame holds that reports differ if only what the text leaves out does.
func TestSame(t *testing.T) {
	compare := func(untouched int) *Report {
		return Programs(office("10.0.0.0/8", 30000), office("0.0.0.0/0", 30000, nth(untouched, func(r *ir.Route) {
			r.Policies[len(r.Policies)-1] = policyOf("ip", `{"allow":["10.0.0.0/8"]}`)
		})))
	}
	a, b := compare(100), compare(101)
	if written(t, a, "text") != written(t, b, "text") {
		t.Fatal("the text tells them apart, so they are no example")
	}
	if a.Same(b) || !a.Same(compare(100)) {
		t.Error("another route is the same")
	}
}

func TestShow(t *testing.T) {
	var list []any
	for i := range 100 {
		list = append(list, fmt.Sprintf("10.0.%d.0/24", i))
	}
	for _, c := range []struct {
		value any
		want  string
	}{
		{nil, "not set"},
		{"not set", `"not set"`},
		{[]any{"10.0.0.0/8"}, "[10.0.0.0/8]"},
		{map[string]any{"header": "Authorization", "forward": true}, "{forward: true, header: Authorization}"},
		{list, "[10.0.0.0/24, 10.0.1.0/24, 10.0.2.0/24, 10.0.3.0/24 and 96 more]"},
		{strings.Repeat("a", 400), strings.Repeat("a", maxShown) + "... (400 characters)"},
	} {
		if got := Show(c.value); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
		if got, _ := showBoth(c.value, nil); got != c.want {
			t.Errorf("beside nothing: got %s, want %s", got, c.want)
		}
	}
}
