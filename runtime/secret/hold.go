package secret

import (
	"bytes"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/suuupra/gateway/runtime/policy"
)

// held is a secret that somebody uses: the last value that could be read.
type held struct {
	store *Store
	ref   string
	stop  func()

	mu      sync.RWMutex
	value   []byte
	version uint64
	err     error // why there was never a value
}

// Hold follows a secret. It fails for a reference that is malformed, not for a secret that is not there yet: one that appears is
// found, and one that goes away stays as it was. A newline at its end, which editors and shells put there, is not part of it.
func (s *Store) Hold(ref string) (policy.Secret, error) {
	if err := wellFormed(ref); err != nil {
		return nil, err
	}
	h := &held{store: s, ref: ref}
	h.stop = s.Watch(ref, h.read) // before the first look: no change between them is lost
	h.read()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[h] = struct{}{}
	return h, nil
}

func (h *held) read() {
	value, err := h.store.Get(h.ref)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		h.value, h.err = bytes.TrimSuffix(bytes.TrimSuffix(value, []byte("\n")), []byte("\r")), nil
		h.version++
		return
	}
	if h.value == nil {
		h.err = err
	}
	h.store.log.Warn("a secret cannot be read; what it was, if it was there, stays in use", slog.Any("error", err))
}

// Value implements policy.Secret.
func (h *held) Value() ([]byte, uint64, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.value, h.version, h.err
}

// Close implements policy.Secret.
func (h *held) Close() error {
	h.stop()
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	delete(h.store.held, h)
	return nil
}

// Missing lists the references that somebody holds and that never had a value, sorted.
func (s *Store) Missing() []string {
	s.mu.Lock()
	all := slices.Collect(maps.Keys(s.held))
	s.mu.Unlock()
	out := []string{}
	for _, h := range all {
		if _, _, err := h.Value(); err != nil {
			out = append(out, h.ref)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
