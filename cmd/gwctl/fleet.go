package main

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/suuupra/gateway/runtime/admin"
	"github.com/suuupra/gateway/runtime/drift"
	"github.com/suuupra/gateway/schema/bundle"
)

// answer is what came of asking one gateway. Its field names are part of the JSON of gwctl status.
type answer struct {
	Gateway string        `json:"gateway"`
	Status  *admin.Status `json:"status,omitempty"`
	Error   string        `json:"error,omitempty"`

	err error
}

// askAll asks each gateway what it runs.
func askAll(ctx context.Context, gateways []string) []answer {
	out := make([]answer, len(gateways))
	for i, g := range gateways {
		st, err := fetchStatus(ctx, g)
		out[i] = answer{Gateway: redacted(g), Status: st, err: err}
		if err != nil {
			out[i].Error = err.Error()
		}
	}
	return out
}

// group is a gateway that was asked, with the gateways of its environment that it knows of.
type group struct {
	answer
	members []drift.Instance // the one that was asked among them; none if it could not be asked
}

// groups makes one of each answer, but for gateways that one before knows of: what they say themselves is newer than what it has heard.
func groups(answers []answer, fleet bool) []group {
	type key struct{ environment, instance string }
	var out []group
	known := map[key]*drift.Instance{}
	for _, a := range answers {
		g := group{answer: a}
		if a.Status != nil {
			self := selfOf(a.Status, a.Gateway)
			if heard := known[key{self.Environment, self.Instance}]; heard != nil {
				*heard = self
				continue
			}
			g.members = []drift.Instance{self}
			if fleet && len(a.Status.Fleet) > 0 {
				g.members = slices.Clone(a.Status.Fleet)
			}
			for i := range g.members {
				m := &g.members[i]
				if m.Instance == self.Instance {
					*m = self
				}
				known[key{m.Environment, m.Instance}] = m
			}
		}
		out = append(out, g)
	}
	return out
}

// selfOf is a gateway as others of its fleet would see it.
func selfOf(st *admin.Status, url string) drift.Instance {
	out := drift.Instance{
		Instance: cmp.Or(st.Instance, url), Gwrun: st.Build.Version, StartedAt: st.StartedAt, Mode: st.Source.Mode,
		At: st.StartedAt.Add(time.Duration(st.UptimeSeconds) * time.Second),
	}
	if i := slices.IndexFunc(st.Fleet, func(i drift.Instance) bool { return i.Instance == st.Instance }); i >= 0 {
		out.Environment = st.Fleet[i].Environment // it is in one before anything runs
	}
	if r := st.Running; r != nil {
		out.Environment, out.Version, out.Epoch, out.Digest, out.Commit = r.Environment, int64(r.Version), int64(r.Epoch), r.Digest, r.Commit
		out.ActivatedAt = &r.ActivatedAt
	}
	if p := st.Source.Pending; p != nil {
		out.Waiting = &drift.Waiting{Version: int64(p.Version), Epoch: int64(p.Epoch), Digest: p.Digest, Why: p.Reason, Held: p.Held}
	}
	if f := st.Source.LastError; f != nil {
		out.Error = f.Code
	}
	if st.Drift != nil {
		for _, c := range st.Drift.Classes {
			if c.Detected {
				out.Drift = append(out.Drift, c.Class)
			}
		}
	}
	return out
}

// reached reports whether a gateway runs a channel position or a later one.
func reached(i *drift.Instance, want bundle.Position) bool {
	return i.Digest != "" && i.Position().Compare(want) >= 0
}

// newest is what most of those run that are at the newest version, and how many they are.
func newest(members []drift.Instance) (digest string, at bundle.Position, n int) {
	votes := map[string]int{}
	for i := range members {
		if m := &members[i]; m.Digest != "" && m.Position().Compare(at) > 0 {
			at = m.Position()
		}
	}
	for i := range members {
		if m := &members[i]; m.Digest != "" && m.Position().Compare(at) == 0 {
			votes[m.Digest]++
		}
	}
	for d, v := range votes {
		if v > n || v == n && d < digest {
			digest, n = d, v
		}
	}
	return digest, at, n
}

// person reports whether what holds a candidate lets go only if somebody does something.
func person(w *drift.Waiting) bool {
	return slices.ContainsFunc(w.Held, func(k string) bool { return k == drift.HeldByGate || k == drift.HeldBySync || k == drift.HeldByOther })
}

// approvable reports whether an approval would let a candidate go.
func approvable(w *drift.Waiting) bool { return !strings.HasPrefix(w.Why, "sync is ") }
