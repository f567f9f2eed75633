package publisher

import (
	"fmt"
	"strings"

	"github.com/suuupra/gateway/schema/bundle"
)

// firstLines is how much of a diagnosis stands in a log line; the status has more.
const firstLines = 3

// Event is what became of a commit in one environment.
type Event struct {
	Environment string
	State       State // Published, Held or Invalid
	Commit      string
	Before      bundle.Digest // that was published; empty: nothing was
	Candidate   bundle.Digest // empty: it does not compile
	Version     string        // of the channel, if it was published
	Approvers   []string      // keys of those who approved of it
	Why         string        // it was not
}

// event is what there is to say of a state.
func (e *environment) event(next *Environment) Event {
	out := Event{Environment: e.name, State: next.State, Commit: next.Head, Candidate: bundle.Digest(next.Candidate)}
	if next.Published != nil {
		out.Before = bundle.Digest(next.Published.Digest)
	}
	return out
}

// tell writes the line about a state, once for each.
func (e *environment) tell(next *Environment) {
	said := e.summary(next)
	if said == e.told || next.State == Pending {
		return
	}
	e.told = said
	args := []any{"commit", next.Head}
	if next.Candidate != "" {
		args = append(args, "digest", next.Candidate)
	}
	if next.Published != nil {
		args = append(args, "published", next.Published.Version, "publishedCommit", next.Published.Commit)
	}
	switch next.State {
	case Published:
		e.log.Info("nothing to publish: gateways are told to run this already", args...)
	case Held:
		var rules []string
		for i := range next.Rules {
			rules = append(rules, next.Rules[i].text())
		}
		if next.Rewritten != "" {
			args = append(args, "rewritten", next.Rewritten)
		}
		held := e.event(next)
		held.Why = strings.Join(rules, "; ")
		e.p.opts.Told(held)
		e.log.Warn("held: what is published stays until the rules let the head go live", append(args, "rules", rules, "how", next.Rules[0].How)...)
	case Invalid:
		what := "the head does not compile: what is published stays until it is mended"
		if next.Candidate != "" {
			what = "tests of the head fail: what is published stays until they are mended"
		}
		invalid := e.event(next)
		invalid.Why = first(next.Diagnostics)
		e.p.opts.Told(invalid)
		e.log.Error(what, append(args, "mistakes", next.Mistakes, "first", first(next.Diagnostics))...)
	case Failed:
		e.log.Warn("what is published could not be brought up to date; it is tried again", append(args, "reason", next.Reason, "error", next.Error, "nextTry", next.NextTry)...)
	}
}

// summary is what makes a state worth a line: the same summary is the same news.
func (e *environment) summary(next *Environment) string {
	parts := []string{string(next.State), next.Head, next.Candidate, next.Reason, next.Error}
	for i := range next.Rules {
		parts = append(parts, next.Rules[i].text())
	}
	return strings.Join(parts, "\x00")
}

func (r *Rule) text() string {
	if r.Needed == 0 {
		return r.Rule + ": " + r.Why
	}
	return fmt.Sprintf("%s (%d of %d approvals): %s", r.Rule, r.Have, r.Needed, r.Why)
}

func first(text string) string {
	lines := strings.SplitN(strings.TrimSpace(text), "\n", firstLines+1)
	return strings.Join(lines[:min(len(lines), firstLines)], "\n")
}
