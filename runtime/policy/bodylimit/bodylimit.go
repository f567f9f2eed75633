// Package bodylimit bounds the request body of a route. It must not read the body: it sets the bound, and the engine
// holds every read to it.
package bodylimit

import "github.com/suuupra/gateway/runtime/policy"

// Kind comes early: a request that announces too much is refused before anybody looks at it.
var Kind = policy.Define("bodyLimit", policy.PhaseAdmit, compile, build)

// Plan is the compiled form.
type Plan struct {
	MaxBytes int64 `json:"maxBytes"`
}
