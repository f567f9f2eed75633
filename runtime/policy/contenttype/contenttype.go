// Package contenttype holds request bodies to the media types that a route takes. It judges what a request says about its body; it must
// not read the body, and does not know whether it is what it is said to be.
package contenttype

import "github.com/suuupra/gateway/runtime/policy"

// Kind comes before all that reads bodies.
var Kind = policy.Define("contentType", policy.PhaseAdmit, compile, build)

// Plan is the compiled form.
type Plan struct {
	Allow []string `json:"allow"` // "type/subtype" or "type/*", lower case, sorted; none says what another one does
}
