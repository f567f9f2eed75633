package load

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkDir reads a directory inside git, clean, the way every validate begins: 5.6 MB in 100 and in 10,000 files.
func BenchmarkDir(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			files := map[string]string{}
			for i := range n {
				files[fmt.Sprintf("routes/team%d/f%05d.yaml", i%40, i)] = fmt.Sprint(i) + strings.Repeat("x", 5_600_000/n)
			}
			dir := repo(b, files)
			b.ReportAllocs()
			for b.Loop() {
				tree, err := Dir(b.Context(), dir)
				if err != nil || len(tree.Files) != n || tree.Origin.Dirty {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkGit reads the same from the object store.
func BenchmarkGit(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			files := map[string]string{}
			for i := range n {
				files[fmt.Sprintf("routes/team%d/f%05d.yaml", i%40, i)] = fmt.Sprint(i) + strings.Repeat("x", 5_600_000/n)
			}
			dir := repo(b, files)
			runGit(b, dir, "gc", "--quiet")
			b.ReportAllocs()
			for b.Loop() {
				tree, err := Git(b.Context(), dir, "HEAD")
				if err != nil || len(tree.Files) != n {
					b.Fatal(err)
				}
			}
		})
	}
}
