package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// systemCalls adds a row with the system calls of a plain request, counted by strace. Tracing makes every server many times
// slower, alike, so that no other figure is taken meanwhile.
func (b *bench) systemCalls(ctx context.Context, s *subject) {
	what := "system calls a request: " + s.name
	progress(what)
	if _, err := exec.LookPath("strace"); err != nil {
		b.kinds = append(b.kinds, unmeasured(what, "", "strace is not installed"))
		return
	}
	counts, answered, err := traced(ctx, b.dir, s)
	if err != nil {
		b.errs = append(b.errs, fmt.Errorf("%s: %w", what, err))
		b.kinds = append(b.kinds, unmeasured(what, "", "see the error below"))
		return
	}
	type count struct {
		name string
		n    int
	}
	var list []count
	total := 0
	for name, n := range counts {
		list = append(list, count{name, n})
		total += n
	}
	slices.SortFunc(list, func(a, b count) int { return cmp.Or(b.n-a.n, strings.Compare(a.name, b.name)) })
	per := func(n int) float64 { return float64(n) / float64(answered) }
	var top []string
	for _, c := range list[:min(5, len(list))] {
		top = append(top, fmt.Sprintf("%s %.2f", c.name, per(c.n)))
	}
	b.kinds = append(b.kinds, row{what: what, value: fmt.Sprintf("%.2f (%s)", per(total), strings.Join(top, ", "))})
}

// traced loads the subject under strace, and returns how often each system call was made and how many requests were answered.
func traced(ctx context.Context, dir string, s *subject) (map[string]int, int, error) {
	family, err := s.process.family()
	if err != nil {
		return nil, 0, err
	}
	out := filepath.Join(dir, "strace.out")
	args := []string{"-f", "-c", "-U", "calls,name", "-o", out}
	for pid := range family {
		args = append(args, "-p", strconv.Itoa(pid))
	}
	tracer, err := start(ctx, "strace", "strace", args...)
	if err != nil {
		return nil, 0, err
	}
	// It says which processes it has attached to; from the last one on everything is counted.
	err = tracer.wait(ctx, 10*time.Second, func() bool { return strings.Count(tracer.out.String(), "attached") >= len(family) })
	if err != nil {
		tracer.stop()
		return nil, 0, err
	}
	r := load{addr: s.addr, requests: s.requests, connections: connections, duration: 2 * time.Second}.run(ctx)
	tracer.stop()
	if r.answered == 0 {
		return nil, 0, errors.New("nothing was answered: " + r.firstFail)
	}
	counts, err := parseCounts(out)
	return counts, r.answered, err
}

// parseCounts reads the two columns of strace's summary.
func parseCounts(path string) (map[string]int, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	counts := map[string]int{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) != 2 || fields[1] == "total" {
			continue
		}
		if n, err := strconv.Atoi(fields[0]); err == nil {
			counts[fields[1]] += n
		}
	}
	if len(counts) == 0 {
		return nil, errors.New("strace has counted nothing")
	}
	return counts, nil
}
