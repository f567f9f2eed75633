// Package all is the one ordered list of policy kinds: the request pipeline. A test checks that it never goes back a
// phase. It must hold nothing else.
package all

import (
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/policy/authorization"
	"github.com/suuupra/gateway/runtime/policy/bodylimit"
	"github.com/suuupra/gateway/runtime/policy/compression"
	"github.com/suuupra/gateway/runtime/policy/jwt"
)

// Kinds returns every policy kind in the order in which requests meet them.
func Kinds() []policy.Kind {
	return []policy.Kind{
		bodylimit.Kind,
		compression.Kind,
		jwt.Kind,
		authorization.Kind,
	}
}
