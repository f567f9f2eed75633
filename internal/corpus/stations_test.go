package corpus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/compiler"
	"github.com/suuupra/gateway/compiler/gating"
	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/internal/gate"
	"github.com/suuupra/gateway/runtime/policy/all"
	"github.com/suuupra/gateway/runtime/simulate"
	targets "github.com/suuupra/gateway/runtime/target/all"
	"github.com/suuupra/gateway/runtime/upstream/dialguard"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
)

// station is where a change can be stopped.
type station string

// The stations, in the order in which a change meets them. Nothing stops what has reached traffic.
const (
	validation   station = "validate"
	requestTests station = "tests"
	gates        station = "gates"
	verification station = "verification"
	activation   station = "activation"
	dryRun       station = "dry run"
	traffic      station = "traffic"
)

// stop is where a change ended, and by what.
type stop struct {
	at station
	by string // codes, the test, the rules with their risks, the reason of a refusal, or what live requests say
}

// String implements fmt.Stringer.
func (s stop) String() string {
	if s.by == "" {
		return string(s.at)
	}
	return string(s.at) + ": " + s.by
}

// begin is when the changes are made: on a Tuesday, within the window of the environment.
var begin = time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)

// line is the stations in a row, with what runs at their end.
type line struct {
	repository repository
	compiler   *compiler.Compiler
	tools      simulate.Tools
	keys       *keyring
	world      *world
	program    *ir.Program    // of the base, as it is published
	bundle     *bundle.Bundle // the same, signed
}

func newLine(t *testing.T) *line {
	t.Helper()
	l := &line{repository: base(t), keys: newKeyring(t), tools: simulate.Tools{Kinds: all.Kinds(), Targets: targets.Kinds()}}
	options := compiler.Options{Kinds: l.tools.Kinds, Dial: dialguard.Check}
	for _, k := range l.tools.Targets {
		options.Targets = append(options.Targets, k.TargetKind)
	}
	l.compiler = compiler.New(options)
	l.world = newWorld(t)
	d, where := l.compile(t, l.repository)
	if where.at != "" {
		t.Fatalf("the base: %s", where)
	}
	l.bundle = l.keys.sign(t, d.program, l.keys.release, l.keys.second)
	l.program = reread(t, l.bundle)
	return l
}

// reread is a program as it comes out of its bundle: what the gates compare.
func reread(t testing.TB, b *bundle.Bundle) *ir.Program {
	t.Helper()
	p, err := ir.Unpack(b)
	must(t, err)
	return p
}

// walk takes a repository through the stations until one stops it. Request tests are in the same repository as what they test, and so in
// the hands of whoever makes the change: where one of them stops it, behind is what stops it without them.
func (l *line) walk(t *testing.T, r repository, at time.Time) (first, behind stop) {
	t.Helper()
	d, first := l.compile(t, r)
	if first.at != "" {
		return first, stop{}
	}
	if first = l.test(t, d); first.at != "" {
		return first, l.publish(t, d, at)
	}
	return l.publish(t, d, at), stop{}
}

// publish is the stations from the gates on.
func (l *line) publish(t *testing.T, d draft, at time.Time) stop {
	t.Helper()
	b := l.keys.sign(t, d.program, l.keys.release, l.keys.second)
	published := l.judge(t, b, at)
	g := l.gateway(t, at)
	live := g.offer(l.keys.publish(t, b, nextVersion, at))
	if published.at == "" {
		return live
	}
	// The gateway asks again: a change that only the publisher held would pass with the publisher's keys.
	if live.at != activation || live.by != published.by {
		t.Errorf("the publisher says %s, the gateway %s", published, live)
	}
	return published
}

// draft is a repository that compiles.
type draft struct {
	unit    *compiler.Unit
	program *ir.Program // of prod
}

// compile is gwctl validate for all environments, and the compiling of gwctl apply for the one that is judged.
func (l *line) compile(t *testing.T, r repository) (draft, stop) {
	t.Helper()
	dir := t.TempDir()
	r.write(t, dir)
	tree, err := load.Dir(t.Context(), dir)
	must(t, err)
	diags, err := l.compiler.Validate(t.Context(), tree, "")
	must(t, err)
	unit, err := l.compiler.Open(t.Context(), tree)
	must(t, err)
	out := unit.Compile("prod")
	codes := errorsOf(diags)
	if len(codes) == 0 {
		codes = errorsOf(out.Diags.Sorted())
	}
	if len(codes) > 0 {
		return draft{}, stop{validation, strings.Join(codes, ", ")}
	}
	return draft{unit, out.WithOrigins()}, stop{}
}

// errorsOf is the codes of the errors, sorted.
func errorsOf(diags []diag.Diagnostic) []string {
	var codes []string
	for i := range diags {
		if diags[i].Severity == diag.Error {
			codes = append(codes, string(diags[i].Code))
		}
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// test is gwctl test --min-coverage 100: it runs the request tests in every environment.
func (l *line) test(t *testing.T, d draft) stop {
	t.Helper()
	files, diags, err := d.unit.Tests(t.Context())
	must(t, err)
	if diags.HasErrors() {
		return stop{requestTests, strings.Join(errorsOf(diags.Sorted()), ", ")}
	}
	cases, err := simulate.Cases(files)
	must(t, err)
	var coverage *simulate.Coverage
	for _, env := range d.unit.Environments() {
		results, reached, err := l.run(t.Context(), d.unit.Compile(env).WithOrigins(), cases)
		must(t, err)
		for i := range results {
			if results[i].Failed != nil {
				return stop{requestTests, results[i].Case.Name}
			}
		}
		if coverage == nil {
			coverage = reached
		} else {
			coverage.Add(reached)
		}
	}
	if coverage.Percent() < 100 {
		return stop{requestTests, "no test reaches " + some(uncovered(coverage))}
	}
	return stop{}
}

func (l *line) run(ctx context.Context, p *ir.Program, cases []*simulate.Case) ([]simulate.Result, *simulate.Coverage, error) {
	s, err := simulate.NewSuite(ctx, p, cases, l.tools)
	if err != nil {
		return nil, nil, err
	}
	defer s.Close()
	results, err := s.Run(ctx)
	return results, s.Coverage(results), err
}

// shown is how many of many things a reason names.
const shown = 3

// some lists things, up to a number that can be read.
func some(all []string) string {
	if n := len(all) - shown; n > 0 {
		all = append(all[:shown:shown], fmt.Sprintf("%d more", n))
	}
	return strings.Join(all, ", ")
}

// uncovered names what no test has reached.
func uncovered(c *simulate.Coverage) []string {
	var out []string
	for _, r := range c.Routes {
		if !r.Matched {
			out = append(out, r.Route)
			continue
		}
		for _, p := range r.Policies {
			if !p.Passed || p.Refuses && !p.Refused {
				out = append(out, p.Policy+" of "+r.Route)
			}
		}
	}
	return out
}

// judge is what gwctl apply asks before it moves the channel, without approvals.
func (l *line) judge(t *testing.T, b *bundle.Bundle, at time.Time) stop {
	t.Helper()
	c, _ := gating.Change(l.program, reread(t, b))
	c.Base, c.Candidate = l.bundle.Digest(), b.Digest()
	v := gate.Judge(c, l.program.Gateway.Rules(), nil, at)
	if v.Open() {
		return stop{}
	}
	return stop{gates, said(v.Refusals)}
}

// said is the rules that hold a change, each with the risks it names.
func said(refusals []gate.Refusal) string {
	var out []string
	for i := range refusals {
		r := &refusals[i]
		rule := strings.TrimSuffix(strings.TrimPrefix(r.Rule, `gate "`), `"`)
		if len(r.Codes) > 0 {
			rule += ": " + strings.Join(r.Codes, ", ")
		}
		out = append(out, rule)
	}
	return strings.Join(out, "; ")
}

// reason is the stable word of a refusal of a bundle.
func reason(err error) string {
	var refusal *bundle.Error
	if errors.As(err, &refusal) {
		return string(refusal.Reason)
	}
	return ""
}
