package ir

// Upstream is a named set of endpoints. One given inline by a route's url has its origin (scheme://host:port) as ID, so
// that routes which name the same origin share its connections. A part that is nil has its feature off, or its defaults
// where the field says so: most upstreams are inline, and a bundle may hold 100,000 of them.
type Upstream struct {
	ID        string     `json:"id"`
	Tenant    string     `json:"tenant,omitempty"`    // whose rules bind the addresses it may dial; empty: the base's
	Scheme    string     `json:"scheme"`              // "http" or "https", the same for every endpoint
	Protocol  string     `json:"protocol,omitempty"`  // "http1" or "http2"; empty: http1 on http, what ALPN agrees on over https
	Endpoints []Endpoint `json:"endpoints,omitempty"` // in authored order; none if Discovery finds them
	Discovery *Discovery `json:"discovery,omitempty"`
	Host      string     `json:"host,omitempty"` // sent as Host; empty: as received
	// PrivateAddresses allows loopback and private addresses; link-local and metadata addresses are never dialled.
	PrivateAddresses bool  `json:"privateAddresses"`
	ConnectTimeout   int64 `json:"connectTimeout"` // dial and TLS handshake, in milliseconds
	IdleTimeout      int64 `json:"idleTimeout"`    // an unused pooled connection, in milliseconds
	MaxIdle          int64 `json:"maxIdle"`        // pooled unused connections per endpoint
	MaxConnections   int64 `json:"maxConnections"` // open connections per endpoint

	Limits  *Bulkhead    `json:"limits,omitempty"`  // nil: DefaultBulkhead
	Balance *Balance     `json:"balance,omitempty"` // nil: leastConnections
	Health  *Health      `json:"health,omitempty"`  // nil: no active checks
	Outlier *Outlier     `json:"outlier,omitempty"` // nil: no ejection
	TLS     *UpstreamTLS `json:"tls,omitempty"`     // nil: the system's roots, the endpoint's name, no client certificate
}

// Endpoint is one address of an upstream.
type Endpoint struct {
	Address  string `json:"address"`            // host:port, port always present
	Weight   int64  `json:"weight,omitempty"`   // share of the traffic, 1 to 65535; 0 stands for 1
	Metadata []Pair `json:"metadata,omitempty"` // sorted by Name; shown by the admin API, no meaning of its own
}

// Bulkhead bounds what one upstream as a whole may hold of the gateway. Exceeding a bound is answered 503 at once.
type Bulkhead struct {
	Connections int64 `json:"connections"` // open, all endpoints together
	Pending     int64 `json:"pending"`     // requests that wait for a connection
	Requests    int64 `json:"requests"`    // requests under way, streams included
	Retries     int64 `json:"retries"`     // retries under way, whatever the retry budget allows
}

// DefaultBulkhead holds where an upstream says nothing: Envoy's caps, with room for streams.
var DefaultBulkhead = Bulkhead{Connections: 65536, Pending: 1024, Requests: 65536, Retries: 256}

// Balancing strategies.
const (
	BalanceRoundRobin       = "roundRobin"       // in turn; weights are ignored
	BalanceWeighted         = "weighted"         // smooth weighted round robin
	BalanceRandom           = "random"           // by weight
	BalanceLeastConnections = "leastConnections" // the less loaded of two random endpoints; the default
	BalanceLeastLatency     = "leastLatency"     // the lower peak EWMA of latency x load of two random endpoints
	BalanceRingHash         = "ringHash"         // consistent hashing on a ring
	BalanceMaglev           = "maglev"           // consistent hashing by Maglev's table
)

// Balance says how an endpoint is chosen.
type Balance struct {
	Strategy string `json:"strategy"`
	// HashOn is what the key of ringHash and maglev is made of, in order: parts a request lacks count as empty. A request that
	// lacks all of them goes to an endpoint chosen at random.
	HashOn []HashPart `json:"hashOn,omitempty"`
	// BoundPercent is how much of the average load an endpoint may have before a hash passes over it, in percent (bounded
	// load, arXiv:1608.01350): 100 to 10000. 0: no bound.
	BoundPercent int64 `json:"boundPercent,omitempty"`
	SlowStart    int64 `json:"slowStart,omitempty"` // milliseconds in which a new endpoint comes to its full weight; 0: at once
}

// HashPart is one part of a hash key: exactly one of its fields is set.
type HashPart struct {
	Header string `json:"header,omitempty"` // lower case
	Cookie string `json:"cookie,omitempty"`
	Query  string `json:"query,omitempty"`
	IP     bool   `json:"ip,omitempty"` // the client's address
}

// Health holds the active checks of an upstream's endpoints.
type Health struct {
	Type     string `json:"type"`              // "http", "tcp" or "grpc"
	Path     string `json:"path,omitempty"`    // http
	Method   string `json:"method,omitempty"`  // http: GET or HEAD
	Host     string `json:"host,omitempty"`    // http: sent as Host; empty: the upstream's host, else the endpoint's
	Status   []Span `json:"status,omitempty"`  // http: what is healthy
	Service  string `json:"service,omitempty"` // grpc: of the health protocol; empty asks for the server as a whole
	Port     int64  `json:"port,omitempty"`    // checked in place of the endpoint's own; 0: its own
	Interval int64  `json:"interval"`          // between two checks of one endpoint, in milliseconds
	Timeout  int64  `json:"timeout"`           // of one check, in milliseconds
	// JitterPercent spreads each interval by as much, up and down, so that checks do not march in step.
	JitterPercent int64 `json:"jitterPercent"`
	Healthy       int64 `json:"healthy"`   // passes in a row that bring an endpoint back
	Unhealthy     int64 `json:"unhealthy"` // failures in a row that take it out
	// PanicPercent: below this share of healthy endpoints all of them are used. 0: never. Holds for outlier ejection too.
	PanicPercent int64 `json:"panicPercent"`
}

// Span is a range of statuses, both ends included.
type Span struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// Outlier holds the passive checks: endpoints that answer badly are ejected for a while. Names, meanings and defaults are
// Envoy's (api/envoy/config/cluster/v3/outlier_detection.proto).
type Outlier struct {
	Consecutive5xx            int64 `json:"consecutive5xx"`            // in a row; 0: off
	ConsecutiveGatewayFailure int64 `json:"consecutiveGatewayFailure"` // 502, 503, 504 and failed connections in a row; 0: off
	Interval                  int64 `json:"interval"`                  // between two sweeps, in milliseconds
	BaseEjection              int64 `json:"baseEjection"`              // times the number of ejections, in milliseconds
	MaxEjection               int64 `json:"maxEjection"`               // longest ejection, in milliseconds
	MaxEjectedPercent         int64 `json:"maxEjectedPercent"`         // of the endpoints; at least one may always be ejected
	SuccessRateHosts          int64 `json:"successRateHosts"`          // endpoints with enough requests that the rate needs; 0: off
	SuccessRateRequests       int64 `json:"successRateRequests"`       // requests in an interval that count as enough
	SuccessRateFactorPerMil   int64 `json:"successRateFactorPerMil"`   // standard deviations below the mean, in thousandths
	FailurePercent            int64 `json:"failurePercent"`            // share of failures that ejects; 0: off
	FailurePercentRequests    int64 `json:"failurePercentRequests"`
	// SmallPools replaces the statistics where they are blind, in pools of two to four endpoints, by a chance to pass an
	// endpoint over that grows with its share of failures.
	SmallPools   bool  `json:"smallPools"`
	PanicPercent int64 `json:"panicPercent"` // as Health.PanicPercent
}

// UpstreamTLS says whom to believe, and who to be, when connecting to https endpoints. Secrets are references.
type UpstreamTLS struct {
	CA         string `json:"ca,omitempty"`   // secret reference to PEM certificates, in place of the system's roots
	Cert       string `json:"cert,omitempty"` // secret reference: client certificate chain, PEM
	Key        string `json:"key,omitempty"`  // secret reference: its private key, PEM
	SNI        string `json:"sni,omitempty"`  // name sent and verified; empty: the endpoint's
	MinVersion string `json:"minVersion,omitempty"`
	// SkipVerify takes any certificate. For tests against servers nobody can repair; the compiler warns.
	SkipVerify bool `json:"skipVerify,omitempty"`
}

// Discovery says where the endpoints of an upstream are found: exactly one of its fields is set.
type Discovery struct {
	DNS        *DNS               `json:"dns,omitempty"`
	Kubernetes *KubernetesService `json:"kubernetes,omitempty"`
	Consul     *ConsulService     `json:"consul,omitempty"`
}

// DNS finds endpoints by address or service records.
type DNS struct {
	Name    string   `json:"name"`
	Type    string   `json:"type"`              // "A", "AAAA", "ip" (both) or "SRV"
	Port    int64    `json:"port,omitempty"`    // of address records; SRV brings its own
	Servers []string `json:"servers,omitempty"` // host:port; none: those of /etc/resolv.conf
	MinTTL  int64    `json:"minTtl"`            // floor of the time between two lookups, in milliseconds
	MaxTTL  int64    `json:"maxTtl"`            // and its cap
}

// KubernetesService finds endpoints by the EndpointSlices of a service.
type KubernetesService struct {
	Namespace  string `json:"namespace"`
	Service    string `json:"service"`
	Port       string `json:"port,omitempty"`       // name or number of the slice's port; empty: its only one
	Kubeconfig string `json:"kubeconfig,omitempty"` // path on the gateway's machine; empty: the pod's service account
}

// ConsulService finds endpoints by the health API of Consul.
type ConsulService struct {
	Address    string   `json:"address"` // of the agent, as a URL
	Service    string   `json:"service"`
	Tags       []string `json:"tags,omitempty"` // all of which an instance must have; sorted
	Datacenter string   `json:"datacenter,omitempty"`
	Namespace  string   `json:"namespace,omitempty"`
	Token      string   `json:"token,omitempty"` // secret reference
	Wait       int64    `json:"wait"`            // of a blocking query, in milliseconds
}
