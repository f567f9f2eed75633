package pace_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/suuupra/gateway/runtime/discovery/pace"
)

func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := pace.Limit{Burst: 5, Every: time.Second}
		start := time.Now()
		ask := func(n int) time.Duration {
			for range n {
				if !l.Wait(t.Context()) {
					t.Fatal("ended")
				}
			}
			return time.Since(start)
		}
		if got := ask(5); got != 0 {
			t.Errorf("the burst took %v", got)
		}
		if got := ask(3); got != 3*time.Second {
			t.Errorf("three more took %v, want 3s", got)
		}
		time.Sleep(time.Hour)
		start = time.Now()
		if got := ask(5); got != 0 {
			t.Errorf("after a long time the burst took %v", got)
		}
		if got := ask(1); got != time.Second {
			t.Errorf("a long time bought more than a burst: the sixth came after %v", got)
		}
	})
}

func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if pace.Pause(ctx, time.Minute) || time.Since(start) != time.Second {
			t.Errorf("the pause outlived its context: %v", time.Since(start))
		}
		l := pace.Limit{Burst: 1, Every: time.Second}
		if l.Wait(ctx) {
			t.Error("a question was let through after the end")
		}
	})
}

func TestBackoff(t *testing.T) {
	for failures, want := range map[int]time.Duration{0: time.Second, 1: 2 * time.Second, 3: 8 * time.Second, 4: 10 * time.Second, 1 << 30: 10 * time.Second} {
		for range 100 {
			if got := pace.Backoff(failures, time.Second, 10*time.Second); got < want/2 || got > want {
				t.Errorf("after %d failures: %v, want %v to %v", failures, got, want/2, want)
			}
		}
	}
}
