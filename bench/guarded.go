package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// What gwrun is told for the policies that need it. Nothing of it outlives the run.
const (
	adminToken = "only-for-a-benchmark-on-loopback-0"
	pepper     = "only-for-a-benchmark-on-loopback-1"
)

// guarded is a gwrun under measurement with what it needs.
type guarded struct {
	*subject
	has   protection
	admin string
	redis *redisServer // nil: none
	log   string       // file of the access log; empty: none
	spans []span       // one for each time it was under load
	alone int          // requests that were judged without Redis, as it did not answer in time
}

// span is what happened while it was under load once.
type span struct {
	answered int   // requests
	late     int   // requests that were answered 503
	asked    asked // what they needed of Redis
}

// protect starts gwrun with one protected route.
func (g *gateway) protect(ctx context.Context, p protection, number int) (_ *guarded, err error) {
	name := fmt.Sprintf("policies-%d", number)
	s := &guarded{has: p, subject: &subject{name: p.name, host: "plain.example.com"}}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	for _, address := range []*string{&s.addr, &s.admin} {
		if *address, err = freeAddress(); err != nil {
			return nil, err
		}
	}
	if err := g.commit(ctx, name, g.protected(p, p.policy)); err != nil {
		return nil, err
	}
	if err := g.apply(ctx, name, name+"-live"); err != nil {
		return nil, err
	}
	args := []string{"--listen", s.addr}
	if p.shadow > 0 {
		args = append(args, "--sync", "dry-run")
	}
	switch p.state {
	case inRedis:
		if s.redis, err = startRedis(ctx, g.dir); err != nil {
			return nil, err
		}
		args = append(args, "--redis", "redis://"+s.redis.addr)
	case inMemory:
		args = append(args, "--redis", inMemory)
	}
	cmd := g.command(ctx, name+"-live", s.admin, args...)
	cmd.Env = append(os.Environ(), "GWRUN_ADMIN_TOKEN="+adminToken, "GWRUN_API_KEY_PEPPER="+pepper)
	if p.logged {
		s.log = g.path(name + ".log")
		f, err := os.Create(s.log)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }() // the child has its own
		cmd.Stdout = f
	}
	if err := s.begin(ctx, cmd); err != nil || p.shadow == 0 {
		return s, err
	}
	if err := g.commit(ctx, name, g.protected(p, p.candidate)); err != nil {
		return s, err
	}
	if err := g.apply(ctx, name, name+"-live"); err != nil {
		return s, err
	}
	return s, s.process.wait(ctx, time.Minute, func() bool {
		status, err := s.order(ctx, http.MethodGet, "/admin/status", "")
		return err == nil && bytes.Contains(status, []byte(`"dryRun":`))
	})
}

// protected is a configuration with one route for everything.
func (g *gateway) protected(p protection, policy []string) map[string]string {
	const version = "apiVersion: gateway.suuupra.dev/v1\n"
	route := bytes.NewBufferString(version + `routes:
  - id: all
    matcher: { path: /* }
    target: { type: http, upstream: all }
    policy:
      timeout: 10s
`)
	for _, line := range policy {
		fmt.Fprintf(route, "      %s\n", line)
	}
	rules := ""
	if p.shadow > 0 { // callers are told apart by what the proxy in front says
		rules = fmt.Sprintf("  trustedProxies: [127.0.0.0/8]\n  gitops: { dryRun: { percent: %d, minRequests: 1000000000 } }\n", p.shadow)
	}
	return map[string]string{
		"gateway.yaml":    fmt.Sprintf("%sgateway:\n  name: bench\n  admin: { apiEnabled: true }\n  accessLog: { enabled: %t }\n%s", version, p.logged, rules),
		"routes/all.yaml": route.String(),
		"upstreams/all.yaml": fmt.Sprintf("%supstreams:\n  - id: all\n    targets: [{ url: %q }]\n    maxConnections: 65536\n", version,
			"http://"+g.upstream),
		"environments/prod/prod.yaml": version,
	}
}

// begin starts gwrun, makes the requests, and waits until they are served.
func (s *guarded) begin(ctx context.Context, cmd *exec.Cmd) error {
	var err error
	if s.process, err = launch(s.name, cmd); err != nil {
		return err
	}
	// Its admin API is there once a configuration is, and may order API keys.
	health := get(s.admin, "/admin/health")
	if err := s.process.wait(ctx, time.Minute, func() bool { return ask(s.admin, health) }); err != nil {
		return fmt.Errorf("%w; its admin API answers: %s", err, answer(s.admin, health))
	}
	if s.requests, err = s.prepare(ctx, callers); err != nil {
		return err
	}
	if err := s.ready(ctx); err != nil {
		return err
	}
	for _, r := range s.requests { // what is kept of each is there from now on
		if err := s.process.wait(ctx, 10*time.Second, func() bool { return ask(s.addr, r) }); err != nil {
			return fmt.Errorf("%w; a request is answered: %s", err, answer(s.addr, r))
		}
	}
	return nil
}

// prepare makes n requests.
func (s *guarded) prepare(ctx context.Context, n int) ([][]byte, error) {
	fields, err := s.has.fields(ctx, s, n)
	if err != nil {
		return nil, err
	}
	out := make([][]byte, n)
	for i, f := range fields {
		out[i] = get(s.host, "/", f)
	}
	return out, nil
}

func (s *guarded) stop() {
	if s.process != nil {
		s.process.stop()
	}
	if s.redis != nil {
		s.redis.stop()
	}
}

// most is more requests a second than a gateway answers that verifies a token for each, on any machine this ran on.
const most = 25_000

// tolerated is of how many requests one may be answered 503 because Redis took too long: where the load, both servers and Redis share
// few cores, somebody waits for more than 20 ms now and then. The row says how many did.
const tolerated = 500

// run loads gwrun for a while and notes what Redis did meanwhile.
func (s *guarded) run(ctx context.Context, w time.Duration) (result, error) {
	l := load{addr: s.addr, requests: s.requests, connections: connections, duration: w, once: s.has.fresh}
	if s.has.fresh {
		var err error
		if l.requests, err = s.prepare(ctx, int(w.Seconds()*most)); err != nil {
			return result{}, err
		}
	}
	if s.redis == nil {
		r := l.run(ctx)
		s.spans = append(s.spans, span{answered: r.answered})
		return r, nil
	}
	before, err := s.redis.asked()
	if err != nil {
		return result{}, err
	}
	r := l.run(ctx)
	after, err := s.redis.asked()
	if err != nil {
		return result{}, err
	}
	late := 0
	if strings.Contains(r.firstFail, " 503 ") && r.failed <= r.answered/tolerated {
		late, r.failed = r.failed, 0
	}
	s.spans = append(s.spans, span{r.answered, late, after.since(before)})
	return r, nil
}

// behind says what Redis did for each request, the round that warms up left out.
func (s *guarded) behind() string {
	if s.redis == nil || len(s.spans) < 2 {
		return ""
	}
	sum, all := total(s.spans[1:]), total(s.spans)
	per := func(n int) float64 { return float64(n) / float64(sum.answered) }
	text := fmt.Sprintf("; of Redis %.3f round trips, %.3f scripts, %s CPU", per(sum.asked.trips), per(sum.asked.scripts),
		microseconds(sum.asked.cpu/time.Duration(sum.answered)))
	if unheard := s.alone + all.late; unheard > 0 {
		text += fmt.Sprintf("; it did not answer %.2f %% of the requests in time", 100*float64(unheard)/float64(all.answered+all.late))
	}
	return text
}

func total(spans []span) span {
	var sum span
	for _, one := range spans {
		sum.answered += one.answered
		sum.late += one.late
		sum.asked.trips += one.asked.trips
		sum.asked.scripts += one.asked.scripts
		sum.asked.cpu += one.asked.cpu
	}
	return sum
}

// order makes a request to gwrun's own paths, and returns the body of the answer.
func (s *guarded) order(ctx context.Context, method, path, body string) ([]byte, error) {
	what := method + " " + path
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.admin+path, strings.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("answered %s: %s", resp.Status, text)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return text, nil
}

// finish reads what gwrun has to say at the end, and stops it.
func (s *guarded) finish(ctx context.Context) error {
	defer s.stop()
	if s.redis != nil {
		text, err := s.order(ctx, http.MethodGet, "/metrics", "")
		if err != nil {
			return err
		}
		s.alone = sumOf(string(text), "gw_ratelimit_state_errors_total")
	}
	s.stop() // what waits for the access log is written
	return s.complete()
}

// sumOf adds up the series of a metric, in the text format of Prometheus.
func sumOf(text, metric string) int {
	sum := 0.0
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, metric+"{") {
			n, _ := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
			sum += n
		}
	}
	return int(sum)
}

// complete checks, once gwrun has ended, that its log has a line for each request that was answered under load.
func (s *guarded) complete() error {
	if s.log == "" {
		return nil
	}
	f, err := os.Open(s.log)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	lines, buf := 0, make([]byte, 64<<10)
	for {
		n, err := f.Read(buf)
		lines += bytes.Count(buf[:n], []byte{'\n'})
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read access log: %w", err)
		}
	}
	if answered := total(s.spans).answered; lines < answered {
		return fmt.Errorf("%s: its access log has %d lines for %d requests: it cost less than it should", s.name, lines, answered)
	}
	return nil
}
