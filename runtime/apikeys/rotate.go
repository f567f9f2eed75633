package apikeys

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/suuupra/gateway/internal/apikey"
	"github.com/suuupra/gateway/runtime/policy"
)

// The time for which two secrets of a key are good.
const (
	DefaultOverlap = 24 * time.Hour
	MaxOverlap     = 30 * 24 * time.Hour
)

// maxSecrets bounds how many secrets of a key are good at a time, however often a rotation is forced.
const maxSecrets = 3

// Rotate gives a key a new secret beside the old one, which stays good for the overlap, from 0 to MaxOverlap. With 0 every older
// secret ends at once, as it must if one has leaked. The second result is the text of the new key. While two secrets are good
// another rotation is refused: who rotates twice in a row has probably lost track of who has which. force does it all the same,
// and leaves the older ones good as long as they were, the three newest at most.
func (s *Service) Rotate(ctx context.Context, id string, overlap time.Duration, force bool) (Record, string, error) {
	now := s.now()
	if overlap < 0 || overlap > MaxOverlap {
		return Record{}, "", invalid("overlap is %s, must be from 0s to %s", overlap, MaxOverlap)
	}
	if !apikey.IsID(id) {
		return Record{}, "", errNoKey
	}
	if err := s.comparePepper(ctx); err != nil {
		return Record{}, "", err
	}
	k, err := apikey.Renew(s.o.Environment, id, s.o.Random)
	if err != nil {
		return Record{}, "", fmt.Errorf("rotate API key: %w", err)
	}
	fresh := s.hasher.Hash(k.ID, k.Secret)
	r, err := s.update(ctx, "rotate", id, func(r *policy.KeyRecord) error {
		if err := usable(r, now); err != nil {
			return err
		}
		good := live(r, now)
		if len(good) > 1 && !force {
			return &Error{"rotation_under_way", "an older secret is good until " + moment(lastEnd(good[1:])) + ": finish that rotation first, or force this one"}
		}
		r.Hashes = []string{fresh}
		if len(good) > 0 && overlap > 0 {
			good[0] = apikey.Retire(good[0], now.Add(overlap))
			r.Hashes = append(r.Hashes, good[:min(len(good), maxSecrets-1)]...)
		}
		return nil
	})
	if err != nil {
		return Record{}, "", err
	}
	s.audit("API key rotated", r, slog.Duration("overlap", overlap), slog.Bool("force", force))
	return record(r, now), k.Text(), nil
}

// Finish ends a rotation: the new secret alone is good. Without one it changes nothing.
func (s *Service) Finish(ctx context.Context, id string) (Record, error) {
	now := s.now()
	r, err := s.update(ctx, "finish the rotation of", id, func(r *policy.KeyRecord) error {
		if err := usable(r, now); err != nil {
			return err
		}
		r.Hashes = r.Hashes[:min(1, len(r.Hashes))]
		return nil
	})
	if err != nil {
		return Record{}, err
	}
	s.audit("rotation of an API key finished", r)
	return record(r, now), nil
}

// usable refuses a key that nobody can use any more.
func usable(r *policy.KeyRecord, now time.Time) error {
	switch {
	case !r.Revoked.IsZero():
		return &Error{"key_revoked", "the key was revoked at " + moment(r.Revoked) + "; make a new one"}
	case !r.Expires.IsZero() && !now.Before(r.Expires):
		return &Error{"key_expired", "the key expired at " + moment(r.Expires) + "; make a new one"}
	}
	return nil
}

// live are the hashes of a record that are good, the newest first.
func live(r *policy.KeyRecord, now time.Time) []string {
	return slices.DeleteFunc(slices.Clone(r.Hashes), func(stored string) bool { return !apikey.Good(stored, now) })
}
