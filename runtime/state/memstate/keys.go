package memstate

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/state/keystore"
)

// keys are the API keys. A record in the map never changes: an update puts another in its place.
type keys struct {
	mu   sync.RWMutex
	all  map[string]*policy.KeyRecord
	ids  []string // sorted
	used map[string]time.Time
}

// Key implements policy.State. The record is shared: nobody may change it.
func (s *State) Key(_ context.Context, id string) (*policy.KeyRecord, error) {
	s.keys.mu.RLock()
	defer s.keys.mu.RUnlock()
	return s.keys.all[id], nil
}

// KeyUsed implements policy.State.
func (s *State) KeyUsed(id string, at time.Time) {
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	if last, ok := s.keys.used[id]; s.keys.all[id] != nil && (!ok || at.Sub(last) >= keystore.UsedEvery) {
		s.keys.used[id] = at
	}
}

// StoredKey implements keystore.Store.
func (s *State) StoredKey(_ context.Context, id string) (*policy.KeyRecord, error) {
	s.keys.mu.RLock()
	defer s.keys.mu.RUnlock()
	return s.keys.get(id), nil
}

// get returns a copy of a key, with the time it was last used; nil if there is none.
func (k *keys) get(id string) *policy.KeyRecord {
	r := k.all[id]
	if r == nil {
		return nil
	}
	r = keystore.Clone(r)
	r.LastUsed = k.used[id]
	return r
}

// PutKey implements keystore.Store.
func (s *State) PutKey(_ context.Context, r *policy.KeyRecord) error {
	if err := keystore.Check(r); err != nil {
		return err
	}
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	at, taken := slices.BinarySearch(s.keys.ids, r.ID)
	if taken {
		return keystore.ErrKeyExists
	}
	s.keys.ids = slices.Insert(s.keys.ids, at, r.ID)
	stored := keystore.Clone(r)
	stored.LastUsed = time.Time{}
	s.keys.all[r.ID] = stored
	return nil
}

// UpdateKey implements keystore.Store. edit must not call the State.
func (s *State) UpdateKey(_ context.Context, id string, edit func(*policy.KeyRecord) error) (*policy.KeyRecord, error) {
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	old := s.keys.get(id)
	if old == nil {
		return nil, keystore.ErrNoKey
	}
	r, err := keystore.Edit(old, edit)
	if err != nil {
		return nil, err
	}
	stored := keystore.Clone(r)
	stored.LastUsed = time.Time{}
	s.keys.all[id] = stored
	return r, nil
}

// ComparePepper implements keystore.Store. Nobody shares the State.
func (s *State) ComparePepper(context.Context) error { return nil }

// Keys implements keystore.Store.
func (s *State) Keys(_ context.Context, after string, limit int) ([]policy.KeyRecord, string, error) {
	s.keys.mu.RLock()
	defer s.keys.mu.RUnlock()
	at, found := slices.BinarySearch(s.keys.ids, after)
	if found {
		at++
	}
	ids := s.keys.ids[at:min(at+keystore.Page(limit), len(s.keys.ids))]
	records := make([]policy.KeyRecord, len(ids))
	for i, id := range ids {
		records[i] = *s.keys.get(id)
	}
	if at+len(ids) < len(s.keys.ids) {
		return records, ids[len(ids)-1], nil
	}
	return records, "", nil
}
