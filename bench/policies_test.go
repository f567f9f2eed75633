package main

import (
	"bufio"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
)

func TestLoadOnce(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	addr := listen(t, func(c net.Conn) {
		for in := bufio.NewReader(c); ; {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			mu.Lock()
			seen[r.URL.Path]++
			mu.Unlock()
			if _, err := c.Write(reply); err != nil {
				return
			}
		}
	})
	l := load{addr: addr, connections: 3, duration: time.Minute, once: true}
	for _, path := range []string{"/0", "/1", "/2", "/3", "/4", "/5", "/6"} {
		l.requests = append(l.requests, get("a.example.com", path))
	}
	r := l.run(t.Context())
	if r.answered != 7 || r.failed != 0 || r.elapsed >= time.Minute {
		t.Errorf("%d answered, %d failed, in %s", r.answered, r.failed, r.elapsed)
	}
	mu.Lock()
	defer mu.Unlock()
	for path, n := range seen {
		if n != 1 {
			t.Errorf("%s was sent %d times", path, n)
		}
	}
}

func TestGet(t *testing.T) {
	want := "GET /x HTTP/1.1\r\nHost: a\r\nUser-Agent: bench\r\nAccept: */*\r\nX-Caller: 7\r\n\r\n"
	if got := string(get("a", "/x", "X-Caller: 7")); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestBearersDiffer(t *testing.T) {
	i, err := newIssuer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.close)
	seen := map[string]bool{}
	for range 2 {
		fields, err := i.bearers(t.Context(), nil, 50)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range fields {
			if !strings.HasPrefix(f, "Authorization: Bearer ") || strings.Count(f, ".") != 2 {
				t.Fatalf("%q is no bearer token", f)
			}
			seen[f[:strings.LastIndexByte(f, '.')]] = true // without the signature, which would differ anyway
		}
	}
	if len(seen) != 100 {
		t.Errorf("%d different tokens of 100", len(seen))
	}
}

func TestRedisIsCounted(t *testing.T) {
	testkit.Program(t, "redis-server")
	r, err := startRedis(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.stop)
	before, err := r.asked()
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	in := bufio.NewReader(c)
	for _, command := range []string{
		"PING\r\n",
		"EVAL \"redis.call('TIME') return 1\" 0\r\n",
		"PING\r\nPING\r\n", // on one trip
	} {
		if _, err := c.Write([]byte(command)); err != nil {
			t.Fatal(err)
		}
		for range strings.Count(command, "\n") {
			if _, err := in.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
	}
	after, err := r.asked()
	if err != nil {
		t.Fatal(err)
	}
	if got := after.since(before); got.trips != 3 || got.scripts != 1 || got.cpu < 0 {
		t.Errorf("%+v, want 3 trips and 1 script", got)
	}
}

func TestAskedIsParsed(t *testing.T) {
	for name, test := range map[string]struct {
		info string
		want asked
		err  string
	}{
		"both sections": {
			"# Stats\r\ntotal_reads_processed:12\r\n# Commandstats\r\ncmdstat_get:calls=9,usec=1\r\ncmdstat_evalsha:calls=3,usec=48,usec_per_call=16.00\r\ncmdstat_eval:calls=1,usec=5\r\n",
			asked{trips: 12, scripts: 4},
			"",
		},
		"no scripts":        {"total_reads_processed:2\r\n", asked{trips: 2}, ""},
		"before version 6":  {"cmdstat_evalsha:calls=3,usec=48\r\n", asked{}, "redis-server does not say how often it was asked; version 6 or later does"},
		"no number":         {"total_reads_processed:many\r\n", asked{}, `redis-server: total_reads_processed is "many"`},
		"no number of eval": {"total_reads_processed:2\r\ncmdstat_eval:usec=5\r\n", asked{}, `redis-server: cmdstat_eval is "usec=5"`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseAsked(test.info)
			if test.err != "" {
				if err == nil || err.Error() != test.err {
					t.Errorf("error %v, want %s", err, test.err)
				}
				return
			}
			if err != nil || got != test.want {
				t.Errorf("%+v, %v, want %+v", got, err, test.want)
			}
		})
	}
}

func TestSumOf(t *testing.T) {
	text := "# HELP gw_x_total What.\ngw_x_total{route=\"a } b\"} 3\ngw_x_total{route=\"c\"} 1e+2\ngw_x_total_more{route=\"a\"} 7\n"
	if got := sumOf(text, "gw_x_total"); got != 103 {
		t.Errorf("sum %d, want 103", got)
	}
}

func TestPolicyRow(t *testing.T) {
	nginx := []sample{{cpu: 10 * time.Microsecond}}
	got := []sample{{cpu: 21 * time.Microsecond, rate: 1000, p50: time.Millisecond, p99: 2 * time.Millisecond, rss: 1 << 20}}
	const took = "21.0 µs CPU a request, 1000/s, p50 1000.0 µs, p99 2000.0 µs, 1 MiB"
	warm := span{answered: 100, asked: asked{trips: 900, scripts: 900}}
	for name, test := range map[string]struct {
		s          guarded
		got, nginx []sample
		want       row
	}{
		"no budget":   {guarded{}, got, nginx, row{what: "x", value: took, ratio: "2.10 x nginx"}},
		"missed":      {guarded{has: protection{budget: 2}}, got, nginx, row{what: "x", value: took, ratio: "2.10 x nginx", budget: "<= 2.0 x nginx", verdict: "missed"}},
		"met":         {guarded{has: protection{budget: 2.2}}, got, nginx, row{what: "x", value: took, ratio: "2.10 x nginx", budget: "<= 2.2 x nginx", verdict: "met"}},
		"no nginx":    {guarded{has: protection{budget: 2}}, got, nil, row{what: "x", value: took, budget: "<= 2.0 x nginx"}},
		"no samples":  {guarded{has: protection{budget: 2}}, nil, nginx, row{what: "x", value: "not measured: see the error below", budget: "<= 2.0 x nginx", verdict: "-"}},
		"Redis":       {guarded{redis: &redisServer{}, spans: []span{warm, {answered: 1000, asked: asked{1001, 1000, 5 * time.Millisecond}}}}, got, nginx, row{what: "x", value: took + "; of Redis 1.001 round trips, 1.000 scripts, 5.0 µs CPU", ratio: "2.10 x nginx"}},
		"Redis, late": {guarded{redis: &redisServer{}, alone: 10, spans: []span{warm, {answered: 899, late: 1, asked: asked{trips: 899}}}}, got, nginx, row{what: "x", value: took + "; of Redis 1.000 round trips, 0.000 scripts, 0.0 µs CPU; it did not answer 1.10 % of the requests in time", ratio: "2.10 x nginx"}},
	} {
		t.Run(name, func(t *testing.T) {
			test.s.subject = &subject{name: "x"}
			if r := test.s.row(test.got, test.nginx); r != test.want {
				t.Errorf("got  %+v\nwant %+v", r, test.want)
			}
		})
	}
}

func TestLogMustBeComplete(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("one\ntwo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &guarded{subject: &subject{name: "x"}, log: path, spans: []span{{answered: 1}, {answered: 1}}}
	if err := s.complete(); err != nil {
		t.Error(err)
	}
	s.spans = append(s.spans, span{answered: 1})
	if err, want := s.complete(), "x: its access log has 2 lines for 3 requests: it cost less than it should"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// TestProtections runs the product under each set of policies: what is measured must be in force, and all of it be let through.
func TestProtections(t *testing.T) {
	testkit.Program(t, "redis-server")
	g := &gateway{dir: t.TempDir(), gwctl: testkit.Binary(t, "gwctl"), gwrun: testkit.Binary(t, "gwrun"), upstream: fixed(t)}
	if _, err := g.ctl(t.Context(), "keygen", "--out", g.path("keys")); err != nil {
		t.Fatal(err)
	}
	i, err := newIssuer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.close)
	for number, p := range protections(i) {
		t.Run(p.name, func(t *testing.T) {
			s, err := g.protect(t.Context(), p, number)
			if err != nil {
				t.Fatal(err)
			}
			defer s.stop()
			for _, r := range s.requests[:10] {
				if !ask(s.addr, r) {
					t.Fatalf("a request is answered %s", answer(s.addr, r))
				}
			}
			bare, credentials := answer(s.addr, get(s.host, "/")), strings.Contains(strings.Join(p.policy, " "), "auth:")
			if refused := bare == "answered HTTP/1.1 401 Unauthorized"; refused != credentials {
				t.Errorf("a request without anything is answered %s", bare)
			}
			r, err := s.run(t.Context(), 200*time.Millisecond)
			if err != nil || r.answered == 0 || r.failed > 0 {
				t.Errorf("%d answered, %d failed, first %q, %v", r.answered, r.failed, r.firstFail, err)
			}
			if err := s.finish(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}
