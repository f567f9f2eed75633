// Package gitclone keeps a bare clone of one repository, for whoever compiles the commit a branch stands for. What a server may send
// is bounded before it is unpacked; without a git program nothing is ever checked out, and no hook is run. A clone is a copy: one
// that is damaged, or has grown too much, is made anew. It must not compile, nor decide what a commit is good for.
package gitclone

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/suuupra/gateway/internal/gitwatch"
)

// Options say which repository.
type Options struct {
	// Repository is an https or ssh URL, http to a loopback address, or a directory of this machine, which is read where it lies. A
	// name and password may stand in the URL; they show nowhere.
	Repository string
	Ref        string // branch or tag; empty is HEAD
	Token      string // password for https where the URL has none
	Dir        string // keeps the clone; one process at a time may have that of a repository
}

// Head is where the ref stands.
type Head struct {
	Ref    string // its full name
	Commit string // hexadecimal; what an annotated tag leads to
}

// Clone is the clone of one repository. It is for one goroutine at a time.
type Clone struct {
	address string
	names   []plumbing.ReferenceName
	secrets []string
	base    string           // what the names of all files begin with
	dir     string           // of the clone, or of the repository itself
	remote  *gitwatch.Remote // nil: dir is the repository itself
	limits  limits
	unlock  func()
}

// Open judges the options, and takes the directory for this process. It opens no connection.
func Open(o Options) (*Clone, error) {
	a, err := gitwatch.ParseAddress(o.Repository)
	if err != nil {
		return nil, fmt.Errorf("repository: %w", err)
	}
	names, err := gitwatch.ParseRef(o.Ref)
	if err != nil {
		return nil, fmt.Errorf("repository: %w", err)
	}
	c := &Clone{address: a.String(), names: names, secrets: gitwatch.Spellings(a.Password(), o.Token), limits: usualLimits()}
	dir, err := filepath.Abs(o.Dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("directory for the clone: %w", err)
	}
	sum := sha256.Sum256([]byte(c.address)) // an address may hold what no file name can
	c.base = filepath.Join(dir, "clone-"+hex.EncodeToString(sum[:8]))
	if local, ok := a.Directory(); ok {
		c.dir = local
	} else {
		c.dir = c.base + ".git"
		if c.remote, err = gitwatch.NewRemote(a, o.Token, c.limits.pack); err != nil {
			return nil, fmt.Errorf("repository: %w", err)
		}
	}
	if c.unlock, err = lock(c.base + ".lock"); err != nil {
		return nil, fmt.Errorf("directory for the clone: %w", err)
	}
	return c, nil
}

// Close lets go of connections and of the directory, and keeps the clone for the next start.
func (c *Clone) Close() {
	if c.remote != nil {
		c.remote.Rest()
	}
	c.unlock()
}

// Address is the repository's, without credentials.
func (c *Clone) Address() string { return c.address }

// GitDir is what a compiler may open.
func (c *Clone) GitDir() string { return c.dir }

// Beside is the path of a file that goes with the clone. No other process has it.
func (c *Clone) Beside(name string) string { return c.base + "-" + name }

// Fetch brings the commit that the ref stands for, and its history, into the clone.
func (c *Clone) Fetch(ctx context.Context) (Head, error) {
	h, err := c.fetch(ctx)
	if err != nil {
		return Head{}, c.redact(fmt.Errorf("fetch %s: %w", c.names[0].Short(), err))
	}
	return h, nil
}

func (c *Clone) fetch(ctx context.Context) (Head, error) {
	if c.remote == nil {
		return c.resolve()
	}
	defer c.remote.Rest()
	if err := c.tidy(); err != nil {
		return Head{}, err
	}
	h, err := c.converse(ctx)
	var broken *damaged
	if errors.As(err, &broken) && ctx.Err() == nil {
		if err := c.Discard(); err != nil {
			return Head{}, err
		}
		h, err = c.converse(ctx)
	}
	return h, err
}

// resolve reads the ref of a repository on this machine.
func (c *Clone) resolve() (Head, error) {
	s, err := c.open()
	if err != nil {
		return Head{}, err
	}
	t, err := gitwatch.Resolve(s.refs, c.names)
	if err != nil {
		return Head{}, err
	}
	return s.head(t)
}

// Discard removes the clone, so that the next Fetch makes it anew. A repository on this machine stays as it is.
func (c *Clone) Discard() error {
	if c.remote == nil {
		return nil
	}
	if err := os.RemoveAll(c.dir); err != nil {
		return fmt.Errorf("discard the clone: %w", err)
	}
	return nil
}

// HasFolder reports whether a commit holds a folder, given by its slash path; "" is the root.
func (c *Clone) HasFolder(commit, folder string) (bool, error) {
	s, err := c.open()
	if err != nil {
		return false, err
	}
	at, err := object.GetCommit(s.objects, plumbing.NewHash(commit))
	if err != nil {
		return false, fmt.Errorf("read commit %s: %w", commit, err)
	}
	id, err := s.folder(at.TreeHash, folder)
	return !id.IsZero() && err == nil, err
}

// ParseFolder checks the path of a folder inside a repository: "" and "." are its root.
func ParseFolder(folder string) (string, error) {
	if folder == "" || folder == "." {
		return "", nil
	}
	if !fs.ValidPath(folder) || strings.HasPrefix(folder, "-") || strings.ContainsFunc(folder, func(r rune) bool { return r < 0x20 || r == 0x7f || r == '\\' }) {
		return "", fmt.Errorf("folder %.80q is not a path inside the repository, such as gateway/config", folder)
	}
	return folder, nil
}

// redacted is an error whose text may quote a server, without the credentials it was asked with.
type redacted struct {
	text  string
	cause error
}

func (e *redacted) Error() string { return e.text }
func (e *redacted) Unwrap() error { return e.cause }

func (c *Clone) redact(err error) error { return &redacted{gitwatch.Redact(err, c.secrets), err} }
