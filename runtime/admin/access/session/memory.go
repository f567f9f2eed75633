package session

import (
	"context"
	"sync"
	"time"
)

// Memory keeps the sessions of one gateway, which end with the process. It is bounded by what may log in: each user has as many as the
// configuration allows.
type Memory struct {
	now func() time.Time

	mu  sync.Mutex
	all map[string]Session
}

// NewMemory makes a store without sessions.
func NewMemory(now func() time.Time) *Memory { return &Memory{now: now, all: map[string]Session{}} }

// AddSession implements Store.
func (m *Memory) AddSession(_ context.Context, s Session, most int) (ended int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget()
	var own []Session
	for _, other := range m.all {
		if other.User == s.User {
			own = append(own, other)
		}
	}
	SortByAge(own)
	for _, old := range own[:max(0, len(own)+1-most)] {
		delete(m.all, old.ID)
		ended++
	}
	m.all[s.ID] = s
	return ended, nil
}

// forget drops what has expired. The caller holds mu.
func (m *Memory) forget() {
	now := m.now()
	for id, s := range m.all {
		if !s.Live(now) {
			delete(m.all, id)
		}
	}
}

// live returns a session that has not expired. The caller holds mu.
func (m *Memory) live(id string) (Session, bool) {
	s, ok := m.all[id]
	return s, ok && s.Live(m.now())
}

// Session implements Store.
func (m *Memory) Session(_ context.Context, id string) (*Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, ok := m.live(id); ok {
		return &s, nil
	}
	return nil, nil
}

// RotateSession implements Store.
func (m *Memory) RotateSession(_ context.Context, id, used, next string, at time.Time) (Rotation, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.live(id)
	switch {
	case !ok:
		return Unknown, nil
	case s.Refresh != used: // digests: how long it takes to compare them tells nothing about the tokens
		delete(m.all, id)
		return Reused, nil
	}
	s.Refresh, s.Refreshed = next, at
	m.all[id] = s
	return Rotated, nil
}

// EndSession implements Store.
func (m *Memory) EndSession(_ context.Context, id string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.live(id)
	delete(m.all, id)
	return ok, nil
}

// Sessions implements Store.
func (m *Memory) Sessions(context.Context) ([]Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget()
	out := make([]Session, 0, len(m.all))
	for _, s := range m.all {
		out = append(out, s)
	}
	SortByAge(out)
	return out, nil
}
