package drift

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
)

// The pace of a Fleet.
const (
	fleetBeat = 5 * time.Second // between two exchanges
	fleetLook = time.Second     // between two looks whether this gateway has something new to say
)

// few is up to how many gateways look at each other with each look while they disagree. In a larger fleet that would be much to read.
const few = 32

// Board is where the gateways of an environment say what they run. *redisstate.Client is one.
type Board interface {
	// Exchange keeps what this gateway says, and calls each with what all of them have said lately. It returns how many entries were
	// passed over as they are no reports.
	Exchange(ctx context.Context, own []byte, each func(instance string, age time.Duration, report []byte)) (refused int, err error)
}

// FleetOptions are the settings of a Fleet.
type FleetOptions struct {
	Board  Board           // nil: gateways cannot see each other
	Own    func() Instance // what this gateway says of itself
	Grace  time.Duration   // how long gateways may disagree: two polls
	Report func(FleetReport)
	Now    func() time.Time
	Log    *slog.Logger
}

// Fleet compares what the gateways of an environment run. Run or Exchange belongs to one goroutine; Last may be asked by any.
type Fleet struct {
	o FleetOptions

	// Of the one exchange that runs at a time.
	late  map[string]lag // gateways that do not run the newest that one of them runs
	sent  Instance
	asked time.Time
	told  string // what was last said about reports that are none

	mu   sync.Mutex
	last FleetReport
}

// lag is a gateway that is not where the others are.
type lag struct {
	runs  string
	since time.Time // that it has run this although there is something newer
}

// FleetReport is what the gateways of an environment run.
type FleetReport struct {
	Known     bool
	Detail    string     // one sentence
	Instances []Instance // by name; none if not known
	Refused   int        // entries that are no reports
	Digests   int        // different bundles that run
	Late      []string   // gateways that have not run what others run for longer than is usual, and why
	settled   bool       // nobody is late, or all that are have been so for long
}

// NewFleet returns a Fleet that has seen nothing yet.
func NewFleet(o FleetOptions) *Fleet {
	f := &Fleet{o: o, late: map[string]lag{}, last: FleetReport{Detail: "not compared yet"}}
	if o.Board == nil {
		f.last.Detail = "gateways see each other through Redis, and none is configured"
	}
	return f
}

// Last is what was seen last.
func (f *Fleet) Last() FleetReport {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// Run says what this gateway runs every five seconds, and at once when that changes, until ctx ends.
func (f *Fleet) Run(ctx context.Context) {
	if f.o.Board == nil {
		f.publish(f.last)
		return
	}
	tick := time.NewTicker(fleetLook)
	defer tick.Stop()
	for {
		if own := f.o.Own(); f.due(own) {
			f.Exchange(ctx, own)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// due reports whether there is something to say, or to see.
func (f *Fleet) due(own Instance) bool {
	last := f.Last()
	if f.o.Now().Sub(f.asked) >= fleetBeat || last.Known && !last.settled && len(last.Instances) <= few {
		return true
	}
	own.At, own.Drift = f.sent.At, f.sent.Drift
	return !reflect.DeepEqual(own, f.sent)
}

// Exchange says what this gateway runs, and sees what the others do. One runs at a time.
func (f *Fleet) Exchange(ctx context.Context, own Instance) {
	now := f.o.Now()
	f.sent, f.asked = own, now
	seen, refused, err := f.exchange(ctx, own, now)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		f.publish(FleetReport{Detail: "the other gateways cannot be seen: " + brief(err.Error())})
	default:
		f.publish(f.judge(seen, refused, now))
	}
}

// exchange returns what all gateways say, this one as it says itself.
func (f *Fleet) exchange(ctx context.Context, own Instance, now time.Time) (seen []Instance, refused int, err error) {
	data, err := own.encode()
	if err != nil {
		return nil, 0, err
	}
	var bad []error
	refused, err = f.o.Board.Exchange(ctx, data, func(name string, age time.Duration, report []byte) {
		if name == own.Instance {
			return
		}
		i, err := decodeInstance(name, own.Environment, report)
		if err != nil {
			bad = append(bad, fmt.Errorf("report of %.64q: %w", name, err))
			return
		}
		at := now.Add(-age).UTC()
		i.SeenAt = &at
		seen = append(seen, i)
	})
	f.complain(bad)
	at := now.UTC()
	own.SeenAt = &at
	seen = append(seen, own)
	slices.SortFunc(seen, byName)
	return seen, refused + len(bad), err
}

// complain says once which reports are none.
func (f *Fleet) complain(bad []error) {
	text := ""
	if len(bad) > 0 {
		text = brief(bad[0].Error())
	}
	if text != f.told && text != "" {
		f.o.Log.Warn("something in Redis is no report of a gateway", slog.Int("reports", len(bad)), slog.String("error", text))
	}
	f.told = text
}

// judge compares. A gateway is late if it has run something else than the newest for longer than the grace: during a rollout some are
// always a little behind, and one that moves is well.
func (f *Fleet) judge(seen []Instance, refused int, now time.Time) FleetReport {
	r := FleetReport{Known: true, Instances: seen, Refused: refused, settled: true}
	newest := slices.MaxFunc(seen, func(a, b Instance) int { return a.Position().Compare(b.Position()) })
	agreed, digests := agreedOn(seen, newest)
	r.Digests = digests
	late := map[string]lag{}
	for _, i := range seen {
		if i.Digest == agreed && i.Position().Compare(newest.Position()) == 0 {
			continue
		}
		l := f.late[i.Instance]
		if l.runs != i.Runs() {
			l = lag{i.Runs(), now}
		}
		late[i.Instance] = l
		if now.Sub(l.since) > f.o.Grace {
			r.Late = append(r.Late, i.Instance+" runs "+i.Runs()+because(&i))
		} else {
			r.settled = false
		}
	}
	f.late = late
	r.Detail = sentence(seen, len(late), newest)
	if refused > 0 {
		r.Detail += fmt.Sprintf("; %s of gateways that cannot be read", counted(refused, "report", false))
	}
	return r
}

// agreedOn is the bundle that most of those at the newest version run, and how many different ones run in all. More than one at the same
// version means that two publishers signed it.
func agreedOn(seen []Instance, newest Instance) (digest string, digests int) {
	all, votes := map[string]bool{}, map[string]int{}
	for i := range seen {
		if seen[i].Digest == "" {
			continue
		}
		all[seen[i].Digest] = true
		if seen[i].Position().Compare(newest.Position()) == 0 {
			votes[seen[i].Digest]++
		}
	}
	for d, n := range votes {
		if n > votes[digest] || n == votes[digest] && d < digest {
			digest = d
		}
	}
	return digest, len(all)
}

// because says why a gateway may be late.
func because(i *Instance) string {
	switch {
	case i.Waiting != nil:
		return fmt.Sprintf("; %d.%d waits: %s", i.Waiting.Epoch, i.Waiting.Version, i.Waiting.Why)
	case i.Error != "":
		return "; error " + i.Error
	case i.Mode == "off":
		return "; sync is off"
	}
	return ""
}

func sentence(seen []Instance, late int, newest Instance) string {
	if newest.Digest == "" {
		return counted(len(seen), "gateway", false) + ", nothing is running"
	}
	return fmt.Sprintf("%d of %d run %s", len(seen)-late, len(seen), newest.Position())
}

// Class is the report as a class of drift.
func (r *FleetReport) Class() Class {
	return Class{Class: ClassFleet, Known: r.Known, Detected: len(r.Late) > 0, Detail: r.Detail, Details: r.Late}
}

func (f *Fleet) publish(r FleetReport) {
	f.mu.Lock()
	before := f.last
	f.last = r
	f.mu.Unlock()
	switch {
	case len(r.Late) > 0 && !slices.Equal(names(before.Late), names(r.Late)):
		f.o.Log.Warn("gateways of the environment run different bundles", slog.String("fleet", r.Detail), slog.Any("late", r.Late))
	case r.Known && len(r.Late) == 0 && len(before.Late) > 0:
		f.o.Log.Info("the gateways of the environment run the same again", slog.String("fleet", r.Detail))
	}
	if f.o.Report != nil {
		f.o.Report(r)
	}
}

// names are the gateways of a list of late ones.
func names(late []string) []string {
	out := make([]string, len(late))
	for i, l := range late {
		out[i], _, _ = strings.Cut(l, " ")
	}
	return out
}
