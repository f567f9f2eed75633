package policy

// Vector declares one metric of a kind: a family of series, made once for the process. Label values come from the configuration
// and from constants, never from a request. Series with the label "route" go away with their route.
type Vector struct {
	Name   string // gw_<area>_<what>_<unit|total>
	Help   string
	Labels []string
	Gauge  bool // false: a counter
}

// Metrics hands out series of the vectors that the kinds have declared.
type Metrics interface {
	// Series returns the series with these values of the labels, in their order.
	Series(v *Vector, values ...string) Series
}

// Series is one counter or gauge.
type Series interface {
	Add(n float64)
	Set(v float64) // of a gauge
}

// With adds the metrics of the kind beside the decisions that are counted for every kind.
func (k Kind) With(vectors ...*Vector) Kind {
	k.Vectors = vectors
	return k
}

// AuthzDenied counts callers that are known and may not; every kind that judges them counts here.
var AuthzDenied = &Vector{
	Name: "gw_authz_denied_total", Labels: []string{"route", "reason"},
	Help: "Requests that were denied because of who asks, by what is lacking: role, scope, perm, condition, or anonymous if nobody is known; with the prefix shadow_ if they were let pass all the same.",
}
