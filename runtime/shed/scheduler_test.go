package shed

import (
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestTail(t *testing.T) {
	edges := []float64{math.Inf(-1), 0, 0.001, 0.01, 0.1, math.Inf(1)}
	cases := []struct {
		name           string
		before, counts []uint64
		want           float64
	}{
		{"nothing", []uint64{0, 0, 0, 0, 0}, []uint64{0, 0, 0, 0, 0}, 0},
		{"nothing new", []uint64{0, 7, 7, 7, 7}, []uint64{0, 7, 7, 7, 7}, 0},
		{"the only one", []uint64{0, 5, 0, 0, 0}, []uint64{0, 5, 0, 1, 0}, 0.01},
		{"the slower of two", []uint64{0, 0, 0, 0, 0}, []uint64{0, 1, 0, 0, 1}, 0},
		{"the slowest of ten", []uint64{0, 0, 0, 0, 0}, []uint64{0, 0, 9, 0, 1}, 0.001},
		{"two of ten", []uint64{0, 0, 0, 0, 0}, []uint64{0, 0, 8, 2, 0}, 0.01},
		{"eleven of a hundred", []uint64{0, 1000, 0, 0, 0}, []uint64{0, 1089, 0, 11, 0}, 0.01},
		{"ten of a hundred", []uint64{0, 1000, 0, 0, 0}, []uint64{0, 1090, 0, 10, 0}, 0},
		{"slow ones of long ago", []uint64{0, 0, 0, 0, 1000}, []uint64{0, 10, 0, 0, 1000}, 0},
		{"all of them", []uint64{0, 0, 0, 0, 0}, []uint64{0, 0, 0, 0, 100}, 0.1},
		{"below the first edge", []uint64{0, 0, 0, 0, 0}, []uint64{3, 0, 0, 0, 0}, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			before := slices.Clone(c.before)
			if got := tail(edges, c.counts, before); got != c.want {
				t.Errorf("is %v, want %v", got, c.want)
			}
			if !slices.Equal(before, c.counts) {
				t.Errorf("leaves %v, want %v", before, c.counts)
			}
		})
	}
}

// One processor and many goroutines that always have something to do: each waits until the others had their turn.
func TestSchedulerSeesGoroutinesWait(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	s := newScheduler()
	var stop atomic.Bool
	var busy sync.WaitGroup
	for range 200 {
		busy.Go(func() {
			for n := 0; !stop.Load(); n++ {
				if n%1000 == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	seen := time.Duration(0)
	for seen == 0 && t.Context().Err() == nil {
		runtime.Gosched()
		seen = s.sample()
	}
	stop.Store(true)
	busy.Wait()
	if seen <= 0 || seen > time.Minute {
		t.Errorf("goroutines waited %s", seen)
	}
}

func TestSchedulerDoesNotAllocate(t *testing.T) {
	s := newScheduler()
	if n := testing.AllocsPerRun(100, func() { s.sample() }); n != 0 {
		t.Errorf("a sample allocates %v times", n)
	}
}
