package drift

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/suuupra/gateway/internal/gitwatch"
)

// key is what a comparison depends on: as long as it stays, so does the answer.
type key struct {
	tip     tip
	running Running
}

// compare makes the next report out of the last one. When the repository cannot be reached it compares with what the ref
// was when last seen, if something else runs by now, and returns the error beside the report.
func (w *Watcher) compare(ctx context.Context, running Running, last Report) (Report, error) {
	t, err := w.origin.look(ctx)
	if err != nil {
		if w.lastTip == nil || w.lastKey.running == running {
			return last, err
		}
		next, offline := w.compareWith(ctx, *w.lastTip, running, last)
		return next, errors.Join(err, offline)
	}
	next, err := w.compareWith(ctx, t, running, last)
	for range 2 {
		if !errors.Is(err, errMoved) {
			break
		}
		if t, err = w.origin.look(ctx); err != nil {
			return last, err
		}
		next, err = w.compareWith(ctx, t, running, last)
	}
	return next, err
}

func (w *Watcher) compareWith(ctx context.Context, t tip, running Running, last Report) (Report, error) {
	k := key{t, running}
	if w.lastTip != nil && k == w.lastKey && !w.cache.due(w.opts.Now()) {
		last.Error = ""
		if a := w.cache.failed[compileKey{last.Head, running.Environment}]; a != nil {
			last.Error = w.compileError(last.Head, a.err)
		}
		return last, nil
	}
	next, err := w.build(ctx, t, running, last)
	var fetch *fetchError
	if r, ok := w.origin.(*remote); ok && err != nil && !errors.As(err, &fetch) && ctx.Err() == nil {
		// The clone cannot be read, or lacks what must be there: it was damaged, and can be had again.
		if err := r.clone.discard(); err != nil {
			return last, err
		}
		next, err = w.build(ctx, t, running, last)
	}
	if err != nil {
		return last, err
	}
	w.lastTip, w.lastKey = &t, k
	return next, nil
}

// build makes a report from nothing but the store.
func (w *Watcher) build(ctx context.Context, t tip, running Running, last Report) (Report, error) {
	s, err := w.origin.open(ctx, t)
	if err != nil {
		return last, err
	}
	head, err := s.commit(t.ID)
	if err != nil {
		return last, err
	}
	r := Report{
		CheckedAt: last.CheckedAt, Repository: last.Repository, Ref: t.Name.String(), Subdirectory: w.subdir,
		Environment: running.Environment, State: Unknown, Since: last.Since, Head: head.Hash.String(),
		HeadTime: head.Committer.When.UTC(), Running: running.Commit, RunningDigest: running.ContentDigest,
		RunningDirty: running.Dirty, Files: []File{}, ContentDiffers: Maybe, StaleSince: last.StaleSince,
	}
	c := &comparison{w: w, store: s, head: head, r: &r, running: running}
	if plumbing.IsHash(running.Commit) {
		c.runs = plumbing.NewHash(running.Commit)
	}
	for _, step := range []func(context.Context) error{c.history, c.files, c.content} {
		if err := step(ctx); err != nil {
			return last, err
		}
	}
	r.State = stateOf(&r)
	return r, nil
}

// comparison fills one report.
type comparison struct {
	w       *Watcher
	store   *store
	head    *object.Commit
	running Running
	runs    plumbing.Hash // the running commit; zero if nothing runs
	r       *Report
}

func (c *comparison) history(ctx context.Context) error {
	rel, err := relate(ctx, c.store, c.head.Hash, c.runs)
	if err != nil {
		return err
	}
	c.r.CommitsBehind, c.r.CommitsAhead, c.r.CommitsAtLeast, c.r.Diverged = rel.behind, rel.ahead, rel.atLeast, rel.diverged
	return nil
}

func (c *comparison) files(ctx context.Context) error {
	if !c.store.has(c.runs) {
		return nil
	}
	d, err := diffTrees(ctx, c.store, c.runs, c.head.Hash, c.w.subdir)
	if err != nil {
		return err
	}
	c.r.FilesKnown, c.r.OtherFiles, c.r.FilesAtLeast = true, d.others, d.cut
	c.r.Files = append(c.r.Files, d.files...)
	return nil
}

// content answers whether the head would run differently. Equal folders need no compiler.
func (c *comparison) content(ctx context.Context) error {
	tree, err := c.store.folder(c.head.Hash, c.w.subdir)
	if err != nil {
		return err
	}
	if tree.IsZero() {
		c.invalid(Compiled{Diagnostics: 1, Text: fmt.Sprintf("the folder %q is not in commit %s", c.w.subdir, c.head.Hash)})
		return nil
	}
	if c.running.ContentDigest == "" {
		return nil // nothing runs yet
	}
	hasRunning := c.store.has(c.runs) && !c.running.Dirty
	if hasRunning {
		old, err := c.store.folder(c.runs, c.w.subdir)
		if err != nil {
			return err
		}
		if old == tree {
			c.r.HeadValid, c.r.ContentDiffers = true, No
			return nil
		}
	}
	n, err := c.store.countFiles(ctx, tree)
	if err != nil {
		return err
	}
	if n > maxFiles {
		c.invalid(Compiled{Diagnostics: 1, Text: fmt.Sprintf("commit %s has more than %d files", c.head.Hash, maxFiles)})
		return nil
	}
	c.compile(ctx, hasRunning)
	return nil
}

func (c *comparison) compile(ctx context.Context, hasRunning bool) {
	head, err := c.w.compileOnce(ctx, c.store.dir, c.head.Hash.String(), c.running.Environment)
	if err != nil {
		c.r.Error = c.w.compileError(c.head.Hash.String(), err)
		return
	}
	if head.ContentDigest == "" {
		c.invalid(head)
		return
	}
	c.r.HeadValid, c.r.ContentDiffers = true, Yes
	if head.ContentDigest == c.running.ContentDigest {
		c.r.ContentDiffers = No
		return
	}
	if !hasRunning {
		return
	}
	// Another version of the compiler may have made what runs, and its output differs without anybody having changed
	// anything. So the running commit is compiled here as well, once, and like is compared with like.
	same, err := c.w.compileOnce(ctx, c.store.dir, c.runs.String(), c.running.Environment)
	if err != nil || same.ContentDigest == "" || same.ContentDigest == c.running.ContentDigest {
		return
	}
	c.r.CompilerDiffers = true
	if same.ContentDigest == head.ContentDigest {
		c.r.ContentDiffers = No
	}
}

const maxText = 4096 // of diagnostics in a report

func (c *comparison) invalid(out Compiled) {
	c.r.HeadValid, c.r.ContentDiffers, c.r.Diagnostics = false, Yes, out.Diagnostics
	c.r.DiagnosticText = strings.ToValidUTF8(out.Text[:min(len(out.Text), maxText)], "")
}

func stateOf(r *Report) State {
	switch {
	case r.ContentDiffers == Maybe:
		return Unknown
	case !r.HeadValid:
		return InvalidHead
	case r.ContentDiffers == Yes:
		return Drifted
	case r.Head == r.Running:
		return InSync
	}
	return BehindNoChange
}

// compileCache keeps what commits compile to. Compiling the same commit again gives the same answer, so it is asked for
// once; an attempt that broke off is repeated, ever less often, because one commit that takes a minute to fail must not
// keep a processor busy for good.
type compileCache struct {
	done   map[compileKey]Compiled
	order  []compileKey // oldest first
	failed map[compileKey]*attempt
}

type compileKey struct{ commit, environment string }

type attempt struct {
	count int
	again time.Time
	err   error
}

const (
	maxCached    = 16
	firstRetry   = time.Minute
	longestRetry = time.Hour
)

func (w *Watcher) compileOnce(ctx context.Context, gitDir, commit, environment string) (Compiled, error) {
	k, c := compileKey{commit, environment}, &w.cache
	if out, ok := c.done[k]; ok {
		return out, nil
	}
	a := c.failed[k]
	if a != nil && w.opts.Now().Before(a.again) {
		return Compiled{}, a.err
	}
	out, err := w.opts.Compile(ctx, gitDir, commit, w.subdir, environment)
	if err != nil {
		if ctx.Err() != nil {
			return Compiled{}, err
		}
		if a == nil {
			a = &attempt{}
		}
		a.again = w.opts.Now().Add(min(longestRetry, firstRetry<<min(a.count, 10)))
		a.count, a.err = a.count+1, err
		c.failed = map[compileKey]*attempt{k: a} // of the latest commit only
		return Compiled{}, err
	}
	c.failed = nil
	if c.done == nil {
		c.done = map[compileKey]Compiled{}
	}
	if len(c.order) >= maxCached {
		delete(c.done, c.order[0])
		c.order = c.order[1:]
	}
	c.done[k], c.order = out, append(c.order, k)
	return out, nil
}

// due reports whether an attempt that broke off should be repeated by now.
func (c *compileCache) due(now time.Time) bool {
	for _, a := range c.failed {
		if !now.Before(a.again) {
			return true
		}
	}
	return false
}

func (w *Watcher) compileError(commit string, err error) string {
	return gitwatch.Redact(fmt.Errorf("compile %s: %w", commit, err), w.secrets)
}
