// Package all is the one ordered list of policy kinds: the request pipeline. A test checks that it never goes back a
// phase. It must hold nothing else.
package all

import (
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/policy/apikey"
	"github.com/suuupra/gateway/runtime/policy/authorization"
	"github.com/suuupra/gateway/runtime/policy/bodylimit"
	"github.com/suuupra/gateway/runtime/policy/compression"
	"github.com/suuupra/gateway/runtime/policy/contenttype"
	"github.com/suuupra/gateway/runtime/policy/contextinjection"
	"github.com/suuupra/gateway/runtime/policy/cors"
	"github.com/suuupra/gateway/runtime/policy/headers"
	"github.com/suuupra/gateway/runtime/policy/ipfilter"
	"github.com/suuupra/gateway/runtime/policy/jwt"
	"github.com/suuupra/gateway/runtime/policy/ratelimit"
	"github.com/suuupra/gateway/runtime/policy/rewrite"
	"github.com/suuupra/gateway/runtime/policy/securityheaders"
	"github.com/suuupra/gateway/runtime/policy/signedurl"
)

// Kinds returns every policy kind in the order in which requests meet them. What edits responses comes before what may refuse, because
// it edits the refusals of those behind it: a browser shows a page no refusal that comes without the fields of cors.
func Kinds() []policy.Kind {
	return []policy.Kind{
		securityheaders.Kind,
		compression.Kind,
		ipfilter.Kind,
		cors.Kind,
		bodylimit.Kind,
		signedurl.Kind,
		contenttype.Kind,
		jwt.Kind,
		apikey.Kind,
		authorization.Kind,
		ratelimit.Kind,
		contextinjection.Kind,
		headers.Kind,
		rewrite.Kind,
	}
}
