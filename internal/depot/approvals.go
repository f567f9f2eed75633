package depot

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/suuupra/gateway/schema/bundle"
)

// Approvals reads the approvals that lie at a place for an environment, none of them verified, and the image manifest they stand in. A
// place without any has an empty list.
func Approvals(ctx context.Context, v View, environment string) ([][]byte, bundle.Digest, error) {
	image, err := v.Tag(ctx, bundle.ApprovalsTag(environment))
	if errors.Is(err, ErrNotFound) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	data, err := v.Image(ctx, image)
	if err != nil {
		return nil, "", err
	}
	layers, err := bundle.ApprovalLayers(data)
	if err != nil {
		return nil, "", err
	}
	envelopes := make([][]byte, len(layers))
	for i, ref := range layers {
		if envelopes[i], err = v.Blob(ctx, ref); err != nil {
			return nil, "", err
		}
	}
	artifact, err := bundle.ApprovalsArtifact(environment, envelopes)
	if err != nil {
		return nil, "", err
	}
	return envelopes, image.Digest, artifact.Check(data)
}

// Approve adds an approval to those of its environment. The oldest make room: whoever needs one that old has to ask again.
func Approve(ctx context.Context, to Writer, envelope []byte) error {
	a, err := bundle.PeekApproval(envelope)
	if err != nil {
		return err
	}
	for range approveAttempts {
		if err = approve(ctx, to, a, envelope); !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return err
}

// approveAttempts is how often two approvers at the same time try to be the one after the other.
const approveAttempts = 8

func approve(ctx context.Context, to Writer, a *bundle.Approval, envelope []byte) error {
	view, err := to.Look(ctx, a.Environment, "")
	if err != nil {
		return err
	}
	all, expect, err := Approvals(ctx, view, a.Environment)
	if err != nil {
		return fmt.Errorf("read the approvals at the destination: %w", err)
	}
	if slices.ContainsFunc(all, func(e []byte) bool { return string(e) == string(envelope) }) {
		return nil
	}
	all = append(all, envelope)
	if extra := len(all) - bundle.MaxApprovals; extra > 0 {
		all = all[extra:]
	}
	head, err := bundle.ApprovalsArtifact(a.Environment, all)
	if err != nil {
		return err
	}
	if err := to.Prepare(ctx); err != nil {
		return err
	}
	for _, data := range append(slices.Clone(all), []byte(bundle.EmptyBlob)) { // a place may have dropped what it thought nobody needs
		if err := to.Put(ctx, bundle.RefOf(data), data); err != nil {
			return err
		}
	}
	return to.Commit(ctx, Commit{Head: head, Expect: expect, Message: fmt.Sprintf("Approve %s for %s", a.Manifest.Short(), a.Environment)})
}
