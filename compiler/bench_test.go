package compiler_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/suuupra/gateway/compiler"
	"github.com/suuupra/gateway/internal/testkit"
)

// BenchmarkValidate measures what gwctl validate does with a tree in memory: nothing cached, files cached, all cached, and
// with more environments that patch one route each.
func BenchmarkValidate(b *testing.B) {
	for _, routes := range []int{1000, 10_000, 100_000} {
		dir := testkit.Repo(b, testkit.Synthetic{Routes: routes})
		run := func(name string, cache func() *compiler.Cache) {
			b.Run(fmt.Sprintf("%d/%s", routes, name), func(b *testing.B) {
				tree := loadDir(b, dir)
				b.ReportAllocs()
				for b.Loop() {
					diags, err := newCompiler(cache()).Validate(b.Context(), tree, "")
					if err != nil || len(diags) > 0 {
						b.Fatal(err, diags)
					}
				}
			})
		}
		none := func() *compiler.Cache { return nil }
		kept, err := compiler.OpenCache(b.TempDir(), nil)
		if err != nil {
			b.Fatal(err)
		}
		run("cold", none)
		run("warm", func() *compiler.Cache { return kept })
		for i := range 4 {
			name := fmt.Sprintf("e%d", i)
			if err := os.MkdirAll(filepath.Join(dir, "environments", name), 0o755); err != nil {
				b.Fatal(err)
			}
			patch := version + fmt.Sprintf("routes:\n  - { id: route-%06d, policy: { timeout: 1s } }\n", i)
			writeFile(b, filepath.Join(dir, "environments", name, "a.yaml"), []byte(patch))
		}
		run("cold with 5 environments", none)
	}
}
