package publisher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/suuupra/gateway/compiler/publish"
	"github.com/suuupra/gateway/internal/depot"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
)

// published is what the destination holds for an environment, verified.
type published struct {
	etag     string
	channel  *bundle.Channel // nil: nothing is published
	position bundle.Position
	envelope []byte
	bundle   *bundle.Bundle
	program  *ir.Program
}

// look reads what is published. An expired channel is read all the same: it says what gateways run.
func (e *environment) look(ctx context.Context, k *Keys) (*published, error) {
	last, check := "", bundle.Check{Trust: k.Trust, Environment: e.name, Now: e.p.opts.Now(), Retained: true}
	if e.now != nil {
		last, check.Last = e.now.etag, e.now.position
	}
	view, err := e.p.opts.To.Look(ctx, e.name, last)
	if errors.Is(err, depot.ErrNotModified) {
		_, _, err := bundle.VerifyChannel(e.now.envelope, check) // by the trust file as it is by now
		return e.now, err
	}
	var envelope []byte
	if err == nil {
		envelope, _, err = depot.Channel(ctx, view, e.name)
	}
	if errors.Is(err, depot.ErrNotFound) {
		return e.nothing()
	}
	if err != nil {
		return nil, err
	}
	channel, position, err := bundle.VerifyChannel(envelope, check)
	if err != nil {
		return nil, err
	}
	if e.now != nil && e.now.channel != nil && e.now.channel.Manifest == channel.Manifest {
		return &published{view.ETag(), channel, position, envelope, e.now.bundle, e.now.program}, nil
	}
	return e.read(ctx, check)
}

// nothing is a destination without a channel. One that had one is more likely a disk that is not mounted than a wish: a publication
// there would begin with version 1 again, which every gateway refuses.
func (e *environment) nothing() (*published, error) {
	if e.now != nil && e.now.channel != nil {
		return nil, fmt.Errorf("the destination held channel %s of %s, and now holds none; if that is meant, start the publisher again", e.now.position, e.name)
	}
	return &published{}, nil
}

// read fetches all of it.
func (e *environment) read(ctx context.Context, check bundle.Check) (*published, error) {
	got, err := depot.Fetch(ctx, e.p.opts.To, depot.Request{Environment: e.name})
	if err != nil {
		return nil, err
	}
	v, err := bundle.Verify(got.Raw, check)
	if err != nil {
		return nil, err
	}
	if v.Channel == nil {
		return nil, fmt.Errorf("there is a bundle and no channel for %s", e.name)
	}
	program, err := ir.Unpack(v.Bundle)
	if err != nil {
		return nil, err
	}
	return &published{got.ETag, v.Channel, v.Position, got.Raw.Channel, v.Bundle, program}, nil
}

func (n *published) isHeld() bool { return n.channel != nil && n.channel.Hold != nil }

// is reports whether gateways already run what a bundle holds. A commit that changes nothing they would see is not published: the
// bundle they have is traced to a commit that says the same. One that was built from uncommitted files is replaced.
func (n *published) is(b *bundle.Bundle) bool {
	if n.channel == nil {
		return false
	}
	have, want := &n.bundle.Manifest, &b.Manifest
	return n.bundle.Digest() == b.Digest() || have.ContentDigest == want.ContentDigest && have.Name == want.Name && !have.Source.Dirty
}

func (n *published) publication() *Publication {
	if n.channel == nil {
		return nil
	}
	return &Publication{
		Commit: n.bundle.Manifest.Source.Commit, Dirty: n.bundle.Manifest.Source.Dirty, Digest: string(n.bundle.Digest()),
		Version: n.position.String(), Number: n.position.Version, Hold: n.channel.Hold,
		PublishedAt: n.channel.IssuedAt.UTC(), ExpiresAt: n.channel.ExpiresAt.UTC(),
	}
}

// renewAt is when the channel needs a new version. Publish renews at half of the lifetime, too.
func (e *environment) renewAt(n *published) time.Time {
	return n.channel.ExpiresAt.Add(-e.p.opts.Lifetime / 2)
}

// renew publishes again what is published, so that its channel does not expire: the head may be held for longer than that, and a hold
// is part of what is kept.
func (e *environment) renew(ctx context.Context, k *Keys) error {
	n, now := e.now, e.p.opts.Now()
	if n.channel == nil || e.renewAt(n).After(now) {
		return nil
	}
	s := e.settings(k)
	s.Hold = n.channel.Hold
	r, err := publish.Publish(ctx, e.p.opts.To, n.bundle, s)
	if err != nil {
		return fmt.Errorf("renew the channel: %w", err)
	}
	e.took(r, n.bundle, n.program)
	if r.Published {
		e.log.Info("channel renewed", "version", r.Position.String(), "digest", string(n.bundle.Digest()), "expires", r.Channel.ExpiresAt.UTC())
	}
	return nil
}

// settings are for a publication on top of what was looked at, and of nothing else.
func (e *environment) settings(k *Keys) publish.Settings {
	return publish.Settings{
		Signers: []bundle.Signer{k.Channel}, Trust: k.Trust, Lifetime: e.p.opts.Lifetime, Base: &e.now.position, Now: e.p.opts.Now(),
	}
}

// took notes what a publication has left at the destination.
func (e *environment) took(r publish.Result, b *bundle.Bundle, program *ir.Program) {
	e.now = &published{channel: &r.Channel, position: r.Position, bundle: b, program: program} // the next look reads it, without an ETag
}
