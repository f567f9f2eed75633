package shed

import (
	"sync/atomic"
	"time"
)

// shard is a part of the counts. A request counts in one at random, so that no cache line is everybody's.
type shard struct {
	begun [priorities]atomic.Int64 // let in
	shed  [priorities]atomic.Int64 // refused for the delay
	full  [priorities]atomic.Int64 // refused for MaxInFlight
	ended atomic.Int64
	_     [24]byte // 128 bytes in all: two lines, which processors fetch in pairs
}

// counts is the sum of the shards.
type counts struct {
	begun, shed, full [priorities]int64
	ended             int64
}

// counts adds the shards up. Ends are read before begins, so that requests in flight are never fewer than none.
func (s *Shedder) counts() counts {
	var c counts
	for i := range s.shards {
		c.ended += s.shards[i].ended.Load()
	}
	for i := range s.shards {
		at := &s.shards[i]
		for p := range priorities {
			c.begun[p] += at.begun[p].Load()
			c.shed[p] += at.shed[p].Load()
			c.full[p] += at.full[p].Load()
		}
	}
	return c
}

func (c counts) inFlight() int64 {
	n := -c.ended
	for _, b := range c.begun {
		n += b
	}
	return n
}

func (c counts) refused() (n int64) {
	for p := range priorities {
		n += c.shed[p] + c.full[p]
	}
	return n
}

func (c counts) arrivedSince(before counts) (out [priorities]int64) {
	for p := range priorities {
		out[p] = c.begun[p] + c.shed[p] + c.full[p] - before.begun[p] - before.shed[p] - before.full[p]
	}
	return out
}

// Status describes a Shedder. Counts begin with the process.
type Status struct {
	State       string     `json:"state"`   // "off", "idle" or "shedding"
	DelayMS     float64    `json:"delayMs"` // of the last sample
	TargetMS    float64    `json:"targetDelayMs"`
	Since       time.Time  `json:"since,omitzero"` // of shedding
	InFlight    int64      `json:"inFlight"`       // requests that began while this was not off
	MaxInFlight int64      `json:"maxInFlight"`    // 0: no bound
	Priorities  []Priority `json:"priorities"`     // those refused first come first
}

// Priority is what happens to the requests of a priority.
type Priority struct {
	Name    string  `json:"name"`
	Share   float64 `json:"share"`   // refused now, 0 to 1
	Begun   int64   `json:"begun"`   // let in
	Shed    int64   `json:"shed"`    // refused for the delay
	Crowded int64   `json:"crowded"` // refused for MaxInFlight
}

// Status describes the Shedder.
func (s *Shedder) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts()
	out := Status{State: "off", InFlight: c.inFlight()}
	if s.spec != nil {
		out.State, out.MaxInFlight = "idle", s.spec.MaxInFlight
		out.DelayMS, out.TargetMS = s.control.delay.Seconds()*1000, s.control.target.Seconds()*1000
	}
	if s.told {
		out.State, out.Since = "shedding", s.began
	}
	for p, name := range names {
		out.Priorities = append(out.Priorities, Priority{
			Name: name, Share: s.control.shares[p], Begun: c.begun[p], Shed: c.shed[p], Crowded: c.full[p],
		})
	}
	return out
}
