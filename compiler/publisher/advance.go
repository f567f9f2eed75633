package publisher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/suuupra/gateway/compiler/publish"
	"github.com/suuupra/gateway/internal/depot"
	"github.com/suuupra/gateway/internal/gate"
	"github.com/suuupra/gateway/internal/gitclone"
	"github.com/suuupra/gateway/schema/bundle"
)

// advance publishes the candidate on top of what was looked at, or finds why not.
func (e *environment) advance(ctx context.Context, k *Keys, next *Environment, built error) error {
	c, head := e.candidate, e.p.head.Commit
	known := c != nil && c.commit == head && built == nil
	if known {
		next.Mistakes, next.Diagnostics = c.mistakes, c.text
		if c.bundle != nil {
			next.Candidate = string(c.bundle.Digest())
		}
	}
	switch {
	case e.now.isHeld(): // before anything else: somebody went back, and is not done
		next.State, next.Rules = Held, []Rule{e.heldBy(e.now.channel.Hold)}
		return nil
	case built != nil:
		return built
	case !known: // the repository was never reached
		return nil
	case c.bundle == nil, c.mistakes > 0:
		next.State = Invalid
		return nil
	case e.now.is(c.bundle):
		next.State = Published
		return nil
	}
	var err error
	if next.Rewritten, err = e.lineage(ctx); err != nil {
		return err
	}
	v, err := e.judge(ctx, k)
	if err != nil {
		return err
	}
	if !v.Open() {
		return e.hold(ctx, k, next, v)
	}
	return e.publish(ctx, k, next, v)
}

// lineage says in words when the head does not follow on what is published. Then the branch is asked once more: a publisher that was
// slow must not take an older head for a branch that was moved back.
func (e *environment) lineage(ctx context.Context) (string, error) {
	if e.now.channel == nil {
		return "", nil
	}
	was, head := e.now.bundle.Manifest.Source.Commit, e.p.head
	relation, err := e.p.opts.Clone.Relate(ctx, was, head.Commit)
	if err != nil {
		return "", failed("repository", err)
	}
	if relation == gitclone.Forward || relation == gitclone.Same {
		return "", nil
	}
	present, err := e.p.opts.Clone.Fetch(ctx)
	if err != nil {
		return "", failed("repository", err)
	}
	if present != head {
		e.p.again = time.Time{} // the repository answers
		e.p.update(func(*Status) { e.p.moved = true })
		return "", errMoved
	}
	switch relation {
	case gitclone.Back:
		return fmt.Sprintf("the branch was moved back: the head is an ancestor of commit %s, which is published", was), nil
	case gitclone.Diverged:
		return fmt.Sprintf("the branch was rewritten: commit %s, which is published, is not in its history", was), nil
	}
	return "", nil
}

// judge asks the rules of what is published. The approvals are read only if somebody has to be asked.
func (e *environment) judge(ctx context.Context, k *Keys) (gate.Verdict, error) {
	if e.now.channel == nil {
		return gate.Verdict{}, nil
	}
	base, to := e.now.bundle.Digest(), e.candidate.bundle.Digest()
	if e.compared.Base != base || e.compared.Candidate != to {
		e.compared = e.p.opts.Compare(e.now.program, e.candidate.program)
		e.compared.Base, e.compared.Candidate = base, to
	}
	rules, now := e.now.program.Gateway.Rules(), e.p.opts.Now()
	if v := gate.Judge(e.compared, rules, nil, now); v.Open() {
		return v, nil
	}
	view, err := e.p.opts.To.Look(ctx, e.name, "")
	if err != nil {
		return gate.Verdict{}, fmt.Errorf("read the approvals: %w", err)
	}
	envelopes, _, err := depot.Approvals(ctx, view, e.name)
	if err != nil {
		return gate.Verdict{}, fmt.Errorf("read the approvals: %w", err)
	}
	good, _ := gate.Verify(envelopes, bundle.Check{Trust: k.Trust, Environment: e.name, Name: e.now.program.Gateway.Name, Now: now})
	return gate.Judge(e.compared, rules, good, now), nil
}

// hold brings the candidate to the destination, for people to look at, and says who holds it.
func (e *environment) hold(ctx context.Context, k *Keys, next *Environment, v gate.Verdict) error {
	next.State = Held
	digest := e.candidate.bundle.Digest()
	for i := range v.Refusals {
		next.Rules = append(next.Rules, ruleOf(&v.Refusals[i], e.approval(digest, v.Refusals[i].Codes)))
	}
	if e.proposed == digest {
		return nil
	}
	view, err := e.p.opts.To.Look(ctx, e.name, "")
	if err != nil {
		return err
	}
	if _, err = view.Tag(ctx, bundle.BundleTag(digest)); errors.Is(err, depot.ErrNotFound) { // else an earlier start proposed it
		var signed *bundle.Bundle
		if signed, err = e.signed(k); err != nil {
			return err
		}
		err = publish.Propose(ctx, e.p.opts.To, signed)
	}
	if err == nil {
		e.proposed = digest
	}
	return err
}

// publish makes the candidate current.
func (e *environment) publish(ctx context.Context, k *Keys, next *Environment, v gate.Verdict) error {
	signed, err := e.signed(k)
	if err != nil {
		return err
	}
	r, err := publish.Publish(ctx, e.p.opts.To, signed, e.settings(k))
	if err != nil {
		return err
	}
	e.took(r, signed, e.candidate.program)
	next.State = Published
	e.p.opts.Told(Event{
		Environment: e.name, State: Published, Commit: e.candidate.commit, Before: r.Channel.Replaces, Candidate: signed.Digest(),
		Version: r.Position.String(), Approvers: v.Approvers,
	})
	args := []any{"commit", e.candidate.commit, "digest", string(signed.Digest()), "version", r.Position.String(), "expires", r.Channel.ExpiresAt.UTC()}
	if r.Channel.Replaces != "" {
		args = append(args, "replaces", string(r.Channel.Replaces))
	}
	if len(v.Approvers) > 0 {
		args = append(args, "approvedBy", v.Approvers)
	}
	if next.Rewritten != "" {
		args = append(args, "rewritten", next.Rewritten)
	}
	e.log.Info("published", args...)
	e.told = e.summary(next)
	return nil
}

// signed is the candidate with the release key as it is by now. The candidate itself stays unsigned: a key may be replaced while it
// is held.
func (e *environment) signed(k *Keys) (*bundle.Bundle, error) {
	b := *e.candidate.bundle
	if err := b.Sign(k.Release); err != nil {
		return nil, failed("keys", err)
	}
	return &b, nil
}

func (e *environment) heldBy(h *bundle.Hold) Rule {
	why := "the environment was rolled back, and is held: " + h.Reason
	if h.By != "" {
		why = fmt.Sprintf("the environment was rolled back by %s, and is held: %s", h.By, h.Reason)
	}
	return Rule{Rule: "rollback", Why: why, How: fmt.Sprintf("gwctl apply --env %s --to %s --trust trust.json --key release.key --channel-key channel.key --lift-hold", e.name, e.p.opts.Place)}
}

// approval is the command line that approves of a candidate.
func (e *environment) approval(digest bundle.Digest, codes []string) string {
	line := fmt.Sprintf("gwctl approve %s --env %s --to %s --trust trust.json --key approver.key --reason \"...\"", digest, e.name, e.p.opts.Place)
	if slices.Contains(codes, gate.OutsideWindow) {
		line += " --any-time"
	}
	return line
}
