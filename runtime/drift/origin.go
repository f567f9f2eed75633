package drift

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"github.com/suuupra/gateway/internal/gitwatch"
)

const (
	fetchTimeout = 5 * time.Minute
	shallowDepth = 50 // commits, where the whole history is too large
	incoming     = "incoming-"
)

// tip is what the ref stands for at the moment.
type tip = gitwatch.Tip

// origin is where the tracked ref lives.
type origin interface {
	// look finds the ref, without fetching anything.
	look(ctx context.Context) (tip, error)
	// open returns a store that holds what look found last.
	open(ctx context.Context, t tip) (*store, error)
	// rest lets go of connections until the next check.
	rest()
}

// errMoved is a push between look and open: the check starts again.
var errMoved = errors.New("the ref moved in the middle of the check")

// fetchError is a failure of the server or the way to it, as opposed to one of the clone.
type fetchError struct{ err error }

func (e *fetchError) Error() string { return "fetch: " + e.err.Error() }
func (e *fetchError) Unwrap() error { return e.err }

// directory is a repository on this machine, read where it lies.
type directory struct {
	dir   string
	names []plumbing.ReferenceName
}

func (d *directory) rest() {}

func (d *directory) look(context.Context) (tip, error) {
	s, err := openDirectory(d.dir)
	if err != nil {
		return tip{}, err
	}
	return gitwatch.Resolve(s.refs, d.names)
}

func (d *directory) open(context.Context, tip) (*store, error) { return openDirectory(d.dir) }

// remote is a repository behind https or ssh, with the clone kept of it.
type remote struct {
	*gitwatch.Remote
	names  []plumbing.ReferenceName
	clone  clone
	limits limits
}

func newRemote(a *gitwatch.Address, token, dir string, names []plumbing.ReferenceName, lim limits) (*remote, error) {
	r, err := gitwatch.NewRemote(a, token, lim.pack)
	if err != nil {
		return nil, err
	}
	return &remote{Remote: r, names: names, clone: clone{dir}, limits: lim}, nil
}

func (r *remote) rest() { r.Rest() }

func (r *remote) look(ctx context.Context) (tip, error) { return r.Look(ctx, r.names) }

// open fetches what the clone lacks. A history too large to keep is cut off; then each new head is fetched anew.
func (r *remote) open(ctx context.Context, t tip) (*store, error) {
	if err := r.clone.tidy(r.limits); err != nil {
		return nil, err
	}
	s, st, err := r.clone.open()
	if err != nil {
		return nil, err
	}
	if s.has(t.ID) && r.fetched(s) == t.ID {
		return s, nil
	}
	if !s.shallow() {
		err = r.fetch(ctx, s, st, t, 0)
	}
	var large *errTooLarge
	if s.shallow() || errors.As(err, &large) {
		if err := r.clone.discard(); err != nil {
			return nil, err
		}
		if s, st, err = r.clone.open(); err != nil {
			return nil, err
		}
		err = r.fetch(ctx, s, st, t, shallowDepth)
	}
	if err != nil {
		return nil, &fetchError{err}
	}
	s, _, err = r.clone.open() // a storage lists its packs once
	return s, err
}

// fetched is what the last fetch was for.
func (r *remote) fetched(s *store) plumbing.Hash {
	ref, err := s.refs.Reference(headRef)
	if err != nil {
		return plumbing.ZeroHash
	}
	return ref.Hash()
}

func (r *remote) fetch(ctx context.Context, s *store, st *filesystem.Storage, t tip, depth int) error {
	return r.Talk(ctx, fetchTimeout, func(ctx context.Context, session transport.UploadPackSession, adv *packp.AdvRefs) error {
		if now, err := gitwatch.Pick(adv, r.names); err != nil {
			return err
		} else if now.ID != t.ID {
			return errMoved
		}
		req := packp.NewUploadPackRequestFromCapabilities(adv.Capabilities)
		req.Capabilities.Delete(capability.Sideband)
		req.Capabilities.Delete(capability.Sideband64k)
		if adv.Capabilities.Supports(capability.NoProgress) {
			if err := req.Capabilities.Set(capability.NoProgress); err != nil {
				return err
			}
		}
		req.Wants = []plumbing.Hash{t.ID}
		if depth > 0 {
			if err := req.Capabilities.Set(capability.Shallow); err != nil {
				return err
			}
			req.Depth = packp.DepthCommits(depth)
		} else if last := r.fetched(s); s.has(last) && last != t.ID {
			req.Haves = []plumbing.Hash{last}
		}
		resp, err := session.UploadPack(ctx, req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Close() }()
		if err := r.receive(st, resp); err != nil {
			return err
		}
		if ends := append(resp.Shallows, adv.Shallows...); len(ends) > 0 {
			if err := st.SetShallow(ends); err != nil {
				return fmt.Errorf("keep where the history ends: %w", err)
			}
		}
		return st.SetReference(plumbing.NewHashReference(headRef, t.ID))
	})
}

// receive puts a pack on disk, looks at what it would become, and only then takes it in.
func (r *remote) receive(st *filesystem.Storage, pack io.Reader) error {
	f, err := os.CreateTemp(r.clone.dir, incoming)
	if err != nil {
		return fmt.Errorf("receive pack: %w", err)
	}
	defer func() {
		_ = f.Close()
		_ = os.Remove(f.Name())
	}()
	if err := r.limits.copyPack(f, pack); err != nil {
		return err
	}
	for _, use := range []func() error{
		func() error { return r.limits.measure(f) },
		func() error { return packfile.UpdateObjectStorage(st, f) },
	} {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("receive pack: %w", err)
		}
		if err := use(); err != nil {
			return err
		}
	}
	return nil
}

// commit follows tags to the commit they stand for.
func (s *store) commit(id plumbing.Hash) (*object.Commit, error) {
	for range 5 {
		tag, err := object.GetTag(s, id)
		if missing(err) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read tag %s: %w", id, err)
		}
		id = tag.Target
	}
	c, err := object.GetCommit(s, id)
	if err != nil {
		return nil, fmt.Errorf("read commit %s: %w", id, err)
	}
	return c, nil
}
