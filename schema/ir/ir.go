// Package ir holds the compiled form of a configuration: every reference resolved, every default filled in, nothing left
// to decide. The compiler emits it as canonical JSON into the shards of a bundle; the runtime decodes it from there.
// Durations are whole milliseconds, sizes are bytes, and there are no floats, so that equal meaning has equal bytes.
package ir

import (
	"encoding/json"

	"github.com/suuupra/gateway/schema/diag"
)

// Program is one environment, resolved: the second of the four types.
type Program struct {
	Environment string
	Gateway     Gateway
	Upstreams   []Upstream // sorted by ID
	Routes      []Route    // sorted by ID; the router decides by specificity, never by order
	Origins     Origins    // where people set each value; travels in a shard of its own
}

// Origins maps the address of a value, e.g. "routes/users-api/matcher.path", to the place that set it. It is kept apart
// from the content so that moving a line in a file changes no content digest.
type Origins map[string]diag.Pos

// Gateway holds the settings that belong to no route.
type Gateway struct {
	Name           string     `json:"name"`
	Listeners      []Listener `json:"listeners"`
	TrustedProxies []string   `json:"trustedProxies,omitempty"` // CIDR prefixes, canonical, sorted
	Limits         Limits     `json:"limits"`
	Timeouts       Timeouts   `json:"timeouts"`
	AccessLog      AccessLog  `json:"accessLog"`
	Admin          Admin      `json:"admin"`
	Tracing        Tracing    `json:"tracing"`
}

// Listener is one address the gateway serves on.
type Listener struct {
	ID      string `json:"id"`
	Address string `json:"address"` // host:port, host may be empty
}

// Limits bound what a client may send, before any route is known. Exceeding one is answered as noted.
type Limits struct {
	HeaderBytes  int64 `json:"headerBytes"`  // request line and header block: 431
	HeaderFields int64 `json:"headerFields"` // number of header fields: 431
	URLBytes     int64 `json:"urlBytes"`     // request target: 414
	BodyBytes    int64 `json:"bodyBytes"`    // request body, unless the route says otherwise: 413
}

// Timeouts bound the client's side of a connection, in milliseconds.
type Timeouts struct {
	ReadHeader int64 `json:"readHeader"` // from the first byte of a request to the end of its header
	BodyIdle   int64 `json:"bodyIdle"`   // between two reads of a request body, and two writes of a response
	KeepAlive  int64 `json:"keepAlive"`  // an idle connection between requests
}

// AccessLog says which requests are logged. Off unless asked for.
type AccessLog struct {
	Enabled bool   `json:"enabled"`
	Format  string `json:"format"` // "json" or "text"
}

// Admin holds the switches of the admin API. While APIEnabled is false every /admin path answers 404.
type Admin struct {
	APIEnabled               bool `json:"apiEnabled"`
	HotReloadEnabled         bool `json:"hotReloadEnabled"`         // POST /admin/reload asks for a poll
	SecretsManagementEnabled bool `json:"secretsManagementEnabled"` // GET /admin/secrets lists references, never values
	DashboardUIEnabled       bool `json:"dashboardUiEnabled"`       // GET /admin/ui
}

// Tracing configures OpenTelemetry export over OTLP/HTTP. No endpoint means no spans; W3C context is forwarded either way.
type Tracing struct {
	Endpoint     string `json:"endpoint,omitempty"` // e.g. http://collector:4318
	SamplePerMil int64  `json:"samplePerMil"`       // of requests without a sampled parent, in thousandths
}

// Upstream is a named set of endpoints. One given inline by a route's url has its origin (scheme://host:port) as ID, so
// that routes which name the same origin share its connections.
type Upstream struct {
	ID        string     `json:"id"`
	Tenant    string     `json:"tenant,omitempty"` // whose rules bind the addresses it may dial; empty: the base's
	Scheme    string     `json:"scheme"`           // "http" or "https", the same for every endpoint
	Endpoints []Endpoint `json:"endpoints"`        // in authored order
	Host      string     `json:"host,omitempty"`   // sent as Host; empty: as received
	// PrivateAddresses allows loopback and private addresses; link-local and metadata addresses are never dialled.
	PrivateAddresses bool  `json:"privateAddresses"`
	ConnectTimeout   int64 `json:"connectTimeout"` // dial and TLS handshake, in milliseconds
	IdleTimeout      int64 `json:"idleTimeout"`    // an unused pooled connection, in milliseconds
	MaxIdle          int64 `json:"maxIdle"`        // pooled unused connections per endpoint
	MaxConnections   int64 `json:"maxConnections"` // open connections per endpoint; more requests than that are 503
}

// Endpoint is one address of an upstream.
type Endpoint struct {
	Address string `json:"address"` // host:port, port always present
}

// Route sends the requests it matches to a target, through its policies.
type Route struct {
	ID       string   `json:"id"`
	Tenant   string   `json:"tenant,omitempty"`
	Match    Match    `json:"match"`
	Target   Target   `json:"target"`
	Forward  Forward  `json:"forward"`
	Policies []Policy `json:"policies,omitempty"` // in pipeline order
}

// Match is a predicate over requests; package match gives its meaning.
type Match struct {
	Host      string   `json:"host,omitempty"` // lower case; exact, or "*." and a suffix; empty matches any
	Path      string   `json:"path,omitempty"` // canonical pattern; empty only if PathRegex is set
	PathRegex string   `json:"pathRegex,omitempty"`
	Methods   []string `json:"methods,omitempty"` // sorted; empty matches any
	Headers   []Pair   `json:"headers,omitempty"` // sorted by Name, lower case
	Query     []Pair   `json:"query,omitempty"`   // sorted by Name
}

// Pair is a name with the value it must have; "*" stands for any value.
type Pair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Target says where a route's requests go. Plan is the compiled form of the target kind named by Type.
type Target struct {
	Type     string          `json:"type"`
	Upstream string          `json:"upstream,omitempty"`
	Plan     json.RawMessage `json:"plan,omitempty"`
}

// Forward holds the settings of the forward phase, in milliseconds; 0 switches a timeout off.
type Forward struct {
	Timeout       int64 `json:"timeout"`       // whole exchange, from the first request byte to the last response byte
	HeaderTimeout int64 `json:"headerTimeout"` // from the request sent to the response header read
	IdleTimeout   int64 `json:"idleTimeout"`   // between two reads of the response body
}

// Policy is one policy on one route, compiled. Plan is the canonical JSON of the kind's Plan type.
type Policy struct {
	Kind string          `json:"kind"`
	Plan json.RawMessage `json:"plan"`
}
