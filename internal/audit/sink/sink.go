// Package sink hands the records of an audit trail on to where others watch them: standard output, a file, a syslog server. The trail
// is on disk before a record comes here, and never waits: what a destination does not take in time is lost to it, counted and told. It
// can be found by the gap in seq, and is still in the trail.
package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/internal/audit"
)

// How much waits for a destination that is slow or away.
const (
	maxQueue      = 10_000
	maxQueueBytes = 16 << 20
)

// How long a destination may take. Waits between attempts double from the first to the last.
const (
	firstWait  = 100 * time.Millisecond
	lastWait   = 15 * time.Second
	writeLimit = 10 * time.Second // for one record
	closeLimit = 5 * time.Second  // for what waits when the trail is closed
)

// Options are common to all destinations.
type Options struct {
	App      string       // the program's name, for syslog; empty: gwrun
	Instance string       // the gateway, for syslog
	Lost     func(n int)  // is told how many records were lost; must not block; nil: nobody is
	Log      *slog.Logger // nil: nothing is logged
}

// destination is where records go. write is called by one goroutine at a time, and may be called again with the same record after an
// error; it returns when ctx ends, unless the system does not let it.
type destination interface {
	write(ctx context.Context, e *audit.Entry, line []byte) error
	close()
}

// errUnfit is the cause when a record can never be written to a destination.
var errUnfit = errors.New("the record does not fit")

// Sink is a queue before a destination. It is an audit.Sink.
type Sink struct {
	name  string // without what may be secret
	to    destination
	o     Options
	queue chan item
	bytes atomic.Int64 // in the queue
	lost  atomic.Int64
	ctx   context.Context // ends when what waits is given up
	stop  context.CancelFunc
	done  chan struct{}
	once  sync.Once
	mu    sync.RWMutex // guards closed: nothing is sent to a closed channel
	shut  bool
}

type item struct {
	entry *audit.Entry
	line  []byte
}

func start(name string, to destination, o Options) *Sink {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Sink{name: name, to: to, o: o, queue: make(chan item, maxQueue), ctx: ctx, stop: stop, done: make(chan struct{})}
	go s.run()
	return s
}

// Send queues a record, or loses it if the queue is full. It never waits.
func (s *Sink) Send(e *audit.Entry, line []byte) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	size := int64(len(line))
	if s.shut || s.bytes.Add(size) > maxQueueBytes {
		if !s.shut {
			s.bytes.Add(-size)
		}
		s.lose(1)
		return
	}
	select {
	case s.queue <- item{e, line}:
	default:
		s.bytes.Add(-size)
		s.lose(1)
	}
}

// Lost returns how many records did not reach the destination.
func (s *Sink) Lost() int64 { return s.lost.Load() }

func (s *Sink) lose(n int) {
	s.lost.Add(int64(n))
	if s.o.Lost != nil {
		s.o.Lost(n)
	}
}

// Close waits up to five seconds for what is queued to be delivered, and gives up the rest.
func (s *Sink) Close() error {
	s.once.Do(func() {
		s.mu.Lock()
		s.shut = true
		close(s.queue)
		s.mu.Unlock()
	})
	limit := time.NewTimer(closeLimit)
	defer limit.Stop()
	select {
	case <-s.done:
	case <-limit.C:
		s.stop()
		select { // a write that does not listen to ctx, such as to a pipe nobody reads, must not hold up the end of the program
		case <-s.done:
		case <-time.After(time.Second):
			return fmt.Errorf("audit sink %s: it does not take what is written to it; %d records were lost", s.name, s.Lost()+int64(len(s.queue))+1)
		}
	}
	if n := s.Lost(); n > 0 {
		return fmt.Errorf("audit sink %s: %d records were lost", s.name, n)
	}
	return nil
}

func (s *Sink) run() {
	defer close(s.done)
	defer s.stop()
	defer s.to.close()
	told := int64(0)
	for it := range s.queue {
		s.bytes.Add(-int64(len(it.line)))
		if !s.deliver(it) {
			s.lose(1)
		}
		if n := s.Lost(); n > told && (s.ctx.Err() != nil || len(s.queue) == 0) {
			s.o.Log.Warn("audit records did not reach a sink", "sink", s.name, "lost", n-told)
			told = n
		}
	}
}

// deliver writes a record, again and again until it is written or the sink is closed.
func (s *Sink) deliver(it item) bool {
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		if s.ctx.Err() != nil {
			return false
		}
		ctx, cancel := context.WithTimeout(s.ctx, writeLimit)
		err := s.to.write(ctx, it.entry, it.line)
		cancel()
		switch {
		case err == nil:
			return true
		case errors.Is(err, errUnfit):
			s.o.Log.Warn("an audit record does not fit into a sink", "sink", s.name, "seq", it.entry.Seq)
			return false
		case wait == firstWait:
			s.o.Log.Warn("an audit sink cannot be written; it is tried again", "sink", s.name, "error", err)
		}
		select {
		case <-s.ctx.Done():
			return false
		case <-time.After(wait):
		}
	}
}
