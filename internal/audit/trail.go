package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/schema/bundle"
)

// The defaults of Options.
const (
	DefaultMaxBytes = 64 << 20
	DefaultMaxAge   = 24 * time.Hour
)

// maxBatch is how many records are written at once.
const maxBatch = 256

// signRetry is how long a segment that is old enough waits after its footer could not be written.
const signRetry = time.Minute

// ErrLocked is the cause when another process writes the trail.
var ErrLocked = errors.New("another process writes this audit trail")

// ErrClosed is the cause when a record comes after Close.
var ErrClosed = errors.New("the audit trail is closed")

// Sink is handed each record once it is on disk, in order, with the line that holds it. Send must not block.
type Sink interface {
	Send(e *Entry, line []byte)
	Close() error
}

// Options say where a trail is and how it is kept.
type Options struct {
	Dir         string        // is made if it is not there; mode 0700
	Environment string        // of the gateway; a trail is of one environment
	Instance    string        // the gateway, such as its host's name
	Key         bundle.Signer // signs the footers; trust.json lists it with the role "audit"
	Details     []string      // the keys that Record.Details may have
	MaxBytes    int64         // a segment that has reached this size ends; 0: DefaultMaxBytes
	MaxAge      time.Duration // a segment that has reached this age and has a record ends; 0: DefaultMaxAge
	Sinks       []Sink        // are closed with the trail; if Open fails, by the caller
	// OnFailure is told, once for each attempt, that records could not be written or a segment not be signed. It must not block.
	OnFailure func(error)
	Log       *slog.Logger // nil: nothing is logged
}

var (
	instancePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,254}$`)
	detailPattern   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,63}$`)
)

func (o *Options) check() error {
	switch {
	case o.Dir == "":
		return errors.New("no folder is named")
	case o.Key == nil:
		return errors.New("no key is named that signs it")
	case !instancePattern.MatchString(o.Instance):
		return fmt.Errorf("instance %.100q must be 1 to 255 letters, digits, dots, dashes, colons and underscores", o.Instance)
	case o.MaxBytes < 0 || o.MaxAge < 0:
		return errors.New("the size and the age of segments must not be negative")
	}
	for _, k := range o.Details {
		if !detailPattern.MatchString(k) {
			return fmt.Errorf("details: %.100q cannot be a key", k)
		}
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.MaxAge == 0 {
		o.MaxAge = DefaultMaxAge
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Head is the last record of a trail. Whoever keeps it elsewhere can tell later that the trail was not cut off before it.
type Head struct {
	Seq    int64
	Digest bundle.Digest
}

// Trail writes records. It is safe for concurrent use.
type Trail struct {
	o        Options
	w        *writer // belongs to run, as does failing
	failing  bool    // the last attempt failed
	head     atomic.Pointer[Head]
	requests chan request // without a buffer: what run has not taken, it need not answer
	closing  chan struct{}
	close    sync.Once
	done     chan struct{}
	err      error // of run's end; good once done is closed
}

type request struct {
	record Record
	done   chan error // has room for the answer
}

// Open takes up the trail in a folder, or begins one, and writes a record of that. It verifies the newest segment and does not go on
// from one that was changed: the error is then a *Fault. ErrLocked means that another process has the trail.
func Open(o Options) (*Trail, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("audit trail: %w", err)
	}
	w, found, err := openWriter(&o)
	if err != nil {
		return nil, fmt.Errorf("audit trail: %w", err)
	}
	t := &Trail{o: o, w: w, requests: make(chan request), closing: make(chan struct{}), done: make(chan struct{})}
	if err := t.write(found); err != nil {
		return nil, errors.Join(err, w.close())
	}
	go t.run()
	return t, nil
}

// Append writes a record and returns when it is on disk. After an error the record may be there or not, and what it is about must not
// be done. Records that come while the disk is busy are written together. If ctx ends first, its error is returned.
func (t *Trail) Append(ctx context.Context, r Record) error {
	if err := r.prepare(t.o.Details); err != nil {
		return fmt.Errorf("audit record: %w", err)
	}
	if own(r.Action) {
		return fmt.Errorf("audit record: action %q is the trail's own", r.Action)
	}
	q := request{record: r, done: make(chan error, 1)}
	select {
	case t.requests <- q:
	case <-t.closing:
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("write audit record: %w", ctx.Err())
	}
	select {
	case err := <-q.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("write audit record: %w", ctx.Err())
	}
}

func own(a Action) bool { return a == Start || a == Stop || a == Recover }

// Head returns the last record on disk.
func (t *Trail) Head() Head { return *t.head.Load() }

// Close writes a last record, signs the segment, and closes the sinks. Records whose Append has not returned yet are refused with
// ErrClosed or written. It may be called again.
func (t *Trail) Close() error {
	t.close.Do(func() { close(t.closing) })
	<-t.done
	return t.err
}

// run owns the writer.
func (t *Trail) run() {
	defer close(t.done)
	timer := time.NewTimer(t.w.due())
	defer timer.Stop()
	for {
		select {
		case q := <-t.requests:
			t.commit(q)
		case <-timer.C:
			t.tell(t.w.expire())
		case <-t.closing:
			t.err = t.end()
			return
		}
		due := t.w.due()
		if t.failing {
			due = max(due, signRetry)
		}
		timer.Reset(due)
	}
}

// tell says what came of an attempt: to the log when it is news, to the callback each time.
func (t *Trail) tell(err error) {
	switch {
	case err != nil && !t.failing:
		t.o.Log.Error("the audit trail cannot be written", "error", err)
	case err == nil && t.failing:
		t.o.Log.Info("the audit trail can be written again")
	}
	if t.failing = err != nil; t.failing && t.o.OnFailure != nil {
		t.o.OnFailure(err)
	}
}

// commit writes a record together with those that wait behind it.
func (t *Trail) commit(first request) {
	batch := []request{first}
	for len(batch) < maxBatch {
		select {
		case q := <-t.requests:
			batch = append(batch, q)
			continue
		default:
		}
		break
	}
	records := make([]Record, len(batch))
	for i, q := range batch {
		records[i] = q.record
	}
	err := t.write(records)
	t.tell(err)
	for _, q := range batch {
		q.done <- err
	}
}

// write puts records on disk, and then where others see them.
func (t *Trail) write(records []Record) error {
	lines, err := t.w.append(records)
	if err != nil {
		return fmt.Errorf("write audit record: %w", err)
	}
	for i := range lines {
		l := &lines[i]
		for _, s := range t.o.Sinks {
			s.Send(&l.entry, l.text)
		}
	}
	t.head.Store(&Head{Seq: t.w.last, Digest: t.w.record})
	return nil
}

// end writes what stands at the end of a trail.
func (t *Trail) end() error {
	err := t.write([]Record{{Actor: Actor{Kind: System}, Action: Stop, Outcome: Success}})
	if err == nil {
		err = t.w.seal()
	}
	err = errors.Join(err, t.w.close())
	for _, s := range t.o.Sinks {
		err = errors.Join(err, s.Close())
	}
	return err
}
