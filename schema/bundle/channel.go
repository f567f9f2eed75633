package bundle

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"time"
)

// ChannelSchema is the version of the channel this package writes, and the only one it reads.
const ChannelSchema = "gateway.suuupra.dev/channel/v1"

// Channel says which manifest is current in one environment. It only ever moves forward: a rollback is a new version
// that names an old manifest.
type Channel struct {
	Schema      string `json:"schema"`
	Name        string `json:"name"` // the repository's name, as in the manifest
	Environment string `json:"environment"`
	Epoch       int64  `json:"epoch"`   // from 1; raised when a channel key was lost, so that versions may start again
	Version     int64  `json:"version"` // from 1, one higher with each publication
	Manifest    Ref    `json:"manifest"`
	Previous    Digest `json:"previous,omitempty"` // of the channel this one follows, without signatures
	Replaces    Digest `json:"replaces,omitempty"` // the manifest that was current before this one: where a rollback leads
	IssuedAt    Time   `json:"issuedAt"`
	ExpiresAt   Time   `json:"expiresAt"`
	Hold        *Hold  `json:"hold,omitempty"`
}

// Hold asks gateways not to move on their own until it is lifted, e.g. after a rollback.
type Hold struct {
	Reason string `json:"reason"`
	By     string `json:"by,omitempty"`
}

// Position is how far a channel had come: what a gateway remembers of the one it last activated.
type Position struct {
	Epoch   int64  `json:"epoch"`
	Version int64  `json:"version"`
	Digest  Digest `json:"digest"` // of the channel, without signatures
}

// IsZero reports whether nothing was ever activated.
func (p Position) IsZero() bool { return p.Epoch == 0 && p.Version == 0 }

// Compare orders positions by epoch and version.
func (p Position) Compare(q Position) int {
	return cmp.Or(cmp.Compare(p.Epoch, q.Epoch), cmp.Compare(p.Version, q.Version))
}

// String renders epoch and version as people read them, e.g. "1.42".
func (p Position) String() string { return fmt.Sprintf("%d.%d", p.Epoch, p.Version) }

// Time is an instant in whole seconds, written as RFC 3339 in UTC ("2026-01-02T15:04:05Z"), the only spelling.
type Time struct{ time.Time }

const timeLayout = "2006-01-02T15:04:05Z"

// TimeOf drops what is smaller than a second.
func TimeOf(t time.Time) Time { return Time{t.UTC().Truncate(time.Second)} }

// MarshalJSON writes the instant.
func (t Time) MarshalJSON() ([]byte, error) {
	if y := t.UTC().Year(); y < 1970 || y > 9999 {
		return nil, fmt.Errorf("year %d is not between 1970 and 9999", y)
	}
	return []byte(t.UTC().Format(`"` + timeLayout + `"`)), nil
}

// UnmarshalJSON reads the instant.
func (t *Time) UnmarshalJSON(data []byte) error {
	at, err := time.Parse(`"`+timeLayout+`"`, string(data))
	if err != nil {
		return errors.New("a time must look like \"2026-01-02T15:04:05Z\"")
	}
	t.Time = at
	return nil
}

func (c *Channel) validate() error {
	switch {
	case c.Schema != ChannelSchema:
		return fmt.Errorf("schema is %q, must be %q", c.Schema, ChannelSchema)
	case !environmentPattern.MatchString(c.Environment):
		return fmt.Errorf("environment %q must be 1 to 63 letters, digits, dots, dashes and underscores", c.Environment)
	case c.Epoch < 1 || c.Version < 1 || c.Version == math.MaxInt64 || c.Epoch == math.MaxInt64:
		return errors.New("epoch and version must be at least 1 and leave room for a next one")
	case c.Version == 1 && c.Previous != "" && c.Epoch == 1:
		return errors.New("the first version of the first epoch follows nothing")
	case !c.IssuedAt.Before(c.ExpiresAt.Time):
		return fmt.Errorf("it expires at %s, before it was issued", c.ExpiresAt.Format(timeLayout))
	}
	if err := checkText("name", c.Name); err != nil {
		return err
	}
	if c.Hold != nil {
		if err := checkText("hold.reason", c.Hold.Reason); err != nil {
			return err
		}
		if c.Hold.By != "" {
			if err := checkText("hold.by", c.Hold.By); err != nil {
				return err
			}
		}
	}
	for _, d := range []Digest{c.Previous, c.Replaces} {
		if _, err := ParseDigest(string(d)); d != "" && err != nil {
			return err
		}
	}
	if c.Replaces == c.Manifest.Digest {
		return errors.New("it replaces a manifest by itself")
	}
	return c.Manifest.validate(MaxManifest)
}

// SignChannel encodes and signs a channel. It returns the envelope.
func SignChannel(c Channel, signers ...Signer) ([]byte, error) {
	c.Schema = ChannelSchema
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("sign channel: %w", err)
	}
	payload, err := Canonical(c)
	if err != nil {
		return nil, fmt.Errorf("sign channel: %w", err)
	}
	e := newEnvelope(channelType, payload)
	for _, s := range signers {
		if e, err = e.sign(s); err != nil {
			return nil, fmt.Errorf("sign channel: %w", err)
		}
	}
	out := e.encode()
	if len(out) > MaxChannel {
		return nil, fmt.Errorf("sign channel: %d bytes, at most %d are allowed", len(out), MaxChannel)
	}
	return out, nil
}

func decodeChannel(payload []byte) (*Channel, error) {
	if err := checkSchema(payload, ChannelSchema, "channel"); err != nil {
		return nil, err
	}
	c, err := decodeExactly[Channel](payload)
	if err == nil {
		err = c.validate()
	}
	if err != nil {
		return nil, refuseFor(ChannelMalformed, err, "channel")
	}
	return c, nil
}

// PeekChannel reads what a channel envelope claims, without a look at its signatures: enough to find the bundle it names,
// nothing to act upon before VerifyChannel has seen it.
func PeekChannel(data []byte) (*Channel, Position, error) {
	e, err := decodeEnvelope(data, channelType, MaxChannel)
	if err != nil {
		return nil, Position{}, fmt.Errorf("channel: %w", err)
	}
	c, err := decodeChannel(e.Payload)
	if err != nil {
		return nil, Position{}, err
	}
	return c, Position{Epoch: c.Epoch, Version: c.Version, Digest: DigestOf(e.Payload)}, nil
}
