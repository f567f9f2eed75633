// Package contextinjection tells the upstream who the caller is: claims of the verified token as header fields, and a token of the
// gateway's own. What a client says under these names is removed first, whoever it is, so that an upstream may believe them. It must
// not judge callers, and never puts anything but what was verified into a field.
package contextinjection

import "github.com/suuupra/gateway/runtime/policy"

// Kind comes after everything that finds out who the caller is, and before the other transforms, which may then edit what it wrote.
var Kind = policy.Define("contextInjection", policy.PhaseTransform, compile, build)

// Plan is the compiled form.
type Plan struct {
	Claims        map[string]string `json:"claims,omitempty"` // path of a claim by the field it goes into
	Lists         string            `json:"lists,omitempty"`  // "comma", "json" or "base64"; empty without claims
	IdentityToken *IdentityToken    `json:"identityToken,omitempty"`
}

// IdentityToken is the token that the gateway signs.
type IdentityToken struct {
	Header    string `json:"header"`
	SecretRef string `json:"secretRef"`
	KeyID     string `json:"keyId,omitempty"`
	Audience  string `json:"audience,omitempty"` // empty: the id of the upstream
	Lifetime  int64  `json:"lifetime"`           // milliseconds
}

// names are the fields that the plan writes.
func (p *Plan) names() []string {
	var out []string
	for name := range p.Claims {
		out = append(out, name)
	}
	if p.IdentityToken != nil {
		out = append(out, p.IdentityToken.Header)
	}
	return out
}
