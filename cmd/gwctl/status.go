package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// watchEvery is how often status --watch looks.
const watchEvery = 2 * time.Second

type statusFlags struct {
	gateways     []string
	format       string
	fleet, watch bool
}

func newStatus() *cobra.Command {
	var f statusFlags
	cmd := &cobra.Command{
		Use: "status --gateway URL", Short: "Show what gateways run: version, digest, commit, last error", Args: cobra.NoArgs,
		Long: `status asks each gateway's admin API (credentials: gwctl login, GWCTL_TOKEN or GWRUN_ADMIN_TOKEN) what it runs, what waits and what holds it, and whether there
is drift. A gateway with Redis knows the others of its environment, and status shows them all; --fleet=false shows only those that
were named. It exits 1 if one can't be asked, 4 if one refuses the token. Drift is shown, and no failure.

With --watch it goes on until it is interrupted: a terminal is drawn anew every two seconds, anything else gets a line for each
change.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	fl := cmd.Flags()
	fl.StringSliceVar(&f.gateways, "gateway", nil, "URL of a gateway's admin API; may be repeated")
	fl.StringVar(&f.format, "format", "text", "text or json")
	fl.BoolVar(&f.fleet, "fleet", true, "show every gateway of the environment, where the one that is asked knows them")
	fl.BoolVar(&f.watch, "watch", false, "show it again and again")
	return cmd
}

func (f *statusFlags) check() error {
	switch {
	case len(f.gateways) == 0:
		return usagef("--gateway is required: the URL of a gateway")
	case f.format != "text" && f.format != "json":
		return usagef("--format is %q, must be text or json", f.format)
	case f.watch && f.format != "text":
		return usagef("--watch shows text; leave out --format, or ask again and again")
	}
	return gatewayURLs(f.gateways)
}

func (f *statusFlags) run(cmd *cobra.Command) error {
	if err := f.check(); err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	switch {
	case f.watch && isTerminal(out):
		return f.redraw(cmd.Context(), out)
	case f.watch:
		return f.follow(cmd.Context(), out)
	}
	answers := askAll(cmd.Context(), f.gateways)
	if f.format == "json" {
		if err := writeJSON(out, answers); err != nil {
			return err
		}
	} else if _, err := io.WriteString(out, f.text(answers)); err != nil {
		return err
	}
	for _, a := range slices.Backward(answers) {
		if a.err != nil {
			return &silentError{exitCode(a.err)}
		}
	}
	return nil
}

func (f *statusFlags) text(answers []answer) string {
	var b strings.Builder
	all := groups(answers, f.fleet)
	for i := range all {
		if i > 0 && (all[i].err == nil || all[i-1].err == nil) {
			b.WriteString("\n")
		}
		writeGroup(&b, &all[i])
	}
	return shown(b.String())
}

// redraw shows the status on a terminal until ctx ends.
func (f *statusFlags) redraw(ctx context.Context, out io.Writer) error {
	return every(ctx, func() error {
		text := f.text(askAll(ctx, f.gateways))
		if ctx.Err() != nil {
			return nil // what could not be asked any more is no news
		}
		_, err := fmt.Fprintf(out, "\x1b[H\x1b[2J%s\n%s, every %s; Ctrl-C ends it\n", text, time.Now().Format(time.TimeOnly), watchEvery)
		return err
	})
}

// follow writes a line for each change until ctx ends.
func (f *statusFlags) follow(ctx context.Context, out io.Writer) error {
	var before []string
	return every(ctx, func() error {
		now := newsOf(groups(askAll(ctx, f.gateways), f.fleet))
		if ctx.Err() != nil {
			return nil
		}
		for _, line := range changed(before, now) {
			if _, err := fmt.Fprintf(out, "%s %s\n", time.Now().UTC().Format(time.RFC3339), shown(line)); err != nil {
				return err
			}
		}
		before = now
		return nil
	})
}

// every calls do at once and then at the pace of --watch, until ctx ends: that is how people end it, and no failure.
func every(ctx context.Context, do func() error) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		if err := do(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// changed are the lines that were not there before, and those that say that a gateway is gone.
func changed(before, now []string) []string {
	var out []string
	for _, line := range now {
		if !slices.ContainsFunc(before, func(b string) bool { return withoutNumbers(b) == withoutNumbers(line) }) {
			out = append(out, line)
		}
	}
	for _, line := range before {
		if name, _, _ := strings.Cut(line, ": "); !slices.ContainsFunc(now, func(n string) bool { return strings.HasPrefix(n, name+": ") }) {
			out = append(out, name+" is gone")
		}
	}
	return out
}

// withoutNumbers is a line without what a dry run counts.
func withoutNumbers(line string) string {
	head, counts, ok := strings.Cut(line, " waits: ")
	if !ok {
		return line
	}
	return head + strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return -1
		}
		return r
	}, counts)
}
