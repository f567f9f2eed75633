// Package access decides who may use the admin API: people who log in with a password and have sessions, and bearers of tokens of an
// identity provider. It knows neither paths nor messages. It must not tell whether an account exists: not by what it answers, nor by
// how long that takes.
package access

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/suuupra/gateway/internal/jose"
	"github.com/suuupra/gateway/runtime/admin/access/session"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/ir"
)

// MinSessionKey is how long the key of the access tokens has to be, in bytes.
const MinSessionKey = 32

// Options are what a Control is made of. All fields but SessionKey are required.
type Options struct {
	Log *slog.Logger
	Now func() time.Time
	// Environment the gateway belongs to: a token of one is good in no other.
	Environment string
	// SessionKey signs access tokens, the same for all gateways that share Sessions. Empty: a random one, and tokens are good at this
	// gateway alone, until it ends.
	SessionKey []byte
	Sessions   session.Store
	// Limits counts logins.
	Limits  policy.State
	Secrets policy.Secrets
	KeySets policy.KeySets
}

// Control decides. It is safe for concurrent use. It must be closed.
type Control struct {
	o      Options
	signer *jose.Signer
	keys   *jose.Set
	hashes chan struct{} // one token for each password that is being hashed
	secret []byte        // chooses decoys

	mu    sync.Mutex
	rules *rules
}

// Actor is who sends a request.
type Actor struct {
	Kind    Kind       `json:"kind"`
	Name    string     `json:"name"`
	Roles   []string   `json:"roles"`
	Address netip.Addr `json:"address"`
	Session string     `json:"session,omitempty"` // of a user
}

// Kind is how an actor has shown who it is.
type Kind string

// The kinds of actors.
const (
	Nobody Kind = ""
	User   Kind = "user"  // by a session
	OIDC   Kind = "oidc"  // by a token of the identity provider
	Token  Kind = "token" // by GWRUN_ADMIN_TOKEN
	Local  Kind = "local" // on the machine of a gateway in dev mode
)

// New makes a Control.
func New(o Options) (*Control, error) {
	c := &Control{o: o, hashes: make(chan struct{}, hashesAtATime), secret: random(32)}
	key := o.SessionKey
	switch {
	case len(key) == 0:
		key = random(MinSessionKey)
		o.Log.Info("sessions of the admin API end with this process, and are good here alone: there is no GWRUN_ADMIN_SESSION_KEY")
	case len(key) < MinSessionKey:
		return nil, fmt.Errorf("the key of the sessions has %d bytes, must have at least %d; `openssl rand -base64 32` makes one", len(key), MinSessionKey)
	}
	c.o.SessionKey = nil
	derived, err := hkdf.Key(sha256.New, key, nil, "gateway admin session "+o.Environment, 32)
	if err != nil {
		return nil, fmt.Errorf("derive the key of the sessions: %w", err)
	}
	c.signer = jose.SecretSigner("HS256", derived)
	if c.keys, err = jose.Secret(derived); err != nil {
		return nil, err
	}
	return c, nil
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// Close lets go of the secrets and keys that the configuration names.
func (c *Control) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rules != nil {
		c.rules.release(c.o.Log, nil)
		c.rules = nil
	}
}

// rules are a configuration, with what it refers to.
type rules struct {
	admin   ir.Admin
	secrets map[string]policy.Secret // by reference
	keys    policy.KeySet            // of the identity provider; nil: there is none
}

// under returns the rules of a configuration. While it stays the same, so do they.
func (c *Control) under(a *ir.Admin) *rules {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rules != nil && reflect.DeepEqual(c.rules.admin, *a) {
		return c.rules
	}
	old, next := c.rules, &rules{admin: *a, secrets: map[string]policy.Secret{}}
	for _, u := range a.Users {
		if _, held := next.secrets[u.PasswordHash]; held {
			continue
		}
		if old != nil && old.secrets[u.PasswordHash] != nil { // kept: what could be read once stays good
			next.secrets[u.PasswordHash] = old.secrets[u.PasswordHash]
			continue
		}
		held, err := c.o.Secrets.Hold(u.PasswordHash)
		if err != nil { // a bundle may come from elsewhere than the compiler, which would have refused it
			c.o.Log.Error("a user of the admin API cannot log in", slog.String("user", u.Name), slog.Any("error", err))
			continue
		}
		next.secrets[u.PasswordHash] = held
	}
	if o := a.OIDC; o != nil {
		var err error
		if next.keys, err = c.o.KeySets.Hold(source(o)); err != nil {
			c.o.Log.Error("tokens of the identity provider let nobody into the admin API", slog.String("issuer", o.Issuer), slog.Any("error", err))
		}
	}
	if old != nil {
		old.release(c.o.Log, next)
	}
	c.rules = next
	return next
}

// release lets go of what the next rules do not use.
func (r *rules) release(log *slog.Logger, next *rules) {
	for ref, held := range r.secrets {
		if next != nil && next.secrets[ref] != nil {
			continue
		}
		if err := held.Close(); err != nil {
			log.Warn("a secret could not be let go of", slog.String("secret", ref), slog.Any("error", err))
		}
	}
	if r.keys != nil {
		if err := r.keys.Close(); err != nil {
			log.Warn("the keys of the identity provider could not be let go of", slog.Any("error", err))
		}
	}
}

// user returns a user by name.
func (r *rules) user(name string) *ir.AdminUser {
	i := slices.IndexFunc(r.admin.Users, func(u ir.AdminUser) bool { return u.Name == name })
	if i < 0 {
		return nil
	}
	return &r.admin.Users[i]
}

// hash is the password hash of a user, and the text it was read from.
func (r *rules) hash(u *ir.AdminUser) (*Hash, string, error) {
	held := r.secrets[u.PasswordHash]
	if held == nil {
		return nil, "", fmt.Errorf("secret %s: cannot be held", u.PasswordHash)
	}
	text, _, err := held.Value()
	if err != nil {
		return nil, "", err
	}
	h, err := ParseHash(string(text))
	if err != nil {
		return nil, "", fmt.Errorf("secret %s: %w", u.PasswordHash, err)
	}
	return h, string(text), nil
}
