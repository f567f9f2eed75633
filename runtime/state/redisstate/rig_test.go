package redisstate

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/state/keystore"
)

var (
	_ policy.State   = (*Client)(nil)
	_ keystore.Store = (*Client)(nil)
)

func TestMain(m *testing.M) { testkit.NoLeaks(m) }

// generous is a budget for tests that are not about the budget: test machines are busy.
const generous = 5 * time.Second

// open opens a client that is closed when the test ends.
func open(tb testing.TB, url string, o Options) *Client {
	tb.Helper()
	c, err := Open(url, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	return c
}

// rig is a client whose log and metrics a test can look at.
type rig struct {
	*Client
	counts *policytest.Counts
	log    *journal
}

func newRig(tb testing.TB, url string, o Options) *rig {
	tb.Helper()
	r := &rig{counts: &policytest.Counts{}, log: &journal{}}
	o.Metrics, o.Log = r.counts, slog.New(slog.NewTextHandler(r.log, nil))
	r.Client = open(tb, url, o)
	return r
}

// calm waits until the client has done what it does at its start, so that what follows is the test's own.
func (r *rig) calm(tb testing.TB) *rig {
	tb.Helper()
	testkit.Eventually(tb, "the client is up and follows", func() bool { return r.Status().Up && r.keys.told.Load() > 0 })
	return r
}

// journal is a log in memory.
type journal struct {
	mu sync.Mutex
	b  strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// direct is a plain client beside the one under test, to set a scene or look at one.
func direct(tb testing.TB, url string) *redis.Client {
	tb.Helper()
	o, err := redis.ParseURL(url)
	if err != nil {
		tb.Fatal(err)
	}
	o.MaxRetries, o.DisableIdentity, o.Protocol, o.DialerRetries = -1, true, 2, 1
	c := redis.NewClient(o)
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// hang stops a server without ending it, so that it takes connections and answers nothing; the result lets it go on.
func hang(tb testing.TB, url string) (resume func()) {
	tb.Helper()
	info, err := direct(tb, url).Info(context.Background(), "server").Result()
	if err != nil {
		tb.Fatal(err)
	}
	_, rest, _ := strings.Cut(info, "process_id:")
	pid, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		tb.Fatal(err)
	}
	send := func(s syscall.Signal) {
		if err := syscall.Kill(pid, s); err != nil {
			tb.Errorf("send %s to the server: %v", s, err)
		}
	}
	send(syscall.SIGSTOP)
	return sync.OnceFunc(func() { send(syscall.SIGCONT) })
}

// one is a bucket that does not fill while a test looks.
func one(name string, burst, cost int64) []policy.Bucket {
	return []policy.Bucket{{Name: name, Every: time.Hour, Burst: burst, Cost: cost}}
}

// commands is how often a server has run each command since the last call.
func commands(tb testing.TB, db *redis.Client) map[string]int {
	tb.Helper()
	info, err := db.Info(context.Background(), "commandstats").Result()
	if err != nil {
		tb.Fatal(err)
	}
	if err := db.ConfigResetStat(context.Background()).Err(); err != nil {
		tb.Fatal(err)
	}
	out := map[string]int{}
	for line := range strings.Lines(info) {
		name, rest, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		if n, err := strconv.Atoi(strings.SplitN(rest, ",", 2)[0]); ok && err == nil {
			out[name] = n
		}
	}
	return out
}
