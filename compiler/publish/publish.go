// Package publish brings a signed bundle to where gateways fetch it from, and moves the channel of its environment there:
// blobs first, then the manifest, then the channel, so that no reader ever sees a pointer to something missing. Of two
// publishers one wins. It must not compile, nor decide whether something may be published.
package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/suuupra/gateway/internal/depot"
	"github.com/suuupra/gateway/schema/bundle"
)

// DefaultLifetime is how long a channel is valid unless told otherwise.
const DefaultLifetime = 7 * 24 * time.Hour

// MinLifetime is the least a channel may be valid: gateways have to see it before it expires.
const MinLifetime = time.Minute

// uploads is how many blobs travel at a time.
const uploads = 8

// ErrConflict says that somebody else published in between, or that the destination is not what the plan was made for.
// The command ends with exit code 5.
var ErrConflict = depot.ErrConflict

// Settings say how to publish.
type Settings struct {
	Signers []bundle.Signer // channel keys
	// Trust, if given, checks the bundle, the channel at the destination and the new channel before anything is written.
	Trust    *bundle.Trust
	Lifetime time.Duration // of the channel; 0 is DefaultLifetime
	// Epoch starts a new epoch when it is higher than that of the channel at the destination: after a channel key was lost.
	// The old channel then need not verify, and versions start at 1 again.
	Epoch int64
	Hold  *bundle.Hold // asks gateways to stay where they are
	// Base is the position the plan was made for; if the destination has another one, Publish returns ErrConflict. Nil
	// takes what is there.
	Base *bundle.Position
	Now  time.Time
}

// Result says what happened.
type Result struct {
	Channel  bundle.Channel
	Position bundle.Position
	// Published is false if the destination already had this bundle, the same hold, and more than half of the lifetime
	// ahead of it; nothing was written then.
	Published bool
	Renewed   bool            // the bundle was current already, only the channel is new
	Previous  bundle.Position // zero if there was no channel
}

// Publish makes b the current bundle of its environment at a destination.
func Publish(ctx context.Context, to depot.Writer, b *bundle.Bundle, s Settings) (Result, error) {
	if s.Lifetime == 0 {
		s.Lifetime = DefaultLifetime
	}
	if err := s.check(b); err != nil {
		return Result{}, err
	}
	now, err := look(ctx, to, b.Manifest.Environment, s)
	if err != nil {
		return Result{}, fmt.Errorf("read the channel at the destination: %w", err)
	}
	if s.Base != nil && *s.Base != now.position {
		return Result{}, fmt.Errorf("the destination is at channel %s, the plan was made for %s: %w", now.position, *s.Base, ErrConflict)
	}
	if now.channel != nil && now.channel.Name != b.Manifest.Name {
		return Result{}, bundle.Refuse(bundle.WrongName, "the destination holds %q for environment %q, this bundle comes from %q; publish it elsewhere",
			now.channel.Name, b.Manifest.Environment, b.Manifest.Name)
	}
	if now.channel != nil && s.Epoch != 0 && s.Epoch < now.channel.Epoch {
		return Result{}, fmt.Errorf("epoch %d lies behind the destination, which is at channel %s: %w", s.Epoch, now.position, ErrConflict)
	}
	current, err := s.signedAlike(ctx, to, b, now)
	if err != nil {
		return Result{}, fmt.Errorf("read the bundle at the destination: %w", err)
	}
	next, renewed := s.next(b, now, current)
	if next == nil {
		return Result{Channel: *now.channel, Position: now.position, Previous: now.position}, nil
	}
	position, err := s.write(ctx, to, b, *next, now.image)
	if err != nil {
		return Result{}, err
	}
	return Result{Channel: *next, Position: position, Published: true, Renewed: renewed, Previous: now.position}, nil
}

func (s Settings) check(b *bundle.Bundle) error {
	if len(s.Signers) == 0 {
		return errors.New("publish: there is no channel key; name one with --channel-key")
	}
	if s.Now.IsZero() {
		return errors.New("publish: there is no clock")
	}
	if s.Lifetime < MinLifetime {
		return fmt.Errorf("publish: a channel that is valid for %s would expire before gateways see it", s.Lifetime)
	}
	if s.Trust == nil {
		return nil
	}
	_, err := bundle.Verify(b.Raw(), bundle.Check{Trust: s.Trust, Environment: b.Manifest.Environment, Now: s.Now})
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}

// state is what a destination holds for an environment.
type state struct {
	channel  *bundle.Channel // nil if there is none
	position bundle.Position
	image    bundle.Digest // of the channel's image manifest
	envelope []byte        // the channel as it was signed
}

func look(ctx context.Context, d depot.Depot, environment string, s Settings) (state, error) {
	view, err := d.Look(ctx, environment, "")
	if errors.Is(err, depot.ErrNotFound) {
		return state{}, nil
	}
	if err != nil {
		return state{}, err
	}
	envelope, image, err := depot.Channel(ctx, view, environment)
	if errors.Is(err, depot.ErrNotFound) {
		return state{}, nil
	}
	if err != nil {
		return state{}, err
	}
	c, position, err := bundle.PeekChannel(envelope)
	if err != nil {
		return state{}, err
	}
	if s.Trust != nil && s.Epoch <= c.Epoch {
		check := bundle.Check{Trust: s.Trust, Environment: environment, Now: s.Now, Retained: true} // an expired one may be renewed
		if _, _, err := bundle.VerifyChannel(envelope, check); err != nil {
			return state{}, fmt.Errorf("%w (if its key was replaced, start a new epoch with --epoch %d)", err, c.Epoch+1)
		}
	}
	return state{channel: c, position: position, image: image.Digest, envelope: envelope}, nil
}

// signedAlike reports whether what is published as b carries all the signatures this publication would. One that was signed
// with a key the gateways do not know must not pass for current, or nobody could mend it.
func (s Settings) signedAlike(ctx context.Context, d depot.Depot, b *bundle.Bundle, now state) (bool, error) {
	if now.channel == nil || now.channel.Manifest != b.Ref() {
		return false, nil
	}
	signed, err := bundle.ChannelSigners(now.envelope)
	if err != nil {
		return false, err
	}
	for _, key := range s.Signers {
		if !slices.Contains(signed, key.Public().ID()) {
			return false, nil
		}
	}
	blobs := b.Raw().Blobs
	got, err := depot.Fetch(ctx, d, depot.Request{
		Environment: b.Manifest.Environment,
		Have:        func(digest bundle.Digest) ([]byte, bool) { data, ok := blobs[digest]; return data, ok },
	})
	if errors.Is(err, depot.ErrNotFound) {
		return false, nil // the bundle has gone from under its channel
	}
	if err != nil {
		return false, err
	}
	if signed, err = bundle.ManifestSigners(got.Raw.Manifest); err != nil {
		return false, err
	}
	return !slices.ContainsFunc(b.SignedBy(), func(id string) bool { return !slices.Contains(signed, id) }), nil
}

// next returns the channel to write, or nil if the one that is there will do. current says that it carries the right
// signatures.
func (s Settings) next(b *bundle.Bundle, now state, current bool) (c *bundle.Channel, renewed bool) {
	c = &bundle.Channel{
		Name: b.Manifest.Name, Environment: b.Manifest.Environment, Epoch: max(1, s.Epoch), Version: 1, Manifest: b.Ref(),
		IssuedAt: bundle.TimeOf(s.Now), ExpiresAt: bundle.TimeOf(s.Now.Add(s.Lifetime)), Hold: s.Hold,
	}
	old := now.channel
	if old == nil {
		return c, false
	}
	renewed = old.Manifest == c.Manifest && sameHold(old.Hold, c.Hold)
	if old.Epoch >= c.Epoch {
		if renewed && current && old.ExpiresAt.Sub(s.Now) > s.Lifetime/2 {
			return nil, false
		}
		c.Epoch, c.Version = old.Epoch, old.Version+1
	}
	c.Previous = now.position.Digest
	if c.Replaces = old.Manifest.Digest; c.Replaces == c.Manifest.Digest {
		c.Replaces = old.Replaces
	}
	return c, renewed
}

func sameHold(a, b *bundle.Hold) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// write stores everything in the order in which it may be seen.
func (s Settings) write(ctx context.Context, to depot.Writer, b *bundle.Bundle, c bundle.Channel, expect bundle.Digest) (bundle.Position, error) {
	envelope, err := bundle.SignChannel(c, s.Signers...)
	if err != nil {
		return bundle.Position{}, fmt.Errorf("publish: %w", err)
	}
	_, position, err := bundle.PeekChannel(envelope)
	if err != nil {
		return bundle.Position{}, fmt.Errorf("publish: %w", err)
	}
	raw := b.Raw()
	if s.Trust != nil {
		raw.Channel = envelope
		if _, err := bundle.Verify(raw, bundle.Check{Trust: s.Trust, Now: s.Now}); err != nil {
			return bundle.Position{}, fmt.Errorf("publish: gateways with this trust file would refuse it: %w", err)
		}
	}
	commit := depot.Commit{Expect: expect, Message: fmt.Sprintf("Publish %s %s: %s", c.Environment, position, b.Digest())}
	if commit.Bundle, err = bundle.BundleArtifact(raw.Manifest); err != nil {
		return bundle.Position{}, fmt.Errorf("publish: %w", err)
	}
	if commit.Head, err = bundle.ChannelArtifact(envelope); err != nil {
		return bundle.Position{}, fmt.Errorf("publish: %w", err)
	}
	if err := to.Prepare(ctx); err != nil {
		return bundle.Position{}, err
	}
	if err := putAll(ctx, to, raw, envelope); err != nil {
		return bundle.Position{}, err
	}
	if err := to.Commit(ctx, commit); err != nil {
		return bundle.Position{}, fmt.Errorf("publish channel %s of %s: %w", position, c.Environment, err)
	}
	return position, nil
}

// Propose brings a bundle to a destination and moves no channel, so that people can look at what waits for their approval.
func Propose(ctx context.Context, to depot.Writer, b *bundle.Bundle) error {
	raw := b.Raw()
	artifact, err := bundle.BundleArtifact(raw.Manifest)
	if err != nil {
		return fmt.Errorf("propose: %w", err)
	}
	if err := to.Prepare(ctx); err != nil {
		return err
	}
	if err := putAll(ctx, to, raw, nil); err != nil {
		return err
	}
	message := fmt.Sprintf("Propose for %s: %s", b.Manifest.Environment, b.Digest())
	if err := to.Commit(ctx, depot.Commit{Bundle: artifact, Message: message}); err != nil {
		return fmt.Errorf("propose %s: %w", b.Digest().Short(), err)
	}
	return nil
}

func putAll(ctx context.Context, to depot.Writer, raw *bundle.Raw, channel []byte) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(uploads)
	put := func(data []byte) {
		group.Go(func() error { return to.Put(ctx, bundle.RefOf(data), data) })
	}
	for _, data := range raw.Blobs {
		put(data)
	}
	put([]byte(bundle.EmptyBlob))
	put(raw.Manifest)
	if channel != nil {
		put(channel)
	}
	return group.Wait()
}
