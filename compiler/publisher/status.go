package publisher

import (
	"slices"
	"time"

	"github.com/suuupra/gateway/internal/gate"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/diag"
)

// State is how far the head has come in one environment.
type State string

// The states.
const (
	Pending   State = "pending"   // not decided since the start
	Published State = "published" // what is published is what the head compiles to
	Held      State = "held"      // a rule, or a rollback, keeps the head from being published
	Invalid   State = "invalid"   // the head does not compile, or its tests fail; a new head is waited for
	Failed    State = "failed"    // something broke that is no fault of the head; it is tried again
)

// States lists them.
func States() []State { return []State{Pending, Published, Held, Invalid, Failed} }

// Status is what a publisher has to say about itself. Its field names are part of the interface.
type Status struct {
	Repository   string        `json:"repository"`
	Ref          string        `json:"ref,omitempty"` // in full, once it has been seen
	Subdirectory string        `json:"subdirectory,omitempty"`
	To           string        `json:"to"`
	Head         *Head         `json:"head,omitempty"`       // none before the first fetch
	FetchedAt    *time.Time    `json:"fetchedAt,omitempty"`  // when the repository was last fetched from
	Error        string        `json:"error,omitempty"`      // why it could not be after that
	ErrorSince   *time.Time    `json:"errorSince,omitempty"` // since when
	Environments []Environment `json:"environments"`
}

// Head is where the branch stands.
type Head struct {
	Commit string    `json:"commit"`
	Seen   time.Time `json:"seen"` // when it was first fetched
}

// Environment is the status of one environment.
type Environment struct {
	Environment string       `json:"environment"`
	State       State        `json:"state"`
	Since       time.Time    `json:"since"`               // of State, for Head
	Head        string       `json:"head,omitempty"`      // the commit that State is about
	Candidate   string       `json:"candidate,omitempty"` // what it compiles to: the digest to approve of
	Rewritten   string       `json:"rewritten,omitempty"` // that the branch was moved back or rewritten, in words
	Published   *Publication `json:"published,omitempty"` // none: nothing is, or it could not be read yet
	Rules       []Rule       `json:"rules,omitempty"`     // that hold the candidate
	Mistakes    int          `json:"mistakes,omitempty"`  // of a head that is invalid
	Diagnostics string       `json:"diagnostics,omitempty"`
	Reason      string       `json:"reason,omitempty"` // of a failure, in one word: the label of the metric
	Error       string       `json:"error,omitempty"`  // of a failure
	NextTry     *time.Time   `json:"nextTry,omitempty"`
}

// Publication is what gateways are told to run.
type Publication struct {
	Commit      string       `json:"commit"`
	Dirty       bool         `json:"dirty,omitempty"` // built from files no commit holds
	Digest      string       `json:"digest"`
	Version     string       `json:"version"` // of the channel, epoch.version
	Number      int64        `json:"-"`       // the version alone
	PublishedAt time.Time    `json:"publishedAt"`
	ExpiresAt   time.Time    `json:"expiresAt"`
	Hold        *bundle.Hold `json:"hold,omitempty"`
}

// Rule is one rule that holds a candidate.
type Rule struct {
	Rule   string     `json:"rule"`
	Why    string     `json:"why"`
	Codes  []string   `json:"codes,omitempty"` // that an approval must name
	Risks  []Risk     `json:"risks,omitempty"` // the first ones
	More   int        `json:"more,omitempty"`  // how many risks are left out
	Needed int64      `json:"needed"`          // approvals by different people; 0: approvals do not help
	Have   int64      `json:"have"`
	Opens  *time.Time `json:"opens,omitempty"` // when the rule lets go by itself
	How    string     `json:"how"`             // to let it go, as a command line
}

// Risk is one thing a rule is about.
type Risk struct {
	Code    string   `json:"code"`
	Object  string   `json:"object,omitempty"`
	Pos     diag.Pos `json:"pos"`
	Message string   `json:"message"`
}

// shownRisks is how many risks of a rule a status lists.
const shownRisks = 20

func ruleOf(r *gate.Refusal, how string) Rule {
	out := Rule{Rule: r.Rule, Why: r.Why, Codes: r.Codes, Needed: r.Want, Have: r.Have, How: how}
	for i := range r.Risks {
		if i == shownRisks {
			out.More = len(r.Risks) - i
			break
		}
		k := &r.Risks[i]
		out.Risks = append(out.Risks, Risk{k.Code, k.Object, k.Pos, k.Message})
	}
	if !r.Opens.IsZero() {
		at := r.Opens.UTC()
		out.Opens = &at
	}
	return out
}

// Status returns the present status.
func (p *Publisher) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.status
	s.Environments = slices.Clone(s.Environments) // what it points to is never changed, only replaced
	return s
}

// Ready reports whether every environment has been decided at least once.
func (p *Publisher) Ready() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !slices.ContainsFunc(p.status.Environments, func(e Environment) bool { return e.State == Pending })
}

func (p *Publisher) update(change func(*Status)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.status)
}
