package v1

import (
	"regexp"
	"strings"
	"sync"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

// ownVariables begins the names of the variables by which gwrun itself is told its settings and secrets.
const ownVariables = "GWRUN_"

// IsOwnSecret reports whether a reference names a variable of gwrun's own. With the pepper of the API keys or the token of the admin API
// whoever writes a policy could make credentials. Some systems do not tell the case of variables apart.
func IsOwnSecret(ref string) bool {
	name, env := strings.CutPrefix(ref, "env:")
	return env && len(name) >= len(ownVariables) && strings.EqualFold(name[:len(ownVariables)], ownVariables)
}

// CheckSecrets reports every value that looks like a secret somebody committed. It knows forms that are secrets whatever
// they are called, and names that ask for one; it prefers missing an odd secret to crying wolf. No message holds the value.
func CheckSecrets(n *schema.Node, path string, diags *diag.List) {
	checkSecrets(n, "", &loc{name: path, index: -1}, diags)
}

func checkSecrets(n *schema.Node, name string, where *loc, diags *diag.List) {
	switch n.Kind {
	case schema.List:
		for i, item := range n.Items {
			checkSecrets(item, name, &loc{up: where, index: i}, diags)
		}
	case schema.Map:
		for i := range n.Fields {
			f := &n.Fields[i]
			checkSecrets(f.Value, f.Name, &loc{up: where, name: f.Name, index: -1}, diags)
		}
	case schema.String:
		kind := secretKind(n.Str)
		if kind == "" && namesSecret(name) && literalSecret(n.Str) {
			kind = "a secret"
		}
		if kind == "" {
			return
		}
		d := at("GW2190", n, where, "%s looks like %s, which must not stand in the repository", where.short(), kind)
		d.Redact = true
		d.Hint = "withdraw it: whoever can read the repository has it, also from its history"
		diags.Add(d)
	}
}

// hideSecrets moves diagnostics on, each one marked that points at a line on which another found a secret.
func hideSecrets(from, to *diag.List) {
	type line struct {
		file string
		line int
	}
	secret := map[line]bool{}
	all := from.Sorted()
	for _, d := range all {
		if d.Redact {
			secret[line{d.Pos.File, d.Pos.Line}] = true
		}
	}
	for _, d := range all {
		d.Redact = d.Redact || secret[line{d.Pos.File, d.Pos.Line}]
		to.Add(d)
	}
}

// secretForms are the forms, with a text each must contain: looking for that first keeps the scan cheap.
var secretForms = sync.OnceValue(func() []secretForm {
	return []secretForm{
		{"PRIVATE KEY-----", "a private key", regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----`)},
		{"eyJ", "a JSON web token", regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*`)},
		{"AKIA", "an AWS access key", regexp.MustCompile(`\bAKIA[A-Z0-9]{16}\b`)},
		{"ASIA", "an AWS access key", regexp.MustCompile(`\bASIA[A-Z0-9]{16}\b`)},
		{"gh", "a GitHub token", regexp.MustCompile(`\bgh[pousr]_[A-Za-z0-9]{36,}`)},
		{"github_pat_", "a GitHub token", regexp.MustCompile(`\bgithub_pat_[A-Za-z0-9_]{22,}`)},
		{"gw_", "an API key of a gateway", regexp.MustCompile(`\bgw_[a-z0-9][a-z0-9_-]{0,62}_[a-z2-7]{16}_[0-9A-Za-z]{38}\b`)},
		{"glpat-", "a GitLab token", regexp.MustCompile(`\bglpat-[A-Za-z0-9_-]{20,}`)},
		{"xox", "a Slack token", regexp.MustCompile(`\bxox[abeoprs]-[A-Za-z0-9-]{10,}`)},
		{"AIza", "a Google API key", regexp.MustCompile(`\bAIza[A-Za-z0-9_-]{35}`)},
		{"sk_live_", "a payment key", regexp.MustCompile(`\bsk_live_[A-Za-z0-9]{16,}`)},
		{"sk-", "an API key", regexp.MustCompile(`\bsk-[A-Za-z0-9_-]{32,}`)},
		{"hvs.", "a Vault token", regexp.MustCompile(`\bhvs\.[A-Za-z0-9_-]{20,}`)},
		{"://", "a URL with a password", regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#\s@:]*:[^/?#\s@]+@`)},
	}
})

type secretForm struct {
	hint string
	kind string
	re   *regexp.Regexp
}

// secretKind names the kind of secret s holds by its form, or returns "".
func secretKind(s string) string {
	if len(s) < 12 {
		return ""
	}
	for _, f := range secretForms() {
		if strings.Contains(s, f.hint) && f.re.MatchString(s) {
			return f.kind
		}
	}
	return ""
}

// namesSecret reports whether a field of this name holds a secret: the whole name, not a part of it, so that
// tokensPerInterval, tokenUrl or secretRef do not.
func namesSecret(name string) bool {
	const longest = len("aws-secret-access-key") // this runs for every value: most names are told apart by their length
	if len(name) < len("token") || len(name) > longest {
		return false
	}
	switch strings.ReplaceAll(strings.ReplaceAll(strings.ToLower(name), "_", ""), "-", "") {
	case "password", "passwd", "passphrase", "secret", "secretkey", "clientsecret", "sharedsecret", "signingsecret",
		"token", "accesstoken", "refreshtoken", "authtoken", "bearertoken", "apikey", "xapikey", "privatekey",
		"secretaccesskey", "awssecretaccesskey", "authorization":
		return true
	}
	return false
}

// literalSecret tells a secret from a reference to one, a wildcard or a placeholder.
func literalSecret(s string) bool {
	if s = strings.TrimPrefix(s, "Bearer "); len(s) < 8 {
		return false
	}
	return !strings.ContainsAny(s, "${}<>* ") && !strings.Contains(s, "://") && !isReference(s)
}

// isReference knows the forms in which a secret is named rather than given.
func isReference(s string) bool {
	scheme, _, ok := strings.Cut(s, ":")
	return ok && (scheme == "env" || scheme == "file" || scheme == "vault" || scheme == "secret" || scheme == "aws" || scheme == "gcp")
}
