// Package gitsend moves a branch behind a git server from one commit to the next, with the objects the server lacks: what git push
// does, without a work tree or a git program. The server compares the old commit under its own lock, so of two writers one wins. It
// must not fetch, nor decide what is worth pushing.
package gitsend

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/plumbing/transport"
)

// ErrMoved says that the branch is not where the push begins: somebody else was faster.
var ErrMoved = errors.New("the branch has moved in the meantime")

// Refused is a push that the server did not take, in its words.
type Refused struct{ Status string }

// Error quotes the server, as far as a message may be long.
func (e *Refused) Error() string {
	return fmt.Sprintf("the server refused the push: %.200q", e.Status)
}

// Push is one step of a branch.
type Push struct {
	Branch   plumbing.ReferenceName
	From, To plumbing.Hash              // From is zero for a branch that is to be made
	Objects  storer.EncodedObjectStorer // holds New
	New      []plumbing.Hash            // what the server does not have
}

// Send makes the push in a session. It returns ErrMoved, *Refused, or an error of the conversation.
func (p *Push) Send(ctx context.Context, session transport.ReceivePackSession) error {
	adv, err := session.AdvertisedReferencesContext(ctx)
	if errors.Is(err, transport.ErrEmptyRemoteRepository) {
		return errors.New("the repository is empty and says nothing about itself: push a first commit to it")
	}
	if err != nil {
		return err
	}
	if adv.References[p.Branch.String()] != p.From {
		return ErrMoved
	}
	var pack bytes.Buffer
	if _, err := packfile.NewEncoder(&pack, p.Objects, false).Encode(p.New, 0); err != nil {
		return fmt.Errorf("write pack: %w", err)
	}
	req := packp.NewReferenceUpdateRequestFromCapabilities(adv.Capabilities)
	req.Capabilities.Delete(capability.Sideband)
	req.Capabilities.Delete(capability.Sideband64k)
	if !adv.Capabilities.Supports(capability.ReportStatus) {
		return errors.New("the server does not report whether a push succeeded")
	}
	req.Commands = []*packp.Command{{Name: p.Branch, Old: p.From, New: p.To}}
	req.Packfile = io.NopCloser(&pack)
	report, err := session.ReceivePack(ctx, req)
	if report != nil {
		for _, s := range report.CommandStatuses {
			if s.ReferenceName == p.Branch && s.Status != "ok" {
				return &Refused{s.Status} // the server compares the old tip under its lock
			}
		}
	}
	return err
}
