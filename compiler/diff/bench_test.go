package diff

import (
	"fmt"
	"io"
	"testing"

	"github.com/suuupra/gateway/schema/ir"
)

// touched is a program of n routes of which the given number has another timeout.
func touched(n, changes int) *ir.Program {
	p := many(n)
	for i := range changes {
		p.Routes[i*n/changes].Forward.Timeout = 30000
	}
	return p
}

// TestTenChangesInTenThousandRoutes checks the report that BenchmarkPrograms times.
func TestTenChangesInTenThousandRoutes(t *testing.T) {
	got, want := Programs(many(10000), touched(10000, 10)).Summary(), "0 added, 0 removed, 10 changed; 10 availability risks"
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// BenchmarkPrograms compares and renders: the budget for 10,000 routes with 10 changes is 0.5 s of CPU.
func BenchmarkPrograms(b *testing.B) {
	for _, changes := range []int{1, 10, 10000} {
		b.Run(fmt.Sprintf("routes=10000/changes=%d", changes), func(b *testing.B) {
			before, after := many(10000), touched(10000, changes)
			b.ReportAllocs()
			for b.Loop() {
				if err := Programs(before, after).WriteText(io.Discard, false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("routes=10000/all removed and others added", func(b *testing.B) {
		before, after := many(10000), many(10000)
		for i := range after.Routes {
			after.Routes[i].ID = "new-" + after.Routes[i].ID
			after.Routes[i].Match.Host = "new." + after.Routes[i].Match.Host
		}
		b.ReportAllocs()
		for b.Loop() {
			if err := Programs(before, after).WriteText(io.Discard, false); err != nil {
				b.Fatal(err)
			}
		}
	})
}
