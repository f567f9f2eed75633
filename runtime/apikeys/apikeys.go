// Package apikeys makes, rotates and revokes API keys: it is what the admin API asks. A key is shown once, when it is made; afterwards
// nobody has its secret but who was given it. The package judges no requests, and writes each change to the log.
package apikeys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/suuupra/gateway/internal/apikey"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/state/keystore"
)

// Options are what a Service is made of. All of them are needed.
type Options struct {
	Store       keystore.Store
	Pepper      []byte          // what secrets are hashed under
	Environment string          // of the keys; keys of others are not seen
	Tenants     func() []string // that have routes now, sorted
	Log         *slog.Logger
	Now         func() time.Time
	Random      io.Reader // crypto/rand.Reader but in tests
}

// Service is safe for concurrent use. Its errors are *Error, or those of the store.
type Service struct {
	o      Options
	hasher *apikey.Hasher
}

// New makes a Service. It fails for a short pepper, and for an environment that no key can be for.
func New(o Options) (*Service, error) {
	if !apikey.IsName(o.Environment) {
		return nil, fmt.Errorf("the environment is %q, which no API key can be for", o.Environment)
	}
	hasher, err := apikey.NewHasher(o.Pepper)
	if err != nil {
		return nil, err
	}
	o.Pepper = nil
	return &Service{o: o, hasher: hasher}, nil
}

// Order is a key that somebody wants.
type Order struct {
	Owner   string    // whom it is for: 1 to 128 bytes of printable text
	Tenant  string    // "": good for all tenants
	Scopes  []string  // as in requiredScopes of a route
	Expires time.Time // zero: never
}

// maxIDs is how often an id is drawn that is taken already. Twice in a row is a broken source of random numbers.
const maxIDs = 3

// Create makes a key. The second result is its text, which nobody can have again.
func (s *Service) Create(ctx context.Context, o Order) (Record, string, error) {
	now := s.now()
	o, err := o.checked(now)
	if err != nil {
		return Record{}, "", err
	}
	if o.Tenant != "" {
		if there := s.o.Tenants(); !slices.Contains(there, o.Tenant) {
			return Record{}, "", noTenant(o.Tenant, there)
		}
	}
	if err := s.comparePepper(ctx); err != nil {
		return Record{}, "", err
	}
	for range maxIDs {
		var k apikey.Key
		if k, err = apikey.Generate(s.o.Environment, s.o.Random); err != nil {
			return Record{}, "", fmt.Errorf("create API key: %w", err)
		}
		r := &policy.KeyRecord{
			ID: k.ID, Environment: k.Env, Owner: o.Owner, Tenant: o.Tenant, Scopes: o.Scopes,
			Hashes: []string{s.hasher.Hash(k.ID, k.Secret)}, Created: now, Expires: o.Expires,
		}
		if err = s.o.Store.PutKey(ctx, r); err == nil {
			s.audit("API key created", r, slog.String("owner", r.Owner), slog.String("tenant", r.Tenant), slog.Any("scopes", r.Scopes), slog.String("expires", moment(r.Expires)))
			return record(r, now), k.Text(), nil
		}
		if !errors.Is(err, keystore.ErrKeyExists) {
			break
		}
	}
	return Record{}, "", fmt.Errorf("create API key: %w", err)
}

// List returns the records of a page, and where the next begins: "" at the end. A page may be short, or empty, and not the last.
func (s *Service) List(ctx context.Context, after string, limit int) ([]Record, string, error) {
	found, next, err := s.o.Store.Keys(ctx, after, limit)
	if err != nil {
		return nil, "", fmt.Errorf("list API keys: %w", err)
	}
	now, records := s.now(), make([]Record, 0, len(found))
	for i := range found {
		if found[i].Environment == s.o.Environment {
			records = append(records, record(&found[i], now))
		}
	}
	return records, next, nil
}

// Get returns one record.
func (s *Service) Get(ctx context.Context, id string) (Record, error) {
	if !apikey.IsID(id) {
		return Record{}, errNoKey
	}
	r, err := s.o.Store.StoredKey(ctx, id)
	switch {
	case err != nil:
		return Record{}, fmt.Errorf("read API key: %w", err)
	case r == nil || r.Environment != s.o.Environment:
		return Record{}, errNoKey
	}
	return record(r, s.now()), nil
}

// Revoke ends a key, at once here and within two seconds everywhere. A key that is revoked already stays so since then.
func (s *Service) Revoke(ctx context.Context, id string) (Record, error) {
	now := s.now()
	r, err := s.update(ctx, "revoke", id, func(r *policy.KeyRecord) error {
		if r.Revoked.IsZero() {
			r.Revoked = now
		}
		return nil
	})
	if err != nil {
		return Record{}, err
	}
	s.audit("API key revoked", r)
	return record(r, now), nil
}

// comparePepper keeps a secret from being hashed that no other gateway would know again.
func (s *Service) comparePepper(ctx context.Context) error {
	err := s.o.Store.ComparePepper(ctx)
	switch {
	case errors.Is(err, keystore.ErrPepper):
		return errPepper
	case err != nil:
		return fmt.Errorf("compare the peppers: %w", err)
	}
	return nil
}

// update edits a key of the environment.
func (s *Service) update(ctx context.Context, what, id string, edit func(*policy.KeyRecord) error) (*policy.KeyRecord, error) {
	if !apikey.IsID(id) {
		return nil, errNoKey
	}
	r, err := s.o.Store.UpdateKey(ctx, id, func(r *policy.KeyRecord) error {
		if r.Environment != s.o.Environment {
			return errNoKey
		}
		return edit(r)
	})
	var own *Error
	switch {
	case err == nil:
		return r, nil
	case errors.As(err, &own):
		return nil, own
	case errors.Is(err, keystore.ErrNoKey):
		return nil, errNoKey
	case errors.Is(err, keystore.ErrContended):
		return nil, errContended
	}
	return nil, fmt.Errorf("%s API key: %w", what, err)
}

// now is the time as it is stored: in UTC, to the second.
func (s *Service) now() time.Time { return s.o.Now().UTC().Truncate(time.Second) }

// audit writes a change to the log. Who made it is the holder of the admin token; there is one.
func (s *Service) audit(what string, r *policy.KeyRecord, more ...any) {
	s.o.Log.Info(what, append([]any{slog.String("who", "admin"), slog.String("key", r.ID), slog.String("environment", r.Environment)}, more...)...)
}

// moment is a time for people.
func moment(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}
