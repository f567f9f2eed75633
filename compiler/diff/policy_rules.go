package diff

import "strings"

// bodyLimitKind is compared by itself: the gateway's limit holds where a route has none.
const bodyLimitKind = "bodyLimit"

// class says what a kind of policy is for, and so what it means that one is gone.
type class uint8

const (
	other        class = iota
	authenticate       // asks for a credential
	guard              // refuses, or protects, in another way
	bound              // bounds what a client may use
	spend              // bounds what a client may cost
)

// classes lists the kinds of policy, and the mechanisms below "auth", in lower case and without separators. A kind that
// is missing here is compared all the same, by the names of its fields; only its removal means nothing.
var classes = map[string]class{
	"auth": authenticate, "authentication": authenticate, "jwt": authenticate, "oidc": authenticate, "oauth2": authenticate,
	"introspection": authenticate, "apikey": authenticate, "apikeys": authenticate, "basic": authenticate,
	"basicauth": authenticate, "mtls": authenticate, "clientcert": authenticate, "spiffe": authenticate, "hmac": authenticate,
	"session": authenticate, "saml": authenticate, "ldap": authenticate, "extauth": authenticate, "forwardauth": authenticate,
	"signedurl": authenticate,

	"authorization": guard, "authorisation": guard, "rbac": guard, "acl": guard, "opa": guard, "cel": guard, "ip": guard,
	"ipfilter": guard, "geo": guard, "waf": guard, "cors": guard, "csrf": guard, "bot": guard, "validation": guard,
	"securityheaders": guard, "contenttype": guard, "contextinjection": guard, "audit": guard, "promptguard": guard, "contentfilter": guard, "redaction": guard, "dlp": guard,

	"bodylimit": bound, "ratelimit": bound, "concurrency": bound, "concurrencylimit": bound, "loadshedding": bound,
	"throttle": bound, "circuitbreaker": bound,

	"ai": spend, "budget": spend, "tokenbudget": spend, "tokenlimit": spend, "quota": spend,
}

func classOf(kind string) class {
	top, _, _ := strings.Cut(kind, ".")
	return classes[plain(top)]
}

func plain(name string) string {
	return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(name))
}

// sense is what a change of one field means.
type sense uint8

const (
	_        sense = iota
	demands        // a list of what a request must have, or is refused for: one less is weaker
	accepts        // a list of what is let through: one more is weaker, and none at all is no check
	source         // where keys or decisions come from: another one is trusted instead
	exact          // a text: nobody can tell whether another one is weaker, and none is
	ceiling        // a number: higher is weaker
	floor          // a number: lower is weaker
	lock           // true to false is weaker
	door           // false to true is weaker
	strength       // a word: further to the front of strengths is weaker
	amount         // of a limit: higher is looser, together with interval
	interval       // of a limit: shorter is looser, together with amount
)

// strengths orders the words of a mode, or of what happens in case of an error; words of one row are as strong.
var strengths = [][]string{
	{"off", "none", "open", "allow", "disabled", "ignore"},
	{"detect", "monitor", "report", "log", "shadow", "warn", "local", "optional", "any"},
	{"block", "enforce", "closed", "deny", "required", "on", "all"},
}

// rule says in which classes of policy a field has a sense; none means in all.
type rule struct {
	sense sense
	in    []class
}

var (
	protecting = []class{authenticate, guard}
	limiting   = []class{bound, spend}
)

// rules is by the name of the field, wherever it stands in a plan.
var rules = map[string]rule{
	"requiredRoles": {demands, nil}, "requiredScopes": {demands, nil}, "requiredPermissions": {demands, nil},
	"requiredGroups": {demands, nil}, "requiredClaims": {demands, nil}, "requiredHeaders": {demands, nil},
	"roles": {demands, protecting}, "scopes": {demands, protecting}, "permissions": {demands, protecting},
	"deny": {demands, protecting}, "denyList": {demands, protecting}, "denied": {demands, protecting},
	"blocked": {demands, protecting}, "rules": {demands, protecting}, "ruleSets": {demands, protecting},

	"audience": {accepts, protecting}, "audiences": {accepts, protecting}, "issuer": {accepts, protecting},
	"issuers": {accepts, protecting}, "algorithms": {accepts, protecting}, "allowedAlgorithms": {accepts, protecting},
	"allow": {accepts, protecting}, "allowList": {accepts, protecting}, "allowed": {accepts, protecting},
	"origins": {accepts, protecting}, "allowOrigins": {accepts, protecting}, "allowedOrigins": {accepts, protecting},
	"allowMethods": {accepts, protecting}, "allowedMethods": {accepts, protecting}, "exposeHeaders": {accepts, protecting},
	"allowHeaders": {accepts, protecting}, "allowedHeaders": {accepts, protecting}, "exposedHeaders": {accepts, protecting},
	"excludedRules": {accepts, protecting}, "exclude": {accepts, protecting}, "trustDomain": {accepts, protecting},

	"jwksUri": {source, nil}, "oidcDiscoveryUrl": {source, nil}, "introspectionUrl": {source, nil}, "secretRef": {source, nil}, "keySet": {source, protecting},

	"clockSkew": {ceiling, protecting}, "clockSkewSeconds": {ceiling, protecting}, "clockSkewMs": {ceiling, protecting},
	"leeway": {ceiling, protecting}, "maxAge": {ceiling, []class{authenticate}}, "maxTokenAge": {ceiling, protecting}, "maxLifetimeMs": {ceiling, protecting},
	"maxFailuresPerMinute": {ceiling, nil},
	"anomalyThreshold":     {ceiling, protecting}, "paranoiaLevel": {floor, protecting}, "paranoia": {floor, protecting},

	// A claim that goes into another field, or none, leaves what the upstream believes to the client.
	"claims": {demands, []class{guard}},
	// What browsers are told. Nobody can tell whether another word is weaker, but most of what is not the default is.
	"strictTransportSecurity": {exact, []class{guard}}, "contentTypeOptions": {exact, []class{guard}}, "frameOptions": {exact, []class{guard}},
	"referrerPolicy": {exact, []class{guard}}, "contentSecurityPolicy": {exact, []class{guard}}, "permissionsPolicy": {exact, []class{guard}},
	"crossOriginOpenerPolicy": {exact, []class{guard}}, "crossOriginResourcePolicy": {exact, []class{guard}},

	"when": {exact, protecting}, "key": {exact, []class{bound}}, "scope": {exact, []class{bound}}, "type": {exact, []class{authenticate}}, "replayProtection": {lock, nil},
	"enabled": {lock, nil}, "required": {lock, protecting}, "verify": {lock, protecting}, "requireExp": {lock, protecting},
	"strict": {lock, protecting}, "failClosed": {lock, nil},
	"optional": {door, protecting}, "allowMissing": {door, protecting}, "allowAnonymous": {door, protecting},
	"anonymous": {door, protecting}, "allowCredentials": {door, protecting}, "credentials": {door, []class{guard}},
	"insecureSkipVerify": {door, nil}, "failOpen": {door, nil}, "shadow": {door, nil}, "dryRun": {door, nil},
	"mode": {strength, protecting}, "onError": {strength, nil}, "failureMode": {strength, nil},

	"tokensPerInterval": {amount, limiting}, "requests": {amount, limiting}, "limit": {amount, limiting},
	"tokens": {amount, limiting}, "rate": {amount, limiting}, "quota": {amount, limiting}, "units": {amount, limiting},
	"amount":     {amount, limiting},
	"intervalMs": {interval, limiting}, "interval": {interval, limiting}, "window": {interval, limiting},
	"windowMs": {interval, limiting}, "period": {interval, limiting}, "periodMs": {interval, limiting}, "nanos": {interval, limiting},
	"burst": {ceiling, limiting}, "maxBytes": {ceiling, limiting}, "maxRequests": {ceiling, limiting},
	"maxConcurrent": {ceiling, limiting}, "maxConcurrency": {ceiling, limiting}, "maxTokens": {ceiling, limiting},
	"maxCost": {ceiling, limiting}, "maxTokensPerRequest": {ceiling, limiting}, "dailyBudget": {ceiling, limiting},
}

// withoutBound are ceilings whose absence means that there is none.
var withoutBound = map[string]bool{"maxLifetimeMs": true}

// ruleFor finds the rule of a field in a policy of a class.
func ruleFor(name string, c class) (sense, bool) {
	r, ok := rules[name]
	if !ok {
		return 0, false
	}
	for _, in := range r.in {
		if in == c {
			return r.sense, true
		}
	}
	return r.sense, len(r.in) == 0
}
