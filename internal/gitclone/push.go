package gitclone

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/suuupra/gateway/internal/gitcommit"
	"github.com/suuupra/gateway/internal/gitsend"
)

const pushTimeout = 2 * time.Minute

// Draft is a commit on top of a head that lies in the clone and nowhere else yet.
type Draft struct {
	Commit  string // hexadecimal
	on      Head
	objects []plumbing.Hash // what it is made of, beside what the head has
}

// Author signs commits.
type Author struct{ Name, Email string }

// Draft writes a commit that follows a head, with edits below a folder ("" is the root): path from there to content, nil to take a file
// away. A folder that holds nothing any more goes with its last file. It is in the clone, for a compiler to look at.
func (c *Clone) Draft(on Head, folder string, edits map[string][]byte, message string, by Author, when time.Time) (*Draft, error) {
	if c.remote == nil {
		return nil, errors.New("commits are not written into a repository on this machine: name its URL")
	}
	s, err := c.open()
	if err != nil {
		return nil, err
	}
	below := map[string][]byte{}
	for path, data := range edits {
		below[strings.TrimPrefix(folder+"/"+path, "/")] = data
	}
	id, made, err := gitcommit.Write(s.objects, &gitcommit.Commit{
		Parent: on.Commit, Edits: below, Message: message, Author: object.Signature{Name: by.Name, Email: by.Email, When: when.UTC()},
	})
	if err != nil {
		return nil, err
	}
	return &Draft{Commit: id.String(), on: on, objects: made}, nil
}

// Push makes a draft the head of its branch, if that still stands where the draft begins: else it returns gitsend.ErrMoved, and a
// server's own reasons as *gitsend.Refused.
func (c *Clone) Push(ctx context.Context, d *Draft) error {
	branch := plumbing.ReferenceName(d.on.Ref)
	if !branch.IsBranch() {
		return fmt.Errorf("push: %s is no branch", branch)
	}
	s, err := c.open()
	if err != nil {
		return err
	}
	defer c.remote.Rest()
	err = c.remote.Send(ctx, pushTimeout, gitsend.Push{
		Branch: branch, From: plumbing.NewHash(d.on.Commit), To: plumbing.NewHash(d.Commit), Objects: s.objects, New: d.objects,
	})
	if err != nil {
		return c.redact(fmt.Errorf("push to %s: %w", branch.Short(), err))
	}
	return nil
}

// IsBranch reports whether a head is that of a branch, which can be moved; HEAD is none, as it does not say which.
func (h Head) IsBranch() bool { return plumbing.ReferenceName(h.Ref).IsBranch() }

func split(folder string) []string {
	if folder == "" {
		return nil
	}
	return strings.Split(folder, "/")
}
