package archtest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/archtest"
	"github.com/suuupra/gateway/internal/testkit"
)

// TestArchitecture holds this module to the rules.
func TestArchitecture(t *testing.T) {
	tree, err := archtest.Load(testkit.Root(t))
	if err != nil {
		t.Fatal(err)
	}
	if tree.Packages() < 10 {
		t.Fatalf("read only %d packages: the rules have nothing to hold", tree.Packages())
	}
	for _, v := range tree.Check() {
		t.Errorf("%s", v)
	}
	for _, line := range tree.Long() {
		t.Logf("long file, is it one room? %s", line)
	}
}

// The checker must fail on what it is there to find. Each case is a module of its own.
func TestCheck(t *testing.T) {
	const readme = "# Name\n## Description\n## Config\n## Example\n## Errors\n## Metrics\n"
	long := "// Package x is long.\npackage x\n" + strings.Repeat("\n", 600)
	for name, c := range map[string]struct {
		files map[string]string
		want  []string // rule at place, e.g. "a/b.go:3 rule"; none: clean
	}{
		"schema imports runtime": {
			files: map[string]string{"schema/x.go": imports("runtime")},
			want:  []string{"schema/x.go:4 schema imports neither compiler nor runtime"},
		},
		"diag imports schema": {
			files: map[string]string{"schema/diag/x.go": imports("schema")},
			want:  []string{"schema/diag/x.go:4 schema/diag imports nothing of the module"},
		},
		"compiler imports a kind": {
			files: map[string]string{"compiler/lower/x.go": imports("runtime/policy", "runtime/policy/jwt")},
			want:  []string{"compiler/lower/x.go:5 compiler imports only schema and the policy contract"},
		},
		"runtime imports compiler": {
			files: map[string]string{"runtime/activate/x.go": imports("compiler/load", "schema/bundle", "runtime/snapshot")},
			want:  []string{"runtime/activate/x.go:4 runtime never imports compiler"},
		},
		"production imports the test kit": {
			files: map[string]string{"cmd/gwrun/x.go": imports("internal/testkit")},
			want:  []string{"cmd/gwrun/x.go:4 cmd is imported by nobody, and does not import test code"},
		},
		"a folder without a room": {
			files: map[string]string{"helpers/x.go": imports("schema")},
			want:  []string{"helpers/x.go:4 every package lies in a room"},
		},
		"a kind imports another": {
			files: map[string]string{"runtime/policy/quota/x.go": imports("runtime/policy", "runtime/policy/jwt"), "runtime/policy/quota/README.md": readme},
			want:  []string{"runtime/policy/quota/x.go:5 a policy kind imports no other kind and no part of the runtime but the contract"},
		},
		"a policy imports an upstream": {
			files: map[string]string{"runtime/policy/quota/x.go": imports("runtime/upstream"), "runtime/policy/quota/README.md": readme},
			want:  []string{"runtime/policy/quota/x.go:4 a policy kind imports no other kind and no part of the runtime but the contract"},
		},
		"a target imports the listeners": {
			files: map[string]string{"runtime/target/ai/x.go": imports("runtime/upstream", "runtime/engine"), "runtime/target/ai/README.md": readme},
			want:  []string{"runtime/target/ai/x.go:5 a target kind imports no other kind, and of the runtime only the contracts and what a request meets after it"},
		},
		"a target imports another": {
			files: map[string]string{"runtime/target/ai/x.go": imports("runtime/target/http"), "runtime/target/ai/README.md": readme},
			want:  []string{"runtime/target/ai/x.go:4 a target kind imports no other kind, and of the runtime only the contracts and what a request meets after it"},
		},
		"a kind imports a driver": {
			files: map[string]string{"runtime/policy/quota/x.go": imports("!os/exec"), "runtime/policy/quota/README.md": readme},
			want:  []string{"runtime/policy/quota/x.go:4 a policy or target kind imports no driver"},
		},
		"a kind uses an HTTP client": {
			files: map[string]string{
				"runtime/target/http/x.go":      imports("!net/http") + "\nvar status, c = http.StatusOK, http.DefaultClient\n",
				"runtime/target/http/README.md": readme,
			},
			want: []string{"runtime/target/http/x.go:7 a policy or target kind imports no driver"},
		},
		"a kind without a README": {
			files: map[string]string{"runtime/policy/quota/x.go": imports("runtime/policy")},
			want:  []string{"runtime/policy/quota/README.md:1 every kind has a README with the headings Name, Description, Config, Example, Errors, Metrics"},
		},
		"a library outside its room": {
			files: map[string]string{"compiler/check/x.go": imports("!cuelang.org/go/cue")},
			want:  []string{"compiler/check/x.go:4 cuelang.org/go stays in compiler/cuerun/..., schema/v1/internal/..."},
		},
		"a library kept for tests": {
			files: map[string]string{"runtime/engine/x.go": imports("!github.com/valyala/fasthttp")},
			want:  []string{"runtime/engine/x.go:4 github.com/valyala/fasthttp stays in cmd and tests"},
		},
		"a library in two packages": {
			files: map[string]string{
				"internal/jose/x.go": imports("!github.com/lestrrat-go/jwx/v2/jwt"),
				"internal/keys/x.go": imports("!github.com/lestrrat-go/jwx/v2/jwk"),
			},
			want: []string{
				"internal/jose/x.go:4 github.com/lestrrat-go/jwx/v2 shows in one package only",
				"internal/keys/x.go:4 github.com/lestrrat-go/jwx/v2 shows in one package only",
			},
		},
		"an unlisted library": {
			files: map[string]string{"runtime/x.go": imports("!example.com/leftpad")},
			want:  []string{"runtime/x.go:4 every dependency is listed with its reason"},
		},
		"a package without a comment": {
			files: map[string]string{"runtime/x.go": "package runtime\n"},
			want:  []string{"runtime/x.go:1 every package has a package comment"},
		},
		"a file that is too long": {
			files: map[string]string{"schema/x.go": long},
			want:  []string{"schema/x.go:1 no file over 600 lines"},
		},
		"a generated file may be long": {
			files: map[string]string{"schema/x.go": "// Code generated by gen. DO NOT EDIT.\n\n" + long},
		},
		"an init function": {
			files: map[string]string{"schema/x.go": imports() + "\nfunc init() {}\n"},
			want:  []string{"schema/x.go:6 no init functions"},
		},
		"a sleep in a test": {
			files: map[string]string{"schema/x_test.go": imports("!time") + "\nfunc wait() { time.Sleep(1) }\n"},
			want:  []string{"schema/x_test.go:7 no sleeps in tests"},
		},
		"a sleep in a bubble": {
			files: map[string]string{"schema/x_test.go": imports("!testing/synctest", "!time") + "\nfunc wait() { time.Sleep(1) }\n"},
		},
		"a fuzz target without seeds": {
			files: map[string]string{"schema/x_test.go": imports("!testing") + "\nfunc FuzzX(f *testing.F) { f.Fuzz(func(*testing.T, int) {}) }\n"},
			want:  []string{"schema/x_test.go:7 every fuzz target has seeds"},
		},
		"fuzz targets with seeds": {
			files: map[string]string{
				"schema/x_test.go":               imports("!testing") + "\nfunc FuzzX(f *testing.F) { f.Add(1) }\n\nfunc FuzzY(f *testing.F) {}\n",
				"schema/testdata/fuzz/FuzzY/one": "go test fuzz v1\nint(1)\n",
			},
		},
		"something left over": {
			files: map[string]string{"docs/x.md": "one\nTO" + "DO: two\n", "schema/testdata/x.txt": "TO" + "DO\n"},
			want:  []string{"docs/x.md:2 nothing is left over"},
		},
		"tests see everything": {
			files: map[string]string{"schema/x_test.go": imports("runtime", "compiler", "!example.com/leftpad")},
		},
		"a nested module and testdata are not ours": {
			files: map[string]string{
				"bench/other/go.mod": "module other\n", "bench/other/x.go": "package x\n", "schema/testdata/x.go": "package x\n",
			},
		},
		"clean": {
			files: map[string]string{
				"schema/x.go":                  imports("schema/diag"),
				"compiler/x.go":                imports("schema", "runtime/policy", "runtime/httpmsg", "compiler/load"),
				"runtime/x.go":                 imports("schema", "runtime/policy/all", "runtime/engine"),
				"runtime/policy/all/x.go":      imports("runtime/policy/jwt", "runtime/policy"),
				"runtime/policy/jwt/x.go":      imports("runtime/policy", "schema/v1", "internal/jose", "runtime/policy/jwt/keys"),
				"runtime/policy/jwt/README.md": readme,
				"cmd/gwrun/x.go":               imports("compiler", "runtime", "!github.com/spf13/cobra"),
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range c.files {
				full := filepath.Join(dir, filepath.FromSlash(name))
				if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			tree, err := archtest.Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, v := range tree.Check() {
				got = append(got, v.Pos+" "+v.Rule)
				if v.What == "" || v.Why == "" {
					t.Errorf("%s says nothing to its reader: %+v", v.Pos, v)
				}
			}
			if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
			}
		})
	}
}

// The names of the machine come from the machine, so the rule is tried with a proxy of its own.
func TestMachineNames(t *testing.T) {
	t.Setenv("GOPROXY", "https://mirror.corp.example/go,direct")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "README.md"), []byte("one\nuse mirror.corp.example\nsee "+dir+"/x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	tree, err := archtest.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range tree.Check() {
		got = append(got, v.Pos+" "+v.Rule)
	}
	want := "README.md:2 the project speaks of itself alone\nREADME.md:3 the project speaks of itself alone"
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}

// imports writes a file whose first import stands on line 4. A leading "!" marks a path outside the module.
func imports(paths ...string) string {
	var b strings.Builder
	b.WriteString("// Package x is a case.\npackage x\nimport (\n")
	for _, p := range paths {
		if outside, ok := strings.CutPrefix(p, "!"); ok {
			b.WriteString("\t\"" + outside + "\"\n")
		} else {
			b.WriteString("\t\"" + archtest.Module + "/" + p + "\"\n")
		}
	}
	b.WriteString(")\n")
	return b.String()
}
