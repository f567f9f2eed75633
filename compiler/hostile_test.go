package compiler_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/suuupra/gateway/compiler"
	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/compiler/yamlpos"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
)

// soon bounds what takes a second or two where it is linear, and minutes where it is not.
const soon = 30 * time.Second

// memTree is a repository that never was on disk.
func memTree(files map[string]string) *load.Tree {
	t := &load.Tree{}
	environments := map[string]bool{}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		data := []byte(files[path])
		layer := load.LayerOf(path)
		environments[layer.Environment] = true
		t.Files = append(t.Files, load.RawFile{Path: path, Data: data, Digest: sha256.Sum256(data), Layer: layer})
	}
	delete(environments, "")
	t.Environments = slices.Sorted(maps.Keys(environments))
	return t
}

// codes counts the diagnostics by code, and wants them at once.
func codes(t *testing.T, files map[string]string) map[diag.Code]int {
	t.Helper()
	start := time.Now()
	diags, err := newCompiler(nil).Validate(t.Context(), memTree(files), "")
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > soon {
		t.Errorf("took %s", took)
	}
	out := map[diag.Code]int{}
	for _, d := range diags {
		out[d.Code]++
	}
	return out
}

func routeText(id, rest string) string {
	return fmt.Sprintf("  - { id: %s, %s, target: { type: http, url: \"http://a\" } }\n", id, rest)
}

func TestHostileRepositories(t *testing.T) {
	many := func(n int, f func(i int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(f(i))
		}
		return b.String()
	}
	files := func(n int, f func(i int) (path, text string)) map[string]string {
		out := map[string]string{"routes/base.yaml": version + "routes:\n" + routeText("base", "matcher: { path: /base }")}
		for i := range n {
			path, text := f(i)
			out[path] = version + text
		}
		return out
	}
	for name, c := range map[string]struct {
		files map[string]string
		want  map[diag.Code]int
	}{
		"one id ten thousand times in a file": {
			files(1, func(int) (string, string) {
				return "routes/a.yaml", "routes:\n" + many(10_000, func(i int) string { return routeText("a", fmt.Sprintf("matcher: { path: /%d }", i)) })
			}), map[diag.Code]int{"GW3001": 9_999},
		},
		"one id in ten thousand files": {
			files(10_000, func(i int) (string, string) {
				return fmt.Sprintf("routes/%d.yaml", i), "routes:\n" + routeText("a", "matcher: { path: /a }")
			}), map[diag.Code]int{"GW3001": 9_999},
		},
		"five thousand files that patch one field": {
			files(5_000, func(i int) (string, string) {
				return fmt.Sprintf("environments/e/%d.yaml", i), "routes:\n  - { id: base, policy: { timeout: 1s } }\n"
			}), map[diag.Code]int{"GW3002": 4_999},
		},
		"five thousand files that each add a header": {
			files(5_000, func(i int) (string, string) {
				return fmt.Sprintf("environments/e/%d.yaml", i), fmt.Sprintf("routes:\n  - { id: base, matcher: { query: { q%d: \"1\" } } }\n", i)
			}), map[diag.Code]int{},
		},
		"five thousand deletions of one object": {
			files(5_000, func(i int) (string, string) {
				return fmt.Sprintf("environments/e/%d.yaml", i), "routes:\n  - { id: base, $delete: true }\n"
			}), map[diag.Code]int{"GW3002": 4_999},
		},
		"fifty thousand tiny files": {
			files(49_999, func(i int) (string, string) { return fmt.Sprintf("routes/%d.yaml", i), "" }), map[diag.Code]int{},
		},
		"five hundred tenants that patch one field": {
			files(500, func(i int) (string, string) {
				return fmt.Sprintf("tenants/t%d/a.yaml", i), fmt.Sprintf("routes:\n  - { id: base, policy: { timeout: %d } }\n", i+1)
			}), map[diag.Code]int{"GW3002": 499},
		},
		"two thousand dangling references to nearly the right id": {
			files(1, func(int) (string, string) {
				return "routes/a.yaml", "upstreams:\n" + many(2_000, func(i int) string {
					return fmt.Sprintf("  - { id: upstream-%d, targets: [{ url: \"http://a\" }] }\n", i)
				}) + "routes:\n" + many(2_000, func(i int) string {
					return fmt.Sprintf("  - { id: r%d, matcher: { path: /%d }, target: { type: http, upstream: upstraem-%d } }\n", i, i, i)
				})
			}), map[diag.Code]int{"GW3010": 2_000},
		},
		"three thousand routes that are all the same": {
			files(1, func(int) (string, string) {
				return "routes/a.yaml", "routes:\n" + many(3_000, func(i int) string { return routeText(fmt.Sprintf("r%d", i), "matcher: { path: /a }") })
			}), map[diag.Code]int{"GW4004": 2_999},
		},
		"five thousand objects that are misspelt patches": {
			files(2, func(i int) (string, string) {
				return []string{"routes/a.yaml", "environments/e/a.yaml"}[i], "routes:\n" + many(5_000, func(j int) string {
					return []string{routeText(fmt.Sprintf("route-%d", j), fmt.Sprintf("matcher: { path: /%d }", j)), fmt.Sprintf("  - { id: ruote-%d, policy: { timeout: 1s } }\n", j)}[i]
				})
			}), map[diag.Code]int{"GW2032": 10_000, "GW3008": 39},
		},
		"a patch sixty maps deep": {
			files(2, func(i int) (string, string) {
				deep := strings.Repeat("{ a: ", 58) + fmt.Sprint(i) + strings.Repeat(" }", 58)
				return []string{"routes/a.yaml", "environments/e/a.yaml"}[i], "policies:\n  - { id: deep, bodyLimit: " + deep + " }\n"
			}), map[diag.Code]int{"GW2031": 2, "GW2032": 1},
		},
		"an id of a megabyte": {
			files(1, func(int) (string, string) {
				return "routes/a.yaml", "routes:\n" + routeText(strings.Repeat("x", 1<<20), "matcher: { path: /a }")
			}), map[diag.Code]int{"GW2105": 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := codes(t, c.files); !maps.Equal(got, c.want) {
				t.Errorf("diagnostics %v, want %v", got, c.want)
			}
		})
	}
}

// TestSharedNodes patches objects that share values through aliases: each is its own, whatever is remembered about the value.
func TestSharedNodes(t *testing.T) {
	tree := memTree(map[string]string{
		"routes/a.yaml": version + `routes:
  - id: a
    matcher: { host: a.example.com, path: /x }
    target: &target { type: http, url: "http://a" }
    policy: &policy { timeout: 1s, timeouts: &parts { header: 2s, idle: 2s } }
  - { id: b, matcher: { host: b.example.com, path: /x }, target: *target, policy: *policy }
policies:
  - { id: c, timeouts: *parts }
`,
		"environments/e/a.yaml": version + "routes:\n  - { id: b, target: { url: \"http://b\" }, policy: { timeouts: { idle: null, header: 3s } } }\n",
	})
	u := open(t, newCompiler(nil), tree)
	for _, e := range []string{"", "e", ""} {
		p := u.Compile(e).Program
		if p == nil {
			t.Fatalf("environment %q: no program", e)
		}
		want := map[string]ir.Forward{"a": {Timeout: 1000, HeaderTimeout: 2000, IdleTimeout: 2000}, "b": {Timeout: 1000, HeaderTimeout: 2000, IdleTimeout: 2000}}
		upstream := map[string]string{"a": "http://a:80", "b": "http://a:80"}
		if e == "e" {
			want["b"], upstream["b"] = ir.Forward{Timeout: 1000, HeaderTimeout: 3000, IdleTimeout: 60_000}, "http://b:80"
		}
		for _, r := range p.Routes {
			if r.Forward != want[r.ID] || r.Target.Upstream != upstream[r.ID] {
				t.Errorf("environment %q, route %s: %+v to %s, want %+v to %s", e, r.ID, r.Forward, r.Target.Upstream, want[r.ID], upstream[r.ID])
			}
		}
	}
}

// TestSharedMatcher lets two routes share one matcher: remembered or not, they tie.
func TestSharedMatcher(t *testing.T) {
	got := codes(t, map[string]string{
		"routes/a.yaml":         version + "routes:\n  - { id: a, matcher: &m { path: /x }, target: &t { type: http, url: \"http://a\" } }\n  - { id: b, matcher: *m, target: *t }\n",
		"environments/e/a.yaml": version + "routes:\n  - { id: a, policy: { timeout: 1s } }\n",
	})
	if want := map[diag.Code]int{"GW4004": 1}; !maps.Equal(got, want) {
		t.Errorf("diagnostics %v, want %v", got, want)
	}
}

// TestEveryValueReplaced puts what does not belong in the place of each value of a repository, one at a time, in a file of
// every layer. Nothing may panic, and what has no error must be a program that can be packed.
func TestEveryValueReplaced(t *testing.T) {
	base := map[string]string{}
	for _, f := range loadDir(t, exampleRepo).Files {
		var diags diag.List
		data, err := json.Marshal(yamlpos.Decode(f.Path, f.Data, &diags).Any())
		if err != nil {
			t.Fatal(err)
		}
		base[strings.TrimSuffix(f.Path, ".yaml")+".json"] = string(data)
	}
	judge(t, memTree(base)) // the repository as JSON is sound
	odd := []any{nil, []any{}, map[string]any{}, "", 0, -1, 1 << 40, 1.5, true, []any{nil}, map[string]any{"id": nil}, map[string]any{"$delete": true}, "*", "/", "http://["}
	replaced := 0
	for path, text := range base {
		var root any
		if err := json.Unmarshal([]byte(text), &root); err != nil {
			t.Fatal(err)
		}
		everyValue(root, func(set func(any)) {
			for _, v := range odd {
				set(v)
				data, err := json.Marshal(root)
				if err != nil {
					t.Fatal(err)
				}
				files := maps.Clone(base)
				files[path] = string(data)
				judge(t, memTree(files))
				replaced++
			}
		})
	}
	if replaced < 500 {
		t.Errorf("only %d values were replaced", replaced)
	}
}

// everyValue calls f with a setter for each value below v, and restores it.
func everyValue(v any, f func(set func(any))) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			old := v[k]
			f(func(x any) { v[k] = x })
			v[k] = old
			everyValue(old, f)
		}
	case []any:
		for i, old := range v {
			f(func(x any) { v[i] = x })
			v[i] = old
			everyValue(old, f)
		}
	}
}

// judge compiles every environment and checks what must hold of any repository.
func judge(tb testing.TB, tree *load.Tree) {
	tb.Helper()
	u, err := newCompiler(nil).Open(context.Background(), tree)
	if err != nil {
		tb.Fatal(err)
	}
	for _, e := range append([]string{""}, tree.Environments...) {
		o := u.Compile(e)
		for _, d := range o.Diags.Sorted() {
			if d.Code == "" || d.Message == "" || !d.Pos.IsValid() {
				tb.Fatalf("environment %q: a diagnostic says too little: %+v", e, d)
			}
		}
		p := o.WithOrigins()
		if (p == nil) != o.Diags.HasErrors() {
			tb.Fatalf("environment %q: program %t, errors %t", e, p != nil, o.Diags.HasErrors())
		}
		if p == nil {
			continue
		}
		p.Environment = "any" // what a program of the base is packed as
		b, err := compiler.Emit(p, load.Origin{}, "1.2.3")
		if err != nil {
			tb.Fatalf("environment %q: %v", e, err)
		}
		if back, err := ir.Unpack(b); err != nil || len(back.Routes) != len(p.Routes) {
			tb.Fatalf("environment %q: unpack: %v", e, err)
		}
	}
}

// loadable is a name that package load lets through.
var loadable = regexp.MustCompile(`^(gateway|routes/[a-z]+|(environments/[a-z]+/)?(tenants/[a-z]+/)?[a-z]+)\.(yaml|json)$`)

// FuzzRepository compiles whatever a txtar file says is a repository.
func FuzzRepository(f *testing.F) {
	for _, path := range stories(f) {
		a, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		a.Comment = nil
		a.Files = slices.DeleteFunc(a.Files, func(file txtar.File) bool { return strings.HasPrefix(file.Name, expected) })
		if data := txtar.Format(a); len(data) < 4096 {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 8192 {
			return
		}
		files, path := map[string]string{}, ""
		for line := range strings.Lines(string(data)) { // txtar.Parse panics on "-- --"
			name, opened := strings.CutPrefix(strings.TrimSpace(line), "-- ")
			if name, closed := strings.CutSuffix(name, " --"); opened && closed && loadable.MatchString(name) {
				path = name
			} else if strings.HasSuffix(path, ".yaml") || strings.HasSuffix(path, ".json") {
				files[path] += line
			}
		}
		tree := memTree(files)
		judge(t, tree)
		first, err := newCompiler(nil).Validate(t.Context(), tree, "")
		if err != nil {
			t.Fatal(err)
		}
		slices.Reverse(tree.Files)
		second, err := newCompiler(nil).Validate(t.Context(), tree, "")
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(first, second) {
			t.Fatalf("the order of the files decides\n%v\n%v", first, second)
		}
	})
}
