package hostile_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
)

// outcome is what becomes of an input.
type outcome int

const (
	refused outcome = iota // answered with an error, or its stream or connection ended; the upstream gets nothing, or no end
	normal                 // taken, and matched and forwarded as its normal form
	bounded                // served or waited for, at a cost that has a bound
)

const (
	doc       = "../../docs/threats.md"
	beginMark = "<!-- inputs -->\n"
	endMark   = "<!-- end of inputs -->"
)

// each calls f with the outcome of every row.
func each[T any](rows []T, is func(T) outcome) []outcome {
	out := make([]outcome, len(rows))
	for i, r := range rows {
		out[i] = is(r)
	}
	return out
}

// TestGoldenThreats counts the inputs of the tables in docs/threats.md.
func TestGoldenThreats(t *testing.T) {
	var b strings.Builder
	b.WriteString("| section | inputs | refused | taken as their normal form | served within a bound |\n| --- | --- | --- | --- | --- |\n")
	var all, shakes []outcome
	for _, h := range handshakes {
		shakes = append(shakes, h.is)
	}
	write := func(section string, rows []outcome) {
		var n [3]int
		for _, is := range rows {
			n[is]++
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d |\n", section, len(rows), n[refused], n[normal], n[bounded])
	}
	for _, s := range []struct {
		name string
		rows []outcome
	}{
		{"paths", each(spellings, func(s spelling) outcome { return s.is })},
		{"HTTP/1.1: where a request ends", each(framings, func(r request) outcome { return r.is })},
		{"HTTP/1.1: what a request says", each(heads, func(r request) outcome { return r.is })},
		{"answers of upstreams", each(answers, func(a answer) outcome { return a.is })},
		{"sizes", each(sizes, func(s size) outcome { return s.is })},
		{"slow clients", each(slows, func(s slow) outcome { return s.is })},
		{"TLS", shakes},
		{"HTTP/2: what a request says", each(fieldInputs, func(in input2) outcome { return in.is })},
		{"HTTP/2: frames", each(frameInputs, func(in input2) outcome { return in.is })},
		{"HTTP/2: floods", each(floods, func(f flood) outcome { return f.is })},
		{"tokens", slices.Concat(
			each(tokenInputs, tokenInput.outcome), each(claimInputs, tokenInput.outcome), each(bearerInputs, func(in bearerInput) outcome { return in.is }),
			each(replays, story[*identity].outcome), each(issuerInputs, func(in issuerInput) outcome { return in.is }),
			each(turnInputs, func(in turnInput) outcome { return in.is }), each(guesses, story[*issuers].outcome), each(tokenMistakes, mistake.outcome),
		)},
		{"API keys", slices.Concat(each(keyInputs, func(in keyInput) outcome { return in.is }), each(keyStories, story[*ring].outcome))},
		{"signed URLs", each(signedInputs, func(in signedInput) outcome { return in.is })},
		{"addresses, origins, injected fields", slices.Concat(
			each(addressInputs, edgeInput.outcome), each(originInputs, edgeInput.outcome), each(factInputs, edgeInput.outcome),
			each(balancedInputs, func(in balancedInput) outcome { return in.is }), each(edgeMistakes, mistake.outcome),
		)},
		{"rate limits", slices.Concat(
			each(rateInputs, func(in rateInput) outcome { return in.is }), each(rateStories, story[*rates].outcome), each(limitMistakes, mistake.outcome),
			each(faultInputs, func(in faultInput) outcome { return in.is }), each(faultStories, story[*faults].outcome), each(replyInputs, replyInput.outcome),
		)},
		{"addresses that are dialled", slices.Concat(each(dialInputs, func(in dialInput) outcome { return in.is }), each(dialMistakes, mistake.outcome))},
	} {
		write(s.name, s.rows)
		all = slices.Concat(all, s.rows)
	}
	write("all", all)
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, found := strings.Cut(string(text), beginMark)
	_, foot, closed := strings.Cut(rest, endMark)
	if !found || !closed {
		t.Fatalf("%s has no place for the table: %q and %q", doc, beginMark, endMark)
	}
	testkit.Golden(t, doc, []byte(head+beginMark+b.String()+endMark+foot))
}
