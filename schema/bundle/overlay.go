package bundle

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// OverlaySchema is the version of the overlays this package writes, and the only one it reads.
const OverlaySchema = "gateway.suuupra.dev/overlay/v1"

const overlayType = "application/vnd.suuupra.gateway.overlay.v1+json"

// What bounds overlays: they are for a few objects and a few hours. What is larger, or stays, belongs into the repository.
const (
	MaxOverlay         = 256 << 10 // bytes of an envelope
	MaxOverlays        = 16        // at a time, of one environment
	MaxOverlayLifetime = 7 * 24 * time.Hour
	MaxOverlayPatch    = 32 << 10 // bytes of the file it is made from

	maxOverlayChanges = 256
)

// Strategy says what becomes of an overlay when the repository changes an object that it is about.
type Strategy string

// The strategies. Whatever the strategy, an overlay whose objects the repository now has as the overlay wants them has done its work.
const (
	GitWins  Strategy = "git-wins"  // the overlay is set aside
	LiveWins Strategy = "live-wins" // the overlay's object stays until the overlay ends
	Manual   Strategy = "manual"    // the new bundle waits until the overlay is removed, or ends
	Merge    Strategy = "merge"     // what only one side changed is taken from it; else, and for what protects, git wins
)

// Strategies are all strategies.
func Strategies() []Strategy { return []Strategy{GitWins, LiveWins, Manual, Merge} }

// Overlay is the statement that some objects of an environment are to be otherwise than its bundle says, for a while. Whoever signs
// it has compiled it: what it holds is compiled objects, and the patch they were made from for people and for the repository.
type Overlay struct {
	Schema      string   `json:"schema"`
	ID          string   `json:"id"`   // what it is called: 1 to 63 lower-case letters, digits and dashes
	Name        string   `json:"name"` // the repository's name, as in the manifest
	Environment string   `json:"environment"`
	Base        Digest   `json:"base"` // the manifest it was made against
	Strategy    Strategy `json:"strategy"`
	Reason      string   `json:"reason"`
	By          string   `json:"by,omitempty"` // who, in their own words; the signature says it for certain
	IssuedAt    Time     `json:"issuedAt"`
	ExpiresAt   Time     `json:"expiresAt"`
	Patch       string   `json:"patch"`   // a file of the configuration language
	Changes     []Change `json:"changes"` // what it comes to; sorted by Kind and ID, each object once
}

// Change is one object as it was when an overlay was made, and as it is to be.
type Change struct {
	Kind   ShardKind       `json:"kind"` // KindRoutes or KindUpstreams
	ID     string          `json:"id"`
	Before json.RawMessage `json:"before,omitempty"` // compiled, canonical; absent: the overlay adds it
	After  json.RawMessage `json:"after,omitempty"`  // absent: the overlay removes it
}

var overlayID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// IsOverlayID reports whether an overlay may have this id.
func IsOverlayID(id string) bool { return overlayID.MatchString(id) }

func (o *Overlay) validate() error {
	switch {
	case o.Schema != OverlaySchema:
		return fmt.Errorf("schema is %q, must be %q", o.Schema, OverlaySchema)
	case !IsOverlayID(o.ID):
		return fmt.Errorf("id %.80q must be 1 to 63 lower-case letters, digits and dashes", o.ID)
	case !environmentPattern.MatchString(o.Environment):
		return fmt.Errorf("environment %.80q must be 1 to 63 letters, digits, dots, dashes and underscores", o.Environment)
	case !slices.Contains(Strategies(), o.Strategy):
		return fmt.Errorf("strategy %.80q must be one of %v", o.Strategy, Strategies())
	case !o.IssuedAt.Before(o.ExpiresAt.Time):
		return fmt.Errorf("it expires at %s, before it was issued", o.ExpiresAt.Format(timeLayout))
	case o.ExpiresAt.Sub(o.IssuedAt.Time) > MaxOverlayLifetime:
		return fmt.Errorf("it lasts %s, at most %s are allowed; what stays longer belongs into the repository", o.ExpiresAt.Sub(o.IssuedAt.Time), MaxOverlayLifetime)
	case len(o.Patch) > MaxOverlayPatch:
		return fmt.Errorf("its patch has %d bytes, at most %d are allowed", len(o.Patch), MaxOverlayPatch)
	case len(o.Changes) == 0:
		return fmt.Errorf("it changes nothing")
	case len(o.Changes) > maxOverlayChanges:
		return fmt.Errorf("it changes %d objects, at most %d are allowed; so large a change belongs into the repository", len(o.Changes), maxOverlayChanges)
	}
	if _, err := ParseDigest(string(o.Base)); err != nil {
		return fmt.Errorf("base: %w", err)
	}
	for _, t := range []struct{ field, value string }{{"name", o.Name}, {"reason", o.Reason}} {
		if err := checkText(t.field, t.value); err != nil {
			return err
		}
	}
	if o.By != "" {
		if err := checkText("by", o.By); err != nil {
			return err
		}
	}
	for i := range o.Changes {
		c := &o.Changes[i]
		if err := c.validate(); err != nil {
			return err
		}
		if i > 0 && o.Changes[i-1].compare(c) >= 0 {
			return fmt.Errorf("changes must be sorted, and each object named once")
		}
	}
	return nil
}

func (c *Change) validate() error {
	if c.Kind != KindRoutes && c.Kind != KindUpstreams {
		return fmt.Errorf("it changes %.40q; overlays are for routes and upstreams", c.Kind)
	}
	if err := checkText("changes", c.ID); err != nil {
		return err
	}
	for _, side := range []json.RawMessage{c.Before, c.After} {
		if len(side) > 0 && side[0] != '{' {
			return fmt.Errorf("%s/%s is %.20s, must be an object", c.Kind, c.ID, side)
		}
	}
	if len(c.Before) == 0 && len(c.After) == 0 {
		return fmt.Errorf("%s/%s is neither before nor after", c.Kind, c.ID)
	}
	if string(c.Before) == string(c.After) {
		return fmt.Errorf("%s/%s is the same before and after", c.Kind, c.ID)
	}
	return nil
}

func (c *Change) compare(other *Change) int {
	if n := strings.Compare(string(c.Kind), string(other.Kind)); n != 0 {
		return n
	}
	return strings.Compare(c.ID, other.ID)
}

// SignOverlay encodes and signs an overlay. It sorts its changes. It returns the envelope.
func SignOverlay(o Overlay, s Signer) ([]byte, error) {
	o.Schema = OverlaySchema
	o.Changes = slices.Clone(o.Changes)
	slices.SortFunc(o.Changes, func(a, b Change) int { return a.compare(&b) })
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("sign overlay: %w", err)
	}
	payload, err := Canonical(o)
	if err != nil {
		return nil, fmt.Errorf("sign overlay: %w", err)
	}
	e, err := newEnvelope(overlayType, payload).sign(s)
	if err != nil {
		return nil, fmt.Errorf("sign overlay: %w", err)
	}
	out := e.encode()
	if len(out) > MaxOverlay {
		return nil, fmt.Errorf("sign overlay: %d bytes, at most %d are allowed; so large a change belongs into the repository", len(out), MaxOverlay)
	}
	return out, nil
}

// VerifyOverlay checks an overlay: its signature, by an overlay key for the environment, and that it has not expired. It returns the
// key that signed.
func VerifyOverlay(data []byte, c Check) (o *Overlay, key string, err error) {
	if c.Trust == nil {
		return nil, "", Refuse(TrustInvalid, "there is no trust file; name one with --trust")
	}
	e, err := decodeEnvelope(data, overlayType, MaxOverlay)
	if err != nil {
		return nil, "", fmt.Errorf("overlay: %w", err)
	}
	if len(e.Signatures) > 1 {
		return nil, "", Refuse(EnvelopeMalformed, "the overlay has %d signatures, must have one", len(e.Signatures))
	}
	if err := c.Trust.authenticate(e, "overlay"); err != nil {
		return nil, "", err
	}
	if o, err = decodeOverlay(e.Payload); err != nil {
		return nil, "", err
	}
	if err := c.belongs("overlay", o.Environment, o.Name); err != nil {
		return nil, "", err
	}
	if err := c.Trust.authorise(e, RoleOverlay, o.Environment, "overlay"); err != nil {
		return nil, "", err
	}
	if c.Now.IsZero() || !c.Now.Before(o.ExpiresAt.Time) {
		return nil, "", Refuse(OverlayExpired, "the overlay expired at %s; make another one with gwctl overlay apply", o.ExpiresAt.Format(timeLayout))
	}
	if c.Now.Add(clockSkew).Before(o.IssuedAt.Time) {
		return nil, "", Refuse(OverlayMalformed, "the overlay was issued at %s, which has yet to come", o.IssuedAt.Format(timeLayout))
	}
	return o, e.Signatures[0].KeyID, nil
}

// PeekOverlay reads what an overlay says, without a look at its signature.
func PeekOverlay(data []byte) (*Overlay, error) {
	e, err := decodeEnvelope(data, overlayType, MaxOverlay)
	if err != nil {
		return nil, fmt.Errorf("overlay: %w", err)
	}
	return decodeOverlay(e.Payload)
}

func decodeOverlay(payload []byte) (*Overlay, error) {
	if err := checkSchema(payload, OverlaySchema, "overlay"); err != nil {
		return nil, err
	}
	o, err := decodeExactly[Overlay](payload)
	if err == nil {
		err = o.validate()
	}
	if err != nil {
		return nil, refuseFor(OverlayMalformed, err, "overlay")
	}
	return o, nil
}
