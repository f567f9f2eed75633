package snapshot

import (
	"fmt"
	"io"
	"runtime/debug"
	"sync"
)

// Shared keeps the values that must survive a swap: connection pools, and later breakers and key sets. A value lives as
// long as one snapshot holds a reference. New snapshots take theirs before old ones drop theirs, so a value whose settings
// did not change is never restarted.
type Shared struct {
	mu      sync.Mutex
	entries map[string]*entry
}

type entry struct {
	once  sync.Once
	value any
	err   error
	refs  int
}

// NewShared returns an empty registry.
func NewShared() *Shared { return &Shared{entries: map[string]*entry{}} }

// Get returns the value under key, making it if nobody holds it. The caller calls release once; the last release closes
// the value if it is an io.Closer. Creation runs outside the registry's lock, once for all who ask at the same time.
func (s *Shared) Get(key string, create func() (any, error)) (value any, release func(), err error) {
	s.mu.Lock()
	e := s.entries[key]
	if e == nil {
		e = &entry{}
		s.entries[key] = e
	}
	e.refs++
	s.mu.Unlock()

	e.once.Do(func() { e.value, e.err = guarded(create) })
	release = sync.OnceFunc(func() { s.release(key, e) })
	if e.err != nil {
		release()
		return nil, nil, fmt.Errorf("create %s: %w", key, e.err)
	}
	return e.value, release, nil
}

// guarded turns a panic into an error: whoever comes next must not find a value that was never made. With an error there is no
// value, not even a nil pointer that would pass for something to close.
func guarded(create func() (any, error)) (value any, err error) {
	defer func() {
		if v := recover(); v != nil {
			value, err = nil, fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	if value, err = create(); err != nil {
		return nil, err
	}
	return value, nil
}

func (s *Shared) release(key string, e *entry) {
	s.mu.Lock()
	e.refs--
	last := e.refs == 0
	if last && s.entries[key] == e {
		delete(s.entries, key)
	}
	s.mu.Unlock()
	if c, ok := e.value.(io.Closer); last && ok {
		_ = c.Close() // closing is best effort: the value is out of reach already
	}
}

// Len counts the values that are held.
func (s *Shared) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.entries)
}
