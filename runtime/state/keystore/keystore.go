// Package keystore is the contract of whoever keeps the records of API keys, seen by those who hand keys out: what they may ask
// for and which errors they meet. It stores nothing itself, and it knows no secret: records hold hashes alone.
package keystore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/suuupra/gateway/runtime/policy"
)

// Errors that callers branch on.
var (
	ErrKeyExists = errors.New("an API key with this id exists already")
	ErrNoKey     = errors.New("there is no API key with this id")
	// ErrContended says that others changed the same key again and again while it was edited.
	ErrContended = errors.New("the API key is being changed by others")
	// ErrPepper says that what this gateway hashes would be good on no other.
	ErrPepper = errors.New("the other gateways hash API keys under another pepper")
)

// Store keeps API keys. It is safe for concurrent use; policy.ErrStateAway says that it could not be asked. After that error a
// write may have happened all the same.
type Store interface {
	// StoredKey returns a key as it is stored now, whatever is cached; nil if there is none. The caller may change it.
	StoredKey(ctx context.Context, id string) (*policy.KeyRecord, error)
	// PutKey stores a new key. ErrKeyExists: its id is taken. LastUsed is not stored: KeyUsed of policy.State keeps it.
	PutKey(ctx context.Context, r *policy.KeyRecord) error
	// UpdateKey changes a key and tells every gateway. edit gets the key as it is stored, and may be called again if somebody else
	// was faster; its error ends the update and is returned as it is. The result is what was stored. ErrNoKey: there is none.
	UpdateKey(ctx context.Context, id string, edit func(r *policy.KeyRecord) error) (*policy.KeyRecord, error)
	// Keys lists the keys after an id, in the order of their ids; Page says what limit may be. next is where the following page
	// starts, empty at the end. A page may hold fewer keys than asked for, even none, and not be the last.
	Keys(ctx context.Context, after string, limit int) (records []policy.KeyRecord, next string, err error)
	// ComparePepper returns ErrPepper if the gateways that share the store hash under another pepper than this one. The first to ask
	// says which it is.
	ComparePepper(ctx context.Context) error
}

// The bounds of a page of keys.
const (
	DefaultPage = 100
	MaxPage     = 1000
)

// Page is the limit of a page: DefaultPage if none was asked for, at most MaxPage.
func Page(limit int) int {
	if limit <= 0 {
		return DefaultPage
	}
	return min(limit, MaxPage)
}

// The bounds of a record.
const (
	maxID   = 64
	maxText = 256 // bytes of a name
	maxList = 64  // entries of a list
)

// ValidID reports whether a text can be the id of a key: 1 to 64 letters, digits, "-" and ".". No key has any other.
func ValidID(id string) bool {
	if id == "" || len(id) > maxID {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.':
		default:
			return false
		}
	}
	return true
}

// Check says what keeps a record from being stored. Who hands out keys has judged the texts already; these are the bounds that keep
// what is stored small.
func Check(r *policy.KeyRecord) error {
	if !ValidID(r.ID) {
		return fmt.Errorf("an API key's id is 1 to %d letters, digits, \"-\" and \".\"", maxID)
	}
	if len(r.Hashes) == 0 || len(r.Hashes) > maxList {
		return fmt.Errorf("API key %s has %d hashes; 1 to %d are allowed", r.ID, len(r.Hashes), maxList)
	}
	if len(r.Scopes) > maxList {
		return fmt.Errorf("API key %s has %d scopes; %d are allowed", r.ID, len(r.Scopes), maxList)
	}
	for _, text := range slices.Concat([]string{r.Environment, r.Owner, r.Tenant}, r.Scopes, r.Hashes) {
		if len(text) > maxText {
			return fmt.Errorf("API key %s has a text of %d bytes; %d are allowed", r.ID, len(text), maxText)
		}
	}
	return nil
}

// Clone returns a copy that shares nothing with its original.
func Clone(r *policy.KeyRecord) *policy.KeyRecord {
	c := *r
	c.Scopes, c.Hashes = slices.Clone(r.Scopes), slices.Clone(r.Hashes)
	return &c
}

// Edit applies an edit to a copy of a record, and checks what came of it. The id stays, and so does the time of the last use, which
// is not stored with the record.
func Edit(r *policy.KeyRecord, edit func(*policy.KeyRecord) error) (*policy.KeyRecord, error) {
	c := Clone(r)
	if err := edit(c); err != nil {
		return nil, err
	}
	if c.ID != r.ID {
		return nil, fmt.Errorf("API key %s: an edit cannot change the id", r.ID)
	}
	c.LastUsed = r.LastUsed
	if err := Check(c); err != nil {
		return nil, err
	}
	return c, nil
}

// UsedEvery is how often the use of one key is noted.
const UsedEvery = time.Minute
