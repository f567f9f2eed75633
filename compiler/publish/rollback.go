package publish

import (
	"context"
	"errors"
	"fmt"

	"github.com/suuupra/gateway/internal/depot"
	"github.com/suuupra/gateway/schema/bundle"
)

// Rollback makes a bundle current again that was published before: a new version of the channel that names an old
// manifest. An empty digest means the one that was current before the present one; while a rollback holds the environment that would be
// the bundle somebody has just gone back from, so it is ErrConflict then: a command that is repeated because its answer was lost must not
// bring the trouble back. Settings.Trust is required: what comes back from the destination is verified like anything else; so is
// Settings.Hold, or the next apply would undo it unseen.
func Rollback(ctx context.Context, to depot.Writer, environment string, digest bundle.Digest, s Settings) (Result, error) {
	if s.Trust == nil {
		return Result{}, errors.New("roll back: a trust file is needed to check the bundle that comes back; name one with --trust")
	}
	if s.Hold == nil {
		return Result{}, errors.New("roll back: say why with --reason; gateways and the next apply show it")
	}
	now, err := look(ctx, to, environment, s)
	if err != nil {
		return Result{}, fmt.Errorf("read the channel at the destination: %w", err)
	}
	if now.channel == nil {
		return Result{}, fmt.Errorf("roll back: there is no channel for environment %q: %w", environment, depot.ErrNotFound)
	}
	if digest == "" && now.channel.Hold != nil {
		return Result{}, fmt.Errorf("roll back: %s was rolled back already, to %s (channel %s: %s); to go elsewhere, name the digest of the bundle: %w",
			environment, now.channel.Manifest.Digest, now.position, now.channel.Hold.Reason, ErrConflict)
	}
	if digest == "" {
		digest = now.channel.Replaces
	}
	switch digest {
	case "":
		return Result{}, fmt.Errorf("roll back: nothing was current in %q before %s: %w", environment, now.position, depot.ErrNotFound)
	case now.channel.Manifest.Digest:
		return Result{}, fmt.Errorf("roll back: %s is current already", digest)
	}
	got, err := depot.Fetch(ctx, to, depot.Request{Bundle: digest})
	if err != nil {
		return Result{}, fmt.Errorf("roll back to %s: %w", digest, err)
	}
	v, err := bundle.Verify(got.Raw, bundle.Check{Trust: s.Trust, Environment: environment, Name: now.channel.Name, Now: s.Now})
	if err != nil {
		return Result{}, fmt.Errorf("roll back to %s: %w", digest, err)
	}
	if s.Base == nil {
		s.Base = &now.position
	}
	return Publish(ctx, to, v.Bundle, s)
}
