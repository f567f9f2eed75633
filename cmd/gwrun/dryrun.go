package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/suuupra/gateway/cmd/internal/toolchain"
	"github.com/suuupra/gateway/internal/gate"
	"github.com/suuupra/gateway/runtime"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/simulate"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
)

// dryRuns judges live requests by the candidate that waits, beside what serves, and remembers how many candidates in a row had nothing
// against them.
type dryRuns struct {
	log     *slog.Logger
	env     policy.Env
	gateway *runtime.Gateway
	path    string // where the count is kept across restarts; empty: it is not

	mu     sync.Mutex // guards what follows; Report is asked from outside
	shadow *simulate.Shadow
	step   step
	began  time.Time
	runs   runs
}

// step is the candidate that is judged, and what it would replace.
type step struct{ base, candidate bundle.Digest }

// runs is the count as it is kept.
type runs struct {
	Clean  int64         `json:"clean"`            // in a row
	Judged bundle.Digest `json:"judged,omitempty"` // the candidate that was counted last
	Was    bool          `json:"was"`              // whether that was clean
}

func newDryRuns(log *slog.Logger, dir string) *dryRuns {
	d := &dryRuns{log: log}
	if dir == "" {
		return d
	}
	d.path = filepath.Join(dir, "dry-runs.json")
	data, err := os.ReadFile(d.path)
	if err == nil {
		err = json.Unmarshal(data, &d.runs)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // without it, more approvals are asked for, not fewer
		log.Warn("the count of clean dry runs cannot be read, it begins anew", slog.Any("error", err))
		d.runs = runs{}
	}
	return d
}

// ask begins to judge a candidate unless that is under way, and returns what was found until now.
func (d *dryRuns) ask(ctx context.Context, at step, before, after *ir.Program, rules *ir.DryRun) (*gate.DryRun, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shadow == nil || d.step != at {
		d.end()
		percent := ir.DefaultDryRunPercent
		if rules != nil {
			percent = int(rules.Percent)
		}
		shadow, err := simulate.NewShadow(ctx, before, after, simulate.ShadowOptions{
			Tools: simulate.Tools{Kinds: toolchain.Kinds(), Targets: toolchain.Targets()}, Env: d.env, Percent: percent,
		})
		if err != nil {
			return nil, fmt.Errorf("dry run: %w", err)
		}
		d.shadow, d.step, d.began = shadow, at, time.Now()
		d.gateway.Watch(shadow.See)
		d.log.Info("live requests are judged by the new bundle, too", slog.String("digest", string(at.candidate)), slog.Int("percentOfClients", percent))
	}
	r := d.shadow.Report()
	out := &gate.DryRun{
		Requests: r.Requests, For: time.Since(d.began), DenyToAllow: r.Ways[simulate.DenyToAllow], AllowToDeny: r.Ways[simulate.AllowToDeny],
	}
	out.Others = r.Differences() - out.DenyToAllow - out.AllowToDeny
	if rules != nil {
		d.count(at.candidate, out, rules)
		out.CleanRuns = d.before(at.candidate)
	}
	return out, nil
}

// count counts a candidate once it is judged: at the first difference too many, or when enough was seen.
func (d *dryRuns) count(candidate bundle.Digest, found *gate.DryRun, rules *ir.DryRun) {
	clean := found.Differences(rules) == ""
	switch again := d.runs.Judged == candidate; {
	case clean && !found.Complete(rules), again && d.runs.Was == clean, again && clean:
		return // nothing new; a candidate that was not clean does not become so
	case clean:
		d.runs.Clean++
	default:
		d.runs.Clean = 0
	}
	d.runs.Judged, d.runs.Was = candidate, clean
	d.keep()
}

// before is how many candidates in a row were clean before this one.
func (d *dryRuns) before(candidate bundle.Digest) int64 {
	if d.runs.Judged == candidate && d.runs.Was {
		return d.runs.Clean - 1
	}
	return d.runs.Clean
}

func (d *dryRuns) keep() {
	if d.path == "" {
		return
	}
	data, err := json.Marshal(d.runs)
	if err == nil {
		beside := d.path + ".new"
		if err = os.WriteFile(beside, data, 0o600); err == nil {
			err = os.Rename(beside, d.path)
		}
	}
	if err != nil {
		d.log.Warn("the count of clean dry runs could not be kept", slog.Any("error", err))
	}
}

// stop ends the judging: the candidate serves, or is gone.
func (d *dryRuns) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.end()
}

func (d *dryRuns) end() {
	if d.shadow == nil {
		return
	}
	d.gateway.Watch(nil)
	d.shadow.Close()
	d.shadow = nil
}

// report is what was found until now; nil: nothing is judged.
func (d *dryRuns) report() *simulate.ShadowReport {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shadow == nil {
		return nil
	}
	return d.shadow.Report()
}
