package gitwatch

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"
)

// sight is how a watcher sees a repository.
type sight interface {
	look(ctx context.Context) (refs, error)
	// rest lets go of connections until the next look.
	rest()
}

// refs is what one look saw.
type refs interface {
	// find returns the full name and the commit of the first of the names that is there; NoRef if none is.
	find(names []plumbing.ReferenceName) (ref, commit string, err error)
}

func newSight(a *Address, token string) (sight, error) {
	if dir, ok := a.Directory(); ok {
		return directory(dir), nil
	}
	r, err := NewRemote(a, token, 0) // a watcher fetches nothing
	if err != nil {
		return nil, err
	}
	return distant{r}, nil
}

// distant is a repository behind a server.
type distant struct{ *Remote }

func (d distant) rest() { d.Rest() }

func (d distant) look(ctx context.Context) (refs, error) {
	adv, err := d.advertised(ctx)
	if errors.Is(err, transport.ErrEmptyRemoteRepository) {
		return advertised{packp.NewAdvRefs()}, nil
	}
	if err != nil {
		return nil, err
	}
	return advertised{adv}, nil
}

type advertised struct{ *packp.AdvRefs }

func (a advertised) find(names []plumbing.ReferenceName) (string, string, error) {
	t, err := Pick(a.AdvRefs, names)
	if err != nil {
		return "", "", err
	}
	if commit, ok := a.Peeled[t.Name.String()]; ok {
		t.ID = commit
	}
	return t.Name.String(), t.ID.String(), nil
}

// directory is a repository on this machine.
type directory string

func (directory) rest() {}

func (d directory) look(context.Context) (refs, error) {
	repo, err := git.PlainOpenWithOptions(string(d), &git.PlainOpenOptions{EnableDotGitCommonDir: true})
	if errors.Is(err, git.ErrRepositoryNotExists) {
		return nil, fmt.Errorf("%s is not the top of a git repository", string(d))
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", string(d), err)
	}
	return opened{repo}, nil
}

type opened struct{ *git.Repository }

func (o opened) find(names []plumbing.ReferenceName) (string, string, error) {
	t, err := Resolve(o.Storer, names)
	if err != nil {
		return "", "", err
	}
	for range 5 { // a tag may stand for a tag
		tag, err := object.GetTag(o.Storer, t.ID)
		if err != nil {
			break
		}
		t.ID = tag.Target
	}
	return t.Name.String(), t.ID.String(), nil
}

// Spellings lists how credentials could turn up in a message.
func Spellings(credentials ...string) []string {
	var out []string
	for _, v := range credentials {
		if v != "" {
			out = append(out, v, url.QueryEscape(v), url.PathEscape(v), url.UserPassword("", v).String()[1:])
		}
	}
	return out
}

// Redact makes a line out of an error that may quote what a server said.
func Redact(err error, secrets []string) string {
	text := strings.ToValidUTF8(err.Error(), "")
	for _, s := range secrets {
		text = strings.ReplaceAll(text, s, "***")
	}
	text = strings.Map(func(r rune) rune {
		if control(r) {
			return ' '
		}
		return r
	}, text)
	if len(text) > 500 {
		text = strings.ToValidUTF8(text[:500], "") + "..."
	}
	return text
}
