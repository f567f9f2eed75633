package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/schema/ir"
)

const (
	logBuffer   = 4 << 20               // bytes of records that wait for the writer; what does not fit is dropped
	logBatch    = 64 << 10              // bytes that are written without waiting for more
	logDelay    = 20 * time.Millisecond // a record waits at most this long for company
	logWarnings = 10 * time.Second      // between two complaints about lost records
)

// AccessLog writes a line for each request. It never blocks one: lines go into a bounded buffer, which one goroutine
// empties into the writer. When the writer is too slow, lines are dropped and counted.
type AccessLog struct {
	out     io.Writer
	colour  bool
	log     *slog.Logger
	dropped *atomic.Uint64 // gw_access_log_dropped_total
	mode    atomic.Uint32
	scratch sync.Pool

	wake, full, stop chan struct{}
	done             chan struct{}

	mu      sync.Mutex
	pending []byte
	records uint64 // in pending
	lost    uint64 // not yet complained about
	closed  bool
}

const (
	modeOff uint32 = iota
	modeJSON
	modeText
)

// NewAccessLog starts an access log that is switched off. Colour paints the status of text lines. Close ends it.
func NewAccessLog(out io.Writer, colour bool, m *Metrics, log *slog.Logger) *AccessLog {
	l := &AccessLog{
		out: out, colour: colour, log: log, dropped: &m.logDropped,
		scratch: sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }},
		wake:    make(chan struct{}, 1), full: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	go l.run()
	return l
}

// Configure switches the log on or off, and chooses its format: "text", or else JSON.
func (l *AccessLog) Configure(c ir.AccessLog) {
	switch {
	case !c.Enabled:
		l.mode.Store(modeOff)
	case c.Format == "text":
		l.mode.Store(modeText)
	default:
		l.mode.Store(modeJSON)
	}
}

// Enabled reports whether Log does anything, so that nobody fills a Record for nothing.
func (l *AccessLog) Enabled() bool { return l.mode.Load() != modeOff }

// Log takes the record over as a line. It does not keep r.
func (l *AccessLog) Log(r *Record) {
	mode := l.mode.Load()
	if mode == modeOff {
		return
	}
	line := l.scratch.Get().(*[]byte)
	if mode == modeText {
		*line = r.appendText((*line)[:0], l.colour)
	} else {
		*line = r.appendJSON((*line)[:0])
	}
	l.add(*line)
	l.scratch.Put(line)
}

func (l *AccessLog) add(line []byte) {
	l.mu.Lock()
	if l.closed || len(l.pending)+len(line) > logBuffer {
		l.lost++
		l.mu.Unlock()
		l.dropped.Add(1)
		return
	}
	before := len(l.pending)
	l.pending = append(l.pending, line...)
	l.records++
	after := len(l.pending)
	l.mu.Unlock()
	if before == 0 {
		signal(l.wake)
	}
	if before < logBatch && after >= logBatch {
		signal(l.full)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Close writes what waits, and waits until it is written or ctx ends. Later records are dropped.
func (l *AccessLog) Close(ctx context.Context) error {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.stop)
	}
	l.mu.Unlock()
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("flush access log: %w", ctx.Err())
	}
}

// run gathers for a moment, so that a busy gateway writes once for hundreds of records.
func (l *AccessLog) run() {
	defer close(l.done)
	var (
		batch  []byte
		failed bool
		warned time.Time
	)
	for open := true; open; {
		select {
		case <-l.wake:
			timer := time.NewTimer(logDelay)
			select {
			case <-timer.C:
			case <-l.full:
			case <-l.stop:
				open = false
			}
			timer.Stop()
		case <-l.stop:
			open = false
		}
		batch, failed = l.flush(batch, failed)
		warned = l.complain(warned)
	}
}

// flush writes what waits, and leaves its memory to the next batch. A batch that cannot be written is lost: keeping it
// would fill the buffer with old news.
func (l *AccessLog) flush(spare []byte, failed bool) (_ []byte, failing bool) {
	if cap(spare) > 16*logBatch && len(spare) < cap(spare)/16 {
		spare = nil // what a burst has grown is given back once it is over
	}
	l.mu.Lock()
	batch, records := l.pending, l.records
	l.pending, l.records = spare[:0], 0
	l.mu.Unlock()
	if len(batch) == 0 {
		return batch, failed
	}
	if _, err := l.out.Write(batch); err != nil {
		l.dropped.Add(records)
		l.mu.Lock()
		l.lost += records
		l.mu.Unlock()
		if !failed {
			l.log.Error("access log cannot be written", "error", err)
		}
		return batch, true
	}
	if failed {
		l.log.Info("access log is written again")
	}
	return batch, false
}

func (l *AccessLog) complain(warned time.Time) time.Time {
	if now := time.Now(); now.Sub(warned) >= logWarnings {
		l.mu.Lock()
		lost := l.lost
		l.lost = 0
		l.mu.Unlock()
		if lost > 0 {
			l.log.Warn("access log records were dropped", "count", lost)
			return now
		}
	}
	return warned
}
