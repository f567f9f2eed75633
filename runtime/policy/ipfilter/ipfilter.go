// Package ipfilter says from which networks a route may be used. It judges the one address that the gateway has found to be the
// client's; it must not look at header fields, which anybody can write.
package ipfilter

import "github.com/suuupra/gateway/runtime/policy"

// Kind comes early: whoever may not use the route is told before anything is spent on the request.
var Kind = policy.Define("ip", policy.PhaseAdmit, compile, build)

// Plan is the compiled form: networks such as "10.0.0.0/8", in the order of their addresses, none inside another.
type Plan struct {
	Allow []string `json:"allow,omitempty"` // absent: all that are not denied
	Deny  []string `json:"deny,omitempty"`
}
