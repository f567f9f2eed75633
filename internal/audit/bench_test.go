package audit

import (
	"context"
	"path/filepath"
	"testing"
)

func benchmarkTrail(b *testing.B) *Trail {
	b.Helper()
	trail := open(b, options(b, filepath.Join(b.TempDir(), "trail")))
	b.ReportAllocs()
	return trail
}

// BenchmarkAppend is one record after another: each waits for the disk alone.
func BenchmarkAppend(b *testing.B) {
	trail := benchmarkTrail(b)
	for b.Loop() {
		add(b, trail, reload())
	}
}

// BenchmarkAppendParallel is 64 callers at once: those that wait for the disk wait together.
func BenchmarkAppendParallel(b *testing.B) {
	trail := benchmarkTrail(b)
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := trail.Append(context.Background(), reload()); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "trail")
	trail := open(b, options(b, dir))
	batch := make([]Record, 10_000)
	for i := range batch {
		batch[i] = reload()
	}
	if err := trail.write(batch); err != nil {
		b.Fatal(err)
	}
	shut(b, trail)
	check := Check{Trust: ours(b)}
	records := int64(0)
	for b.Loop() {
		report, err := Verify([]string{dir}, check)
		if err != nil {
			b.Fatal(err)
		}
		records += report.Records
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(records), "ns/record")
}
