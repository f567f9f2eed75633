package apikeys

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/suuupra/gateway/internal/apikey"
	"github.com/suuupra/gateway/runtime/policy"
)

// Error is what is wrong with what was asked for.
type Error struct {
	Code    string // invalid_request, no_such_tenant, no_such_key, key_contended, rotation_under_way, key_revoked, key_expired or pepper_differs
	Message string
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

var (
	errNoKey     = &Error{"no_such_key", "there is no API key with this id in this environment"}
	errContended = &Error{"key_contended", "the key was changed by others at the same time; look at it, and try again"}
	errPepper    = &Error{
		"pepper_differs", "this gateway hashes API keys under another pepper than the others, to whom its keys would be invalid: " +
			"give it their GWRUN_API_KEY_PEPPER, or ask another gateway",
	}
)

func invalid(format string, args ...any) *Error {
	return &Error{"invalid_request", fmt.Sprintf(format, args...)}
}

// maxTenants is how many of the tenants there are an error names.
const maxTenants = 10

// noTenant says that there is no such tenant: a key for it would be good on nobody's routes.
func noTenant(tenant string, there []string) *Error {
	var are string
	switch more := len(there) - maxTenants; {
	case len(there) == 0:
		are = "the running configuration has routes of none"
	case more > 0:
		are = fmt.Sprintf("there are %s and %d more", strings.Join(there[:maxTenants], ", "), more)
	default:
		are = "there are " + strings.Join(there, ", ")
	}
	return &Error{"no_such_tenant", fmt.Sprintf("there is no tenant %q in this environment; %s", tenant, are)}
}

// Record is what may be shown of a key. There is no hash in it.
type Record struct {
	ID          string    `json:"id"`
	State       State     `json:"state"`
	Environment string    `json:"environment"`
	Owner       string    `json:"owner"`
	Tenant      string    `json:"tenant,omitempty"` // "": good for all tenants
	Scopes      []string  `json:"scopes"`
	Created     time.Time `json:"created"`
	Expires     time.Time `json:"expires,omitzero"`         // zero: never
	Revoked     time.Time `json:"revoked,omitzero"`         // zero: it is not
	Secrets     int       `json:"secrets"`                  // how many are good; revoked and expired keys are refused with each
	OldSecrets  time.Time `json:"oldSecretsUntil,omitzero"` // while it is rotated: until when one before the newest is good
	LastUsed    time.Time `json:"lastUsed,omitzero"`        // to about a minute; zero: not that it is known
}

// State is how a key is.
type State string

// The states of a key.
const (
	Active   State = "active"
	Rotating State = "rotating" // active, with more than one secret
	Expired  State = "expired"
	Revoked  State = "revoked"
)

func record(r *policy.KeyRecord, now time.Time) Record {
	out := Record{
		ID: r.ID, State: Active, Environment: r.Environment, Owner: r.Owner, Tenant: r.Tenant, Scopes: append([]string{}, r.Scopes...),
		Created: r.Created.UTC(), Expires: r.Expires.UTC(), Revoked: r.Revoked.UTC(), LastUsed: r.LastUsed.UTC(),
	}
	good := live(r, now)
	if out.Secrets = len(good); out.Secrets > 1 {
		out.OldSecrets = lastEnd(good[1:])
	}
	switch {
	case !r.Revoked.IsZero():
		out.State = Revoked
	case !r.Expires.IsZero() && !now.Before(r.Expires):
		out.State = Expired
	case out.Secrets > 1:
		out.State = Rotating
	}
	return out
}

// lastEnd is when the last of some retired hashes ends.
func lastEnd(retired []string) (last time.Time) {
	for _, stored := range retired {
		if until, _ := apikey.Until(stored); until.After(last) {
			last = until
		}
	}
	return last
}

// The bounds of an order. The store's are wider.
const (
	maxOwner  = 128 // bytes
	maxScopes = 64
	maxScope  = 256 // bytes
)

// checked returns the order as it is stored, or what is wrong with it.
func (o Order) checked(now time.Time) (Order, error) {
	o.Expires = o.Expires.UTC().Truncate(time.Second)
	switch {
	case o.Owner == "":
		return o, invalid("owner is missing: whom the key is for")
	case len(o.Owner) > maxOwner || !printable(o.Owner):
		return o, invalid("owner is %q, must be up to %d bytes of printable text without spaces around it", short(o.Owner), maxOwner)
	case o.Tenant != "" && !apikey.IsName(o.Tenant):
		return o, invalid("tenant is %q, must be up to 63 lower-case letters, digits, \"-\" and \"_\"", short(o.Tenant))
	case len(o.Scopes) > maxScopes:
		return o, invalid("there are %d scopes, must be at most %d", len(o.Scopes), maxScopes)
	case !o.Expires.IsZero() && !o.Expires.After(now):
		return o, invalid("expires is %s, must be in the future", o.Expires.Format(time.RFC3339))
	}
	o.Scopes = slices.Sorted(slices.Values(o.Scopes))
	for i, s := range o.Scopes {
		switch {
		case s == "" || len(s) > maxScope || !printable(s) || strings.ContainsAny(s, " \"\\"):
			return o, invalid("the scope %q is none: up to %d bytes of printable text without spaces and quotes are", short(s), maxScope)
		case i > 0 && s == o.Scopes[i-1]:
			return o, invalid("the scope %q is there twice", s)
		}
	}
	return o, nil
}

// printable reports whether a text can be shown on a line as it is: nothing in it hides, and nothing breaks the line.
func printable(s string) bool {
	return utf8.ValidString(s) && strings.TrimSpace(s) == s && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// short is the beginning of a text, for a message about it.
func short(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "..."
	}
	return s
}

// ParseSpan reads a span of time as people write it for keys: 90d, or text made of h, m, s and ms.
func ParseSpan(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, errors.New("must be a span of time such as 90d or 12h")
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, errors.New("must be a span of time such as 90d or 12h")
	}
	return d, nil
}
