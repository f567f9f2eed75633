package load

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"

	"github.com/suuupra/gateway/schema/diag"
)

// UnknownRevisionError says that a revision names no commit.
type UnknownRevisionError struct {
	Rev     string
	Reason  string // what is known about why, may be empty
	Similar string // a branch or tag with a similar name, may be empty
	Shallow bool   // the clone is shallow, so the commit may exist elsewhere
}

// Error says what was looked for and what may have been meant.
func (e *UnknownRevisionError) Error() string {
	msg := fmt.Sprintf("unknown revision %q", e.Rev)
	if e.Reason != "" {
		msg += ": " + e.Reason
	}
	if e.Similar != "" {
		msg += fmt.Sprintf("; did you mean %q?", e.Similar)
	}
	if e.Shallow {
		msg += "; " + ErrShallow.Error()
	}
	return msg
}

// Is makes errors.Is(err, ErrShallow) hold where the clone is shallow.
func (e *UnknownRevisionError) Is(target error) bool { return e.Shallow && target == ErrShallow }

// revision splits "name~2^1" into the name and the steps.
var revision = regexp.MustCompile(`^([^~^]+)((?:~[0-9]*|\^[0-9]*|\^\{commit\})*)$`)

var revisionStep = regexp.MustCompile(`([~^])(\{commit\}|[0-9]*)`)

// maxSteps bounds how far ~n goes back.
const maxSteps = 1_000_000

// Resolve returns the full hash of the commit a revision names. As in git a branch or tag wins over a short hash.
func (r *Repo) Resolve(rev string) (string, error) {
	m := revision.FindStringSubmatch(rev)
	if m == nil || strings.HasPrefix(rev, "-") || strings.ContainsAny(rev, " \t\r\n:?*[\\\x00\x7f") || strings.Contains(rev, "..") || strings.Contains(rev, "@{") {
		return "", &UnknownRevisionError{Rev: rev, Reason: "it is not a branch, tag, hash or HEAD, optionally followed by ~n or ^n"}
	}
	hash, err := r.base(m[1])
	if err != nil {
		return "", err
	}
	commit, err := r.peel(hash)
	if err != nil {
		return "", r.unknown(rev, err)
	}
	for _, step := range revisionStep.FindAllStringSubmatch(m[2], -1) {
		if commit, err = r.step(commit, step[1], step[2]); err != nil {
			return "", r.unknown(rev, err)
		}
	}
	return commit.Hash.String(), nil
}

// base finds what the name in a revision stands for.
func (r *Repo) base(name string) (plumbing.Hash, error) {
	if name == "@" {
		name = "HEAD"
	}
	for _, rule := range plumbing.RefRevParseRules {
		ref, err := storer.ResolveReference(r.git.Storer, plumbing.ReferenceName(fmt.Sprintf(rule, name)))
		if err == nil {
			return ref.Hash(), nil
		}
	}
	if hash, ok := r.fullOrShort(name); ok {
		return hash, nil
	}
	if name == "HEAD" {
		return plumbing.ZeroHash, &UnknownRevisionError{Rev: name, Reason: "the repository has no commit yet"}
	}
	return plumbing.ZeroHash, &UnknownRevisionError{Rev: name, Similar: diag.Suggest(name, r.names()), Shallow: r.shallow()}
}

var hexName = regexp.MustCompile(`^[0-9a-fA-F]{4,40}$`)

// fullOrShort finds the one commit or tag whose hash begins with name.
func (r *Repo) fullOrShort(name string) (plumbing.Hash, bool) {
	if !hexName.MatchString(name) {
		return plumbing.ZeroHash, false
	}
	name = strings.ToLower(name)
	if len(name) == 40 {
		return plumbing.NewHash(name), true
	}
	var found []plumbing.Hash
	full, err := r.git.Storer.(prefixer).HashesWithPrefix(decodeEven(name))
	if err != nil {
		return plumbing.ZeroHash, false
	}
	slices.SortFunc(full, func(a, b plumbing.Hash) int { return strings.Compare(a.String(), b.String()) })
	for _, h := range slices.Compact(full) {
		if strings.HasPrefix(h.String(), name) {
			if _, err := r.peel(h); err == nil {
				found = append(found, h)
			}
		}
	}
	if len(found) != 1 {
		return plumbing.ZeroHash, false
	}
	return found[0], true
}

// prefixer is what the storage of a repository on disk offers.
type prefixer interface {
	HashesWithPrefix(prefix []byte) ([]plumbing.Hash, error)
}

// decodeEven decodes the whole bytes of a hexadecimal prefix.
func decodeEven(s string) []byte {
	out := make([]byte, len(s)/2)
	for i := range out {
		v, _ := strconv.ParseUint(s[2*i:2*i+2], 16, 8)
		out[i] = byte(v)
	}
	return out
}

// peel returns the commit a hash names, through tags.
func (r *Repo) peel(hash plumbing.Hash) (*object.Commit, error) {
	for range 8 {
		commit, err := r.git.CommitObject(hash)
		if err == nil || !errors.Is(err, plumbing.ErrObjectNotFound) {
			return commit, err
		}
		tag, terr := r.git.TagObject(hash)
		if terr != nil {
			return nil, err
		}
		hash = tag.Target
	}
	return nil, errors.New("tags name one another")
}

// step goes from a commit to one of its ancestors.
func (r *Repo) step(c *object.Commit, op, arg string) (*object.Commit, error) {
	n := 1
	if arg == "{commit}" {
		return c, nil
	} else if arg != "" {
		var err error
		if n, err = strconv.Atoi(arg); err != nil || n > maxSteps {
			return nil, errors.New("the number is too large")
		}
	}
	if op == "^" {
		if n == 0 {
			return c, nil
		}
		if n > len(c.ParentHashes) {
			return nil, fmt.Errorf("%s has %d parents", c.Hash.String()[:12], len(c.ParentHashes))
		}
		return r.git.CommitObject(c.ParentHashes[n-1])
	}
	for range n {
		if len(c.ParentHashes) == 0 {
			return nil, fmt.Errorf("the history begins with %s", c.Hash.String()[:12])
		}
		parent, err := r.git.CommitObject(c.ParentHashes[0])
		if err != nil {
			return nil, err
		}
		c = parent
	}
	return c, nil
}

func (r *Repo) unknown(rev string, err error) error {
	u := &UnknownRevisionError{Rev: rev, Reason: err.Error()}
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		u.Reason, u.Shallow = "no such commit", r.shallow()
	}
	return u
}

func (r *Repo) shallow() bool {
	hashes, err := r.git.Storer.Shallow()
	return err == nil && len(hashes) > 0
}

// names lists the short names of branches, remote-tracking branches and tags.
func (r *Repo) names() []string {
	out := []string{"HEAD"}
	refs, err := r.git.References()
	if err != nil {
		return out
	}
	_ = refs.ForEach(func(ref *plumbing.Reference) error { // the iterator fails only if this does
		if n := ref.Name(); n.IsBranch() || n.IsRemote() || n.IsTag() {
			out = append(out, n.Short())
		}
		return nil
	})
	return out
}
