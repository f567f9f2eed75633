package securityheaders

import (
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/v1"
)

// upstream stands for a field that is left to the upstream.
const upstream = "upstream"

// compile returns nil where the policy is switched off.
func compile(c *policy.CompileContext, s *v1.SecurityHeaders) *Plan {
	s.ApplyDefaults()
	if !*s.Enabled {
		return nil
	}
	p := &Plan{
		StrictTransportSecurity: s.StrictTransportSecurity, ContentTypeOptions: s.ContentTypeOptions, FrameOptions: s.FrameOptions,
		ReferrerPolicy: s.ReferrerPolicy, ContentSecurityPolicy: s.ContentSecurityPolicy, PermissionsPolicy: s.PermissionsPolicy,
		CrossOriginOpenerPolicy: s.CrossOriginOpenerPolicy, CrossOriginResourcePolicy: s.CrossOriginResourcePolicy,
	}
	for _, f := range p.settings() {
		if *f.value == upstream {
			*f.value = ""
		}
		if *f.value == "" {
			continue
		}
		if bad := f.judge(*f.value); bad != nil {
			c.Report(diag.Error, bad.code, f.name, bad.hint, "%s %s", f.name, bad.what)
		}
	}
	if *p == (Plan{}) {
		c.Report(diag.Warning, "GW3041", "", `write "enabled: false", or set one of them`, "securityHeaders sets nothing: every field is left to the upstream")
		return nil
	}
	return p
}
