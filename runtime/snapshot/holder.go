package snapshot

import "sync/atomic"

// Holder is the one pointer through which a request finds the running snapshot.
type Holder struct{ cur atomic.Pointer[Snapshot] }

// NewHolder starts with first, usually Empty(). The holder owns one reference to whatever it holds.
func NewHolder(first *Snapshot) *Holder {
	h := &Holder{}
	h.cur.Store(first)
	return h
}

// Acquire returns the running snapshot with a reference for the caller, who calls Release once, at the end of the
// exchange. It never blocks: it retries only if a swap came between the load and the retain.
func (h *Holder) Acquire() *Snapshot {
	for {
		if s := h.cur.Load(); s.retain() {
			return s
		}
	}
}

// Peek returns the running snapshot without a reference: for looking at its facts, not for serving.
func (h *Holder) Peek() *Snapshot { return h.cur.Load() }

// Swap makes next the running snapshot and drops the holder's reference to the old one, which lives on until its last
// exchange is over. It returns the old one for whoever watches it drain.
func (h *Holder) Swap(next *Snapshot) *Snapshot {
	old := h.cur.Swap(next)
	old.Release()
	return old
}

// retain takes a reference unless the last one is gone already: a closed snapshot must never be revived.
func (s *Snapshot) retain() bool {
	for {
		n := s.refs.Load()
		if n <= 0 {
			return false
		}
		if s.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Release drops a reference. The last one closes what the snapshot owns, on a goroutine of its own: the exchange that happens
// to be the last must not wait for it with its answer. Done tells when it is over.
func (s *Snapshot) Release() {
	switch n := s.refs.Add(-1); {
	case n == 0:
		go s.close()
	case n < 0: // somebody may be using what is closed
		panic("snapshot released more often than it was acquired")
	}
}
