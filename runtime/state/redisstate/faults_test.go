package redisstate

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/policy"
)

// slack is what a machine that does much else may add to a budget.
const slack = 2 * time.Second

// take asks for a token, and wants an answer in time.
func take(tb testing.TB, c *Client) error {
	tb.Helper()
	start := time.Now()
	_, err := c.Take(tb.Context(), one("a", 1000, 1))
	if took := time.Since(start); took > c.budget+slack {
		tb.Errorf("it took %s, of %s", took, c.budget)
	}
	return err
}

// untilPaused takes until nothing is asked any more, and wants that soon.
func untilPaused(tb testing.TB, c *Client) {
	tb.Helper()
	for range 4 * failuresToOpen {
		if err := take(tb, c); errors.Is(err, errPaused) {
			return
		} else if err != nil && !errors.Is(err, policy.ErrStateAway) {
			tb.Errorf("no ErrStateAway: %v", err)
		}
	}
	tb.Errorf("it is still asked after %d tries", 4*failuresToOpen)
}

func TestKilledAndRestarted(t *testing.T) {
	server := testkit.Redis(t)
	c := newRig(t, server.URL, Options{Budget: generous}).calm(t)
	server.Stop()
	untilPaused(t, c.Client)
	calls := c.counts.Of("gw_state_calls_total{call=take}")
	for range 100 {
		if err := take(t, c.Client); !errors.Is(err, policy.ErrStateAway) {
			t.Errorf("while it is away: %v", err)
		}
	}
	if got := c.counts.Of("gw_state_calls_total{call=take}"); got != calls {
		t.Errorf("%g calls were made while it is away", got-calls)
	}
	if s := c.Status(); s.Up || s.LastError == "" || s.LastErrorAt.IsZero() || c.counts.Of("gw_state_up{}") != 0 {
		t.Errorf("status %+v", s)
	}
	if c.counts.Of("gw_state_errors_total{reason=paused}") < 100 || c.counts.Of("gw_state_errors_total{reason=refused}") == 0 {
		t.Errorf("counted %q", c.counts.All())
	}
	server.Restart()
	testkit.Eventually(t, "it is used again", func() bool { return take(t, c.Client) == nil })
	if s := c.Status(); !s.Up || c.counts.Of("gw_state_up{}") != 1 {
		t.Errorf("status %+v", s)
	}
	if got, err := c.Take(t.Context(), one("new", 10, 1)); err != nil || got[0].Remaining != 9 {
		t.Errorf("the empty server: %+v, %v", got, err)
	}
	log := c.log.String()
	if strings.Count(log, "the shared state is away") != 1 || strings.Count(log, "the shared state is there") != 2 {
		t.Errorf("logged:\n%s", log)
	}
}

func TestHung(t *testing.T) {
	server := testkit.Redis(t)
	c := newRig(t, server.URL, Options{Budget: 100 * time.Millisecond}).calm(t)
	resume := hang(t, server.URL)
	t.Cleanup(resume)
	err := take(t, c.Client)
	if away := (*awayError)(nil); !errors.As(err, &away) || away.why != reasonTimeout {
		t.Errorf("no timeout: %v", err)
	}
	untilPaused(t, c.Client)
	var wg sync.WaitGroup
	start := time.Now()
	for range 64 {
		wg.Go(func() { _, _ = c.Take(context.Background(), one("a", 10, 1)) })
	}
	if wg.Wait(); time.Since(start) > slack {
		t.Errorf("many waited for %s", time.Since(start))
	}
	resume()
	testkit.Eventually(t, "it is used again", func() bool { return take(t, c.Client) == nil })
}

// TestManyMeetAHungServer lets more ask than there are connections: to wait for one is within the budget too.
func TestManyMeetAHungServer(t *testing.T) {
	server := testkit.Redis(t)
	c := newRig(t, server.URL+"?poolSize=2", Options{}).calm(t)
	t.Cleanup(hang(t, server.URL))
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			if err := take(t, c.Client); !errors.Is(err, policy.ErrStateAway) {
				t.Errorf("no ErrStateAway: %v", err)
			}
		})
	}
	wg.Wait()
	if !c.breaker.open.Load() {
		t.Error("it is still asked")
	}
}

// TestLeaver asks for a client that leaves: that says nothing about Redis.
func TestLeaver(t *testing.T) {
	server := testkit.Redis(t)
	c := newRig(t, server.URL, Options{Budget: generous}).calm(t)
	t.Cleanup(hang(t, server.URL))
	ctx, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	for range 2 * failuresToOpen {
		_, err := c.Take(ctx, one("a", 1, 1))
		if !errors.Is(err, policy.ErrStateAway) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%v", err)
		}
	}
	if c.breaker.failures.Load() != 0 || c.breaker.open.Load() {
		t.Error("it was counted against Redis")
	}
}

// TestServersThatCannot are up, and of no use.
func TestServersThatCannot(t *testing.T) {
	master := testkit.Redis(t)
	host, port, _ := net.SplitHostPort(master.Addr)
	for _, tt := range []struct {
		name string
		args []string
		set  []string // once it runs
		user string
		why  reason
		want string
	}{
		{"full", []string{"--maxmemory", "1mb", "--maxmemory-policy", "noeviction"}, nil, "", reasonOOM, "OOM command not allowed when used memory > 'maxmemory'."},
		{"replica", []string{"--replicaof", host + " " + port}, nil, "", reasonReadonly, "READONLY You can't write against a read only replica."},
		{"no password", nil, []string{"CONFIG", "SET", "requirepass", "s3cret"}, "", reasonAuth, "NOAUTH Authentication required."},
		{"wrong password", nil, []string{"CONFIG", "SET", "requirepass", "s3cret"}, ":wr0ng@", reasonAuth, "WRONGPASS invalid username-password pair or user is disabled."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := testkit.Redis(t, tt.args...)
			if tt.set != nil {
				server.Do(tt.set...)
			}
			c := newRig(t, "redis://"+tt.user+server.Addr, Options{Budget: generous})
			err := take(t, c.Client)
			away := (*awayError)(nil)
			if !errors.As(err, &away) || away.why != tt.why || !strings.Contains(err.Error(), "the shared state is not available: ") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v; want %s, %s", err, tt.why, tt.want)
			}
			untilPaused(t, c.Client)
			if s := c.Status(); s.Up || !strings.Contains(s.LastError, tt.want) {
				t.Errorf("status %+v", s)
			}
			if said := c.log.String() + fmt.Sprint(err, c.Status(), c.Client); strings.Contains(said, "wr0ng") || strings.Contains(said, "s3cret") {
				t.Errorf("it tells the password: %s", said)
			}
		})
	}
}

func TestRightPassword(t *testing.T) {
	server := testkit.Redis(t)
	server.Do("ACL", "SETUSER", "gw", "on", ">p@ss", "+@all", "~gw:*", "&gw:keys:changed")
	server.Do("CONFIG", "SET", "requirepass", "s3/cret")
	for _, user := range []string{":s3%2Fcret@", "gw:p%40ss@"} {
		c := newRig(t, "redis://"+user+server.Addr+"/1", Options{Budget: generous}).calm(t)
		if err := take(t, c.Client); err != nil {
			t.Errorf("%s: %v", user, err)
		}
		if got, want := c.String(), "redis standalone "+server.Addr; got != want {
			t.Errorf("it is %s, want %s", got, want)
		}
	}
}

// TestAccessList gives the user of the package comment's commands and keys, and no more.
func TestAccessList(t *testing.T) {
	server := testkit.Redis(t)
	rules := []string{"ACL", "SETUSER", "gw", "on", ">pass", "~gw:*", "&gw:keys:changed"}
	for command := range strings.FieldsSeq("eval evalsha get set hget hmget hset time zadd zcard zrangebylex zrem zremrangebyscore pexpire hdel hlen hgetall pttl publish subscribe ping") {
		rules = append(rules, "+"+command)
	}
	if got := server.Do(rules...); got != "+OK" {
		t.Fatal(got)
	}
	c := newRig(t, "redis://gw:pass@"+server.Addr, Options{Budget: generous}).calm(t)
	if err := take(t, c.Client); err != nil {
		t.Error(err)
	}
	if _, err := c.First(t.Context(), "x", time.Minute); err != nil {
		t.Error(err)
	}
	if err := c.PutKey(t.Context(), record("k")); err != nil {
		t.Error(err)
	}
	if _, err := c.UpdateKey(t.Context(), "k", func(*policy.KeyRecord) error { return nil }); err != nil {
		t.Error(err)
	}
	if _, _, err := c.Keys(t.Context(), "", 0); err != nil {
		t.Error(err)
	}
	c.KeyUsed("k", time.Now())
	c.flushUsage(t.Context())
	if r, err := c.StoredKey(t.Context(), "k"); err != nil || r.LastUsed.IsZero() {
		t.Errorf("%+v, %v", r, err)
	}
	if log := c.log.String(); strings.Contains(log, "refused") {
		t.Errorf("logged:\n%s", log)
	}
}

// TestAnswersThatAreNoOutage come from a server that is well: the next call may succeed.
func TestAnswersThatAreNoOutage(t *testing.T) {
	server := testkit.Redis(t)
	c, db := newRig(t, server.URL, Options{Budget: generous}).calm(t), direct(t, server.URL)
	if err := db.LPush(t.Context(), c.key('b', "a"), "x").Err(); err != nil {
		t.Fatal(err)
	}
	for range 2 * failuresToOpen {
		_, err := c.Take(t.Context(), one("a", 1, 1))
		if !errors.Is(err, policy.ErrStateAway) || !strings.Contains(err.Error(), "WRONGTYPE") {
			t.Errorf("%v", err)
		}
	}
	if _, err := c.Take(t.Context(), one("b", 1, 1)); err != nil {
		t.Errorf("another bucket: %v", err)
	}
	if n := strings.Count(c.log.String(), "the shared state refused a call"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, c.log)
	}
}

// reply is an error that a server answered.
type reply string

func (r reply) Error() string { return string(r) }
func (reply) RedisError()     {}

func TestClassify(t *testing.T) {
	for _, tt := range []struct {
		err  error
		why  reason
		away bool
	}{
		{context.DeadlineExceeded, reasonTimeout, true},
		{fmt.Errorf("read: %w", os.ErrDeadlineExceeded), reasonTimeout, true},
		{redis.ErrPoolTimeout, reasonTimeout, true},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, reasonRefused, true},
		{&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, reasonRefused, true},
		{io.EOF, reasonRefused, true},
		{errors.New("tls: bad certificate"), reasonOther, true},
		{reply("NOAUTH Authentication required."), reasonAuth, true},
		{fmt.Errorf("failed to authenticate: %w", reply("WRONGPASS invalid username-password pair")), reasonAuth, true},
		{reply("ERR invalid password"), reasonAuth, true},
		{reply("READONLY You can't write against a read only replica."), reasonReadonly, true},
		{reply("ERR Error running script (call to f_1): @user_script:3: @user_script: 3: -READONLY You can't write against a read only replica."), reasonReadonly, true},
		{reply("OOM command not allowed when used memory > 'maxmemory'."), reasonOOM, true},
		{reply("ERR Error running script (call to f_1): @user_script:3: @user_script: 3: -OOM command not allowed when used memory > 'maxmemory'."), reasonOOM, true},
		{reply("LOADING Redis is loading the dataset in memory"), reasonLoading, true},
		{reply("MASTERDOWN Link with MASTER is down"), reasonLoading, true},
		{reply("CLUSTERDOWN The cluster is down"), reasonLoading, true},
		{reply("BUSY Redis is busy running a script."), reasonOther, true},
		{reply("MISCONF Redis is configured to save RDB snapshots"), reasonOther, true},
		{reply("ERR max number of clients reached"), reasonOther, true},
		{reply("WRONGTYPE Operation against a key holding the wrong kind of value"), reasonOther, false},
		{reply("NOPERM this user has no permissions"), reasonOther, false},
	} {
		if why, away := classify(tt.err); why != tt.why || away != tt.away {
			t.Errorf("%v: %s, away %t; want %s, %t", tt.err, why, away, tt.why, tt.away)
		}
	}
}

// TestServerThatQuotes is one that does not know a command and quotes its arguments, as Redis does, among them the password.
func TestServerThatQuotes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				for r := bufio.NewReader(conn); ; {
					if line, err := r.ReadString('\n'); err != nil {
						return
					} else if strings.HasPrefix(line, "*") {
						_, _ = io.WriteString(conn, "-ERR unknown command 'AUTH', with args beginning with: 'gw' 'Tr0ub4dor' \r\n")
					}
				}
			}()
		}
	}()
	c := newRig(t, "redis://gw:Tr0ub4dor@"+l.Addr().String(), Options{Budget: generous})
	err = take(t, c.Client)
	if !errors.Is(err, policy.ErrStateAway) || !strings.Contains(err.Error(), "with args beginning with: 'gw' '[redacted]'") {
		t.Errorf("%v", err)
	}
	if said := c.log.String() + fmt.Sprint(c.Status()); strings.Contains(said, "Tr0ub4dor") || !strings.Contains(said, "[redacted]") {
		t.Errorf("it says %s", said)
	}
}

func TestTLS(t *testing.T) {
	dir, authority := t.TempDir(), testkit.NewAuthority(t)
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cert, key := authority.Issue(t, testkit.Leaf{Names: []string{"127.0.0.1"}})
	_, port, _ := net.SplitHostPort(testkit.FreePort(t))
	testkit.Redis(t, "--tls-port", port, "--tls-cert-file", write("cert.pem", cert), "--tls-key-file", write("key.pem", key),
		"--tls-ca-cert-file", write("ca.pem", authority.PEM), "--tls-auth-clients", "no")
	url := "rediss://127.0.0.1:" + port
	good := newRig(t, url+"?ca="+filepath.Join(dir, "ca.pem"), Options{Budget: generous}).calm(t)
	if err := take(t, good.Client); err != nil {
		t.Errorf("the right authority: %v", err)
	}
	for name, url := range map[string]string{
		"the system's authorities": url,
		"another authority":        url + "?ca=" + write("other.pem", testkit.NewAuthority(t).PEM),
	} {
		c := newRig(t, url, Options{Budget: generous})
		if err := take(t, c.Client); !errors.Is(err, policy.ErrStateAway) || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSlow is a server that answers, and too late: it is not asked, although it is there.
func TestSlow(t *testing.T) {
	server := testkit.Redis(t)
	c := newRig(t, server.URL, Options{Budget: time.Nanosecond})
	untilPaused(t, c.Client)
	testkit.Eventually(t, "it was tried again", func() bool { return c.counts.Of("gw_state_calls_total{call=beat}") >= 6 })
	if c.Status().Up || !c.breaker.open.Load() {
		t.Error("it is asked again")
	}
}

func TestClose(t *testing.T) {
	server := testkit.Redis(t)
	for name, scene := range map[string]func(t *testing.T, c *rig){
		"well":    func(t *testing.T, c *rig) { c.calm(t) },
		"at once": func(*testing.T, *rig) {},
		"hung":    func(t *testing.T, c *rig) { c.calm(t); t.Cleanup(hang(t, server.URL)) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newRig(t, server.URL, Options{})
			scene(t, c)
			start := time.Now()
			for range 2 {
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
			if took := time.Since(start); took > 3*time.Second+slack {
				t.Errorf("it took %s", took)
			}
			if _, err := c.Take(t.Context(), one("a", 1, 1)); !errors.Is(err, policy.ErrStateAway) {
				t.Errorf("after it is closed: %v", err)
			}
		})
	}
}
