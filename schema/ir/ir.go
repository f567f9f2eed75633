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
	// LoadShedding is nil where it is switched off.
	LoadShedding *LoadShedding `json:"loadShedding,omitempty"`
	// GitOps is nil where nothing but DefaultGitOps is asked for.
	GitOps *GitOps `json:"gitops,omitempty"`
	// Tenancy is nil where there are no tenants.
	Tenancy *Tenancy `json:"tenancy,omitempty"`
}

// Listener is one address the gateway serves on.
type Listener struct {
	ID      string       `json:"id"`
	Address string       `json:"address"`       // host:port, host may be empty
	TLS     *ListenerTLS `json:"tls,omitempty"` // nil: plain
	HTTP2   HTTP2        `json:"http2"`
	// ProxyProtocol: peers within these prefixes must begin each connection with a PROXY protocol header (versions 1 and 2), and
	// are believed about where it comes from. Empty: nobody may.
	ProxyProtocol []string `json:"proxyProtocol,omitempty"`
}

// ListenerTLS terminates TLS. Certificates are chosen by SNI among the names they are valid for; the first one answers clients
// that name none, or one nobody has.
type ListenerTLS struct {
	Certificates []Certificate `json:"certificates"`
	MinVersion   string        `json:"minVersion"` // "1.2" or "1.3"
}

// Certificate is a chain and its key, both secret references to PEM. They are read again when they change.
type Certificate struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`
}

// HTTP2 says whether a listener speaks HTTP/2: on TLS if ALPN agrees on it, in the clear by prior knowledge.
type HTTP2 struct {
	Enabled    bool  `json:"enabled"`    // on TLS
	Cleartext  bool  `json:"cleartext"`  // without TLS
	MaxStreams int64 `json:"maxStreams"` // at a time on one connection
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

// Tracing configures OpenTelemetry export over OTLP/HTTP. No endpoint means no spans; W3C context is forwarded either way.
type Tracing struct {
	Endpoint     string `json:"endpoint,omitempty"` // e.g. http://collector:4318
	SamplePerMil int64  `json:"samplePerMil"`       // of requests without a sampled parent, in thousandths
}

// Route sends the requests it matches to a target, through its policies.
type Route struct {
	ID       string   `json:"id"`
	Tenant   string   `json:"tenant,omitempty"`
	Match    Match    `json:"match"`
	Target   Target   `json:"target"`
	Forward  Forward  `json:"forward"`
	Policies []Policy `json:"policies,omitempty"` // in pipeline order
	Wrote    []Wrote  `json:"wrote,omitempty"`    // what tenants have a part in of Policies and Forward.Priority; sorted by Tenant
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

// Policy is one policy on one route, compiled. Plan is the canonical JSON of the kind's Plan type.
type Policy struct {
	Kind string          `json:"kind"`
	Plan json.RawMessage `json:"plan"`
}
