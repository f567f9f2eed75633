// Package compression compresses response bodies for clients that ask for it. It stands first in the pipeline, so that on the way
// back it comes last and compresses what all others have made of the response. It must not touch event streams, nor anything whose
// bytes somebody else vouches for.
package compression

import "github.com/suuupra/gateway/runtime/policy"

// Kind compresses responses.
var Kind = policy.Define("compression", policy.PhaseAdmit, compile, build)

// Plan is the compiled form.
type Plan struct {
	Algorithms []string `json:"algorithms"` // the preferred one first: "zstd", "gzip"
	MinBytes   int64    `json:"minBytes"`
	Types      []string `json:"types"` // "type/subtype" or "type/*", lower case
}
