package redisstate

import "github.com/suuupra/gateway/runtime/policy"

// The metrics of a Client.
var (
	vectorUp = &policy.Vector{
		Name: "gw_state_up", Gauge: true,
		Help: "Whether the state that gateways share can be asked: 1, or 0 while calls fail.",
	}
	vectorReplicas = &policy.Vector{
		Name: "gw_state_replicas", Gauge: true,
		Help: "Gateways that share the state, this one included, as last heard.",
	}
	vectorPepper = &policy.Vector{
		Name: "gw_state_other_pepper", Gauge: true,
		Help: "Whether the other gateways hash API keys under another pepper than this one, so that their keys are invalid here: 1, or 0.",
	}
	vectorCalls = &policy.Vector{
		Name: "gw_state_calls_total", Labels: []string{"call"},
		Help: "Calls to the shared state, by what they were for: take, first, key, admin or beat.",
	}
	vectorSeconds = &policy.Vector{
		Name: "gw_state_call_seconds_total", Labels: []string{"call"},
		Help: "Time that calls to the shared state took; over gw_state_calls_total it is their mean.",
	}
	vectorErrors = &policy.Vector{
		Name: "gw_state_errors_total", Labels: []string{"reason"},
		Help: "Calls to the shared state that failed: timeout, refused, auth, readonly, oom, loading, other, or paused if it was not asked at all after too many failures.",
	}
	vectorCache = &policy.Vector{
		Name: "gw_state_key_cache_total", Labels: []string{"outcome"},
		Help: "API keys that were looked up in memory: hit or miss.",
	}
)

// Vectors are the metrics of a Client, for whoever makes them before their first series.
var Vectors = []*policy.Vector{vectorUp, vectorReplicas, vectorPepper, vectorCalls, vectorSeconds, vectorErrors, vectorCache}

// metrics are the series of a Client, looked up once.
type metrics struct {
	up, replicas, otherPepper      policy.Series
	hit, miss                      policy.Series
	take, first, key, admin, beats callSeries
	errors                         map[reason]policy.Series
}

// callSeries are the calls of one sort.
type callSeries struct{ calls, seconds policy.Series }

func newMetrics(m policy.Metrics) metrics {
	if m == nil {
		m = nobody{}
	}
	of := func(call string) callSeries {
		return callSeries{m.Series(vectorCalls, call), m.Series(vectorSeconds, call)}
	}
	out := metrics{
		up: m.Series(vectorUp), replicas: m.Series(vectorReplicas), otherPepper: m.Series(vectorPepper),
		hit: m.Series(vectorCache, "hit"), miss: m.Series(vectorCache, "miss"),
		take: of("take"), first: of("first"), key: of("key"), admin: of("admin"), beats: of("beat"),
		errors: map[reason]policy.Series{},
	}
	for _, r := range reasons {
		out.errors[r] = m.Series(vectorErrors, string(r))
	}
	return out
}

// nobody counts nothing.
type nobody struct{}

func (nobody) Series(*policy.Vector, ...string) policy.Series { return nobody{} }
func (nobody) Add(float64)                                    {}
func (nobody) Set(float64)                                    {}
