// Package securityheaders sets the response header fields that tell browsers to be careful. It must not decide about requests: whoever
// ignores the fields gets the response all the same.
package securityheaders

import (
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/diag"
)

// Kind belongs in front of whatever may refuse a request, so that refusals carry the fields too.
var Kind = policy.Define("securityHeaders", policy.PhaseAdmit, compile, build)

// Plan is the compiled form: the values of the fields. What is absent is the upstream's business.
type Plan struct {
	StrictTransportSecurity   string `json:"strictTransportSecurity,omitempty"`
	ContentTypeOptions        string `json:"contentTypeOptions,omitempty"`
	FrameOptions              string `json:"frameOptions,omitempty"`
	ReferrerPolicy            string `json:"referrerPolicy,omitempty"`
	ContentSecurityPolicy     string `json:"contentSecurityPolicy,omitempty"`
	PermissionsPolicy         string `json:"permissionsPolicy,omitempty"`
	CrossOriginOpenerPolicy   string `json:"crossOriginOpenerPolicy,omitempty"`
	CrossOriginResourcePolicy string `json:"crossOriginResourcePolicy,omitempty"`
}

// setting is one of the fields: as its author knows it, as browsers do, and what may stand in it.
type setting struct {
	name, field string
	value       *string // in the plan
	judge       func(value string) *fault
}

// fault is what is wrong with a value, as it follows the name of the setting.
type fault struct {
	code       diag.Code
	what, hint string
}

// settings lists the fields in the order in which they are sent; the one that depends on the connection is first.
func (p *Plan) settings() [8]setting {
	return [...]setting{
		{"strictTransportSecurity", hsts, &p.StrictTransportSecurity, judgeHSTS},
		{"contentTypeOptions", "X-Content-Type-Options", &p.ContentTypeOptions, oneOf("nosniff")},
		{"frameOptions", "X-Frame-Options", &p.FrameOptions, oneOf("DENY", "SAMEORIGIN")},
		{"referrerPolicy", "Referrer-Policy", &p.ReferrerPolicy, oneOf(
			"no-referrer", "no-referrer-when-downgrade", "origin", "origin-when-cross-origin", "same-origin", "strict-origin",
			"strict-origin-when-cross-origin", "unsafe-url")},
		{"contentSecurityPolicy", "Content-Security-Policy", &p.ContentSecurityPolicy, judgeCSP},
		{"permissionsPolicy", "Permissions-Policy", &p.PermissionsPolicy, judgePermissions},
		{"crossOriginOpenerPolicy", "Cross-Origin-Opener-Policy", &p.CrossOriginOpenerPolicy, oneOf(
			"same-origin", "same-origin-allow-popups", "noopener-allow-popups", "unsafe-none")},
		{"crossOriginResourcePolicy", "Cross-Origin-Resource-Policy", &p.CrossOriginResourcePolicy, oneOf("same-origin", "same-site", "cross-origin")},
	}
}

const hsts = "Strict-Transport-Security"
