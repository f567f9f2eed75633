package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/internal/demo"
	"github.com/suuupra/gateway/schema/ir"
)

// devFlags are the settings of dev mode.
type devFlags struct {
	env, listen string
	demo        []string
}

func newDev() *cobra.Command {
	var f devFlags
	cmd := &cobra.Command{
		Use: "dev [PATH]", Short: "Serve a config repository from disk, and follow every save", Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("dev takes one PATH, not %d", len(args))
			}
			return nil
		},
		Long: `dev compiles a config repository, signs it with a throw-away key, serves it, and swaps in every change that compiles as soon
as it is saved. A change with an error is printed as gwctl prints it, and the old configuration goes on serving. A demo upstream
for the example repository is served beside it. The admin API needs no token from this machine. Not for production.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "."
			if len(args) > 0 {
				path = args[0]
			}
			return f.run(cmd.Context(), path, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&f.env, "env", "", "environment to serve (default: dev if there is one, else the base)")
	cmd.Flags().StringVar(&f.listen, "listen", "127.0.0.1:8080", "address to serve on, in the clear; empty for the listeners of the repository")
	cmd.Flags().StringSliceVar(&f.demo, "demo", []string{"127.0.0.1:18081", "127.0.0.1:18082"}, "addresses of the demo upstream's servers; empty for none")
	return cmd
}

func (f *devFlags) run(ctx context.Context, path string, stdout, stderr io.Writer) error {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return usagef("%q is not a directory", path)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &config{
		Env: f.env, Listen: f.listen, Sync: "auto", LogLevel: "warn", LogFormat: "text",
		DrainTimeout: 5 * time.Second, Jitter: time.Second,
	}
	log := newLogger(c, stderr)
	p, err := newPress(path, f.env)
	if err != nil {
		return err
	}
	s, err := newStation(c, log, stationOptions{trust: p.trust, dev: true, keysFor: likelyEnvironment(path, f.env), reload: p.poke, out: stdout, colour: isTerminal(stdout)})
	if err != nil {
		return err
	}
	s.status.set(func() { s.status.kind = "dev " + path })
	demoDone := make(<-chan struct{})
	if len(f.demo) > 0 {
		if demoDone, err = demo.Start(ctx, f.demo...); err != nil {
			fmt.Fprintf(stderr, "gwrun: %v; choose other addresses with --demo, or none with --demo ''\n", err)
			f.demo = nil
		}
	}
	listen := func() error {
		if err := s.listenData(ctx); err != nil {
			return err
		}
		fmt.Fprintf(stderr, "gwrun: serving %s on %s; edit a file and save it\n", path, s.url())
		return nil
	}
	if f.listen != "" {
		if err := listen(); err != nil {
			cancel()
			return errors.Join(err, s.stop())
		}
	}
	p.follow(ctx, s, stderr, func(first bool, prog *ir.Program) {
		if !first {
			return
		}
		if f.listen == "" { // the listeners are those of what went live
			if err := listen(); err != nil {
				s.failed <- err
				return
			}
		}
		f.greet(stderr, s.url(), prog)
	})
	err = s.stop()
	cancel()
	if len(f.demo) > 0 {
		<-demoDone
	}
	return err
}

// likelyEnvironment is the environment that will be served, as far as can be seen before anything is compiled: that of API keys.
func likelyEnvironment(path, chosen string) string {
	if chosen != "" {
		return chosen
	}
	if files, err := os.ReadDir(filepath.Join(path, "environments", "dev")); err == nil && len(files) > 0 {
		return "dev"
	}
	return "base"
}

// greet prints what to try.
func (f *devFlags) greet(w io.Writer, url string, p *ir.Program) {
	fmt.Fprintln(w, "\ntry:")
	fmt.Fprintf(w, "  curl %s/health\n", url)
	shown := 0
	for i := range p.Routes {
		m := &p.Routes[i].Match
		if m.Path == "" || shown == 6 {
			continue
		}
		shown++
		line := "curl"
		if strings.HasPrefix(p.Routes[i].ID, "events") {
			line += " -N"
		}
		if m.Host != "" {
			line += " -H 'Host: " + strings.Replace(m.Host, "*", "www", 1) + "'"
		}
		fmt.Fprintf(w, "  %-64s # route %s\n", line+" "+url+samplePath(m.Path), p.Routes[i].ID)
	}
	if p.Gateway.Admin.APIEnabled {
		fmt.Fprintf(w, "  curl %s/admin/status\n", url)
		if p.Gateway.Admin.DashboardUIEnabled {
			fmt.Fprintf(w, "  open %s/admin/ui\n", url)
		}
	}
	fmt.Fprintf(w, "  curl %s/metrics\n\n", url)
}

// samplePath makes a path that a pattern takes.
func samplePath(pattern string) string {
	segments := strings.Split(pattern, "/")
	for i, s := range segments {
		switch {
		case strings.HasPrefix(s, "{"):
			segments[i] = "1"
		case s == "*":
			segments[i] = ""
		}
	}
	return strings.TrimSuffix(filepath.ToSlash(strings.Join(segments, "/")), "/")
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
