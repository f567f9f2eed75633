package redisstate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/policy"
)

// TestSentinelFailover kills a master; its replica takes over, and the client finds it.
func TestSentinelFailover(t *testing.T) {
	master := testkit.Redis(t)
	host, port, _ := net.SplitHostPort(master.Addr)
	replica := testkit.Redis(t, "--replicaof", host+" "+port, "--repl-diskless-sync-delay", "0")
	testkit.Eventually(t, "the replica follows", func() bool {
		return strings.Contains(direct(t, replica.URL).Info(t.Context(), "replication").Val(), "master_link_status:up")
	})
	sentinel := startSentinel(t, host, port)
	testkit.Eventually(t, "the Sentinel knows the replica", func() bool {
		return strings.Contains(direct(t, "redis://"+sentinel).Info(t.Context(), "sentinel").Val(), "slaves=1")
	})
	c := newRig(t, "redis+sentinel://"+sentinel+"/main", Options{Budget: 200 * time.Millisecond}).calm(t)
	if err := take(t, c.Client); err != nil {
		t.Fatal(err)
	}
	if err := c.PutKey(t.Context(), record("k")); err != nil {
		t.Fatal(err)
	}
	if n, err := direct(t, master.URL).Wait(t.Context(), 1, generous).Result(); err != nil || n != 1 {
		t.Fatalf("%d replicas have it: %v", n, err)
	}
	master.Stop()
	if err := take(t, c.Client); err == nil {
		t.Error("a server that is gone answered")
	}
	testkit.Eventually(t, "the replica took over", func() bool {
		return strings.Contains(direct(t, replica.URL).Info(t.Context(), "replication").Val(), "role:master")
	})
	start := time.Now()
	testkit.Eventually(t, "it is used", func() bool { return take(t, c.Client) == nil })
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	if got, err := c.Take(t.Context(), one("a", 1000, 0)); err != nil || got[0].Remaining > 999 {
		t.Errorf("what was taken before is forgotten: %+v, %v", got, err)
	}
	if r, err := c.Key(t.Context(), "k"); err != nil || r == nil {
		t.Errorf("the key is lost: %+v, %v", r, err)
	}
	testkit.Eventually(t, "changes are told again", func() bool { return c.keys.told.Load() > int64(c.elapsed()) })
	if s := c.Status(); s.Mode != "sentinel" || s.Address != sentinel || !s.Up {
		t.Errorf("status %+v", s)
	}
}

func startSentinel(t *testing.T, host, port string) (addr string) {
	addr = testkit.FreePort(t)
	_, own, _ := net.SplitHostPort(addr)
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	lines := fmt.Sprintf("bind 127.0.0.1\nport %s\nsentinel monitor main %s %s 1\nsentinel down-after-milliseconds main 300\nsentinel failover-timeout main 2000\n", own, host, port)
	if err := os.WriteFile(conf, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	testkit.Start(t, testkit.Command{Path: testkit.Program(t, "redis-server"), Args: []string{conf, "--sentinel"}}).WaitLine(`\+monitor master main`)
	return addr
}

// startCluster makes a cluster of three servers without replicas.
func startCluster(t *testing.T) []*testkit.RedisServer {
	var servers []*testkit.RedisServer
	var ports []string
	for range 3 {
		_, bus, _ := net.SplitHostPort(testkit.FreePort(t))
		servers = append(servers, testkit.Redis(t, "--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", "1000", "--cluster-require-full-coverage", "no"))
		ports = append(ports, bus)
	}
	const slots = 16384
	for i, s := range servers {
		from, to := i*slots/len(servers), (i+1)*slots/len(servers)-1
		if got := s.Do("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(from), strconv.Itoa(to)); got != "+OK" {
			t.Fatal(got)
		}
		if got := s.Do("CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1)); got != "+OK" {
			t.Fatal(got)
		}
	}
	for i, s := range servers[1:] {
		host, port, _ := net.SplitHostPort(s.Addr)
		if got := servers[0].Do("CLUSTER", "MEET", host, port, ports[i+1]); got != "+OK" {
			t.Fatal(got)
		}
	}
	for _, s := range servers {
		db := direct(t, s.URL)
		testkit.Eventually(t, "the cluster is whole", func() bool {
			info := db.ClusterInfo(t.Context()).Val()
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_slots_ok:16384") && strings.Contains(info, "cluster_size:3")
		})
	}
	return servers
}

// spread are buckets that a cluster of three keeps on all of its servers.
func spread(cost int64) []policy.Bucket {
	var out []policy.Bucket
	for i := range 8 {
		out = slices.Concat(out, one(fmt.Sprint("bucket", i), int64(50+i), cost))
	}
	return out
}

func TestCluster(t *testing.T) {
	servers := startCluster(t)
	c := newRig(t, "redis+cluster://"+servers[0].Addr+","+servers[1].Addr, Options{Budget: generous})
	testkit.Eventually(t, "the client is up", func() bool { return c.Status().Up })
	ctx := t.Context()

	t.Run("all or nothing", func(t *testing.T) {
		for i := range 50 {
			got, err := c.Take(ctx, spread(1))
			if err != nil {
				t.Fatal(err)
			}
			for j, b := range got {
				if !b.Granted || b.Remaining != int64(49+j-i) {
					t.Fatalf("step %d: bucket %d: %+v", i, j, b)
				}
			}
		}
		got, err := c.Take(ctx, spread(1))
		if err != nil || got[0].Granted || got[0].Retry <= 0 {
			t.Fatalf("%+v, %v", got, err)
		}
		for j, b := range got[1:] {
			if !b.Granted || b.Remaining != int64(1+j) {
				t.Errorf("bucket %d was taken from: %+v", 1+j, b)
			}
		}
	})
	t.Run("forgotten scripts", func(t *testing.T) {
		for _, s := range servers {
			s.Do("SCRIPT", "FLUSH")
		}
		got, err := c.Take(ctx, slices.Concat(one("x", 9, 2), one("y", 9, 2), one("z", 9, 2), one("w", 9, 2)))
		if err != nil || slices.ContainsFunc(got, func(b policy.Taken) bool { return b.Remaining != 7 }) {
			t.Errorf("%+v, %v", got, err)
		}
	})
	t.Run("many at once", func(t *testing.T) {
		var granted atomic.Int64
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 50 {
					got, err := c.Take(context.Background(), slices.Concat(one("m", 60, 1), one("n", 1000, 1), one("o", 1000, 1)))
					if err != nil {
						t.Error(err)
					} else if !slices.ContainsFunc(got, func(b policy.Taken) bool { return !b.Granted }) {
						granted.Add(1)
					}
				}
			})
		}
		wg.Wait()
		if granted.Load() != 60 {
			t.Errorf("granted %d of 60", granted.Load())
		}
	})
	t.Run("the rest", func(t *testing.T) {
		if first, err := c.First(ctx, "token", time.Minute); err != nil || !first {
			t.Errorf("%t, %v", first, err)
		}
		if first, err := c.First(ctx, "token", time.Minute); err != nil || first {
			t.Errorf("%t, %v", first, err)
		}
		for _, id := range []string{"a", "b", "c", "d"} {
			if err := c.PutKey(ctx, record(id)); err != nil {
				t.Error(err)
			}
			c.KeyUsed(id, time.Now())
		}
		c.flushUsage(ctx)
		page, next, err := c.Keys(ctx, "a", 2)
		if err != nil || len(page) != 2 || page[0].ID != "b" || next != "c" || page[1].LastUsed.IsZero() {
			t.Errorf("%+v, %q, %v", page, next, err)
		}
		if _, err := c.UpdateKey(ctx, "a", func(r *policy.KeyRecord) error { r.Owner = "x"; return nil }); err != nil {
			t.Error(err)
		}
		if r, err := c.Key(ctx, "a"); err != nil || r.Owner != "x" {
			t.Errorf("%+v, %v", r, err)
		}
		if c.keys.told.Load() != 0 {
			t.Error("a cluster does not tell for sure")
		}
	})
	t.Run("one server gone", func(t *testing.T) {
		servers[2].Stop()
		lost, served := 0, 0
		for i := range 60 {
			start := time.Now()
			if _, err := c.Take(ctx, one(fmt.Sprint("other", i), 9, 1)); err != nil {
				lost++
			} else {
				served++
			}
			if took := time.Since(start); took > generous+slack {
				t.Errorf("it took %s", took)
			}
		}
		if lost == 0 || served == 0 {
			t.Errorf("%d were lost, %d served", lost, served)
		}
	})
}

// TestClusterMoves moves a slot to another server while tokens are taken from a bucket in it: none is taken twice.
func TestClusterMoves(t *testing.T) {
	servers := startCluster(t)
	c := newRig(t, "redis+cluster://"+servers[0].Addr, Options{Budget: generous})
	testkit.Eventually(t, "the client is up", func() bool { return c.Status().Up })
	key := c.key('b', "a")
	at := func(n int64) {
		t.Helper()
		if got, err := c.Take(t.Context(), one("a", 10, 1)); err != nil || got[0].Remaining != n {
			t.Errorf("%+v, %v; want %d", got, err, n)
		}
	}
	at(9)
	slot := direct(t, servers[0].URL).ClusterKeySlot(t.Context(), key).Val()
	var ids []string
	from := -1
	for i, s := range servers {
		db := direct(t, s.URL)
		ids = append(ids, db.Do(t.Context(), "CLUSTER", "MYID").Val().(string))
		if db.ClusterCountKeysInSlot(t.Context(), int(slot)).Val() > 0 {
			from = i
		}
	}
	to := (from + 1) % len(servers)
	number := strconv.FormatInt(slot, 10)
	servers[to].Do("CLUSTER", "SETSLOT", number, "IMPORTING", ids[from])
	servers[from].Do("CLUSTER", "SETSLOT", number, "MIGRATING", ids[to])
	at(8) // still there
	host, port, _ := net.SplitHostPort(servers[to].Addr)
	if got := servers[from].Do("MIGRATE", host, port, key, "0", "5000"); got != "+OK" {
		t.Fatal(got)
	}
	at(7) // the old server says ASK
	for _, s := range []int{to, from, 3 - from - to} {
		servers[s].Do("CLUSTER", "SETSLOT", number, "NODE", ids[to])
	}
	at(6) // the old server says MOVED
	at(5)
}

// TestNotSentTwice loses the answer to a call that took effect: the driver must not send it again.
func TestNotSentTwice(t *testing.T) {
	alone := testkit.Redis(t)
	shown, far := newWire(t), newWire(t)
	far.to.Store(&alone.Addr)
	_, port, _ := net.SplitHostPort(shown.addr)
	_, bus, _ := net.SplitHostPort(testkit.FreePort(t))
	node := testkit.Redis(t, "--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-announce-ip", "127.0.0.1", "--cluster-announce-port", port)
	shown.to.Store(&node.Addr)
	if got := node.Do("CLUSTER", "ADDSLOTSRANGE", "0", "16383"); got != "+OK" {
		t.Fatal(got)
	}
	for name, tt := range map[string]struct {
		wire *wire
		url  string
	}{
		"standalone": {far, "redis://" + far.addr},
		"cluster":    {shown, "redis+cluster://" + shown.addr},
	} {
		t.Run(name, func(t *testing.T) {
			c := newRig(t, tt.url, Options{Budget: generous})
			testkit.Eventually(t, "the client is up", func() bool { return c.Status().Up })
			ask := slices.Concat(one("a", 100, 1), one("b", 100, 1))
			take := func() ([]policy.Taken, error) { return c.Take(t.Context(), ask) }
			if _, err := take(); err != nil {
				t.Fatal(err)
			}
			tt.wire.cut.Store(true)
			_, err := c.Take(t.Context(), ask[:1])
			tt.wire.cut.Store(false)
			if away := (*awayError)(nil); !errors.As(err, &away) || away.why != reasonRefused {
				t.Errorf("no answer came: %v", err)
			}
			if got, err := take(); err != nil || got[0].Remaining != 97 || got[1].Remaining != 98 {
				t.Errorf("taken once, once without an answer, and once: %+v, %v", got, err)
			}
		})
	}
}
