package admin

import (
	"time"

	"github.com/suuupra/gateway/runtime/breaker"
	"github.com/suuupra/gateway/runtime/drift"
	"github.com/suuupra/gateway/runtime/shed"
	"github.com/suuupra/gateway/runtime/simulate"
	"github.com/suuupra/gateway/runtime/state/redisstate"
	"github.com/suuupra/gateway/runtime/upstream"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
)

// StatusProvider knows what the gateway is doing. It is asked on each request, at the same time from many.
type StatusProvider interface {
	// Status is the whole picture. Start, uptime and build may be left out: the server fills what it knows.
	Status() Status
	// NotReady says why the gateway should get no traffic, e.g. "no bundle has been activated yet" or "draining"; nothing
	// if it should.
	NotReady() []string
	// Admin are the switches of the running bundle; before the first, all of them are off.
	Admin() ir.Admin
}

// Routes lists what is running.
type Routes interface {
	// After returns up to limit routes in the order of their ids, beginning behind the id given; "" is the beginning.
	After(id string, limit int) []ir.Route
	// Route returns one route.
	Route(id string) (ir.Route, bool)
}

// Upstreams tells how the upstreams of the running bundle are.
type Upstreams interface {
	// Upstreams returns up to limit upstreams in the order of their ids, beginning behind the id given; "" is the beginning.
	Upstreams(after string, limit int) []upstream.Status
	// Upstream returns one upstream with everything that is known about it.
	Upstream(id string) (UpstreamStatus, bool)
}

// UpstreamStatus is one upstream with the breakers of the routes that go to it.
type UpstreamStatus struct {
	upstream.Status
	Breakers []Breaker `json:"breakers"`
}

// Breaker is the circuit breaker between a route and an upstream.
type Breaker struct {
	Route string `json:"route"`
	breaker.Status
}

// Secrets lists references to secrets, never values.
type Secrets interface {
	Secrets() []SecretReference
}

// Status is what GET /admin/status says. Times are UTC; what has not happened is null.
type Status struct {
	Running   *Running   `json:"running"`
	Source    Source     `json:"source"`
	Drift     *Drift     `json:"drift"`
	Listeners []Listener `json:"listeners"`
	// RestartNeeded names the listeners that the running bundle opens otherwise than they are open, which only a restart changes.
	RestartNeeded []string `json:"restartNeeded,omitempty"`
	// MissingSecrets are references that policies need and that could never be read: their routes answer 503.
	MissingSecrets []string    `json:"missingSecrets,omitempty"`
	LoadShedding   shed.Status `json:"loadShedding"`
	// SharedState is the Redis that limits and API keys are in; null if there is none.
	SharedState *redisstate.Status `json:"sharedState"`
	// Instance is the name of this gateway among those of its environment.
	Instance string `json:"instance,omitempty"`
	// Fleet is what the gateways of the environment run, by name, this one included; absent while they cannot see each other.
	Fleet         []drift.Instance `json:"fleet,omitempty"`
	StartedAt     time.Time        `json:"startedAt"`
	UptimeSeconds int64            `json:"uptimeSeconds"`
	Build         Build            `json:"build"`
}

// Running is the bundle that serves.
type Running struct {
	Version       uint64     `json:"version"` // of the channel
	Epoch         uint64     `json:"epoch"`   // of the channel
	Digest        string     `json:"digest"`  // of the manifest
	ContentDigest string     `json:"contentDigest"`
	Commit        string     `json:"commit"`
	Environment   string     `json:"environment"`
	ActivatedAt   time.Time  `json:"activatedAt"`
	ExpiresAt     *time.Time `json:"expiresAt"` // of the channel
	Routes        int        `json:"routes"`
	Overlays      []string   `json:"overlays,omitempty"` // ids of those that are laid over it
}

// Source is where bundles come from, and what came of the last attempts.
type Source struct {
	Kind           string     `json:"kind"` // file, git, oci, https
	Mode           string     `json:"mode"` // of sync: off, dry-run, gated, auto
	LastRequest    *time.Time `json:"lastRequest"`
	LastDownload   *time.Time `json:"lastDownload"`
	LastActivation *time.Time `json:"lastActivation"` // moves only when the digest changes
	LastError      *Failure   `json:"lastError"`
	Pending        *Pending   `json:"pending"`
}

// Failure is what is wrong now. It goes away with the next success.
type Failure struct {
	Code    string    `json:"code"`
	Message string    `json:"message"`
	Since   time.Time `json:"since"`
}

// Pending is a bundle that was fetched but does not serve.
type Pending struct {
	Version uint64 `json:"version"`
	Epoch   uint64 `json:"epoch,omitempty"`
	Digest  string `json:"digest"`
	Reason  string `json:"reason"` // why it waits
	// Held are the kinds of rules that hold it: gate, window, dryRun, sync, other.
	Held []string `json:"held,omitempty"`
	// Rules are those that hold it; none where the mode of sync alone does.
	Rules []Rule `json:"rules,omitempty"`
	// DryRun is what live requests have said about it until now; null if they are not asked.
	DryRun *simulate.ShadowReport `json:"dryRun,omitempty"`
}

// Rule is one rule that holds a candidate.
type Rule struct {
	Rule      string     `json:"rule"`
	Why       string     `json:"why"`
	Codes     []string   `json:"codes,omitempty"` // that an approval must name
	Risks     []Risk     `json:"risks,omitempty"`
	Approvals int64      `json:"approvals"` // it has
	Needed    int64      `json:"needed"`
	Opens     *time.Time `json:"opens,omitempty"` // when it lets go by itself
}

// Risk is one reason to look twice at a change.
type Risk struct {
	Code     string   `json:"code"`
	Severity string   `json:"severity"`
	Object   string   `json:"object,omitempty"`
	Pos      diag.Pos `json:"pos,omitzero"`
	Message  string   `json:"message"`
}

// Drift is how what runs differs from what should.
type Drift struct {
	CheckedAt     time.Time    `json:"checkedAt"`     // of the class that was compared last
	CommitsBehind *int         `json:"commitsBehind"` // null: not known
	Classes       []DriftClass `json:"classes"`
	// Source is the comparison with the repository in full; null if none was made.
	Source *drift.Report `json:"source"`
	// Trust is how far what runs is trusted; absent before it was judged.
	Trust *drift.TrustReport `json:"trust,omitempty"`
}

// DriftClass is one class of drift: source, live, fleet or trust.
type DriftClass struct {
	Class    string `json:"class"`
	Detected bool   `json:"detected"`
	// Unknown says that the class cannot be compared now, and Detail why.
	Unknown bool       `json:"unknown,omitempty"`
	Since   *time.Time `json:"since,omitempty"` // that it is so
	Detail  string     `json:"detail,omitempty"`
	Details []string   `json:"details,omitempty"` // the difference, line by line
}

// FleetProvider knows what the gateways of the environment run. It is asked on each request, at the same time from many.
type FleetProvider interface{ Fleet() Fleet }

// Fleet is what GET /admin/fleet says.
type Fleet struct {
	Environment string           `json:"environment"`
	Instance    string           `json:"instance"`  // who says so
	Known       bool             `json:"known"`     // the gateways see each other; if not, Detail says why
	Detail      string           `json:"detail"`    // one sentence
	Digests     int              `json:"digests"`   // different bundles that run
	Late        []string         `json:"late"`      // gateways that have run something else than the others for long, and why
	Refused     int              `json:"refused"`   // entries in Redis that are no reports
	Instances   []drift.Instance `json:"instances"` // by name
}

// Listener is one address the gateway serves on.
type Listener struct {
	ID      string `json:"id"`
	Address string `json:"address"` // as bound
}

// Build is the running program.
type Build struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
}

// SecretReference names a secret the configuration uses.
type SecretReference struct {
	Name    string   `json:"name"`
	Backend string   `json:"backend"` // env, file, vault, ...
	UsedBy  []string `json:"usedBy"`  // e.g. "routes/users-api"
}
