package drift

import (
	"slices"
	"strconv"
	"sync"
	"time"
)

// The classes of drift, in the order in which they are shown.
const (
	ClassSource = "source" // what runs is not what the head of the repository says
	ClassLive   = "live"   // an override is active that no bundle has
	ClassFleet  = "fleet"  // gateways of the environment run different things
	ClassTrust  = "trust"  // what runs will soon not be trusted any more, or would not be if it came now
)

var classes = []string{ClassSource, ClassLive, ClassFleet, ClassTrust}

// Class is how one class of drift is.
type Class struct {
	Class    string
	Known    bool      // it could be compared; if not, Detail says why
	Detected bool      // there is drift; never of a class that is not known
	Since    time.Time // that Known and Detected are as they are
	Detail   string    // one sentence, lower case, no final period
	Details  []string  // the difference, line by line; none without drift
}

// Classes remembers how each class is. The zero value knows nothing yet. It is safe for concurrent use.
type Classes struct {
	mu  sync.Mutex
	all []Class
}

// Set takes in how a class is at a time. Since is left to Classes.
func (c *Classes) Set(now time.Time, next Class) {
	next.Detected = next.Detected && next.Known
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.all, func(k Class) bool { return k.Class == next.Class })
	if i < 0 {
		next.Since = now
		c.all = append(c.all, next)
		slices.SortFunc(c.all, func(a, b Class) int { return slices.Index(classes, a.Class) - slices.Index(classes, b.Class) })
		return
	}
	if next.Since = c.all[i].Since; next.Known != c.all[i].Known || next.Detected != c.all[i].Detected {
		next.Since = now
	}
	c.all[i] = next
}

// All returns every class that was set, in order.
func (c *Classes) All() []Class {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.all)
}

// Detected are the names of the classes in which there is drift.
func (c *Classes) Detected() []string {
	var out []string
	for _, k := range c.All() {
		if k.Detected {
			out = append(out, k.Class)
		}
	}
	return out
}

// Class is the report as a class of drift.
func (r *Report) Class() Class {
	out := Class{Class: ClassSource, Known: r.State != Unknown, Detected: r.State == Drifted || r.State == InvalidHead, Detail: r.sentence()}
	switch {
	case r.State == InvalidHead:
		out.Detail = "the head does not compile, " + out.Detail
	case r.State == Unknown && r.Error != "":
		out.Detail = printable(r.Error)
	}
	if out.Detected {
		for _, f := range r.Files {
			out.Details = append(out.Details, f.Change+" "+printable(f.Path))
		}
	}
	return out
}

// Live is the class of overlays: a line for each that is active.
func Live(active []string) Class {
	c := Class{Class: ClassLive, Known: true, Detected: len(active) > 0, Detail: "no overlays", Details: active}
	switch len(active) {
	case 0:
	case 1:
		c.Detail = "1 overlay is active"
	default:
		c.Detail = strconv.Itoa(len(active)) + " overlays are active"
	}
	return c
}
