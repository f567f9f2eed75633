// Package headers changes header fields: of the request before it goes upstream, of the response before it goes to the client. What it
// writes is text with facts about the request in it. It must not touch what belongs to the connection or to the framing of a message,
// nor any body.
package headers

import "github.com/suuupra/gateway/runtime/policy"

// Kind comes after contextInjection, whose fields it may edit, and before rewrite: request.path is the path that was matched.
var Kind = policy.Define("headers", policy.PhaseTransform, compile, build)

// Plan is the compiled form.
type Plan struct {
	Request  *Edits `json:"request,omitempty"`
	Response *Edits `json:"response,omitempty"`
}

// Edits are changes of one header, in this order. Values are templates.
type Edits struct {
	Remove []string          `json:"remove,omitempty"` // sorted
	Set    map[string]string `json:"set,omitempty"`
	Add    map[string]string `json:"add,omitempty"`
}

func (e *Edits) empty() bool { return e == nil || len(e.Remove)+len(e.Set)+len(e.Add) == 0 }
