package live

import (
	"context"
	"fmt"
	"log/slog"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/compiler"
	"github.com/suuupra/gateway/compiler/kubernetes"
	"github.com/suuupra/gateway/compiler/kubernetes/manifest"
	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/internal/gitclone"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/policy/all"
	targets "github.com/suuupra/gateway/runtime/target/all"
	"github.com/suuupra/gateway/runtime/upstream/dialguard"
	"github.com/suuupra/gateway/schema/diag"
)

func TestMain(m *testing.M) { testkit.NoLeaks(m) }

const apiVersion = "apiVersion: gateway.suuupra.dev/v1\n"

// rig is a repository on a git server, and a live source before it whose objects stand in the test. Its clock is moved by the test.
type rig struct {
	t        *testing.T
	repo     *testkit.GitRepo
	clone    *gitclone.Clone
	branch   *branch
	clock    *testkit.Clock
	compiled int                 // how often a commit was looked at
	during   func(commit string) // a compilation; may be nil
}

func newRig(t *testing.T, files map[string]string) *rig {
	t.Helper()
	if files == nil {
		files = map[string]string{"site/gateway.yaml": apiVersion + "gateway: { name: shop }\n"}
	}
	r := &rig{t: t, repo: testkit.GitServer(t).Create("shop", files), clock: testkit.NewClock(time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC))}
	var err error
	if r.clone, err = gitclone.Open(gitclone.Options{Repository: r.repo.URL, Ref: "main", Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.clone.Close)
	r.branch = &branch{
		clone: r.clone, folder: "site", source: "gateway-api infra/public", check: r.check, confirm: time.Minute, now: r.clock.Now, log: slog.New(slog.DiscardHandler),
	}
	return r
}

// check compiles a commit with the real compiler.
func (r *rig) check(ctx context.Context, commit string) (Verdict, error) {
	r.compiled++
	if r.during != nil {
		r.during(commit)
	}
	tree, err := load.Folder(ctx, r.clone.GitDir(), "site", commit)
	if err != nil {
		return Verdict{}, err
	}
	opts := compiler.Options{Kinds: all.Kinds(), Dial: dialguard.Check}
	for _, k := range targets.Kinds() {
		opts.Targets = append(opts.Targets, k.TargetKind)
	}
	unit, err := compiler.New(opts).Open(ctx, tree)
	if err != nil {
		return Verdict{}, err
	}
	var v Verdict
	for _, d := range unit.Validate("") {
		if d.Severity != diag.Error {
			continue
		}
		m := Mistake{Files: []string{d.Pos.File}, Text: fmt.Sprintf("%s: %s: %s", d.Pos, d.Code, d.Message)}
		for _, n := range d.Notes {
			m.Files = append(m.Files, n.Pos.File)
		}
		v.Mistakes = append(v.Mistakes, m)
	}
	return v, nil
}

// wish is that of objects, written as manifests.
func (r *rig) wish(manifests string) *wish {
	r.t.Helper()
	var diags diag.List
	objects := manifest.Read([]manifest.File{{Path: "objects.yaml", Data: []byte(gateway + manifests)}}, &diags)
	if diags.Len() > 0 {
		r.t.Fatalf("read manifests: %v", diags.Sorted())
	}
	s := newSnapshot()
	s.objects = objects
	for _, h := range objects.HTTPRoutes {
		s.versions[kubernetes.Ref{Kind: "HTTPRoute", Namespace: h.Namespace, Name: h.Name}] = h.ResourceVersion
	}
	w, err := newWish(kubernetes.Translate(objects, kubernetes.Options{Gateway: "infra/public", Complete: true}), s, r.branch.source)
	if err != nil {
		r.t.Fatal(err)
	}
	return w
}

// brings has a wish fulfilled.
func (r *rig) brings(w *wish) *outcome {
	r.t.Helper()
	o, err := r.branch.bring(r.t.Context(), w)
	if err != nil {
		r.t.Fatal(err)
	}
	return o
}

func (r *rig) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.repo.Dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// holds wants the files of the branch, but for gateway.yaml.
func (r *rig) holds(want ...string) {
	r.t.Helper()
	var got []string
	for f := range strings.FieldsSeq(r.git("ls-tree", "-r", "--name-only", "main")) {
		if f != "site/gateway.yaml" {
			got = append(got, strings.TrimPrefix(f, "site/"))
		}
	}
	if slices.Sort(want); !slices.Equal(got, want) {
		r.t.Errorf("the branch holds %v, want %v", got, want)
	}
}

// commits publishes files as somebody else does.
func (r *rig) commits(files map[string]string) string {
	r.t.Helper()
	r.repo.Git("pull", "--quiet", "--ff-only", "origin", "main")
	return r.repo.Commit("by hand", files)
}

const gateway = `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: public, namespace: infra }
spec:
  gatewayClassName: ours
  listeners: [{ name: http, port: 80, protocol: HTTP, allowedRoutes: { namespaces: { from: All } } }]
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec: { ports: [{ name: http, port: 80 }] }
`

// route is an HTTPRoute for a path of its own host.
func route(name, path string) string {
	return fmt.Sprintf(`---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: %[1]s, namespace: shop, resourceVersion: "7" }
spec:
  parentRefs: [{ name: public, namespace: infra }]
  hostnames: [%[1]s.example.com]
  rules:
    - matches: [{ path: { type: PathPrefix, value: %[2]s } }]
      backendRefs: [{ name: web, port: 80 }]
`, name, path)
}
