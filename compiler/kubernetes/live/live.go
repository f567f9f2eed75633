// Package live keeps a branch of a config repository like the objects of a Kubernetes cluster, and tells the objects what became of
// them. Git stays the one truth: what is translated here is committed, and compiled, gated, signed and published from there like any
// other change (docs/decisions/0015-kubernetes-live.md).
//
// Each round lists everything, translates it, and pushes one commit if the branch is not like that. Watches only say when the next
// round is due: nothing is remembered between rounds that could be out of date, and after a restart the branch itself says what is left
// to do. It must not publish, sign, or read the content of a secret.
package live

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/suuupra/gateway/compiler/kubernetes"
	"github.com/suuupra/gateway/internal/gitclone"
	"github.com/suuupra/gateway/internal/kubeclient"
)

// Kinds are what is followed.
type Kinds struct {
	Ingress, GatewayAPI bool
	Routes              bool // of gateway.suuupra.dev
}

// The defaults, and the shortest that make sense.
const (
	DefaultPoll    = 30 * time.Second
	DefaultConfirm = 30 * time.Second
	backoffMax     = time.Minute
)

// Options are the settings of a Watcher. What is not optional must be set.
type Options struct {
	// Source names this live source in the files it writes, in small letters, digits and "./ -". Files of another source are left alone.
	Source string
	Kinds  Kinds
	// Translate says what is translated. Controller, Complete and SecretsUnread are set here.
	Translate kubernetes.Options
	// Connect makes a client of the credentials as they are by now.
	Connect func() (*kubeclient.Client, error)

	Clone  *gitclone.Clone // of the branch
	Folder string          // of the config repository in it; "" is the root
	// Check compiles a commit of the clone, whole.
	Check func(ctx context.Context, commit string) (Verdict, error)
	// ContentDigest compiles one environment, and names what comes of it. nil if there is no Destination.
	ContentDigest func(ctx context.Context, commit string) (string, error)
	Destination   *Destination // nil: nobody says what is published

	Poll    time.Duration // how often a round is made without a hint; 0 is DefaultPoll
	Confirm time.Duration // how long a removal of most routes must last; 0 is DefaultConfirm
	Now     func() time.Time
	Log     *slog.Logger
}

var sourceForm = regexp.MustCompile(`^[a-z0-9./ -]{1,600}$`)

// Watcher is one live source. It is for one goroutine.
type Watcher struct {
	opts      Options
	cluster   *cluster // nil: not connected
	branch    *branch
	programs  programs
	published *Publication    // as it was seen last; nil: never, or nothing is
	known     bool            // whether the destination has ever answered
	said      map[string]bool // findings that were logged
	told      map[string]time.Time
}

// New judges the options. It opens no connection.
func New(o Options) (*Watcher, error) {
	o.Poll, o.Confirm = cmp.Or(o.Poll, DefaultPoll), cmp.Or(o.Confirm, DefaultConfirm)
	if o.Now == nil {
		o.Now = time.Now
	}
	if !sourceForm.MatchString(o.Source) {
		return nil, fmt.Errorf("the name of a live source is %.80q, must be of small letters, digits and \"./ -\"", o.Source)
	}
	o.Translate.Complete, o.Translate.SecretsUnread = true, true
	if o.Kinds.GatewayAPI {
		o.Translate.Controller = kubernetes.ControllerName
	}
	return &Watcher{
		opts: o, said: map[string]bool{}, told: map[string]time.Time{},
		branch:   &branch{clone: o.Clone, folder: o.Folder, source: o.Source, check: o.Check, confirm: o.Confirm, now: o.Now, log: o.Log},
		programs: programs{digest: o.ContentDigest},
	}, nil
}

// Report says what came of a round.
type Report struct {
	Commit     string // that was pushed; "" if there was nothing to do, or nothing that may be done
	Incomplete bool   // something could not be said, or was left as people have changed it
	Invalid    bool   // something does not compile, and was not pushed
	Guarded    bool   // most routes would go, and the next round has to agree
	Unpushed   string // why nothing was pushed; "" if nothing is in the way
	Unread     error  // why it is not known what is published; nil if it is, or nobody asked
}

// maxDoubts is how often Once looks again while the cluster lists something else each time.
const maxDoubts = 3

// Once makes one round, and another one where that has to agree.
func (w *Watcher) Once(ctx context.Context) (Report, error) {
	defer w.disconnect()
	for doubts := 0; ; doubts++ {
		_, r, err := w.round(ctx)
		if err != nil || !r.Guarded || doubts == maxDoubts {
			return r, err
		}
		if !pause(ctx, w.opts.Confirm) {
			return r, ctx.Err()
		}
	}
}

// Run makes rounds until ctx ends: at each change in the cluster, and after each interval.
func (w *Watcher) Run(ctx context.Context) {
	defer w.disconnect()
	for failures := 0; ctx.Err() == nil; {
		snapshot, _, err := w.round(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			w.opts.Log.Warn("round failed", "error", err.Error(), "failures", failures+1)
			w.disconnect() // the next one reads the credentials again
			pause(ctx, min(time.Second<<min(failures, 6), backoffMax))
			failures++
		default:
			failures = 0
			w.cluster.wait(ctx, snapshot, w.opts.Poll)
		}
	}
}

func (w *Watcher) disconnect() {
	if w.cluster != nil {
		w.cluster.close()
		w.cluster = nil
	}
}

// round lists, translates, pushes, and tells.
func (w *Watcher) round(ctx context.Context) (*snapshot, Report, error) {
	if w.cluster == nil {
		client, err := w.opts.Connect()
		if err != nil {
			return nil, Report{}, err
		}
		if w.cluster, err = newCluster(client, w.opts.Kinds, &w.opts.Translate); err != nil {
			return nil, Report{}, err
		}
	}
	s, err := w.cluster.list(ctx)
	if err != nil {
		return nil, Report{}, fmt.Errorf("read the cluster: %w", err)
	}
	result := kubernetes.Translate(s.objects, w.opts.Translate)
	wish, err := newWish(result, s, w.opts.Source)
	if err != nil {
		return nil, Report{}, err
	}
	outcome, err := w.branch.bring(ctx, wish)
	if err != nil {
		return nil, Report{}, err
	}
	r := Report{
		Commit: outcome.commit, Invalid: len(outcome.failed) > 0 || outcome.invalid, Guarded: outcome.guarded, Unpushed: outcome.unpushed,
		Incomplete: !result.IsComplete() || len(outcome.keptWanted())+len(s.held) > 0,
	}
	w.report(result, s, outcome)
	r.Unread = w.look(ctx)
	v := &verdicts{result: result, snapshot: s, wish: wish, outcome: outcome, told: w.opts.Destination != nil && w.known}
	if v.told {
		if v.carried, v.ofBranch, err = w.programs.carried(ctx, w.branch, w.published, wish, outcome); err != nil {
			return nil, r, err
		}
		v.published = w.published
	}
	if err := w.tell(ctx, v); err != nil {
		return nil, r, fmt.Errorf("write status: %w", err)
	}
	return s, r, nil
}

// look reads what is published. While the destination is away, what was seen last is taken to be there still: gateways do the same.
func (w *Watcher) look(ctx context.Context) error {
	if w.opts.Destination == nil {
		return nil
	}
	p, err := w.opts.Destination.Look(ctx)
	if err != nil {
		w.opts.Log.Warn("the destination could not be read", "error", err.Error())
		return fmt.Errorf("read the destination: %w", err)
	}
	w.published, w.known = p, true
	return nil
}

// report logs what is new about a translation: what could not be said, and what was not pushed.
func (w *Watcher) report(r *kubernetes.Result, s *snapshot, o *outcome) {
	now := map[string]bool{}
	say := func(level slog.Level, message string, args ...any) {
		key := message + fmt.Sprint(args...)
		if now[key] = true; !w.said[key] {
			w.opts.Log.Log(context.Background(), level, message, args...)
		}
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		level := slog.LevelWarn
		if f.Grade == kubernetes.Note {
			level = slog.LevelDebug
		}
		say(level, "finding", "grade", f.Grade, "reason", f.Reason, "object", f.Object.String(), "field", f.Field, "message", f.Message, "instead", f.Instead)
	}
	for _, ref := range sortedRefs(s.held) {
		say(slog.LevelError, "object cannot be read, and its file stays as it is", "object", ref.String(), "message", s.held[ref])
	}
	for _, ref := range sortedRefs(s.dropped) {
		say(slog.LevelError, "object cannot be read, and grants nothing", "object", ref.String(), "message", s.dropped[ref])
	}
	for path, text := range o.failed {
		say(slog.LevelError, "object does not compile, and its file stays as it is", "object", o.ownerOf(path), "file", path, "message", text)
	}
	for path, why := range o.kept {
		level := slog.LevelWarn
		if path == listenersFile {
			level = slog.LevelInfo
		}
		say(level, "file is left as it is", "object", o.ownerOf(path), "file", path, "reason", why)
	}
	if o.unpushed != "" {
		say(slog.LevelError, "the translation is not pushed", "reason", o.unpushed)
	}
	w.said = now
}

// pause waits, and reports whether ctx still goes on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// errNoBranch is a ref that cannot be pushed to.
var errNoBranch = errors.New("the ref is no branch, which alone can be pushed to")
