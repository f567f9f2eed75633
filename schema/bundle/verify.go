package bundle

import (
	"fmt"
	"time"
)

// Check says what a bundle has to be. One Check is one attempt: Now is read once.
type Check struct {
	Trust       *Trust
	Environment string    // required environment; empty takes the one the documents name, with the keys listed for it
	Name        string    // required repository name; empty takes any
	Runtime     string    // version of this runtime, for minRuntime; empty leaves it unchecked
	Now         time.Time // required when there is a channel: without a clock it counts as expired
	Last        Position  // the last activated channel; zero if none
	// Retained allows an expired channel: gwrun starts from its last good bundle whatever the time is.
	Retained bool
	// NeedChannel refuses a bundle without a channel, whose age nobody can tell. A gateway sets it; gwctl verify does not.
	NeedChannel bool
}

// Verdict is a bundle that may be believed.
type Verdict struct {
	Bundle  *Bundle
	Channel *Channel // nil: it came without one, and nothing is known about how fresh it is
	// Position is how far the channel is, for the next Check's Last.
	Position Position
}

// Verify checks a received bundle: channel signature, position, expiry, manifest digest and signature, environment and
// runtime, then every shard. Only what passed a step is looked at by the next. Without a channel, freshness is not
// checked. A refusal is an *Error.
func Verify(raw *Raw, c Check) (*Verdict, error) {
	v := &Verdict{}
	if raw.Channel == nil && c.NeedChannel {
		return nil, Refuse(ChannelMissing, "the bundle came without a channel, so it could be an old one; publish it with gwctl apply")
	}
	if raw.Channel != nil {
		channel, position, err := VerifyChannel(raw.Channel, c)
		if err != nil {
			return nil, err
		}
		v.Channel, v.Position = channel, position
	}
	b, err := VerifyManifest(raw.Manifest, v.Channel, c)
	if err != nil {
		return nil, err
	}
	if err := b.attach(raw.Blobs); err != nil {
		return nil, err
	}
	v.Bundle = b
	return v, nil
}

// VerifyChannel checks a channel envelope on its own, so that a reader can stop before it fetches more.
func VerifyChannel(data []byte, c Check) (*Channel, Position, error) {
	if c.Trust == nil {
		return nil, Position{}, Refuse(TrustInvalid, "there is no trust file; name one with --trust")
	}
	e, err := decodeEnvelope(data, channelType, MaxChannel)
	if err != nil {
		return nil, Position{}, fmt.Errorf("channel: %w", err)
	}
	if err := c.Trust.authenticate(e, "channel"); err != nil {
		return nil, Position{}, err
	}
	ch, err := decodeChannel(e.Payload)
	if err != nil {
		return nil, Position{}, err
	}
	if err := c.belongs("channel", ch.Environment, ch.Name); err != nil {
		return nil, Position{}, err
	}
	if err := c.Trust.authorise(e, RoleChannel, ch.Environment, "channel"); err != nil {
		return nil, Position{}, err
	}
	at := Position{Epoch: ch.Epoch, Version: ch.Version, Digest: DigestOf(e.Payload)}
	if err := c.forward(at); err != nil {
		return nil, Position{}, err
	}
	if !c.Retained && (c.Now.IsZero() || !c.Now.Before(ch.ExpiresAt.Time)) {
		return nil, Position{}, Refuse(ChannelExpired, "channel %s expired at %s; publish again with gwctl apply", at, ch.ExpiresAt.Format(timeLayout))
	}
	return ch, at, nil
}

func (c Check) belongs(what, environment, name string) error {
	if c.Environment != "" && environment != c.Environment {
		return Refuse(WrongEnvironment, "the %s is for environment %q, this is %q", what, environment, c.Environment)
	}
	if c.Name != "" && name != c.Name {
		return Refuse(WrongName, "the %s comes from repository %q, expected %q", what, name, c.Name)
	}
	return nil
}

// forward refuses to move back, and to take a second document for the version that is active.
func (c Check) forward(at Position) error {
	if c.Last.IsZero() {
		return nil
	}
	switch order := at.Compare(c.Last); {
	case order < 0:
		return Refuse(VersionOlder, "channel %s is older than %s, which was activated before; a rollback is a new version: gwctl rollback", at, c.Last)
	case order == 0 && at.Digest != c.Last.Digest:
		return Refuse(VersionFork, "channel %s was activated as %s and is now %s: two publishers signed the same version, or its key is in other hands",
			at, c.Last.Digest.Short(), at.Digest.Short())
	}
	return nil
}

// VerifyManifest checks a manifest envelope; with a channel, that it is the manifest the channel names. The bundle it
// returns has no shards yet.
func VerifyManifest(data []byte, channel *Channel, c Check) (*Bundle, error) {
	if c.Trust == nil {
		return nil, Refuse(TrustInvalid, "there is no trust file; name one with --trust")
	}
	e, err := decodeEnvelope(data, manifestType, MaxManifest)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if channel != nil && RefOf(e.Payload) != channel.Manifest {
		return nil, Refuse(ManifestMismatch, "the manifest is %s, the channel names %s", DigestOf(e.Payload).Short(), channel.Manifest.Digest.Short())
	}
	if err := c.Trust.authenticate(e, "manifest"); err != nil {
		return nil, err
	}
	m, err := decodeManifest(e.Payload)
	if err != nil {
		return nil, err
	}
	if channel != nil {
		c.Environment, c.Name = channel.Environment, channel.Name
	}
	if err := c.belongs("manifest", m.Environment, m.Name); err != nil {
		return nil, err
	}
	if err := c.Trust.authorise(e, RoleRelease, m.Environment, "manifest"); err != nil {
		return nil, err
	}
	if c.Runtime != "" {
		ok, err := runtimeSatisfies(c.Runtime, m.MinRuntime)
		if err != nil {
			return nil, refuseFor(RuntimeTooOld, err, "minimum runtime")
		}
		if !ok {
			return nil, Refuse(RuntimeTooOld, "the bundle needs gwrun %s or newer, this is %s; upgrade gwrun first", m.MinRuntime, c.Runtime)
		}
	}
	return &Bundle{Manifest: *m, payload: e.Payload, envelope: e}, nil
}

// attach adds the shards a manifest lists, and no others.
func (b *Bundle) attach(blobs map[Digest][]byte) error {
	used := make(map[Digest]bool, len(b.Manifest.Shards))
	b.Shards = make([]Shard, 0, len(b.Manifest.Shards))
	for _, s := range b.Manifest.Shards {
		data, ok := blobs[s.Digest]
		if !ok {
			return Refuse(ShardMissing, "shard %s (%s) is listed and was not received; publish it again", s.Path, s.Digest.Short())
		}
		if err := s.Check(data); err != nil {
			return err
		}
		used[s.Digest] = true
		b.Shards = append(b.Shards, Shard{Path: s.Path, Kind: s.Kind, Objects: s.Objects, Data: data})
	}
	for d := range blobs {
		if !used[d] {
			return Refuse(ShardUnlisted, "blob %s was received and is not listed in the manifest", d.Short())
		}
	}
	for _, s := range b.Shards {
		if err := CheckCanonical(s.Data); err != nil {
			return refuseFor(ShardMalformed, err, "shard %s", s.Path)
		}
	}
	return nil
}

// Check reports whether data is the shard that is listed.
func (s ShardEntry) Check(data []byte) error {
	if int64(len(data)) != s.Size {
		return Refuse(DigestMismatch, "shard %s has %d bytes, %d are listed", s.Path, len(data), s.Size)
	}
	if got := DigestOf(data); got != s.Digest {
		return Refuse(DigestMismatch, "shard %s is %s, %s is listed: it was changed after signing", s.Path, got.Short(), s.Digest.Short())
	}
	return nil
}
