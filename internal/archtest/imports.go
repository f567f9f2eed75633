package archtest

import (
	"fmt"
	"go/ast"
	"path"
	"sort"
	"strings"
)

// room is a part of the module and what its production code may import of the module.
type room struct {
	name string
	in   []string // directories
	may  []string // of the module; a room may always import itself
	not  []string // exceptions to may
	why  string
}

// rooms are tried in order; the first whose directories hold the importing package decides. Tests see everything.
var rooms = []room{
	{
		name: "schema/diag imports nothing of the module",
		in:   []string{"schema/diag/..."},
		why:  "every room reports through it, so it lies below all of them",
	},
	{
		name: "schema imports neither compiler nor runtime",
		in:   []string{"schema/..."}, may: []string{"schema/..."},
		why: "it is the contract both sides share",
	},
	{
		name: "compiler imports only schema and the policy contract",
		in:   []string{"compiler/..."},
		may:  []string{"compiler/...", "schema/...", "runtime/policy", "runtime/httpmsg", "internal/..."},
		not:  []string{"internal/testkit/...", "internal/archtest/..."},
		why:  "policies are the instruction set it targets: cmd hands it the list of kinds, it never imports one",
	},
	{
		name: "the policy contract imports only schema, httpmsg, and the key sets and facts it hands out",
		in:   []string{"runtime/policy", "runtime/httpmsg"}, may: []string{"schema/...", "runtime/httpmsg", "internal/jose", "internal/facts"},
		why: "the compiler and every kind import it, so what it imports reaches them all",
	},
	{
		name: "the list of kinds imports the kinds and the contract",
		in:   []string{"runtime/policy/all", "runtime/target/all"},
		may:  []string{"runtime/policy/...", "runtime/target/...", "schema/..."},
		why:  "it is a list",
	},
	{
		name: "a policy kind imports no other kind and no part of the runtime but the contract",
		in:   []string{"runtime/policy/*"},
		may:  []string{"schema/...", "runtime/policy", "runtime/httpmsg", "internal/..."},
		not:  []string{"internal/testkit/...", "internal/archtest/..."},
		why:  "what a policy needs (state, keys, clocks, secrets, HTTP) reaches it as a small interface in its Env",
	},
	{
		name: "a target kind imports no other kind, and of the runtime only the contracts and what a request meets after it",
		in:   []string{"runtime/target/*"},
		may: []string{
			"schema/...", "runtime/policy", "runtime/target", "runtime/httpmsg", "runtime/upstream/...", "runtime/retry", "runtime/breaker",
			"runtime/engine/http1", "runtime/engine/wire", "internal/...",
		},
		not: []string{"internal/testkit/...", "internal/archtest/..."},
		why: "a request walks target -> upstream -> wire; a target is handed its pool, and knows neither route table nor listeners",
	},
	{
		name: "the target contract imports the policy contract, and the upstream and breakers it hands out",
		in:   []string{"runtime/target"}, may: []string{"schema/...", "runtime/policy", "runtime/httpmsg", "runtime/upstream", "runtime/breaker"},
		why: "every kind imports it, so what it imports reaches them all",
	},
	{
		name: "runtime never imports compiler",
		in:   []string{"runtime/..."}, may: []string{"runtime/...", "schema/...", "internal/..."},
		not: []string{"internal/testkit/...", "internal/archtest/..."},
		why: "where gwrun has to compile, cmd/gwrun injects it",
	},
	{
		name: "cmd is imported by nobody, and does not import test code",
		in:   []string{"cmd/..."}, may: []string{"cmd/...", "compiler/...", "runtime/...", "schema/...", "internal/...", "examples/..."},
		not: []string{"internal/testkit/...", "internal/archtest/..."},
		why: "it wires the parts; the parts test themselves",
	},
	{
		name: "the test kit of policies sees what a policy meets",
		in:   []string{"internal/testkit/policytest"}, may: []string{"schema/...", "runtime/policy", "runtime/httpmsg", "compiler/yamlpos"},
		why: "it stands in for the compiler before a policy, and for the gateway around it",
	},
	{
		name: "internal packages lie below the rooms that use them",
		in:   []string{"internal/testkit/..."}, may: []string{"schema/...", "internal/..."},
		why: "a test of any room may use the test kit without a cycle",
	},
	{
		name: "internal packages lie below the rooms that use them",
		in:   []string{"internal/..."}, may: []string{"schema/...", "internal/..."}, not: []string{"internal/testkit/..."},
		why: "any room may use them without a cycle",
	},
	{
		name: "benchmarks drive the binaries from outside",
		in:   []string{"bench/..."}, may: []string{"bench/...", "internal/testkit/..."},
		why: "what is measured is what is shipped",
	},
}

// drivers are what a kind may not reach for itself.
var drivers = []string{
	"os/exec", "net/http/...", "github.com/redis/go-redis/...", "github.com/valyala/fasthttp/...", "github.com/lestrrat-go/jwx/...",
	"github.com/prometheus/client_golang/...", "go.opentelemetry.io/...", "golang.org/x/net/http2/...", "database/sql/...",
}

// kind reports whether dir belongs to one policy or target kind.
func kind(dir string) bool {
	parts := strings.Split(dir, "/")
	return len(parts) >= 3 && parts[0] == "runtime" && (parts[1] == "policy" || parts[1] == "target") && parts[2] != "all"
}

func (r *room) holds(dir string) bool {
	for _, p := range r.in {
		if family, every := strings.CutSuffix(p, "/*"); every && kind(dir) && strings.HasPrefix(dir, family+"/") || match(p, dir) {
			return true
		}
	}
	return false
}

func (f *file) imports(dir string) []Violation {
	if f.test {
		return nil
	}
	var out []Violation
	for imported, spec := range f.importPaths {
		pos := f.pos(spec.Pos())
		if own, ok := strings.CutPrefix(imported+"/", Module+"/"); ok {
			out = append(out, checkRoom(dir, path.Clean("./"+own), pos)...)
			continue
		}
		if kind(dir) && imported != "net/http" && matchAny(drivers, imported) {
			out = append(out, Violation{
				Rule: "a policy or target kind imports no driver", Pos: pos, What: "imports " + imported,
				Why: "the same code judges requests offline and in the shadow: its effects go through its Env",
			})
		}
		out = append(out, checkLibrary(dir, imported, pos)...)
	}
	if kind(dir) {
		out = append(out, f.httpWords()...)
	}
	return out
}

func checkRoom(dir, imported, pos string) []Violation {
	if imported == dir {
		return nil
	}
	for _, r := range rooms {
		if !r.holds(dir) {
			continue
		}
		if sameKind(dir, imported) || matchAny(r.may, imported) && !matchAny(r.not, imported) {
			return nil
		}
		return []Violation{{Rule: r.name, Pos: pos, What: fmt.Sprintf("%s imports %s", dir, imported), Why: r.why}}
	}
	return []Violation{{
		Rule: "every package lies in a room", Pos: pos, What: fmt.Sprintf("%s imports %s", dir, imported),
		Why: "no rule covers this folder: name its place in internal/archtest, or move it",
	}}
}

// sameKind reports whether both directories belong to one kind, whose parts may import one another.
func sameKind(a, b string) bool {
	if !kind(a) || !kind(b) {
		return false
	}
	x, y := strings.Split(a, "/"), strings.Split(b, "/")
	return x[1] == y[1] && x[2] == y[2]
}

// httpWords lets a kind name statuses and methods by the constants of net/http, and nothing else of it.
func (f *file) httpWords() []Violation {
	name := ""
	for imported, spec := range f.importPaths {
		if imported == "net/http" {
			if name = "http"; spec.Name != nil {
				name = spec.Name.Name
			}
		}
	}
	var out []Violation
	ast.Inspect(f.ast, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok || name == "" {
			return true
		}
		if x, ok := s.X.(*ast.Ident); !ok || x.Name != name ||
			strings.HasPrefix(s.Sel.Name, "Status") || strings.HasPrefix(s.Sel.Name, "Method") {
			return true
		}
		out = append(out, Violation{
			Rule: "a policy or target kind imports no driver", Pos: f.pos(s.Pos()), What: "uses http." + s.Sel.Name,
			Why: "a kind sees requests as httpmsg values; of net/http it may use the names of statuses and methods",
		})
		return true
	})
	return out
}

// single holds libraries that may show in one package only, wherever that is.
func (t *Tree) single() []Violation {
	var out []Violation
	for _, lib := range libraries {
		if !lib.single {
			continue
		}
		first := map[string]string{} // importing package -> a place
		for dir, p := range t.packages {
			for _, f := range p.files {
				for imported, spec := range f.importPaths {
					if !f.test && match(lib.path+"/...", imported) {
						first[dir] = f.pos(spec.Pos())
					}
				}
			}
		}
		if len(first) < 2 {
			continue
		}
		dirs := make([]string, 0, len(first))
		for dir := range first {
			dirs = append(dirs, dir)
		}
		sort.Strings(dirs)
		for _, dir := range dirs {
			out = append(out, Violation{
				Rule: lib.path + " shows in one package only", Pos: first[dir],
				What: "is imported by " + strings.Join(dirs, " and "), Why: lib.why,
			})
		}
	}
	return out
}
