package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/suuupra/gateway/compiler/gating"
	"github.com/suuupra/gateway/internal/gate"
	"github.com/suuupra/gateway/runtime/admin"
	"github.com/suuupra/gateway/runtime/drift"
	"github.com/suuupra/gateway/runtime/simulate"
	"github.com/suuupra/gateway/schema/bundle"
)

// shown is a text as a terminal may get it: a gateway, or whoever answers in its place, chooses what is in it.
func shown(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// oneLine is a text that stays on its line: what stands on the next one would look like ours.
func oneLine(s string) string { return strings.ReplaceAll(s, "\n", " ") }

// writeGroup shows a gateway that was asked, with those that it knows of.
func writeGroup(w io.Writer, g *group) {
	if g.err != nil {
		fmt.Fprintf(w, "%s: %v\n", g.Gateway, g.err)
		return
	}
	fmt.Fprintln(w, headline(g))
	writeTable(w, g)
	writeDrift(w, g.Status.Drift)
	writeTroubles(w, g.Status)
	writeWaiting(w, g, "  ")
}

// headline says how all of them are.
func headline(g *group) string {
	text := g.Gateway + ": "
	digest, at, n := newest(g.members)
	if digest == "" {
		return text + "nothing is running yet"
	}
	text += fmt.Sprintf("%s, %d of %d run %s sha256:%s", g.members[0].Environment, n, len(g.members), at, bundle.Digest(digest).Short())
	if d := g.Status.Drift; d != nil && d.CommitsBehind != nil && *d.CommitsBehind > 0 {
		text += "; repository " + count(*d.CommitsBehind, "commit") + " ahead"
	}
	return text
}

func writeTable(w io.Writer, g *group) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  INSTANCE\tVERSION\tDIGEST\tCOMMIT\tFOR\tSYNC\tGWRUN\tDRIFT\tERROR")
	for i := range g.members {
		m := &g.members[i]
		version, age := "-", "-"
		if m.Digest != "" {
			version = m.Position().String()
		}
		if m.ActivatedAt != nil {
			age = ago(m.At.Sub(*m.ActivatedAt)) // both by its own clock
		}
		name := m.Instance
		if m.Instance == g.Status.Instance && len(g.members) > 1 {
			name += " *"
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", name, version, cmp.Or(bundle.Digest(m.Digest).Short(), "-"), cmp.Or(fmt.Sprintf("%.12s", m.Commit), "-"),
			age, cmp.Or(m.Mode, "-"), cmp.Or(m.Gwrun, "-"), cmp.Or(strings.Join(m.Drift, ","), "-"), cmp.Or(m.Error, "-"))
	}
	_ = t.Flush() // into memory
}

// ago is an age in its largest unit.
func ago(d time.Duration) string {
	switch d = max(d, 0); {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d >= time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= time.Minute:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return fmt.Sprintf("%ds", d/time.Second)
}

// writeDrift shows the classes in which there is drift, and those of which nobody knows.
func writeDrift(w io.Writer, d *admin.Drift) {
	if d == nil {
		return
	}
	for _, c := range d.Classes {
		switch {
		case c.Unknown:
			fmt.Fprintf(w, "  drift of %s is not known: %s\n", c.Class, oneLine(c.Detail))
		case c.Detected:
			fmt.Fprintf(w, "  drift of %s: %s\n", c.Class, oneLine(c.Detail))
			for i, line := range c.Details {
				if i == 10 {
					fmt.Fprintf(w, "    and %d more\n", len(c.Details)-i)
					break
				}
				if line != c.Detail {
					fmt.Fprintf(w, "    %s\n", oneLine(line))
				}
			}
		}
	}
}

// writeTroubles shows what else somebody should look after.
func writeTroubles(w io.Writer, st *admin.Status) {
	if len(st.MissingSecrets) > 0 {
		fmt.Fprintf(w, "  routes answer 503 for want of these secrets: %s\n", strings.Join(st.MissingSecrets, ", "))
	}
	if len(st.RestartNeeded) > 0 {
		fmt.Fprintf(w, "  restart it: the bundle opens these listeners otherwise than they are open: %s\n", strings.Join(st.RestartNeeded, ", "))
	}
	if f := st.Source.LastError; f != nil {
		fmt.Fprintf(w, "  error since %s: %s: %s\n", f.Since.UTC().Format(time.RFC3339), f.Code, oneLine(f.Message))
	}
}

// writeWaiting shows the candidates that wait, what holds each, and how to approve of it.
func writeWaiting(w io.Writer, g *group, indent string) {
	var told []string
	for i := range g.members {
		m := &g.members[i]
		c := m.Waiting
		if c == nil {
			continue
		}
		fmt.Fprintf(w, "%s%d.%d sha256:%s waits at %s: %s\n", indent, c.Epoch, c.Version, bundle.Digest(c.Digest).Short(), m.Instance, oneLine(c.Why))
		if p := g.Status.Source.Pending; p != nil && (m.Instance == g.Status.Instance || len(g.members) == 1) {
			writeRules(w, p, indent+"  ")
		}
		if command := approval(m, g.Status.Source.Kind); command != "" && !slices.Contains(told, command) {
			told = append(told, command)
			fmt.Fprintf(w, "%s  approve of it: %s\n", indent, command)
		}
	}
}

// writeRules shows the rules that hold the candidate of the gateway that was asked, and what live requests say.
func writeRules(w io.Writer, p *admin.Pending, indent string) {
	var refusals []gate.Refusal
	for i := range p.Rules {
		r := &p.Rules[i]
		refusal := gate.Refusal{Rule: r.Rule, Why: r.Why, Want: r.Needed, Have: r.Approvals}
		if r.Opens != nil {
			refusal.Opens = *r.Opens
		}
		for _, k := range r.Risks {
			refusal.Risks = append(refusal.Risks, gate.Risk{Code: k.Code, Severity: k.Severity, Object: k.Object, Pos: k.Pos, Message: k.Message})
		}
		refusals = append(refusals, refusal)
	}
	var b strings.Builder
	gating.Write(&b, refusals)
	for line := range strings.Lines(b.String()) {
		if strings.TrimSpace(line) != "" {
			fmt.Fprint(w, indent, line)
		}
	}
	if d := p.DryRun; d != nil {
		fmt.Fprintf(w, "%sdry run: %s\n", indent, judged(d))
	}
}

// judged says what live requests have said.
func judged(d *simulate.ShadowReport) string {
	text := fmt.Sprintf("%s judged, %d differ", count(d.Requests, "request"), d.Differences())
	var ways []string
	for _, way := range slices.Sorted(maps.Keys(d.Ways)) {
		if n := d.Ways[way]; n > 0 {
			ways = append(ways, fmt.Sprintf("%s %d", way, n))
		}
	}
	if len(ways) > 0 {
		text += " (" + strings.Join(ways, ", ") + ")"
	}
	if d.Dropped > 0 {
		text += fmt.Sprintf(", %d came too fast to be judged", d.Dropped)
	}
	return text
}

// approval is the command that lets a candidate go; empty: none does.
func approval(m *drift.Instance, source string) string {
	c := m.Waiting
	if !approvable(c) || m.Digest == "" {
		return ""
	}
	to := "DEST"
	if source != "" && !strings.HasSuffix(source, ".gwb") {
		to = quoted(source)
	}
	command := fmt.Sprintf(`gwctl approve %s --base %s --env %s --to %s --trust trust.json --key approver.key --reason "..."`, c.Digest, m.Digest, quoted(m.Environment), to)
	if slices.Contains(c.Held, drift.HeldByWindow) {
		command += " --any-time"
	}
	if slices.Contains(c.Held, drift.HeldByDryRun) {
		command += " --skip-dry-run"
	}
	return command
}

// quoted is a word for a shell.
func quoted(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("/:._-+@#=,", r) && (r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r))
	}) {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}

// newsOf is a line for each thing that can change: how all are, and how each gateway is. What stands before the colon is its name.
func newsOf(all []group) []string {
	var out []string
	for i := range all {
		g := &all[i]
		if g.err != nil {
			out = append(out, fmt.Sprintf("%s: %v", g.Gateway, g.err))
			continue
		}
		out = append(out, headline(g))
		for j := range g.members {
			out = append(out, news(&g.members[j]))
		}
	}
	return out
}

func news(m *drift.Instance) string {
	text := m.Instance + ": runs " + m.Runs()
	if len(m.Drift) > 0 {
		text += ", drift of " + strings.Join(m.Drift, ", ")
	}
	if m.Error != "" {
		text += ", error " + m.Error
	}
	if c := m.Waiting; c != nil {
		text += fmt.Sprintf("; %d.%d waits: %s", c.Epoch, c.Version, oneLine(c.Why))
	}
	return text
}
