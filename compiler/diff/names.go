package diff

import (
	"encoding/json"
	"strings"

	"github.com/suuupra/gateway/schema/ir"
)

// The authored names of compiled fields, where they differ; a dot leads into a part of its own.
var (
	limitNames    = map[string]string{"headerBytes": "maxHeaderBytes", "headerFields": "maxHeaderFields", "urlBytes": "maxUrlBytes", "bodyBytes": "maxBodyBytes"}
	upstreamNames = map[string]string{"maxIdle": "maxIdleConnections", "balance": "loadBalancing"}
	healthNames   = map[string]string{"healthy": "healthyThreshold", "unhealthy": "unhealthyThreshold"}
	outlierNames  = map[string]string{
		"baseEjection": "baseEjectionTime", "maxEjection": "maxEjectionTime", "maxEjectedPercent": "maxEjectionPercent",
		"successRateHosts": "successRateMinimumHosts", "successRateRequests": "successRateRequestVolume", "successRateFactorPerMil": "successRateStdevFactor",
		"failurePercent": "failurePercentage", "failurePercentRequests": "failurePercentageRequestVolume",
	}
	forwardNames = map[string]string{
		"headerTimeout": "timeouts.header", "idleTimeout": "timeouts.idle", "breaker": "circuitBreaker", "priority": "loadShedding.priority",
	}
	retryNames   = map[string]string{"backoffBase": "backoff.base", "backoffMax": "backoff.max", "budgetPercent": "budget.percent", "budgetMin": "budget.minConcurrency"}
	breakerNames = map[string]string{"halfOpenRampFor": "halfOpenFor"}
	priorities   = map[int64]string{ir.PriorityLow: "low", ir.PriorityNormal: "normal", ir.PriorityHigh: "high", ir.PriorityCritical: "critical"}
)

// checkFields are the fields of a health check that belong to its type, not to checks in general.
var checkFields = []string{"path", "method", "host", "status", "service"}

// upstreamParts gives the parts of an upstream's tree the shape in which they are written.
func upstreamParts(t map[string]any) {
	if m, ok := t["health"].(map[string]any); ok {
		typ, _ := m["type"].(string)
		delete(m, "type")
		check := map[string]any{}
		for _, k := range checkFields {
			if v, ok := m[k]; ok {
				check[k] = v
				delete(m, k)
			}
		}
		if spans, ok := check["status"].([]any); ok {
			for i, e := range spans {
				spans[i] = span(e)
			}
		}
		m = renamed(m, healthNames)
		place(m, []string{typ}, check)
		t["health"] = m
	}
	if m, ok := t["outlier"].(map[string]any); ok {
		t["outlier"] = renamed(m, outlierNames)
	}
}

// span writes a range of statuses as its author did; what is none stays what it is.
func span(v any) any {
	m, _ := v.(map[string]any)
	from, okFrom := m["from"].(json.Number)
	to, okTo := m["to"].(json.Number)
	switch {
	case !okFrom || !okTo || len(m) != 2:
		return v
	case from == to:
		return from
	}
	return string(from + "-" + to)
}

// forwardPart places a setting of forwarding in the tree of a policy.
func forwardPart(policy map[string]any, name string, v any) {
	m, isMap := v.(map[string]any)
	switch {
	case name == "retry" && isMap:
		v = nested(m, retryNames)
	case name == "breaker" && isMap:
		v = nested(m, breakerNames)
	case name == "priority":
		if n, ok := number(v); ok && priorities[n] != "" {
			v = priorities[n]
		}
	}
	if n := forwardNames[name]; n != "" {
		name = n
	}
	place(policy, strings.Split(name, "."), v)
}

// nested renames the fields of a map; a dot in a new name leads into a map of its own.
func nested(m map[string]any, names map[string]string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		if n := names[k]; n != "" {
			k = n
		}
		place(out, strings.Split(k, "."), v)
	}
	return out
}
