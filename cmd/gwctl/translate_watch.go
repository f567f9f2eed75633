package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/suuupra/gateway/compiler/kubernetes/live"
	"github.com/suuupra/gateway/internal/build"
	"github.com/suuupra/gateway/internal/compilechild"
	"github.com/suuupra/gateway/internal/depot"
	"github.com/suuupra/gateway/internal/gitclone"
	"github.com/suuupra/gateway/internal/gitwatch"
	"github.com/suuupra/gateway/internal/kubeclient"
	"github.com/suuupra/gateway/schema/bundle"
)

const liveHelp = `With --watch it follows the objects of a cluster in place of files, and pushes a commit to the branch of --repo whenever what they say has
changed and the repository compiles with it. gwctl serve takes it from there. Only files that this source wrote, and nobody has changed
since, are replaced or removed. What became of each object is written into its status, or told by Events; that it is programmed is known
only with --to, --env and --trust. The token for --repo is taken from GWCTL_REPO_TOKEN. With --once it makes one round: 0 if all was
said, 2 if something was left out, 3 if something does not compile, 1 if the cluster, the repository or the destination could not be
reached. docs/kubernetes.md has the rights it needs.`

// liveFlags are those of --watch.
type liveFlags struct {
	watch, once, routes   bool
	kubeconfig, repo, ref string
	to, env, trust, state string
	poll, confirm         time.Duration
	logLevel, logFormat   string
	repository, folder    string // what repo is made of
	names                 []string
}

func (l *liveFlags) register(cmd *cobra.Command, name string) {
	fs := cmd.Flags()
	before := map[string]bool{}
	fs.VisitAll(func(f *pflag.Flag) { before[f.Name] = true })
	fs.BoolVar(&l.watch, "watch", false, "follow a cluster, and push what it says to --repo")
	fs.BoolVar(&l.once, "once", false, "make one round, and exit")
	fs.StringVar(&l.kubeconfig, "kubeconfig", "", "how to reach the cluster; default: as the pod that this runs in")
	fs.StringVar(&l.repo, "repo", "", "git repository to push to: https or ssh; /subdirectory after //, #branch in place of --repo-ref")
	fs.StringVar(&l.ref, "repo-ref", "main", "branch of --repo")
	fs.StringVar(&l.to, "to", "", "where bundles are published, for the condition Programmed: as gwctl serve has it")
	fs.StringVar(&l.env, "env", "", "environment that is published there")
	fs.StringVar(&l.trust, "trust", "", "trust.json by which what is published is verified")
	fs.StringVar(&l.state, "state", "", "directory that keeps the clone across restarts; default: a temporary one")
	fs.DurationVar(&l.poll, "poll", live.DefaultPoll, "how often everything is looked at without a hint")
	fs.DurationVar(&l.confirm, "confirm", live.DefaultConfirm, "how long more than half of the routes must be gone before they are removed")
	fs.StringVar(&l.logLevel, "log-level", "info", "debug, info, warn or error")
	fs.StringVar(&l.logFormat, "log-format", "json", "json or text")
	if name != "route" {
		fs.BoolVar(&l.routes, "routes", true, "follow Routes of gateway.suuupra.dev too, if the cluster has them")
	}
	fs.VisitAll(func(f *pflag.Flag) {
		if !before[f.Name] {
			l.names = append(l.names, f.Name)
		}
	})
}

// changed is the first flag of --watch that was given; "" if there is none.
func (l *liveFlags) changed(cmd *cobra.Command) string {
	i := slices.IndexFunc(l.names, func(name string) bool { return cmd.Flags().Changed(name) })
	if i < 0 {
		return ""
	}
	return l.names[i]
}

// check finds what does not go together.
func (f *translateFlags) check(cmd *cobra.Command, args []string) error {
	l := &f.live
	if err := f.usage(); err != nil {
		return err
	}
	for _, name := range []string{"out", "force", "report"} {
		if cmd.Flags().Changed(name) {
			return usagef("--%s is for files, and does not go with --watch", name)
		}
	}
	switch {
	case len(args) > 0:
		return usagef("--watch takes no files: it reads the cluster")
	case l.repo == "":
		return usagef("--repo is required: the git repository to push to")
	case f.name == "ingress" && f.opts.IngressClass == "":
		return usagef("--ingress-class is required with --watch: an Ingress of another class must not change what is translated")
	case f.name == "gateway-api" && f.opts.Gateway == "":
		return usagef("--gateway is required with --watch: another Gateway must not change what is translated")
	case (l.to == "") != (l.trust == "") || (l.to == "") != (l.env == ""):
		return usagef("--to, --env and --trust go together")
	case l.poll < time.Second:
		return usagef("--poll is %s, must be at least 1s", l.poll)
	case l.confirm < time.Second:
		return usagef("--confirm is %s, must be at least 1s", l.confirm)
	case !slices.Contains([]string{"debug", "info", "warn", "error"}, l.logLevel):
		return usagef("--log-level is %q, must be one of debug, info, warn, error", l.logLevel)
	case l.logFormat != "json" && l.logFormat != "text":
		return usagef("--log-format is %q, must be one of json, text", l.logFormat)
	}
	return l.place(cmd)
}

// place takes the address of the repository apart.
func (l *liveFlags) place(cmd *cobra.Command) error {
	address, branch, named := strings.Cut(l.repo, "#")
	if named {
		if cmd.Flags().Changed("repo-ref") {
			return usagef("--repo names a branch, and --repo-ref too; must be one of them")
		}
		l.ref = branch
	}
	var err error
	l.repository, l.folder = gitwatch.SplitSubdirectory(address)
	if l.folder, err = gitclone.ParseFolder(l.folder); err != nil {
		return usage(fmt.Errorf("--repo: %w", err))
	}
	a, err := gitwatch.ParseAddress(l.repository)
	if err != nil {
		return usage(fmt.Errorf("--repo: %w", err))
	}
	if _, local := a.Directory(); local {
		return usagef("--repo is a directory: commits are pushed to a git server alone; name an https or ssh URL")
	}
	return nil
}

// source names this live source in the files it writes.
func (f *translateFlags) source() string {
	name := f.name
	for _, part := range []string{f.opts.IngressClass, f.opts.Gateway} {
		if part != "" {
			name += " " + part
		}
	}
	if len(f.opts.Namespaces) > 0 {
		name += " in " + strings.Join(slices.Sorted(slices.Values(f.opts.Namespaces)), " ")
	}
	return name
}

// follow is translate with --watch or --once.
func (f *translateFlags) follow(cmd *cobra.Command, args []string) error {
	if err := f.check(cmd, args); err != nil {
		return err
	}
	l := &f.live
	log := newServeLogger(&serveConfig{LogLevel: l.logLevel, LogFormat: l.logFormat}, cmd.ErrOrStderr())
	state, done, err := stateDirectory(l.state)
	if err != nil {
		return err
	}
	defer done()
	clone, err := gitclone.Open(gitclone.Options{Repository: l.repository, Ref: l.ref, Token: os.Getenv("GWCTL_REPO_TOKEN"), Dir: state})
	if err != nil {
		return usage(fmt.Errorf("--repo: %w", err))
	}
	defer clone.Close()
	o := live.Options{
		Source: f.source(), Translate: f.opts, Clone: clone, Folder: l.folder, Poll: l.poll, Confirm: l.confirm, Log: log,
		Kinds: live.Kinds{Ingress: f.name == "ingress", GatewayAPI: f.name == "gateway-api", Routes: f.name == "route" || l.routes},
		Connect: func() (*kubeclient.Client, error) {
			return kubeclient.New(kubeclient.Options{Kubeconfig: l.kubeconfig, UserAgent: "gwctl/" + build.Version, MaxAnswer: live.MaxAnswer, QPS: 50, Burst: 100})
		},
		Check: f.compile(clone),
	}
	if l.to != "" {
		at, closed, err := l.destination()
		if err != nil {
			return err
		}
		defer closed()
		o.Destination, o.ContentDigest = at, f.digest(clone)
	}
	w, err := live.New(o)
	if err != nil {
		return usage(err)
	}
	if l.once {
		r, err := w.Once(cmd.Context())
		return onceCode(cmd, r, err)
	}
	log.Info("following the cluster", "source", o.Source, "repository", clone.Address(), "ref", l.ref)
	w.Run(cmd.Context())
	log.Info("stopping")
	return nil
}

// destination is where bundles are published.
func (l *liveFlags) destination() (*live.Destination, func(), error) {
	location, err := depot.ParseLocation(l.to)
	if err != nil {
		return nil, nil, usage(fmt.Errorf("--to: %w", err))
	}
	if _, err := readTrust(l.trust); err != nil { // it is read again with each look
		return nil, nil, err
	}
	from, err := depot.Open(location, depotOptions())
	if err != nil {
		return nil, nil, fmt.Errorf("--to: %w", err)
	}
	trust := func() (*bundle.Trust, error) { return readTrust(l.trust) }
	return &live.Destination{From: from, Environment: l.env, Trust: trust, Now: time.Now}, func() { _ = from.Close() }, nil
}

// compile judges commits in child processes, as gwctl serve does.
func (f *translateFlags) compile(clone *gitclone.Clone) func(context.Context, string) (live.Verdict, error) {
	child := compilechild.Command{}
	return func(ctx context.Context, commit string) (live.Verdict, error) {
		resp, err := child.Run(ctx, compilechild.Request{GitDir: clone.GitDir(), Commit: commit, Subdirectory: f.live.folder, Every: true})
		if err != nil {
			return live.Verdict{}, err
		}
		v := live.Verdict{Text: resp.Text}
		for _, m := range resp.Mistakes {
			v.Mistakes = append(v.Mistakes, live.Mistake(m))
		}
		return v, nil
	}
}

// digest names the content that a commit compiles to; "" if it does not.
func (f *translateFlags) digest(clone *gitclone.Clone) func(context.Context, string) (string, error) {
	child := compilechild.Command{}
	return func(ctx context.Context, commit string) (string, error) {
		resp, err := child.Run(ctx, compilechild.Request{GitDir: clone.GitDir(), Commit: commit, Subdirectory: f.live.folder, Environment: f.live.env})
		return resp.ContentDigest, err
	}
}

// onceCode prints what came of one round, and exits as it says.
func onceCode(cmd *cobra.Command, r live.Report, err error) error {
	if err != nil {
		return err
	}
	if r.Commit != "" {
		fmt.Fprintf(cmd.OutOrStdout(), "pushed %s\n", r.Commit)
	}
	switch {
	case r.Unread != nil:
		return r.Unread
	case r.Invalid:
		return &silentError{exitInvalid} // the log has said why
	case r.Unpushed != "":
		return fmt.Errorf("nothing was pushed: %s", r.Unpushed)
	case r.Incomplete:
		return &silentError{exitDifferences}
	}
	return nil
}
