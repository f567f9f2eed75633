package redisstate

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// How a subscription is known to work. A message that Redis has sent before it answers a PING comes before the answer, as both are on
// one connection; so with each answer every change is known that was made before its question was sent. Two seconds after that
// question the cache is on its own again.
const (
	pingEvery  = 500 * time.Millisecond
	pingHolds  = untrusted
	firstPause = 200 * time.Millisecond // before the next subscription, after one that failed
	lastPause  = 2 * time.Second
)

// follow listens for changes of keys until ctx ends.
func (c *Client) follow(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		l := &listener{c: c}
		l.listen(ctx)
		if l.answered.Load() > 0 {
			pause = firstPause
		}
		c.keys.told.Store(0)
		select {
		case <-ctx.Done():
		case <-time.After(jitter(pause)):
		}
		pause = min(2*pause, lastPause)
	}
}

// listener is one subscription.
type listener struct {
	c        *Client
	answered atomic.Int64 // when the last answered PING was sent, as the time since Open; 0: none was
}

// listen returns when the subscription has failed.
func (l *listener) listen(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	sub := l.c.rdb.Subscribe(ctx, changedChannel)
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer stop()
		_ = guarded(func() error {
			for {
				m, err := sub.Receive(ctx)
				if err != nil {
					return err
				}
				l.hear(m)
			}
		})
	}()
	l.ping(ctx, sub)
	_ = sub.Close() // which ends the reading
	<-read
}

// ping asks whether the subscription works, and returns when it does not.
func (l *listener) ping(ctx context.Context, sub *redis.PubSub) {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	began := l.c.elapsed()
	for {
		now := l.c.elapsed()
		if now-max(began, time.Duration(l.answered.Load())) > pingHolds || sub.Ping(ctx, strconv.FormatInt(int64(now), 10)) != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// hear takes in what comes over the subscription.
func (l *listener) hear(m any) {
	k := &l.c.keys
	switch m := m.(type) {
	case *redis.Subscription:
		k.drop() // what has changed until now was told to nobody
	case *redis.Message:
		k.forget(m.Payload)
	case *redis.Pong:
		sent, err := strconv.ParseInt(m.Payload, 10, 64)
		if err != nil {
			return
		}
		l.answered.Store(max(sent, 1))
		// In a cluster, servers pass messages on to one another, and an answer of one says nothing about what the others have sent.
		if l.c.at.mode != cluster {
			k.told.Store(sent + int64(pingHolds))
		}
	}
}
