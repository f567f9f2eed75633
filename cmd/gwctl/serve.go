package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/cmd/internal/settings"
	"github.com/suuupra/gateway/compiler/gating"
	"github.com/suuupra/gateway/compiler/publisher"
	"github.com/suuupra/gateway/internal/gate"
	"github.com/suuupra/gateway/internal/gitclone"
	"github.com/suuupra/gateway/internal/gitwatch"
	"github.com/suuupra/gateway/internal/webhook"
	"github.com/suuupra/gateway/runtime/secret"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
)

func newServe() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "serve --repo URL --env E --to DEST --key release.key --channel-key channel.key --trust trust.json",
		Short: "Watch a branch, and publish each commit that its rules let pass", Args: cobra.NoArgs,
		Long: `serve watches one branch of a git repository and does for each new commit what apply does: it compiles every --env in a process of
its own, signs, asks the rules of what is published, and publishes to DEST. What a rule holds is brought to DEST for people to look at,
and published when it is approved of (gwctl approve) or its window opens. What does not compile changes nothing. After gwctl rollback an
environment stays as it is until gwctl apply --lift-hold. Channels are renewed before they expire.

Every setting is a field of serve.yaml (--config), a flag, and a GWCTL_ environment variable; a flag wins over the environment, which
wins over the file. Webhooks are in the file; see docs/publisher.md. The token for --repo is taken from GWCTL_REPO_TOKEN or the file,
never from a flag.

With --once it makes one round: 0 if all is published, 3 if the head does not compile or its tests fail, 4 if it is held, 5 if somebody
else published again and again in between, 1 if the repository or DEST could not be reached.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadServeConfig(file, cmd.Flags(), os.LookupEnv)
			if err != nil {
				return err
			}
			return serve(cmd.Context(), c, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "serve.yaml")
	serveTable.Register(cmd.Flags())
	return cmd
}

// service is a publisher and all that stands around it.
type service struct {
	c         *serveConfig
	log       *slog.Logger
	clone     *gitclone.Clone
	publisher *publisher.Publisher
	metrics   *serveMetrics
	secrets   *secret.Store
}

// serve publishes until ctx ends, or once.
func serve(ctx context.Context, c *serveConfig, stdout, stderr io.Writer) error {
	location, to, err := openDestination(c.To)
	if err != nil {
		return fmt.Errorf("--to: %w", err)
	}
	defer func() { _ = to.Close() }() // nothing is buffered in it
	if _, err := c.keys(); err != nil {
		return err
	}
	repository, folder := gitwatch.SplitSubdirectory(c.Repo)
	if folder, err = gitclone.ParseFolder(folder); err != nil {
		return usage(fmt.Errorf("--repo: %w", err))
	}
	state, done, err := stateDirectory(c.State)
	if err != nil {
		return err
	}
	defer done()
	s := &service{c: c, log: newServeLogger(c, stderr)}
	if s.clone, err = gitclone.Open(gitclone.Options{Repository: repository, Ref: headless(c.RepoRef), Token: c.RepoToken, Dir: state}); err != nil {
		return usage(fmt.Errorf("--repo: %w", err))
	}
	defer s.clone.Close()
	s.metrics = newServeMetrics(s.status)
	trails, err := openTrails(c, s.log)
	if err != nil {
		return err
	}
	defer trails.close()
	s.publisher, err = publisher.New(publisher.Options{
		Clone: s.clone, Subdirectory: folder, Environments: c.Environments, To: to, Place: location.String(),
		Compile: c.compiler(s.clone), Compare: func(before, after *ir.Program) gate.Change { change, _ := gating.Change(before, after); return change },
		Keys: c.keys, Lifetime: c.Expires, Interval: c.Poll, Failed: s.metrics.failed, Told: trails.told, Log: s.log,
	})
	if err != nil {
		return usage(err)
	}
	s.log.Info("publisher started", "repository", s.clone.Address(), "ref", c.RepoRef, "environments", c.Environments, "to", location.String())
	if c.Once {
		return s.once(ctx, stdout)
	}
	return s.run(ctx, repository)
}

// status is the publisher's, once there is one.
func (s *service) status() publisher.Status { return s.publisher.Status() }

// headless is how the packages below spell the default branch.
func headless(ref string) string {
	if ref == "HEAD" {
		return ""
	}
	return ref
}

// stateDirectory is where the clone lies, and what takes it away again if nobody asked for it.
func stateDirectory(dir string) (string, func(), error) {
	if dir != "" {
		return dir, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "gwctl-serve-")
	if err != nil {
		return "", nil, fmt.Errorf("make a directory for the clone: %w", err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }, nil // it is a copy
}

// keys reads the keys and the trust file, as they are by now.
func (c *serveConfig) keys() (*publisher.Keys, error) {
	release, err := keyOf("release key", c.Key)
	if err != nil {
		return nil, err
	}
	channel, err := keyOf("channel key", c.ChannelKey)
	if err != nil {
		return nil, err
	}
	trust, err := readTrust(c.Trust)
	if err != nil {
		return nil, err
	}
	return &publisher.Keys{Release: release, Channel: channel, Trust: trust}, nil
}

// keyOf reads a private key from a file, or from the value itself.
func keyOf(what, value string) (bundle.Signer, error) {
	if !strings.Contains(value, settings.PEMBegin) {
		return readKey(value)
	}
	key, err := bundle.ParsePrivateKey([]byte(value))
	if err != nil {
		return nil, fmt.Errorf("read the %s from the environment: %w", what, err)
	}
	return key, nil
}

// once makes one round, and exits as its outcome says.
func (s *service) once(ctx context.Context, stdout io.Writer) error {
	err := s.publisher.Once(ctx)
	code := exitOK
	status := s.publisher.Status()
	for i := range status.Environments {
		e := &status.Environments[i]
		p := cmp.Or(e.Published, &publisher.Publication{Version: "-", Digest: "-"})
		fmt.Fprintf(stdout, "%s %s %s %s\n", e.State, e.Environment, p.Version, p.Digest)
		switch {
		case e.State == publisher.Invalid:
			code = exitInvalid
		case e.State == publisher.Held && code == exitOK:
			code = exitRefused
		}
	}
	if err == nil && code != exitOK {
		err = &silentError{code} // the log has said why
	}
	return err
}

// run publishes until ctx ends.
func (s *service) run(ctx context.Context, repository string) error {
	s.secrets = secret.New(s.log)
	defer s.secrets.Close()
	hooks, err := s.c.webhooks(repository, s.secrets)
	if err != nil {
		return usage(err)
	}
	pool := gitwatch.NewPool(s.log)
	defer pool.Close()
	watch, err := pool.Watch(gitwatch.Options{
		Repository: repository, Ref: headless(s.c.RepoRef), Token: s.c.RepoToken, Local: true, Interval: s.c.Poll,
		Head: func(h gitwatch.Head) { s.publisher.Moved(h.Commit) },
	})
	if err != nil {
		return usage(fmt.Errorf("--repo: %w", err))
	}
	// A webhook makes somebody look at once, and again when forges that answer from copies have caught up.
	later := webhook.NewDebouncer(webhook.Debounce, func(context.Context) { watch.Poke() })
	receiver, err := webhook.New(webhook.Options{
		Hooks: hooks, Log: s.log, Observe: s.metrics.delivered,
		Hint: func(h webhook.Hint) {
			s.log.Info("a webhook hints at a push", "webhook", h.Hook, "ref", h.Ref, "commit", h.Commit)
			watch.Poke()
			later.Hint()
		},
	})
	if err != nil {
		return usage(err)
	}
	servers, err := s.listen(receiver)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() { later.Run(ctx) })
	running.Go(func() { s.publisher.Run(ctx) })
	err = serveAll(ctx, servers)
	s.log.Info("stopping")
	return err
}

// newServeLogger writes to standard error, one JSON object a line unless told otherwise.
func newServeLogger(c *serveConfig, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		level = slog.LevelInfo
	}
	opts := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "text" {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}
