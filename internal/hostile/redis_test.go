package hostile_test

import (
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/admin"
)

// faultInput is what can become of Redis under a gateway that runs.
type faultInput struct {
	name  string
	is    outcome
	begin func(t *testing.T, f *faults)
	end   func(t *testing.T, f *faults)
	reads bool // what is stored can still be read
}

var faultInputs = []faultInput{
	{name: "Redis killed", is: bounded, begin: func(_ *testing.T, f *faults) { f.redis.Stop() }, end: func(_ *testing.T, f *faults) { f.redis.Restart() }},
	{
		name: "Redis hung", is: bounded,
		begin: func(t *testing.T, f *faults) { f.signal(t, syscall.SIGSTOP) }, end: func(t *testing.T, f *faults) { f.signal(t, syscall.SIGCONT) },
	},
	{
		name: "Redis full", is: bounded, reads: true,
		begin: func(_ *testing.T, f *faults) { f.redis.Do("CONFIG", "SET", "maxmemory", "1") },
		end:   func(_ *testing.T, f *faults) { f.redis.Do("CONFIG", "SET", "maxmemory", "0") },
	},
	{
		name: "Redis read-only", is: bounded, reads: true,
		begin: func(_ *testing.T, f *faults) { f.redis.Do("REPLICAOF", "127.0.0.1", "1") },
		end:   func(_ *testing.T, f *faults) { f.redis.Do("REPLICAOF", "NO", "ONE") },
	},
	{
		name: "Redis with its connections cut, again and again", is: bounded,
		begin: func(_ *testing.T, f *faults) { f.redis.Stop() },
		end: func(t *testing.T, f *faults) {
			f.redis.Restart()
			for range 5 {
				f.redis.Do("CLIENT", "KILL", "TYPE", "normal")
				f.asks(t, "closed", rand.Text(), 4)
			}
		},
	},
}

// faultRoutes have limits of five for a day.
const faultRoutes = `routes:
  - id: local
    matcher: { path: /local/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { rateLimit: { tokensPerInterval: 5, intervalMs: 86400000, key: ["header:X-Tenant"], onError: local } }
  - id: open
    matcher: { path: /open/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { rateLimit: { tokensPerInterval: 5, intervalMs: 86400000, key: ["header:X-Tenant"], onError: open } }
  - id: closed
    matcher: { path: /closed/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { rateLimit: { tokensPerInterval: 5, intervalMs: 86400000, key: ["header:X-Tenant"], onError: closed } }
  - id: ahead
    matcher: { path: /ahead/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { rateLimit: { tokensPerInterval: 5, intervalMs: 86400000, key: ["header:X-Tenant"], localPercent: 50, onError: closed } }
  - id: key
    matcher: { path: /key/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { auth: { apiKey: { maxFailuresPerMinute: 100000 } } }
  - id: once
    matcher: { path: /once/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { auth: { jwt: { issuer: "https://identity.example", audience: suuupra-api, jwksUri: "{keys}/keys", replayProtection: true } } }
`

// faults is a site whose Redis fails.
type faults struct {
	*site
	*mint
	pid        int    // of Redis while it is stopped
	key, fresh string // an API key that was used a moment ago, and one that was never
}

func newFaults(t *testing.T, redis string) *faults {
	t.Helper()
	server := newKeyServer(t)
	f := &faults{mint: newMint(t)}
	server.publish("/keys", f.mint.keys(t))
	f.site = startSite(t, plan{redis: redis, files: map[string]string{"routes/faults.yaml": strings.ReplaceAll(faultRoutes, "{keys}", server.URL)}})
	return f
}

// signal sends a signal to Redis.
func (f *faults) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if s != syscall.SIGCONT {
		reply := f.redis.Do("EVAL", "return redis.status_reply(string.match(redis.call('info', 'server'), 'process_id:(%d+)'))", "0")
		pid, err := strconv.Atoi(strings.TrimPrefix(reply, "+"))
		if err != nil {
			t.Fatalf("the process of Redis is %q", reply)
		}
		f.pid = pid
	}
	if err := syscall.Kill(f.pid, s); err != nil {
		t.Fatal(err)
	}
}

// asks asks a route n times as a tenant, and returns the answers. What passed, and nothing else, reached the upstream.
func (f *faults) asks(t *testing.T, route, tenant string, n int) (answers []string) {
	t.Helper()
	a := &attempt{line: "GET /" + route + "/x", fields: []string{"X-Tenant: " + tenant}}
	return f.reach(t, n, func() *attempt { return a })
}

func (f *faults) reach(t *testing.T, n int, attempt func() *attempt) (answers []string) {
	t.Helper()
	before, passed := f.moment(), 0
	for i := range n {
		start := time.Now()
		got := f.ask(t, ways[i%len(ways)], attempt()).status
		if answers = append(answers, got); got == "200" {
			passed++
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%q took %s", got, took)
		}
	}
	if seen, _ := f.guarded.since(t, before.guarded); len(seen) != passed {
		t.Errorf("the upstream saw %d requests, %d passed: %q", len(seen), passed, answers)
	}
	return answers
}

// with asks with an API key.
func (f *faults) with(t *testing.T, key string) string {
	t.Helper()
	return f.reach(t, 1, func() *attempt { return &attempt{line: "GET /key/x", fields: []string{"X-API-Key: " + key}} })[0]
}

// token asks with a token that is good once.
func (f *faults) token(t *testing.T, token string) string {
	t.Helper()
	f.keepToken(token)
	return f.reach(t, 1, func() *attempt {
		return &attempt{line: "GET /once/x", fields: []string{"Authorization: Bearer " + token}}
	})[0]
}

// wants compares answers with how often there should be which.
func wants(t *testing.T, what string, answers []string, want map[string]int) {
	t.Helper()
	got := map[string]int{}
	for _, a := range answers {
		got[a]++
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: answered %v, want %v", what, got, want)
	}
}

// exact is everything while Redis is well.
func (f *faults) exact(t *testing.T) {
	t.Helper()
	for _, route := range []string{"local", "open", "closed", "ahead"} {
		wants(t, route, f.undisturbed(t, func() []string { return f.asks(t, route, rand.Text(), 12) }), map[string]int{"200": 5, limited: 7})
	}
	wants(t, "keys", f.undisturbed(t, func() []string {
		return []string{f.with(t, f.key), f.with(t, f.key[:len(f.key)-1]+"!")}
	}), map[string]int{"200": 1, badKey: 1})
	wants(t, "a token, twice", f.undisturbed(t, func() []string {
		token := f.good()
		return []string{f.token(t, token), f.token(t, token)}
	}), map[string]int{"200": 1, replayed: 1})
}

// makeKeys makes new ones: a Redis that was killed has lost the others.
func (f *faults) makeKeys(t *testing.T) {
	t.Helper()
	f.key, _ = f.create(t, admin.NewKey{Owner: "hostile"})
	f.fresh, _ = f.create(t, admin.NewKey{Owner: "hostile"})
}

// TestFaults takes Redis away, and wants each route to do what it is configured to, and all to be as before when it is back.
func TestFaults(t *testing.T) {
	t.Parallel()
	f := newFaults(t, "")
	f.calm(t)
	f.makeKeys(t)
	t.Run("before", func(t *testing.T) { f.exact(t) })
	for _, in := range faultInputs {
		t.Run(in.name, func(t *testing.T) {
			in.begin(t, f)
			f.without(t, &in)
			in.end(t, f)
			f.calm(t)
			f.makeKeys(t)
			f.exact(t)
		})
	}
	for _, s := range faultStories {
		t.Run(s.name, func(t *testing.T) { s.run(t, f) })
	}
}

var faultStories = []story[*faults]{{name: "Redis hung, again and again", run: flap}}

// calm waits until Redis is asked again, and wants that soon.
func (f *faults) calm(t *testing.T) {
	t.Helper()
	began := time.Now()
	testkit.Eventually(t, "Redis is asked again", func() bool {
		return f.ask(t, ways[0], &attempt{line: "GET /closed/x", fields: []string{"X-Tenant: " + rand.Text()}}).status == "200"
	})
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it was not asked for %s", took)
	}
}

// without is everything while Redis is away.
func (f *faults) without(t *testing.T, in *faultInput) {
	t.Helper()
	if got := f.with(t, f.key); got != "200" && got != keysAway { // its record may be in memory for two seconds
		t.Errorf("a good key: %q", got)
	}
	if got := f.with(t, f.fresh); got != keysAway && (!in.reads || got != "200") {
		t.Errorf("a good key that was never used: %q", got)
	}
	tenant := rand.Text()
	wants(t, "local", f.asks(t, "local", tenant, 12), map[string]int{"200": 5, limited: 7})
	wants(t, "open", f.asks(t, "open", tenant, 12), map[string]int{"200": 12})
	wants(t, "closed", f.asks(t, "closed", tenant, 12), map[string]int{limitAway: 12})
	wants(t, "ahead", f.asks(t, "ahead", tenant, 12), map[string]int{limitAway: 12})
	for range 3 {
		if got := f.token(t, f.good()); got != unchecked {
			t.Errorf("a token that is good once: %q", got)
		}
	}
	wrong := f.key[:len(f.key)-10] + "0123456789"
	if got := f.with(t, wrong); got != badKey {
		t.Errorf("a key with a wrong checksum: %q", got)
	}
	if status, _ := f.manage(t, "POST", "/admin/keys", admin.NewKey{Owner: "hostile"}, nil); status != 503 {
		t.Errorf("a key was made: %d", status)
	}
	if !in.reads { // else changes would still be told, and records are good for longer
		testkit.Eventually(t, "no key is known any more", func() bool { return f.with(t, f.key) == keysAway })
	}
}

// flap has a tenant use up its limit, and hope for another one each time that Redis goes. It gets one, once.
func flap(t *testing.T, f *faults) {
	tenant := ""
	wants(t, "before", f.undisturbed(t, func() []string {
		tenant = rand.Text()
		return f.asks(t, "local", tenant, 8)
	}), map[string]int{"200": 5, limited: 3})
	for i := range 3 {
		f.signal(t, syscall.SIGSTOP)
		want := map[string]int{limited: 8}
		if i == 0 {
			want = map[string]int{"200": 5, limited: 3}
		}
		wants(t, fmt.Sprint("away for the ", i+1, ". time"), f.asks(t, "local", tenant, 8), want)
		f.signal(t, syscall.SIGCONT)
		f.calm(t)
		wants(t, "back", f.asks(t, "local", tenant, 8), map[string]int{limited: 8})
	}
}

// TestFailover kills a master behind Sentinel. What was counted and handed out is still so at the replica.
func TestFailover(t *testing.T) {
	t.Parallel()
	master := testkit.Redis(t)
	host, port, _ := net.SplitHostPort(master.Addr)
	replica := testkit.Redis(t, "--replicaof", host+" "+port, "--repl-diskless-sync-delay", "0")
	const follows = "return redis.status_reply(string.match(redis.call('info', 'replication'), 'master_link_status:(%a+)') or 'none')"
	testkit.Eventually(t, "the replica follows", func() bool { return replica.Do("EVAL", follows, "0") == "+up" })
	sentinel := startSentinel(t, host, port)
	f := newFaults(t, "redis+sentinel://"+sentinel+"/main")
	f.calm(t)
	f.makeKeys(t)
	f.exact(t)
	tenant, token := "", ""
	wants(t, "before", f.undisturbed(t, func() []string {
		tenant, token = rand.Text(), f.good()
		return append(f.asks(t, "closed", tenant, 4), f.token(t, token))
	}), map[string]int{"200": 5})
	testkit.Eventually(t, "the replica has it all", func() bool { return replica.Do("DBSIZE") == master.Do("DBSIZE") })
	master.Stop()
	wants(t, "closed", f.asks(t, "closed", rand.Text(), 4), map[string]int{limitAway: 4})
	wants(t, "open", f.asks(t, "open", rand.Text(), 8), map[string]int{"200": 8})
	testkit.Eventually(t, "the replica is asked", func() bool { return slices.Contains(f.asks(t, "closed", rand.Text(), 1), "200") })
	wants(t, "after", f.undisturbed(t, func() []string { return f.asks(t, "closed", tenant, 4)[1:] }), map[string]int{limited: 3}) // the first had one left
	wants(t, "a token that was used before", f.undisturbed(t, func() []string { return []string{f.token(t, token)} }), map[string]int{replayed: 1})
	f.exact(t)
}

func startSentinel(t *testing.T, host, port string) (addr string) {
	t.Helper()
	addr = testkit.FreePort(t)
	_, own, _ := net.SplitHostPort(addr)
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	lines := fmt.Sprintf("bind 127.0.0.1\nport %s\nsentinel monitor main %s %s 1\nsentinel down-after-milliseconds main 300\nsentinel failover-timeout main 2000\n", own, host, port)
	if err := os.WriteFile(conf, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	testkit.Start(t, testkit.Command{Path: testkit.Program(t, "redis-server"), Args: []string{conf, "--sentinel"}}).WaitLine(`\+slave slave`)
	return addr
}
