package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/runtime/drift"
	"github.com/suuupra/gateway/schema/bundle"
)

// waitEvery is how often gateways are asked whether they run what was published.
const waitEvery = 250 * time.Millisecond

// wait is the waiting for gateways to run a channel position or a later one: for those that were named, and for all of the
// environment that they know of.
type wait struct {
	urls []string
	want bundle.Position

	groups  []group
	total   int
	missing []missing
}

// missing is a gateway that does not run it yet.
type missing struct {
	name, why string
	waiting   *drift.Waiting // the candidate that it holds, if that is the one
}

// waitFor asks the gateways until each runs the position, time is up, or something holds it that does not let go by itself.
func waitFor(cmd *cobra.Command, urls []string, want bundle.Position, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
	defer cancel()
	w := &wait{urls: urls, want: want}
	stderr := cmd.ErrOrStderr()
	bar := startProgress(stderr, "waiting for the gateways")
	defer bar.done()
	tick := time.NewTicker(waitEvery)
	defer tick.Stop()
	for {
		w.look(ctx)
		bar.step(w.line())
		switch {
		case len(w.missing) == 0:
			bar.done()
			w.arrived(stderr)
			return nil
		case w.stuck():
			bar.done()
			return w.held(stderr)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			bar.done()
			return w.late(stderr, timeout)
		}
	}
}

// look asks every gateway once. When time runs out meanwhile, what was known before stays: it says why a gateway was not there.
func (w *wait) look(ctx context.Context) {
	answers := askAll(ctx, w.urls)
	if ctx.Err() != nil && w.groups != nil {
		return
	}
	w.groups, w.missing, w.total = groups(answers, true), nil, 0
	for _, g := range w.groups {
		if g.err != nil {
			w.total++
			w.missing = append(w.missing, missing{name: g.Gateway, why: g.err.Error()})
		}
		for i := range g.members {
			w.total++
			if m := &g.members[i]; !reached(m, w.want) {
				w.missing = append(w.missing, w.lacking(m))
			}
		}
	}
}

// lacking says why a gateway does not run it.
func (w *wait) lacking(m *drift.Instance) missing {
	out := missing{name: m.Instance, why: "runs " + m.Runs()}
	switch {
	case m.Waiting != nil && (bundle.Position{Epoch: m.Waiting.Epoch, Version: m.Waiting.Version}).Compare(w.want) >= 0:
		if out.why = m.Waiting.Why; m.Mode != "off" && m.Mode != "dry-run" { // no approval helps a gateway that activates nothing
			out.waiting = m.Waiting
		}
	case m.Error != "":
		out.why += ", error " + m.Error
	case m.Mode == "off":
		out.why += ", sync is off"
	}
	return out
}

// line is how far it is, in one line.
func (w *wait) line() string {
	text := fmt.Sprintf("%d of %d run %s", w.total-len(w.missing), w.total, w.want)
	for i, m := range w.missing {
		if i == 3 {
			text += fmt.Sprintf("; and %d more", len(w.missing)-i)
			break
		}
		text += "; " + m.name + ": " + m.why
	}
	return shown(oneLine(text))
}

// stuck reports whether only people can help: each gateway that is missing holds the candidate, and none lets go by itself.
func (w *wait) stuck() bool {
	for _, m := range w.missing {
		if m.waiting == nil || !person(m.waiting) {
			return false
		}
	}
	return true
}

func (w *wait) arrived(out io.Writer) {
	fmt.Fprintf(out, "gwctl: %d of %d gateways run %s\n", w.total, w.total, w.want)
	for _, g := range w.groups {
		if s := g.Status; s != nil && s.SharedState != nil && len(s.Fleet) == 0 {
			fmt.Fprintf(out, "gwctl: %s cannot see the other gateways of its environment; nobody waited for them\n", shown(g.Gateway))
		}
	}
}

// held tells what holds the candidate, and how to approve of it.
func (w *wait) held(out io.Writer) error {
	w.name(out)
	for i := range w.groups {
		var text strings.Builder
		writeWaiting(&text, &w.groups[i], "")
		fmt.Fprint(out, shown(text.String()))
	}
	return &codeError{exitRefused, fmt.Errorf("%s is published, and held at %d of %s", w.want, len(w.missing), count(w.total, "gateway"))}
}

// late tells who is missing when time is up.
func (w *wait) late(out io.Writer, timeout time.Duration) error {
	for i := range w.missing {
		if w.missing[i].waiting != nil {
			return w.held(out)
		}
	}
	w.name(out)
	return fmt.Errorf("waiting for %s ran out after %s", w.want, timeout)
}

func (w *wait) name(out io.Writer) {
	for _, m := range w.missing {
		fmt.Fprintf(out, "gwctl: %s: %s\n", shown(m.name), shown(oneLine(m.why)))
	}
}
