// Package redisstate keeps what gateways share in Redis: token buckets, names that were seen, API keys, and how many gateways there
// are. It talks to one server, to one behind Sentinel, or to a cluster; Redis 5 or later, or what speaks the same.
//
// Whatever becomes of the server, no call takes longer than its budget, and what would take effect twice is not sent twice: after a
// call that was not answered nobody knows whether it did. It must not decide what a request meets when Redis is away: policies do.
//
// A user of Redis' ACL needs the keys gw:*, the channel gw:keys:changed and the commands eval evalsha get set hget hmget hset time
// zadd zcard zrangebylex zrem zremrangebyscore pexpire hdel hlen hgetall pttl publish subscribe ping.
package redisstate

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/suuupra/gateway/runtime/policy"
)

// Options are what a Client is made of besides its URL. The zero value will do.
type Options struct {
	Log     *slog.Logger     // nil: nothing is logged
	Metrics policy.Metrics   // nil: nothing is counted
	Now     func() time.Time // nil: time.Now

	// Environment keeps the buckets, names and gateways of environments that share a server apart. API keys say themselves which is theirs.
	Environment string
	// Instance tells this gateway from the others of its environment. Empty: a random one.
	Instance string
	// Pepper is the fingerprint of what this gateway hashes API keys under. Empty: it judges none.
	Pepper string
	// Budget bounds each call that a request waits for, from the wait for a connection to the last byte of the reply. 0: 20 ms.
	Budget time.Duration
}

// The times of a Client.
const (
	defaultBudget = 20 * time.Millisecond
	adminBudget   = 2 * time.Second // of calls that nobody's request waits for
	ioTimeout     = time.Second     // of what the driver does by itself: dialling, asking Sentinels, reading the slots of a cluster
	closeWithin   = time.Second
	connMaxIdle   = 5 * time.Minute
	// slotsEvery is how old the driver lets its map of a cluster become: a shard whose master has died is lost until it reads the next.
	slotsEvery = 5 * time.Second
)

const (
	connsPerCPU = 16
	maxConns    = 256
	bufferSize  = 4 << 10 // of a connection, each way: what is sent and read is small
)

// Client implements policy.State and keystore.Store.
type Client struct {
	rdb      redis.UniversalClient
	at       *location
	log      *slog.Logger
	now      func() time.Time
	began    time.Time
	env      string
	instance string
	budget   time.Duration
	metrics  metrics

	breaker  breaker
	terminal terminal
	replicas atomic.Int64
	keys     cache
	usage    usage

	fingerprint string      // of the pepper
	otherPepper atomic.Bool // the other gateways have another one

	stop   context.CancelFunc
	owned  sync.WaitGroup
	closed sync.Once
}

// Open makes a Client of a URL:
//
//	redis://[[USER]:PASSWORD@]HOST[:6379][/DB]
//	redis+cluster://[[USER]:PASSWORD@]HOST:PORT[,HOST:PORT...]
//	redis+sentinel://[[USER]:PASSWORD@]HOST[:26379][,HOST...]/MASTER[/DB]
//
// With rediss in place of redis it speaks TLS, and verifies by the system's authorities or those of the option ca (?ca=/path.pem). The
// option poolSize is how many connections each server gets at most (16 for each CPU, up to 256); sentinelUser and sentinelPassword are
// the Sentinels' own credentials. It fails for a URL it does not understand, never because the server is away: calls say that, and the
// Client keeps trying. Its errors do not quote the URL.
func Open(rawURL string, o Options) (*Client, error) {
	at, err := parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("read the URL of Redis: %w", err)
	}
	// The driver logs for the whole process, to standard error. What there is to say is in the errors it returns.
	logging.Disable()
	c := &Client{
		at: at, rdb: dial(at), log: o.Log, now: o.Now, env: o.Environment, instance: o.Instance, budget: o.Budget, fingerprint: o.Pepper,
		breaker: breaker{limit: failuresToOpen, opened: make(chan struct{}, 1)},
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.instance == "" {
		var id [8]byte
		_, _ = rand.Read(id[:]) // never fails
		c.instance = hex.EncodeToString(id[:])
	}
	if c.budget <= 0 {
		c.budget = defaultBudget
	}
	c.began = c.now()
	c.breaker.since = c.began
	if at.mode == cluster {
		c.breaker.limit = failuresToOpenCluster
	}
	c.metrics = newMetrics(o.Metrics)
	c.metrics.up.Set(0) // until the first beat
	c.replicas.Store(1)
	c.metrics.replicas.Set(1)
	c.keys.init()
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	c.owned.Go(func() { c.keep(ctx) })
	c.owned.Go(func() { c.follow(ctx) })
	return c, nil
}

// dial makes the driver. It connects when it is first used.
func dial(at *location) redis.UniversalClient {
	o := &redis.UniversalOptions{
		Addrs: at.addrs, MasterName: at.master, DB: at.db, TLSConfig: at.tls, Dialer: dialer(at),
		Username: at.user, Password: at.pass, SentinelUsername: at.sentinelUser, SentinelPassword: at.sentinelPass,
		Protocol: 2, // of RESP 3 nothing is used, and it costs a look for pushed messages with each command
		PoolSize: at.poolSize, PipelinePoolSize: -1, ConnMaxIdleTime: connMaxIdle,
		ReadBufferSize: bufferSize, WriteBufferSize: bufferSize,
		// A call brings its own, shorter deadline.
		ContextTimeoutEnabled: true, DialTimeout: ioTimeout, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout, PoolTimeout: ioTimeout,
		MaxRetries: -1, DialerRetries: 1, // see once
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if o.PoolSize == 0 {
		o.PoolSize = min(connsPerCPU*runtime.GOMAXPROCS(0), maxConns)
	}
	switch at.mode {
	case sentinel:
		return redis.NewFailoverClient(o.Failover())
	case cluster:
		co := o.Cluster()
		co.DisableRoutingPolicies = true // every command here names its key
		co.ClusterStateReloadInterval = slotsEvery
		return redis.NewClusterClient(co)
	}
	return redis.NewClient(o.Simple())
}

// Close leaves the other gateways, writes down what is left to be, and ends what the Client started. It takes a second or two at
// the most, and is idempotent.
func (c *Client) Close() error {
	var err error
	c.closed.Do(func() {
		c.stop()
		c.owned.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
		defer cancel()
		c.leave(ctx)
		if e := c.rdb.Close(); e != nil {
			err = fmt.Errorf("close the connections to Redis: %w", e)
		}
	})
	return err
}

// String names the server without credentials.
func (c *Client) String() string { return "redis " + c.at.String() }

// Status describes the Client for people.
type Status struct {
	Mode        string    `json:"mode"`    // "standalone", "sentinel" or "cluster"
	Address     string    `json:"address"` // host:port, several with commas; of the Sentinels in mode sentinel
	Up          bool      `json:"up"`      // Redis does its work; false until it first has
	Since       time.Time `json:"since"`   // that it is so
	LastError   string    `json:"lastError,omitempty"`
	LastErrorAt time.Time `json:"lastErrorAt,omitzero"`
	Replicas    int       `json:"replicas"`              // gateways that share the state, this one included
	OtherPepper bool      `json:"otherPepper,omitempty"` // the others hash API keys under another pepper
}

// elapsed is the time since Open. Ages are measured in it: by the monotonic clock, which nobody sets back.
func (c *Client) elapsed() time.Duration { return c.now().Sub(c.began) }
