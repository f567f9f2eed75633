// Package policy is the contract between the gateway and its policies: what a policy sees (Exchange), what it may say
// (Verdict), and how a kind of policy is defined (Define). The compiler targets it as an instruction set; the runtime
// executes it. It must not do I/O, and it must not know the engine or any single kind.
package policy

import (
	"context"
	"net/netip"
	"time"

	"github.com/suuupra/gateway/internal/facts"
	"github.com/suuupra/gateway/runtime/httpmsg"
)

// Phase is a step of the request pipeline. The order is the product's, never the file's: design, section 7.
type Phase uint8

// The phases in the order in which a request meets them. Matching comes before the first, recording after the last;
// timeouts, retries and breakers are settings of forwarding, not policies.
const (
	PhaseAdmit        Phase = iota // ip, signed URL, cors, waf, body limits
	PhaseAuthenticate              // who is it
	PhaseAuthorise                 // may they
	PhaseLimit                     // how much; after authentication, so that keys may use claims
	PhaseTransform                 // rewrite what goes upstream
	PhaseForward
)

// String names the phase as `gwctl explain` prints it.
func (p Phase) String() string {
	return [...]string{"admit", "authenticate", "authorise", "limit", "transform", "forward"}[p]
}

// Exchange is the project's own view of one request on its way through the pipeline. It outlives neither the request nor
// its snapshot.
type Exchange struct {
	Request *httpmsg.Request

	// Path is the normalised path that was matched, that policies judge, and that goes upstream.
	Path     string
	RawQuery string // without "?"
	ClientIP netip.Addr
	ID       string // request id: the client's if a trusted proxy sent one, else ours

	Route  Route
	Params []Param // captures of the route's path, in pattern order

	// Tenant is whose request it is: the route's owner, or, on a route that nobody owns, whom the gateway's tenancy has found; "" if there
	// is none. What only a token or an API key tells is known from the authorise phase on.
	Tenant string

	Principal *Principal // who the verified token speaks of; nil: nobody
	Key       *Key       // the API key that was accepted; nil: none
	Limits    []Limited  // the limits that the request was counted in

	// ForwardPath and ForwardQuery are what goes upstream where a policy has rewritten it; an empty ForwardPath: Path and RawQuery do.
	ForwardPath, ForwardQuery string
	// NoTrailers keeps what the client sends behind its body from the upstream: nobody has judged it.
	NoTrailers bool

	// MaxBody bounds the request body in bytes. The engine enforces it while reading.
	MaxBody int64

	Attempt  int // upstream attempts so far
	Upstream string
	Endpoint string
	Cause    string // what was behind a refusal or a failure of the upstream's, for records alone; never holds a secret
	Timings  Timings
}

// Forwarded is the path and the query that go upstream.
func (x *Exchange) Forwarded() (path, query string) {
	if x.ForwardPath != "" {
		return x.ForwardPath, x.ForwardQuery
	}
	return x.Path, x.RawQuery
}

// Param returns a capture of the route's path.
func (x *Exchange) Param(name string) (string, bool) {
	for i := range x.Params {
		if x.Params[i].Name == name {
			return x.Params[i].Value, true
		}
	}
	return "", false
}

// Facts is what templates may tell of the request, by the names of its route.
func (x *Exchange) Facts(names *facts.Names) facts.Request {
	r := facts.Request{
		Names: names, Route: x.Route.ID, ID: x.ID, Method: x.Request.Method, Host: x.Request.Host, Path: x.Path, Client: x.ClientIP,
		Tenant: x.Tenant, Captures: x,
	}
	if x.Principal != nil {
		r.Claims = x.Principal.Claims
	}
	return r
}

// Route is what policies and records may know about the matched route. The zero value means "no route matched".
type Route struct {
	ID      string
	Pattern string
	Tenant  string
}

// Limited is where a request left a limit.
type Limited struct {
	ID        string
	Quota     int64 // tokens for each window
	Window    time.Duration
	Remaining int64         // tokens left
	Reset     time.Duration // until the bucket is full again
}

// Param is one path capture.
type Param struct{ Name, Value string }

// Timings are the moments of an exchange, for records and metrics. Zero means "did not happen".
type Timings struct {
	Start          time.Time // first byte of the request header
	UpstreamStart  time.Time // request sent
	UpstreamHeader time.Time // response header read
}

// Verdict is what a policy decides. The zero value lets the request pass.
type Verdict struct {
	Reject   *Reject
	Response *httpmsg.Response // answer at once, without forwarding; ignored if Reject is set
}

// Pass lets the request go on.
var Pass Verdict

// Refuse is the verdict that stops a request.
func Refuse(r *Reject) Verdict { return Verdict{Reject: r} }

// Reject is a refusal. One place in the runtime turns it into a problem+json response, a metric and a log line.
type Reject struct {
	Status int
	Code   string // stable reason, snake_case: a label of metrics and the "code" member of the response
	Detail string // for the client; never holds a secret
	Header []httpmsg.Field

	Type     string   // URI of the problem type (RFC 9457); empty: about:blank
	Violated []string // ids of the limits that were exceeded
}

// Handler is one policy on one route. Decide looks at the request and says go on, answer, or refuse. It has no effect
// except through the Env it was built with, so the same code serves traffic, runs offline tests, and judges a candidate
// in the shadow. A Handler that owns anything also implements io.Closer.
type Handler interface {
	Decide(ctx context.Context, x *Exchange) Verdict
}

// ResponseHandler is a Handler that also edits the response header before it is sent: the upstream's, and that of a refusal or an
// answer of the gateway, if the policy was asked before it.
type ResponseHandler interface {
	Respond(ctx context.Context, x *Exchange, r *httpmsg.Response)
}

// PreflightHandler is a Handler that answers preflight requests (the Fetch standard, section 4.8) itself. A route that has one is
// found for them by the method that they ask about.
type PreflightHandler interface {
	Preflights() bool
}

// StreamHandler is a Handler that rewrites response bodies as they stream. It is asked after every policy has seen the response
// header, which it may still edit (Content-Encoding, ETag); nil leaves this body alone. Who rewrites a body whose length it cannot
// tell ahead sets ContentLength to -1.
type StreamHandler interface {
	Stream(ctx context.Context, x *Exchange, r *httpmsg.Response) Stream
}

// Stream rewrites one response body. What its methods return is valid until the next call; an error cuts the response. It is for one
// goroutine at a time.
type Stream interface {
	// Chunk takes in a piece of the body, which it may not keep, and returns what can be sent already.
	Chunk(p []byte) ([]byte, error)
	// Flush is called when the upstream pauses: everything that was taken in has to come out, however it compresses.
	Flush() ([]byte, error)
	// End is called once after the last piece.
	End() ([]byte, error)
	// Close is called once, last, however the response ended.
	Close()
}

// FinishHandler is a Handler that settles accounts when the exchange is over, however it ended.
type FinishHandler interface {
	Finish(x *Exchange, status int)
}
