package kubernetes_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/suuupra/gateway/compiler"
	"github.com/suuupra/gateway/compiler/kubernetes"
	"github.com/suuupra/gateway/compiler/kubernetes/manifest"
	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/policy/all"
	targets "github.com/suuupra/gateway/runtime/target/all"
	"github.com/suuupra/gateway/runtime/upstream/dialguard"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
)

// read reads manifests that must be good.
func read(t testing.TB, files ...manifest.File) *kubernetes.Objects {
	t.Helper()
	var diags diag.List
	out := manifest.Read(files, &diags)
	if diags.Len() > 0 {
		t.Fatalf("read manifests: %v", diags.Sorted())
	}
	return out
}

func readFiles(t testing.TB, paths ...string) *kubernetes.Objects {
	t.Helper()
	var files []manifest.File
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, manifest.File{Path: filepath.Base(p), Data: data})
	}
	return read(t, files...)
}

// text reads manifests that stand in a test.
func text(t testing.TB, yaml string) *kubernetes.Objects {
	t.Helper()
	return read(t, manifest.File{Path: "test.yaml", Data: []byte(yaml)})
}

// compile compiles what a translation wrote, with the real compiler. Errors and warnings fail the test.
func compile(t testing.TB, r *kubernetes.Result) *ir.Program {
	t.Helper()
	unit := open(t, r)
	if diags := unit.Validate(""); len(diags) > 0 {
		t.Fatalf("the translation does not validate: %v", diags)
	}
	return unit.Compile("").Program
}

func open(t testing.TB, r *kubernetes.Result) *compiler.Unit {
	t.Helper()
	dir := t.TempDir()
	for _, f := range r.Files {
		data, err := f.Encode("")
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := load.Dir(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	opts := compiler.Options{Kinds: all.Kinds(), Dial: dialguard.Check}
	for _, k := range targets.Kinds() {
		opts.Targets = append(opts.Targets, k.TargetKind)
	}
	unit, err := compiler.New(opts).Open(t.Context(), tree)
	if err != nil {
		t.Fatal(err)
	}
	return unit
}

// golden shows a translation: the report, what the compiler says about the files, and the files.
func golden(t *testing.T, path string, r *kubernetes.Result) {
	t.Helper()
	var b bytes.Buffer
	if err := r.Text(&b); err != nil {
		t.Fatal(err)
	}
	if len(r.Files) > 0 {
		for _, d := range open(t, r).Validate("") {
			fmt.Fprintf(&b, "validate: %s %s: %s\n", d.Severity, d.Code, d.Message)
			if d.Severity == diag.Error {
				t.Errorf("the translation does not validate: %s: %s: %s", d.Pos, d.Code, d.Message)
			}
		}
	}
	for _, f := range r.Files {
		data, err := f.Encode("")
		if err != nil {
			t.Fatal(err)
		}
		_, body, _ := bytes.Cut(data, []byte("\n")) // the digest changes with every line below it
		fmt.Fprintf(&b, "-- %s --\n%s", f.Path, body)
	}
	testkit.Golden(t, path, b.Bytes())
}

// TestGoldenTraefik translates the fixtures of another controller: Ingresses as people write them, with their Services.
func TestGoldenTraefik(t *testing.T) {
	paths, err := filepath.Glob("testdata/traefik/*.yml")
	if err != nil || len(paths) < 70 {
		t.Fatalf("%d fixtures, %v", len(paths), err)
	}
	classes := map[string]string{"Ingress-with-ingressClasses-filter": "traefik-lb2", "Ingress-with-multiple-ingressClasses": "traefik-lb"}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".yml")
		t.Run(name, func(t *testing.T) {
			golden(t, "testdata/golden/traefik/"+name+".txt", kubernetes.Translate(readFiles(t, path), kubernetes.Options{}))
			if class := classes[name]; class != "" {
				golden(t, "testdata/golden/traefik/"+name+"."+class+".txt", kubernetes.Translate(readFiles(t, path), kubernetes.Options{IngressClass: class}))
			}
		})
	}
}

// TestGoldenConformance translates manifests of the conformance tests of the Gateway API, each together with the base they all share,
// for the Gateway its first route names.
func TestGoldenConformance(t *testing.T) {
	paths, err := filepath.Glob("testdata/conformance/*-*.yaml")
	if err != nil || len(paths) < 40 {
		t.Fatalf("%d manifests, %v", len(paths), err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".yaml")
		t.Run(name, func(t *testing.T) {
			r := kubernetes.Translate(readFiles(t, "testdata/conformance/base.yaml", path), kubernetes.Options{
				Gateway: gatewayOf(readFiles(t, path)), Complete: true,
			})
			golden(t, "testdata/golden/conformance/"+name+".txt", r)
			var b bytes.Buffer
			if err := r.JSON(&b); err != nil {
				t.Fatal(err)
			}
			testkit.Golden(t, "testdata/golden/conformance/"+name+".json", b.Bytes())
		})
	}
}

func gatewayOf(o *kubernetes.Objects) string {
	for _, g := range o.Gateways {
		return g.Namespace + "/" + g.Name
	}
	for _, r := range o.HTTPRoutes {
		if len(r.Spec.ParentRefs) == 0 {
			continue
		}
		p, namespace := r.Spec.ParentRefs[0], r.Namespace
		if p.Namespace != nil {
			namespace = string(*p.Namespace)
		}
		return namespace + "/" + string(p.Name)
	}
	return "gateway-conformance-infra/same-namespace"
}
