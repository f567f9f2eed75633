package source

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/suuupra/gateway/internal/depot"
	"github.com/suuupra/gateway/schema/bundle"
)

// script answers polls in turn; the last answer is repeated.
type script struct {
	answers []func(Request) (*Received, error)
	at      []time.Duration // of each poll, since the start
	lasts   []string        // the ETags it was asked with
	start   time.Time
}

func (s *script) Fetch(ctx context.Context, r Request) (*Received, error) {
	s.at, s.lasts = append(s.at, time.Since(s.start)), append(s.lasts, r.Last)
	return s.answers[min(len(s.at), len(s.answers))-1](r)
}

func same(Request) (*Received, error) { return nil, ErrNotModified }

func fail(err error) func(Request) (*Received, error) {
	return func(Request) (*Received, error) { return nil, err }
}

func give(etag string) func(Request) (*Received, error) {
	return func(r Request) (*Received, error) {
		if r.Last == etag {
			return nil, ErrNotModified
		}
		return &Received{ETag: etag, Raw: &bundle.Raw{}}, nil
	}
}

func middle() float64 { return 0.5 } // no jitter

var pace = Pace{Interval: 30 * time.Second, Backoff: 5 * time.Minute, Gap: time.Second}

// run polls for a while in a bubble of its own.
func run(t *testing.T, s *script, c Config, d time.Duration, during func(*Poller)) *Poller {
	t.Helper()
	s.start = time.Now()
	c.From, c.Pace = s, pace
	if c.Rand == nil {
		c.Rand = middle
	}
	if c.Handle == nil {
		c.Handle = func(context.Context, *Received) error { return nil }
	}
	p := NewPoller(c)
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	done := make(chan struct{})
	go func() { p.Run(ctx); close(done) }()
	if during != nil {
		during(p)
	}
	<-done
	return p
}

func seconds(ds []time.Duration) []int {
	out := make([]int, len(ds))
	for i, d := range ds {
		out[i] = int(d.Seconds())
	}
	return out
}

func equal(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestPollerInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []func(Request) (*Received, error){give("one")}}
		p := run(t, s, Config{}, 100*time.Second, nil)
		if got := seconds(s.at); !equal(got, []int{0, 30, 60, 90}) {
			t.Errorf("polled at %v", got)
		}
		if s.lasts[0] != "" || s.lasts[1] != "one" {
			t.Errorf("asked with %q", s.lasts)
		}
		st := p.Status()
		if st.ETag != "one" || st.Err != nil || !st.LastDownload.Equal(s.start) || !st.LastAccepted.Equal(s.start) ||
			!st.LastAnswer.Equal(s.start.Add(90*time.Second)) || !st.LastRequest.Equal(st.LastAnswer) || !st.Next.Equal(s.start.Add(120*time.Second)) {
			t.Errorf("status %+v", st)
		}
	})
}

func TestPollerJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for r, want := range map[float64]int{0: 24, 0.5: 30, 0.999999: 35} {
			s := &script{answers: []func(Request) (*Received, error){same}}
			run(t, s, Config{Rand: func() float64 { return r }}, 40*time.Second, nil)
			if got := seconds(s.at); !equal(got, []int{0, want}) {
				t.Errorf("with %v polled at %v", r, got)
			}
		}
	})
}

func TestPollerBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := fail(errors.New("connection refused"))
		s := &script{answers: []func(Request) (*Received, error){down, down, down, down, down, down, same}}
		p := run(t, s, Config{}, 1190*time.Second, func(p *Poller) {
			time.Sleep(100 * time.Second)
			st := p.Status()
			if st.Failures != 3 || st.Stage != StageFetch || !st.Since.Equal(s.start) || !strings.Contains(st.Err.Error(), "fetch bundle: connection refused") {
				t.Errorf("status %+v", st)
			}
		})
		// 30, 60, 120, 240, then 300 at most; back to 30 once it answers
		if got := seconds(s.at); !equal(got, []int{0, 30, 90, 210, 450, 750, 1050, 1080, 1110, 1140, 1170}) {
			t.Errorf("polled at %v", got)
		}
		if st := p.Status(); st.Err != nil || st.Failures != 0 || !st.Since.IsZero() {
			t.Errorf("status %+v", st)
		}
	})
}

// TestPollerKeepsItsPace while the source is well and only its content is not: the next publication mends it.
func TestPollerKeepsItsPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			err   error
			stage Stage
		}{
			{bundle.Refuse(bundle.ChannelExpired, "it expired"), StageVerify},
			{fmt.Errorf("channel-prod: %w", ErrNotFound), StageFetch},
		} {
			s := &script{answers: []func(Request) (*Received, error){fail(c.err)}}
			p := run(t, s, Config{}, 100*time.Second, nil)
			if got := seconds(s.at); !equal(got, []int{0, 30, 60, 90}) {
				t.Errorf("%v: polled at %v", c.err, got)
			}
			if st := p.Status(); st.Stage != c.stage || st.Failures != 4 {
				t.Errorf("%v: status %+v", c.err, st)
			}
		}
	})
}

func TestPollerRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := fail(&depot.Unavailable{After: 10 * time.Minute, Err: errors.New("busy")})
		s := &script{answers: []func(Request) (*Received, error){busy, same}}
		run(t, s, Config{}, 700*time.Second, func(p *Poller) {
			time.Sleep(time.Minute)
			p.Poke() // a hint does not overrule the server
		})
		if got := seconds(s.at); !equal(got, []int{0, 600, 630, 660, 690}) {
			t.Errorf("polled at %v", got)
		}
	})
}

func TestPollerPoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []func(Request) (*Received, error){same}}
		run(t, s, Config{}, 50*time.Second, func(p *Poller) {
			time.Sleep(10 * time.Second)
			for range 1000 { // a storm is one poll now and one after the gap
				p.Poke()
			}
			synctest.Wait()
			for range 1000 {
				p.Poke()
			}
		})
		if got := seconds(s.at); !equal(got, []int{0, 10, 11, 41}) {
			t.Errorf("polled at %v", got)
		}
	})
}

// TestPollerOffersAgain: a candidate that failed is not marked as seen.
func TestPollerOffersAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []func(Request) (*Received, error){give("good"), give("bad"), give("bad"), give("good"), give("next")}}
		var took []string
		p := run(t, s, Config{Last: "old", Handle: func(_ context.Context, r *Received) error {
			took = append(took, r.ETag)
			if r.ETag == "bad" {
				return errors.New("two routes tie")
			}
			return nil
		}}, 110*time.Second, func(p *Poller) {
			time.Sleep(70 * time.Second)
			st := p.Status()
			if st.Stage != StageHandle || st.ETag != "good" || st.Failures != 2 || st.Err.Error() != "handle bundle: two routes tie" {
				t.Errorf("status %+v", st)
			}
		})
		if got := strings.Join(s.lasts, " "); got != "old good good good" {
			t.Errorf("asked with %q", got)
		}
		if got := strings.Join(took, " "); got != "good bad bad" {
			t.Errorf("handled %q", got)
		}
		if st := p.Status(); st.Err != nil || st.Failures != 0 {
			t.Errorf("the source went back, and the error stayed: %+v", st)
		}
	})
}

func TestPollerStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := func(ctx context.Context) func(Request) (*Received, error) {
			return func(Request) (*Received, error) { <-ctx.Done(); return nil, ctx.Err() }
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		s := &script{answers: []func(Request) (*Received, error){hang(ctx)}}
		s.start = time.Now()
		reports := 0
		p := NewPoller(Config{From: s, Pace: pace, Report: func(Status) { reports++ }})
		p.Run(ctx)
		if st := p.Status(); st.Err != nil || reports != 0 {
			t.Errorf("stopping was reported as a failure: %+v", st)
		}
	})
}
