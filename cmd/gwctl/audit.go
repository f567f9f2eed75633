package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/internal/audit"
	"github.com/suuupra/gateway/schema/bundle"
)

func newAudit() *cobra.Command {
	cmd := &cobra.Command{
		Use: "audit COMMAND", Short: "Verify and read the audit trail of a gateway",
		Long: `audit works on the files of an audit trail, the folder that a gateway writes to, or copies of it. The format is in docs/audit.md.`,
	}
	cmd.AddCommand(newAuditVerify(), newAuditShow(), newAuditTail())
	return cmd
}

func newAuditVerify() *cobra.Command {
	var trustFile, head, from, format string
	cmd := &cobra.Command{
		Use: "verify DIR|FILE... --trust trust.json [--head DIGEST]", Short: "Find whatever was changed, cut off or put into an audit trail", Args: cobra.MinimumNArgs(1),
		Long: `verify reads every line of a trail and checks that each names the digest of the line before it, and that the footers of the
segments were signed by a key which trust.json lists with the role "audit". The first fault ends it: exit code 6, with file, line and
record. A folder must hold the whole trail, or begin behind the head that --from names.

Nothing vouches yet for the end of a trail, from the last signature on. --head names a record that must be there: take it from what
the gateway publishes in its metrics, or from an earlier verify. Then nobody can have cut the trail off before that record.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if trustFile == "" {
				return usagef("--trust is required: the trust.json to verify with")
			}
			if format != "text" && format != "json" {
				return usagef("--format is %q, must be text or json", format)
			}
			check := audit.Check{Wait: time.Second}
			for _, f := range []struct {
				name, value string
				to          *bundle.Digest
			}{{"head", head, &check.Head}, {"from", from, &check.From}} {
				d, err := bundle.ParseDigest(f.value)
				if f.value != "" && err != nil {
					return usagef("--%s: %v", f.name, err)
				}
				*f.to = d
			}
			var err error
			if check.Trust, err = readTrust(trustFile); err != nil {
				return err
			}
			return auditVerify(cmd, args, check, format)
		},
	}
	cmd.Flags().StringVar(&trustFile, "trust", "", "trust.json: which keys may sign audit trails")
	cmd.Flags().StringVar(&head, "head", "", "digest of a record that the trail must hold")
	cmd.Flags().StringVar(&from, "from", "", "head of the segment before the first one, if older ones are kept elsewhere")
	cmd.Flags().StringVar(&format, "format", "text", "text or json")
	return cmd
}

func auditVerify(cmd *cobra.Command, paths []string, check audit.Check, format string) error {
	report, err := audit.Verify(paths, check)
	var fault *audit.Fault
	switch found := errors.As(err, &fault); {
	case err != nil && !found:
		return err
	case format == "json":
		answer := struct {
			OK bool `json:"ok"`
			*audit.Report
			Fault *audit.Fault `json:"fault,omitempty"`
		}{!found, report, fault}
		if err := writeJSON(cmd.OutOrStdout(), answer); err != nil {
			return err
		}
		if found {
			return &silentError{exitTrust}
		}
		return nil
	case found && report.Records > 0:
		return &codeError{exitTrust, fmt.Errorf("%w; what comes before is good: %s", fault, records(report.First, report.Last))}
	case found:
		return &codeError{exitTrust, fault}
	}
	printAudit(cmd.OutOrStdout(), report, check.Head)
	return nil
}

func records(first, last int64) string {
	if first == last {
		return fmt.Sprintf("record %d", first)
	}
	return fmt.Sprintf("records %d to %d", first, last)
}

func printAudit(w io.Writer, r *audit.Report, head bundle.Digest) {
	fmt.Fprintf(w, "ok %s in %s\n", count(r.Records, "record"), count(r.Segments, "segment"))
	if r.Records > 0 {
		fmt.Fprintf(w, "%s, %s to %s\n", records(r.First, r.Last), r.Start, r.End)
		fmt.Fprintf(w, "head %s\n", r.Head)
	}
	if r.Before > 0 {
		fmt.Fprintf(w, "not read: %s, kept elsewhere\n", records(1, r.Before))
	}
	for _, t := range r.Torn {
		fmt.Fprintf(w, "%s ends with %s of a line that its writer was killed in\n", t.File, count(t.Bytes, "byte"))
	}
	if r.Signed > 0 {
		fmt.Fprintf(w, "signed up to record %d by %s\n", r.Signed, strings.Join(r.Keys, ", "))
	}
	if r.Signed < r.Last {
		fmt.Fprintf(w, "not signed yet: %s\n", records(max(r.Signed+1, r.First), r.Last))
	}
	if head == "" {
		fmt.Fprintln(w, "no --head: whether records were cut off at the end was not checked")
	}
}

// auditFilter chooses records.
type auditFilter struct {
	since, until  string
	actions       []string
	actors        []string
	format        string
	after, before time.Time
}

func (f *auditFilter) register(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&f.actions, "action", nil, "only this action, or all that begin with it and a dot; may be repeated")
	cmd.Flags().StringSliceVar(&f.actors, "actor", nil, "only this actor's id, or kind; may be repeated")
	cmd.Flags().StringVar(&f.format, "format", "text", "text, or json: the lines of the trail")
}

func (f *auditFilter) check() error {
	if f.format != "text" && f.format != "json" {
		return usagef("--format is %q, must be text or json", f.format)
	}
	for _, a := range f.actions {
		if !slices.ContainsFunc(audit.Actions(), func(known audit.Action) bool { return under(string(known), a) }) {
			return usagef("--action is %q, must be one of %v, or what stands before a dot", a, audit.Actions())
		}
	}
	for _, t := range []struct {
		name, value string
		to          *time.Time
	}{{"since", f.since, &f.after}, {"until", f.until, &f.before}} {
		if t.value == "" {
			continue
		}
		if ago, err := time.ParseDuration(t.value); err == nil && ago >= 0 {
			*t.to = time.Now().Add(-ago)
			continue
		}
		at, err := time.Parse(time.RFC3339, t.value)
		if err != nil {
			return usagef("--%s is %q, must be a time such as 2026-01-31T12:00:00Z, or how long ago, such as 2h", t.name, t.value)
		}
		*t.to = at
	}
	return nil
}

// under reports whether an action is the one that is asked for, or of its family.
func under(action, asked string) bool {
	return action == asked || strings.HasPrefix(action, asked+".")
}

func (f *auditFilter) takes(e *audit.Entry) bool {
	switch {
	case !f.after.IsZero() && e.Time.Before(f.after), !f.before.IsZero() && e.Time.After(f.before):
		return false
	case len(f.actions) > 0 && !slices.ContainsFunc(f.actions, func(a string) bool { return under(string(e.Action), a) }):
		return false
	}
	return len(f.actors) == 0 || slices.Contains(f.actors, e.Actor.ID) || slices.Contains(f.actors, string(e.Actor.Kind))
}

// printer writes records that the filter takes, and counts the lines that are none.
func (f *auditFilter) printer(cmd *cobra.Command, bad *int) func(*audit.Entry, *audit.Fault) error {
	return func(e *audit.Entry, fault *audit.Fault) error {
		if fault != nil {
			*bad++
			fmt.Fprintf(cmd.ErrOrStderr(), "gwctl: %v\n", fault)
			return nil
		}
		if !f.takes(e) {
			return nil
		}
		if f.format == "json" {
			line, err := bundle.Canonical(e)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", line)
			return err
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), auditLine(e))
		return err
	}
}

// auditLine is a record for people. What is more than one word is quoted, so that no text passes for another column, and so is what a
// terminal would obey: the trail may have been changed.
func auditLine(e *audit.Entry) string {
	who := string(e.Actor.Kind)
	for _, s := range []string{e.Actor.ID, e.Actor.Address} {
		if s != "" {
			who += " " + auditWord(s)
		}
	}
	line := fmt.Sprintf("%6d  %s  %-7s  %-15s  %s", e.Seq, e.Time, auditWord(string(e.Outcome)), auditWord(string(e.Action)), who)
	for _, s := range []string{e.Object, e.Reason} {
		if s != "" {
			line += "  " + auditWord(s)
		}
	}
	keys := make([]string, 0, len(e.Details))
	for k := range e.Details {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		line += "  " + auditWord(k) + "=" + auditWord(e.Details[k])
	}
	return line
}

func auditWord(s string) string {
	if strings.ContainsAny(s, " \"=") {
		return strconv.Quote(s)
	}
	return cell(s)
}

func newAuditShow() *cobra.Command {
	var f auditFilter
	cmd := &cobra.Command{
		Use: "show DIR [--since T] [--until T] [--action A] [--actor ID]", Short: "Print the records of an audit trail, without verifying it", Args: cobra.ExactArgs(1),
		Long: `show prints the records of a trail, oldest first. It believes them: only gwctl audit verify tells whether somebody changed
them. Lines that cannot be read are named on standard error, the others are printed all the same, and the exit code is then 6.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			bad := 0
			if err := audit.Read(args[0], f.printer(cmd, &bad)); err != nil {
				return err
			}
			if bad > 0 {
				return &codeError{exitTrust, fmt.Errorf("%s could not be read; gwctl audit verify says more", count(bad, "line"))}
			}
			return nil
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&f.since, "since", "", "only from this time on, or so long ago, such as 2h")
	cmd.Flags().StringVar(&f.until, "until", "", "only up to this time, or so long ago")
	return cmd
}

func newAuditTail() *cobra.Command {
	var (
		f    auditFilter
		last int
	)
	cmd := &cobra.Command{
		Use: "tail DIR [--lines N] [--action A] [--actor ID]", Short: "Print the last records of an audit trail, and then each new one", Args: cobra.ExactArgs(1),
		Long: `tail prints the last records of a trail and then waits for more, until it is interrupted. It does not verify what it prints.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			if last < 0 || last > 10_000 {
				return usagef("--lines is %d, must be between 0 and 10000", last)
			}
			bad := 0
			return audit.Follow(cmd.Context(), args[0], last, f.printer(cmd, &bad))
		},
	}
	f.register(cmd)
	cmd.Flags().IntVar(&last, "lines", 10, "how many records to begin with, before they are filtered")
	return cmd
}
