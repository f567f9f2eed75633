package secret

import (
	"log/slog"
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
// found, and one that goes away stays as it was.
func (s *Store) Hold(ref string) (policy.Secret, error) {
	if err := wellFormed(ref); err != nil {
		return nil, err
	}
	h := &held{store: s, ref: ref}
	h.stop = s.Watch(ref, h.read) // before the first look: no change between them is lost
	h.read()
	return h, nil
}

func (h *held) read() {
	value, err := h.store.Get(h.ref)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		h.value, h.err = value, nil
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
	return nil
}
