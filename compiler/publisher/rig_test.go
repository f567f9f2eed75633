package publisher_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/suuupra/gateway/compiler"
	"github.com/suuupra/gateway/compiler/diff"
	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/compiler/publish"
	"github.com/suuupra/gateway/compiler/publisher"
	"github.com/suuupra/gateway/internal/build"
	"github.com/suuupra/gateway/internal/depot"
	"github.com/suuupra/gateway/internal/gate"
	"github.com/suuupra/gateway/internal/gitclone"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/policy/all"
	targets "github.com/suuupra/gateway/runtime/target/all"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
)

func TestMain(m *testing.M) { testkit.NoLeaks(m) }

const apiVersion = "apiVersion: gateway.suuupra.dev/v1\n"

// routes are as many routes, all of them open, whose target carries a version.
func routes(version, n int) string {
	var b strings.Builder
	b.WriteString(apiVersion + "routes:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - { id: r%d, matcher: { path: /r%d/* }, target: { type: http, url: \"http://127.0.0.1:9/v%d\" } }\n", i, i, version)
	}
	return b.String()
}

// rig is a repository on a git server, a place to publish to, and one publisher between them. Its clock is moved by the test.
type rig struct {
	t     *testing.T
	repo  *testkit.GitRepo
	at    string // the place
	clock *testkit.Clock

	release, channel, approver *bundle.PrivateKey
	trust                      *bundle.Trust

	p        *publisher.Publisher
	compiles []string                                                   // commit and environment, in order
	before   func(job publisher.Job) error                              // of each compilation; may be nil
	after    func(publisher.Job, publisher.Compiled) publisher.Compiled // of each compilation; may be nil
	keys     error                                                      // if they cannot be read
	mu       sync.Mutex
	failures []string // environment and reason
	log      bytes.Buffer
}

func newRig(t *testing.T, environments ...string) *rig {
	t.Helper()
	r := &rig{t: t, at: filepath.Join(t.TempDir(), "published"), clock: testkit.NewClock(time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC))}
	files := map[string]string{"gateway.yaml": apiVersion + "gateway: { name: shop }\n", "routes/r.yaml": routes(1, 10)}
	for _, env := range environments {
		files["environments/"+env+"/env.yaml"] = apiVersion
	}
	r.repo = testkit.GitServer(t).Create("shop", files)
	r.makeKeys()
	r.start(r.repo.URL, environments...)
	return r
}

func (r *rig) makeKeys() {
	r.t.Helper()
	var file bundle.TrustFile
	for role, into := range map[bundle.Role]**bundle.PrivateKey{bundle.RoleRelease: &r.release, bundle.RoleChannel: &r.channel, bundle.RoleApprover: &r.approver} {
		key, err := bundle.GenerateKey(bundle.Ed25519)
		if err != nil {
			r.t.Fatal(err)
		}
		entry, err := bundle.TrustKeyOf(key.Public(), role)
		if err != nil {
			r.t.Fatal(err)
		}
		*into, file.Keys = key, append(file.Keys, entry)
	}
	data, err := file.Encode()
	if err != nil {
		r.t.Fatal(err)
	}
	if r.trust, err = bundle.ParseTrust(data); err != nil {
		r.t.Fatal(err)
	}
}

// start makes a publisher that remembers nothing, in place of the one before.
func (r *rig) start(url string, environments ...string) {
	r.t.Helper()
	clone, err := gitclone.Open(gitclone.Options{Repository: url, Ref: "main", Dir: r.t.TempDir()})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(clone.Close)
	r.p, err = publisher.New(publisher.Options{
		Clone: clone, Environments: environments, To: r.open(), Place: r.at, Compile: r.compile, Compare: compare,
		Keys: func() (*publisher.Keys, error) {
			return &publisher.Keys{Release: r.release, Channel: r.channel, Trust: r.trust}, r.keys
		},
		Failed: func(environment, reason string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.failures = append(r.failures, environment+" "+reason)
		},
		Log: slog.New(slog.NewTextHandler(&r.log, nil)), Now: r.clock.Now, Rand: func() float64 { return 0.5 },
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// open is the place, for whoever else publishes there.
func (r *rig) open() depot.Writer {
	r.t.Helper()
	l, err := depot.ParseLocation(r.at)
	if err != nil {
		r.t.Fatal(err)
	}
	w, err := depot.OpenWriter(l, depot.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = w.Close() })
	return w
}

// compile is the compiler, in this process.
func (r *rig) compile(ctx context.Context, job publisher.Job) (publisher.Compiled, error) {
	r.compiles = append(r.compiles, job.Commit+" "+job.Environment)
	if r.before != nil {
		if err := r.before(job); err != nil {
			return publisher.Compiled{}, err
		}
	}
	out, err := compileHere(ctx, job)
	if err == nil && r.after != nil {
		out = r.after(job, out)
	}
	return out, err
}

func compileHere(ctx context.Context, job publisher.Job) (publisher.Compiled, error) {
	tree, err := load.Folder(ctx, job.GitDir, job.Subdirectory, job.Commit)
	if err != nil {
		return publisher.Compiled{}, err
	}
	opts := compiler.Options{Kinds: all.Kinds()}
	for _, k := range targets.Kinds() {
		opts.Targets = append(opts.Targets, k.TargetKind)
	}
	unit, err := compiler.New(opts).Open(ctx, tree)
	if err != nil {
		return publisher.Compiled{}, err
	}
	out := unit.Compile(job.Environment)
	if out.Diags.HasErrors() {
		var text bytes.Buffer
		report := diag.Report{Diagnostics: out.Diags.Sorted(), Files: len(tree.Files)}
		err := diag.Text(&text, report)
		return publisher.Compiled{Mistakes: report.Errors(), Text: text.String()}, err
	}
	b, err := compiler.Emit(out.WithOrigins(), tree.Origin, build.Version)
	return publisher.Compiled{Bundle: b}, err
}

func compare(before, after *ir.Program) gate.Change {
	report := diff.Programs(before, after)
	c := gate.Change{RoutesBefore: report.Before.Routes}
	for i := range report.Objects {
		if o := &report.Objects[i]; o.Kind == diff.Route && o.Op == diff.Removed {
			c.RoutesRemoved++
		}
	}
	for i := range report.Risks {
		k := &report.Risks[i]
		c.Risks = append(c.Risks, gate.Risk{Code: string(k.Code), Severity: string(k.Severity), Pos: k.Pos, Message: k.Message})
	}
	return c
}

// round makes one, with a look at the repository, a while after the one before.
func (r *rig) round() error {
	r.clock.Advance(time.Minute)
	r.p.Moved("somewhere")
	return r.p.Once(r.t.Context())
}

// env is the status of an environment.
func (r *rig) env(name string) publisher.Environment {
	r.t.Helper()
	for _, e := range r.p.Status().Environments {
		if e.Environment == name {
			return e
		}
	}
	r.t.Fatalf("no environment %s", name)
	return publisher.Environment{}
}

// want makes a round, and compares state, version and published commit of prod with "state version commit".
func (r *rig) want(state publisher.State, version, commit string) publisher.Environment {
	r.t.Helper()
	if err := r.round(); err != nil {
		r.t.Fatalf("round: %v", err)
	}
	return r.has(state, version, commit)
}

func (r *rig) has(state publisher.State, version, commit string) publisher.Environment {
	r.t.Helper()
	e := r.env("prod")
	got := fmt.Sprint(e.State, " nothing")
	if p := e.Published; p != nil {
		got = fmt.Sprint(e.State, " ", p.Version, " ", p.Commit)
	}
	want := fmt.Sprint(state, " nothing")
	if version != "" {
		want = fmt.Sprint(state, " ", version, " ", commit)
	}
	if got != want {
		r.t.Fatalf("%s\nwant %s\nstatus %+v\nlog\n%s", got, want, e, r.log.String())
	}
	if version != "" && r.current() != version+" "+commit {
		r.t.Fatalf("the destination holds %s, want %s %s", r.current(), version, commit)
	}
	return e
}

// current is what a gateway would get: version and commit.
func (r *rig) current() string {
	r.t.Helper()
	got, err := depot.Fetch(r.t.Context(), r.open(), depot.Request{Environment: "prod"})
	if errors.Is(err, depot.ErrNotFound) {
		return ""
	}
	if err != nil {
		r.t.Fatal(err)
	}
	v, err := bundle.Verify(got.Raw, bundle.Check{Trust: r.trust, Environment: "prod", NeedChannel: true, Now: r.clock.Now()})
	if err != nil {
		r.t.Fatal(err)
	}
	return v.Position.String() + " " + v.Bundle.Manifest.Source.Commit
}

func (r *rig) settings() publish.Settings {
	return publish.Settings{Signers: []bundle.Signer{r.channel}, Trust: r.trust, Now: r.clock.Now()}
}

// rules commits what the environment asks of changes.
func (r *rig) rules(gitops string) string {
	r.t.Helper()
	return r.repo.Commit("rules", map[string]string{"environments/prod/env.yaml": apiVersion + "gateway: { gitops: " + gitops + " }\n"})
}

func (r *rig) routes(version, n int) string {
	r.t.Helper()
	return r.repo.Commit(fmt.Sprint("version ", version), map[string]string{"routes/r.yaml": routes(version, n)})
}

// said counts the lines of the log that hold a text.
func (r *rig) said(text string) int { return strings.Count(r.log.String(), text) }
