package activate

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/suuupra/gateway/internal/gate"
	"github.com/suuupra/gateway/internal/overlay"
	"github.com/suuupra/gateway/runtime/snapshot"
	"github.com/suuupra/gateway/schema/bundle"
)

// Gate judges the step from what serves to a candidate. An error is a judge that cannot judge: the candidate does not serve.
type Gate func(ctx context.Context, s Step) (gate.Verdict, error)

// Step is what a Gate judges.
type Step struct {
	Running   *snapshot.Snapshot
	Candidate *bundle.Verdict
	Next      *snapshot.Snapshot // the candidate, built; nil: it was let go, and waits
	Back      bool               // the candidate served before
	Mode      Mode               // what becomes of it if nothing is held against it
}

// candidate is a bundle on its way, verified.
type candidate struct {
	verdict *bundle.Verdict
	archive []byte // its exact bytes
	etag    string // of the source it came from

	approvers []string // keys of those who approved of it
}

// remembered is how many bundles that served before are known to have.
const remembered = 16

// passes asks the gate, and the mode, whether a candidate may serve. One that may not waits.
func (a *Activator) passes(ctx context.Context, c *candidate, current, next *snapshot.Snapshot, laid []overlay.Outcome) (bool, error) {
	mode, back := a.mode(current), a.servedBefore(c.verdict.Bundle.Digest(), current)
	var v gate.Verdict
	if a.o.Gate != nil {
		var err error
		if v, err = a.o.Gate(ctx, Step{
			Running: current, Candidate: c.verdict, Next: next, Back: back, Mode: mode,
		}); err != nil {
			return false, &judgeError{err}
		}
	}
	if !back {
		v.Refusals = append(v.Refusals, heldByOverlays(laid)...)
	}
	switch {
	case mode == DryRun && v.Open():
		a.wait(c, "sync is in dry-run; it verifies and builds", nil)
	case mode == DryRun:
		a.wait(c, "sync is in dry-run; otherwise it would be held: "+rules(v.Refusals), v.Refusals)
	case !v.Open():
		a.wait(c, "held: "+rules(v.Refusals), v.Refusals)
	default:
		if c.approvers = v.Approvers; len(v.Approvers) > 0 {
			a.o.Log.Info("a change is approved", slog.String("version", c.verdict.Position.String()), slog.Any("keys", v.Approvers))
		}
		return true, nil
	}
	return false, nil
}

// judgeError is a gate that could not be asked.
type judgeError struct{ err error }

func (e *judgeError) Error() string { return "judge the change: " + e.err.Error() }
func (e *judgeError) Unwrap() error { return e.err }

// servedBefore reports whether going to a bundle is going back.
func (a *Activator) servedBefore(d bundle.Digest, current *snapshot.Snapshot) bool {
	return d == current.Info.Replaces || slices.Contains(a.served, d)
}

// rules says which rules hold a change.
func rules(refusals []gate.Refusal) string {
	var out []string
	for i := range refusals {
		r := &refusals[i]
		text := r.Rule
		if r.Want > 0 {
			text += fmt.Sprintf(" (%d of %d approvals)", r.Have, r.Want)
		}
		out = append(out, text+": "+r.Why)
	}
	return strings.Join(out, "; ")
}

// Reconsider asks the gate again about the candidate that waits, if there is one: it may have been approved since, or its time has
// come. The error says why it does not serve; one that still waits is none.
func (a *Activator) Reconsider(ctx context.Context) error {
	a.work.Lock()
	defer a.work.Unlock()
	c, current := a.held, a.running()
	if c == nil || current == nil {
		return nil
	}
	if a.o.Now().Before(c.verdict.Channel.ExpiresAt.Time) { // if not, Offer says so
		_, laid, err := a.lay(c.verdict.Bundle, a.lasting())
		if err != nil {
			return a.outcome(ctx, err)
		}
		if open, err := a.passes(ctx, c, current, nil, laid); err != nil || !open {
			return a.outcome(ctx, err)
		}
	}
	raw, err := bundle.DecodeArchive(c.archive)
	if err == nil {
		err = a.offer(ctx, raw, c.etag)
	}
	return a.outcome(ctx, err)
}
