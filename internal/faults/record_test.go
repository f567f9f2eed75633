package faults_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
)

// row is what one fault did to clients.
type row struct {
	name               string
	calm, fault, after phase
	steady             phase         // of the route beside it, in all phases
	back               time.Duration // from the mending to the last failure
	process            *testkit.Process
}

// judge says what must never happen, whatever the machine: an answer that is another request's, a hung client, an answer of a
// kind clients cannot act on, harm to the route beside, a gateway that has ended or panicked.
func (r row) judge(t *testing.T, atLeast float64, mayCut bool) {
	t.Helper()
	for _, p := range []phase{r.calm, r.fault, r.after, r.steady} {
		if n := p.count(func(a answer) bool { return a.wrong }); n > 0 {
			t.Errorf("%d answers belong to another request, or are incomplete", n)
		}
		if n := p.count(func(a answer) bool { return a.took >= clientPatience }); n > 0 {
			t.Errorf("%d requests were never answered", n)
		}
		if n := p.count(func(a answer) bool {
			return a.status != 0 && a.status != 200 && a.status != 502 && a.status != 503 && a.status != 504
		}); n > 0 {
			t.Errorf("unexpected answers: %s", p.refusals())
		}
		if n := p.count(func(a answer) bool { return a.status == 0 }); n > 0 && !mayCut {
			t.Errorf("%d connections to the gateway broke: %v", n, p.firstError())
		}
	}
	if s := r.calm.share(); s < 100 {
		t.Errorf("%.1f %% were answered before the fault: %s", s, r.calm.refusals())
	}
	if s := r.steady.share(); s < 100 {
		t.Errorf("the route beside: %.2f %% were answered: %s", s, r.steady.refusals())
	}
	if s := r.fault.share(); s < atLeast {
		t.Errorf("%.1f %% were answered during the fault, want at least %.0f: %s", s, atLeast, r.fault.refusals())
	}
	if out := r.process.Output(); strings.Contains(out, "panicked") || strings.Contains(out, "panic: ") {
		t.Errorf("the gateway panicked:\n%s", out)
	}
}

const (
	beginMark = "<!-- faults -->\n"
	endMark   = "<!-- end of faults -->"
)

// What the tests found so far, in their order.
var (
	recorded []row
	facts    []string // what does not fit into the table
)

// record puts what was found into the document, if one was asked for.
func record(t *testing.T, rows []row, fact ...string) {
	t.Helper()
	recorded, facts = append(recorded, rows...), append(facts, fact...)
	if *recordIn == "" || t.Failed() {
		return
	}
	var b strings.Builder
	b.WriteString("| fault | answered 200 before / during / after | refused meanwhile | p50, p99 before | p50, p99 during | slowest during | last failure after mending | route beside it |\n")
	b.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, r := range recorded {
		fmt.Fprintf(&b, "| %s | %.1f / %.1f / %.1f %% of %d, %d, %d | %s | %s, %s | %s, %s | %s | %s | %.2f %% of %d |\n",
			r.name, r.calm.share(), r.fault.share(), r.after.share(), len(r.calm), len(r.fault), len(r.after), orNone(r.fault.refusals()),
			ms(r.calm.quantile(0.5)), ms(r.calm.quantile(0.99)), ms(r.fault.quantile(0.5)), ms(r.fault.quantile(0.99)), ms(r.fault.quantile(1)),
			ms(r.back), r.steady.share(), len(r.steady))
	}
	for _, f := range facts {
		b.WriteString("\n" + f + "\n")
	}
	doc, err := os.ReadFile(*recordIn)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, found := strings.Cut(string(doc), beginMark)
	_, foot, closed := strings.Cut(rest, endMark)
	if !found || !closed {
		t.Fatalf("%s has no place for the table: %q and %q", *recordIn, beginMark, endMark)
	}
	if err := os.WriteFile(*recordIn, []byte(head+beginMark+b.String()+endMark+foot), 0o644); err != nil {
		t.Fatal(err)
	}
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }

func orNone(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}
