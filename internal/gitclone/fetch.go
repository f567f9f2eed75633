package gitclone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/transport"

	"github.com/suuupra/gateway/internal/gitwatch"
)

const (
	fetchTimeout = 5 * time.Minute
	shallowDepth = 50 // commits, where the whole history is too large
	incoming     = "incoming-"
)

// converse asks the server where the ref stands, and fetches what the clone lacks. A history too large to keep is cut off; then each
// new head is fetched anew.
func (c *Clone) converse(ctx context.Context) (Head, error) {
	s, err := c.open()
	if err != nil {
		return Head{}, err
	}
	if !s.shallow() {
		h, err := c.ask(ctx, s, 0)
		var large *gitwatch.TooLarge
		if !errors.As(err, &large) {
			return h, err
		}
		if err := c.Discard(); err != nil {
			return Head{}, err
		}
		if s, err = c.open(); err != nil {
			return Head{}, err
		}
	}
	return c.ask(ctx, s, shallowDepth)
}

// ask holds one conversation; a depth of 0 is the whole history.
func (c *Clone) ask(ctx context.Context, s *store, depth int) (Head, error) {
	tip := make(chan gitwatch.Tip, 1) // a conversation that was given up may still end
	err := c.remote.Talk(ctx, fetchTimeout, func(ctx context.Context, session transport.UploadPackSession, adv *packp.AdvRefs) error {
		t, err := gitwatch.Pick(adv, c.names)
		if err != nil {
			return err
		}
		// What is there came with all that leads to it, unless the history was cut off.
		if !s.has(t.ID) || s.shallow() && s.fetched() != t.ID {
			if s, err = c.want(ctx, s, session, adv, t, depth); err != nil {
				return err
			}
		}
		if err := s.files.SetReference(plumbing.NewHashReference(headRef, t.ID)); err != nil {
			return fmt.Errorf("keep what was fetched: %w", err)
		}
		tip <- t
		return nil
	})
	if errors.Is(err, transport.ErrEmptyRemoteRepository) {
		err = &gitwatch.NoRef{Names: c.names}
	}
	if err != nil {
		return Head{}, err
	}
	if s, err = c.open(); err != nil {
		return Head{}, err
	}
	return s.head(<-tip)
}

// want asks for one tip, and takes in what comes. A history that is cut off is not built on: the clone is made anew.
func (c *Clone) want(ctx context.Context, s *store, session transport.UploadPackSession, adv *packp.AdvRefs, t gitwatch.Tip, depth int) (*store, error) {
	if s.shallow() {
		if err := c.Discard(); err != nil {
			return nil, err
		}
		var err error
		if s, err = c.open(); err != nil {
			return nil, err
		}
	}
	req := packp.NewUploadPackRequestFromCapabilities(adv.Capabilities)
	req.Capabilities.Delete(capability.Sideband)
	req.Capabilities.Delete(capability.Sideband64k)
	for set, wanted := range map[capability.Capability]bool{
		capability.NoProgress: adv.Capabilities.Supports(capability.NoProgress), capability.Shallow: depth > 0,
	} {
		if wanted {
			if err := req.Capabilities.Set(set); err != nil {
				return nil, err
			}
		}
	}
	req.Wants = []plumbing.Hash{t.ID}
	if depth > 0 {
		req.Depth = packp.DepthCommits(depth)
	} else if last := s.fetched(); s.has(last) {
		req.Haves = []plumbing.Hash{last}
	}
	resp, err := session.UploadPack(ctx, req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Close() }()
	if err := c.receive(s, resp); err != nil {
		return nil, err
	}
	if ends := append(resp.Shallows, adv.Shallows...); len(ends) > 0 {
		if err := s.files.SetShallow(ends); err != nil {
			return nil, fmt.Errorf("keep where the history ends: %w", err)
		}
	}
	return s, nil
}

// receive puts a pack on disk, looks at what it would become, and only then takes it in.
func (c *Clone) receive(s *store, pack io.Reader) error {
	f, err := os.CreateTemp(c.dir, incoming)
	if err != nil {
		return fmt.Errorf("receive the pack: %w", err)
	}
	defer func() {
		_ = f.Close()
		_ = os.Remove(f.Name())
	}()
	if err := c.limits.copyPack(f, pack); err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("receive the pack: %w", err)
	}
	if err := c.limits.measure(f); err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("receive the pack: %w", err)
	}
	if err := packfile.UpdateObjectStorage(s.files, f); err != nil {
		return &damaged{fmt.Errorf("take in the pack: %w", err)} // it may lean on what is no longer there
	}
	return nil
}
