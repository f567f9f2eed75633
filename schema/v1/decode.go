// Package v1 is API version gateway.suuupra.dev/v1: the CUE definitions, and what is generated from them.
package v1

import (
	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

// Decode fills into, a pointer to a generated type, from n. Path is how the author would spell n, for diagnostics. It is
// strict: unknown fields and wrong kinds are diagnostics with positions and suggestions.
func Decode(n *schema.Node, path string, into any, diags *diag.List) {}
