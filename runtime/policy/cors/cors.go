// Package cors answers for an upstream what browsers ask before they let a page of one site use another (the CORS protocol of the Fetch
// standard, https://fetch.spec.whatwg.org/#http-cors-protocol). It must not be taken for access control: it tells browsers what a page
// may read, and whoever is no browser does not ask.
package cors

import (
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/v1"
)

// Kind comes before authentication: preflight requests carry no credentials, and a page has to be able to read why it was refused.
var Kind = policy.Define("cors", policy.PhaseAdmit, compile, build)

// Plan is the compiled form. Lists are sorted.
type Plan struct {
	AllowOrigins     []string    `json:"allowOrigins"` // as authored, or "*" alone
	AllowMethods     []string    `json:"allowMethods"`
	AllowHeaders     []string    `json:"allowHeaders,omitempty"`  // lower case; "*" is all but Authorization
	ExposeHeaders    []string    `json:"exposeHeaders,omitempty"` // lower case; "*" is all
	AllowCredentials bool        `json:"allowCredentials,omitempty"`
	MaxAge           v1.Duration `json:"maxAge"` // whole seconds
}

// wildcard stands for all origins, or all header fields.
const wildcard = "*"

// safelisted are the methods that pages may use unasked, so that no answer can forbid them (Fetch, "CORS-safelisted method").
var safelisted = [...]string{"GET", "HEAD", "POST"}
