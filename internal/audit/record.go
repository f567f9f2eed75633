// Package audit keeps the trail of what people and the gateway itself did to a gateway: append-only files of lines, each of which
// names the digest of the line before it, in segments whose footers are signed. It writes trails, reads them, and finds what anybody
// changed in one. The format is in docs/audit.md. The package knows nothing of who calls it: what is worth a record is for the caller
// to say.
package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/suuupra/gateway/schema/bundle"
)

// Action is what was done, or tried. The list is closed: a search for an action finds all of them, and a typing error is found when
// it is made.
type Action string

// The actions. Those that begin with "audit." are the trail's own.
const (
	Sync       Action = "sync"       // a new channel version was looked at
	Activation Action = "activation" // a bundle was made live
	Refusal    Action = "refusal"    // a bundle was refused, or is held by a gate
	Reading    Action = "read"       // somebody asked for what they may not see
	Rollback   Action = "rollback"
	Reload     Action = "reload"
	Apply      Action = "apply" // a bundle was published
	Approval   Action = "approval"

	Login         Action = "login"
	Logout        Action = "logout"
	SessionRevoke Action = "session.revoke"

	OverlayCreate Action = "overlay.create"
	OverlayUpdate Action = "overlay.update"
	OverlayDelete Action = "overlay.delete"
	OverlayExpire Action = "overlay.expire"

	KeyCreate Action = "key.create"
	KeyRotate Action = "key.rotate"
	KeyFinish Action = "key.finish" // the old secrets of a rotated key end
	KeyRevoke Action = "key.revoke"

	UserCreate Action = "user.create"
	UserUpdate Action = "user.update"
	UserDelete Action = "user.delete"
	RoleCreate Action = "role.create"
	RoleUpdate Action = "role.update"
	RoleDelete Action = "role.delete"

	Start   Action = "audit.start"   // the writer began
	Stop    Action = "audit.stop"    // the writer ended in good order
	Recover Action = "audit.recover" // the writer found the end of a line that was never acknowledged
)

var actions = []Action{
	Sync, Activation, Refusal, Reading, Rollback, Reload, Apply, Approval, Login, Logout, SessionRevoke,
	OverlayCreate, OverlayUpdate, OverlayDelete, OverlayExpire, KeyCreate, KeyRotate, KeyFinish, KeyRevoke,
	UserCreate, UserUpdate, UserDelete, RoleCreate, RoleUpdate, RoleDelete, Start, Stop, Recover,
}

// Actions returns every action, in the order of the manual.
func Actions() []Action { return slices.Clone(actions) }

// Outcome is what became of it.
type Outcome string

// The outcomes.
const (
	Success Outcome = "success"
	Begun   Outcome = "begun"   // about to be done: a record behind it says what became of it, unless the gateway ended
	Refused Outcome = "refused" // not allowed, or not valid
	Failed  Outcome = "failed"  // allowed, and did not work
)

// ActorKind is the kind of who did it.
type ActorKind string

// The kinds of actors.
const (
	User      ActorKind = "user"      // a person who logged in
	Token     ActorKind = "token"     // whoever holds a token
	Key       ActorKind = "key"       // whoever holds a signing key, by its id
	System    ActorKind = "system"    // the gateway itself
	Anonymous ActorKind = "anonymous" // nobody is known
)

// Actor is who did it.
type Actor struct {
	Kind    ActorKind `json:"kind"`
	ID      string    `json:"id,omitempty"`      // a name or the id of a key, never a secret
	Address string    `json:"address,omitempty"` // where the request came from
}

// Record is what a caller reports. Texts may come from anywhere: whatever could break a line or be obeyed by a terminal is written as
// an escape, and what is too long is cut. Secrets have no place in it: content is named by its digest.
type Record struct {
	Actor   Actor             `json:"actor"`
	Action  Action            `json:"action"`
	Object  string            `json:"object,omitempty"` // what it was done to, such as a key's id
	Outcome Outcome           `json:"outcome"`
	Reason  string            `json:"reason,omitempty"`  // why, in the actor's words, or why not, in ours
	Before  bundle.Digest     `json:"before,omitempty"`  // of the object's content
	After   bundle.Digest     `json:"after,omitempty"`   // of the object's content
	Details map[string]string `json:"details,omitempty"` // by keys that Options.Details allows
}

// Entry is a record in its place in the trail: one line.
type Entry struct {
	Seq         int64  `json:"seq"` // from 1, without a gap, over all segments
	Time        Time   `json:"time"`
	Environment string `json:"environment"`
	Instance    string `json:"instance"` // the gateway, such as its host's name
	Record
	Prev bundle.Digest `json:"prev"` // of the line before, without its line break
}

// Time is an instant in whole milliseconds, written as RFC 3339 in UTC ("2026-01-02T15:04:05.000Z"), the only spelling.
type Time struct{ time.Time }

const timeLayout = "2006-01-02T15:04:05.000Z"

// TimeOf drops what is smaller than a millisecond.
func TimeOf(t time.Time) Time { return Time{t.UTC().Truncate(time.Millisecond)} }

// String renders the instant as the trail has it.
func (t Time) String() string { return t.UTC().Format(timeLayout) }

// MarshalJSON writes the instant.
func (t Time) MarshalJSON() ([]byte, error) { return []byte(`"` + t.String() + `"`), nil }

// UnmarshalJSON reads the instant.
func (t *Time) UnmarshalJSON(data []byte) error {
	at, err := time.Parse(`"`+timeLayout+`"`, string(data))
	if err != nil {
		return errors.New(`a time must look like "2026-01-02T15:04:05.000Z"`)
	}
	t.Time = at
	return nil
}

// How long texts may be, in bytes. With all of them used up, and every byte escaped, a line is still shorter than maxLine.
const (
	maxName    = 256
	maxText    = 1 << 10
	maxDetail  = 512
	maxDetails = 16
	maxLine    = 64 << 10
)

// prepare checks a record and makes its texts safe. Mistakes of the caller are errors; what an outsider sent is never one, because
// whoever could have records refused could act without one.
func (r *Record) prepare(allowed []string) error {
	switch {
	case !slices.Contains(actions, r.Action):
		return fmt.Errorf("action %q is not one of the list", r.Action)
	case !slices.Contains([]Outcome{Begun, Success, Refused, Failed}, r.Outcome):
		return fmt.Errorf("outcome %q must be %s, %s, %s or %s", r.Outcome, Begun, Success, Refused, Failed)
	case !slices.Contains([]ActorKind{User, Token, Key, System, Anonymous}, r.Actor.Kind):
		return fmt.Errorf("actor.kind %q must be %s, %s, %s, %s or %s", r.Actor.Kind, User, Token, Key, System, Anonymous)
	case len(r.Details) > maxDetails:
		return fmt.Errorf("%d details, at most %d are allowed", len(r.Details), maxDetails)
	}
	for _, d := range []struct {
		field string
		value bundle.Digest
	}{{"before", r.Before}, {"after", r.After}} {
		if _, err := bundle.ParseDigest(string(d.value)); d.value != "" && err != nil {
			return fmt.Errorf("%s must be a digest, sha256: followed by 64 lower-case hexadecimal digits", d.field) // without the value: it may be the content itself
		}
	}
	details := make(map[string]string, len(r.Details))
	for k, v := range r.Details {
		if !slices.Contains(allowed, k) {
			return fmt.Errorf("details: the key %q is not in the list of those allowed", k)
		}
		details[k] = clean(v, maxDetail)
	}
	r.Details = details
	r.Actor.ID, r.Actor.Address = clean(r.Actor.ID, maxName), clean(r.Actor.Address, maxName)
	r.Object, r.Reason = clean(r.Object, maxText), clean(r.Reason, maxText)
	return nil
}

// clean writes whatever does not print as an escape: line breaks in any script of Unicode, the C0 and C1 controls that terminals obey,
// the marks that turn text around (CVE-2021-42574), and bytes that are no text. JSON alone would leave most of these as they are.
func clean(s string, limit int) string {
	if len(s) <= limit && !strings.ContainsFunc(s, func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case b.Len() >= limit:
			b.WriteString("…")
			return b.String()
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\u{%x}`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// parseEntry reads a line. It takes only what encode writes, byte for byte: there is no second spelling to hide something in.
func parseEntry(line []byte) (*Entry, error) {
	var e Entry
	if err := decode(line, &e); err != nil {
		return nil, err
	}
	if e.Seq < 1 {
		return nil, fmt.Errorf("seq is %d, must be at least 1", e.Seq)
	}
	return &e, nil
}

// decode reads canonical JSON strictly: what it takes is what bundle.Canonical would write for v.
func decode(line []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	again, err := bundle.Canonical(v)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, line) {
		return errors.New("it is not in canonical form (white space, order or case of members, escapes, NFC, or something after it)")
	}
	return nil
}
