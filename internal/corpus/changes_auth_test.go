package corpus_test

// ordersAuth is how the route asks for buyers.
const ordersAuth = "    policy: { auth: { jwt: { requiredRoles: [buyer] } } }\n"

// dropped are changes after which requests pass that needed a credential.
var dropped = []bad{
	{
		name: "a route for members that becomes public", at: requestTests, by: "users need a token", behind: "gates: doors: AUTH_REMOVED",
		edit: in("routes/users.yaml", "use: [resilient]", "use: [resilient, public]"),
	},
	{
		name: "jwt switched off on a route", at: requestTests, by: "users need a token", behind: "gates: doors: AUTH_REMOVED",
		edit: in("routes/users.yaml", "policy: { timeout: 10s }", "policy: { timeout: 10s, auth: { jwt: { enabled: false } } }"),
		fine: in("routes/users.yaml", "policy: { timeout: 10s }", "policy: { timeout: 10s, auth: { jwt: { maxFailuresPerMinute: 300 } } }"),
	},
	{
		name: "jwt switched off on a route that counts users", at: validation, by: "GW3042",
		edit: in("routes/orders.yaml", "jwt: { requiredRoles: [buyer] }", "jwt: { enabled: false }"),
	},
	{
		name: "jwt made optional", at: requestTests, by: "users need a token", behind: "gates: doors: AUTH_WEAKENED",
		edit: in("routes/users.yaml", "policy: { timeout: 10s }", "policy: { timeout: 10s, auth: { jwt: { optional: true } } }"),
	},
	{
		name: "jwt made optional beside a role", at: validation, by: "GW3040",
		edit: in("routes/orders.yaml", "jwt: { requiredRoles: [buyer] }", "jwt: { requiredRoles: [buyer], optional: true }"),
	},
	{
		name: "the default gone", at: validation, by: "GW3042",
		edit: in("gateway.yaml", "    auth:\n      jwt:\n        issuer: https://id.example.com\n        audience: shop\n        jwksUri: https://id.example.com/jwks.json\n        algorithms: [ES256]\n        clockSkewSeconds: 30\n", ""),
	},
	{
		name: "the default switched off", at: validation, by: "GW3042",
		edit: in("gateway.yaml", "        issuer: https://id", "        enabled: false\n        issuer: https://id"),
	},
	{
		name: "the default switched off in prod", at: validation, by: "GW3042",
		edit: in("environments/prod/gateway.yaml", "  gitops:\n", "  defaults: { auth: { jwt: { enabled: false } } }\n  gitops:\n"),
	},
	{
		name: "the default made optional in prod", at: validation, by: "GW3040",
		edit: in("environments/prod/gateway.yaml", "  gitops:\n", "  defaults: { auth: { jwt: { optional: true } } }\n  gitops:\n"),
	},
	{
		name: "the default removed by a null in prod", at: validation, by: "GW3042",
		edit: in("environments/prod/gateway.yaml", "  gitops:\n", "  defaults: { auth: null }\n  gitops:\n"),
	},
	{
		name: "jwt removed by a null in prod", at: requestTests, by: "buyers order", behind: "gates: doors: AUTH_WEAKENED",
		edit: prod("routes:\n  - id: orders\n    policy: { auth: null }\n"),
	},
	{
		name: "jwt switched off in prod", at: requestTests, by: "users need a token", behind: "gates: doors: AUTH_REMOVED",
		edit: prod("routes:\n  - id: users-api\n    policy: { auth: { jwt: { enabled: false } } }\n"),
		fine: prod("routes:\n  - id: users-api\n    policy: { auth: { jwt: { maxFailuresPerMinute: 300 } } }\n"),
	},
	{
		name: "a policy list replaced in prod", at: requestTests, by: "the support refunds, from the office", behind: "gates: doors: AUTH_REMOVED, AUTH_WEAKENED",
		edit: prod("routes:\n  - id: refund\n    use: [public]\n"),
	},
	{
		name: "API keys switched off", at: requestTests, by: "partners have keys", behind: "gates: doors: AUTH_REMOVED",
		edit: in("routes/partners.yaml", "apiKey: { requiredScopes", "apiKey: { enabled: false, requiredScopes"),
	},
	{
		name: "API keys taken out", at: requestTests, by: "partners have keys", behind: "gates: doors: AUTH_REMOVED",
		edit: in("routes/partners.yaml", "      auth: { apiKey: { requiredScopes: [feed.read], maxFailuresPerMinute: 60 } }\n", ""),
	},
	{
		name: "signatures switched off", at: requestTests, by: "files have signed addresses", behind: "gates: doors: AUTH_REMOVED",
		edit: in("routes/partners.yaml", "signedUrl: { keys", "signedUrl: { enabled: false, keys"),
	},
	{
		name: "signatures taken out", at: requestTests, by: "files have signed addresses", behind: "gates: doors: AUTH_REMOVED",
		edit: in("routes/partners.yaml", "    policy:\n      signedUrl: { keys: [{ id: k1, secretRef: \"env:CORPUS_URL_KEY\" }], clockSkewSeconds: 30, maxLifetime: 1h }\n", ""),
	},
	{
		name: "one of two mechanisms", at: requestTests, by: "the support refunds, from the office", behind: "gates: doors: AUTH_WEAKENED",
		edit: in("routes/orders.yaml", "use: [support-only, office]", "use: [support-only]"),
	},
	{
		name: "the office detached from a route", at: requestTests, by: "the intranet is for the office", behind: "gates: doors: AUTH_WEAKENED",
		edit: in("routes/partners.yaml", "use: [public, office]", "use: [public]"),
	},
	{
		name: "a tenant that makes its own cart public", at: requestTests, by: "tenants have their hosts to themselves", behind: "gates: doors: AUTH_REMOVED",
		edit: in("tenants/acme/routes/shop.yaml", "bodyLimit: { maxBytes: 16KiB } }", "bodyLimit: { maxBytes: 16KiB }, auth: { jwt: { enabled: false } } }"),
		fine: in("tenants/acme/routes/shop.yaml", "bodyLimit: { maxBytes: 16KiB } }", "bodyLimit: { maxBytes: 16KiB }, auth: { jwt: { maxFailuresPerMinute: 300 } } }"),
	},
	{
		name: "a public route carved out of a guarded one", at: gates, by: "doors: AUTH_REMOVED",
		edit: edits(add("routes/more.yaml", "routes:\n  - id: invoice\n    matcher: { host: api.example.com, path: /orders/invoice, methods: [GET] }\n    target: { type: http, upstream: orders }\n    use: [public]\n"), public("invoice", "https://api.example.com/orders/invoice")),
		fine: edits(add("routes/more.yaml", "routes:\n  - id: invoice\n    matcher: { host: api.example.com, path: /orders/invoice, methods: [GET] }\n    target: { type: http, upstream: orders }\n"), guarded("invoice", "https://api.example.com/orders/invoice")),
	},
	{
		name: "a public route for one more segment", at: gates, by: "doors: AUTH_REMOVED",
		edit: edits(add("routes/more.yaml", "routes:\n  - id: invoice\n    matcher: { host: api.example.com, path: \"/orders/{id}/invoice\" }\n    target: { type: http, upstream: orders }\n    use: [public]\n"), public("invoice", "https://api.example.com/orders/1/invoice")),
	},
	{
		name: "a public route for a host that was any", at: gates, by: "doors: AUTH_REMOVED",
		edit: edits(add("routes/more.yaml", "routes:\n  - id: users-of-shop\n    matcher: { host: shop.example.com, path: /api/users/* }\n    target: { type: http, upstream: web }\n    use: [public]\n"), public("users-of-shop", "https://shop.example.com/api/users")),
	},
	{
		name: "a public route by a header", at: gates, by: "doors: AUTH_REMOVED",
		edit: edits(add("routes/more.yaml", "routes:\n  - id: users-debug\n    matcher: { path: /api/users/*, methods: [GET], headers: { X-Debug: \"1\" } }\n    target: { type: http, upstream: web }\n    use: [public]\n"), add("tests/more.yaml", "tests:\n  - name: debug\n    requests:\n      - send: { url: /api/users, headers: { X-Debug: \"1\" } }\n        expect: { route: users-debug }\n")),
	},
	{
		name: "a public route by a query", at: gates, by: "doors: AUTH_REMOVED",
		edit: edits(add("routes/more.yaml", "routes:\n  - id: users-debug\n    matcher: { path: /api/users/*, methods: [GET], query: { debug: \"*\" } }\n    target: { type: http, upstream: web }\n    use: [public]\n"), public("users-debug", "/api/users?debug=1")),
	},
	{
		name: "a public route by a regular expression", at: dryRun, by: "deny_to_allow on users-api",
		edit: edits(in("routes/users.yaml", "path: /api/users/*, methods: [GET]", "path: /api/users, methods: [GET]"), add("routes/more.yaml", "routes:\n  - id: users-deep\n    matcher: { pathRegex: \"/api/users/.+\" }\n    target: { type: http, upstream: web }\n    use: [public]\n"), public("users-deep", "/api/users/7/notes")),
	},
	{
		name: "a guarded route that is renamed and made public", at: requestTests, by: "users need a token", behind: "gates: doors: AUTH_REMOVED",
		edit: edits(in("routes/users.yaml", "- id: users-api", "- id: users"), in("routes/users.yaml", "use: [resilient]", "use: [resilient, public]")),
	},
	{
		name: "a guarded route that falls to a public one", at: requestTests, by: "the support refunds, from the office", behind: "gates: doors: METHODS_WIDENED",
		edit: in("routes/orders.yaml", `host: api.example.com, path: "/orders/{id}/refund", methods: [POST]`, `host: api.example.com, path: "/orders/{id}/refund", methods: [PUT]`),
	},
	{
		name: "a guarded route that is narrowed, above a public one", at: gates, by: "doors: AUTH_REMOVED",
		edit: in("tenants/globex/routes/portal.yaml", "path: /account/*", "path: /account/me/*"),
		fine: in("routes/orders.yaml", "path: /orders/*, methods", `path: "/orders/{id}", methods`),
	},
	{
		name: "a guard for some methods, with a public route below", at: requestTests, by: "clients say who they are when they search", behind: "gates: doors: AUTH_REMOVED",
		edit: edits(add("routes/more.yaml", "routes:\n  - id: everything\n    matcher: { host: api.example.com, path: /* }\n    target: { type: http, upstream: web }\n    use: [public]\n"), public("everything", "https://api.example.com/any")),
	},
	{
		name: "every route public", at: validation, by: "GW3042",
		edit: in("policies/guards.yaml", "  - id: office\n    ip: { allow: [192.0.2.0/24] }\n", "  - id: office\n    auth: { jwt: { enabled: false } }\n    ip: { allow: [192.0.2.0/24] }\n"),
	},
	{
		name: "no credential anywhere", at: requestTests, by: "buyers order", behind: "gates: every environment: NO_AUTH_LEFT; doors: AUTH_REMOVED, AUTH_WEAKENED, NO_AUTH_LEFT; uptime: LIMIT_REMOVED",
		edit: edits(in("gateway.yaml", "        issuer: https://id", "        enabled: false\n        issuer: https://id"), in("routes/partners.yaml", "apiKey: { requiredScopes", "apiKey: { enabled: false, requiredScopes"), in("routes/partners.yaml", "signedUrl: { keys", "signedUrl: { enabled: false, keys"), in("routes/users.yaml", "      contextInjection: { claims: { X-User-Id: sub } }\n", ""), in("policies/bounds.yaml", "key: [user]", "key: [ip]"), in("routes/orders.yaml", "conditions: [{ id: not-their-own, when: \"claims.sub != params.id\" }]", "enabled: false")),
	},
}

// weakened are changes after which a credential is worth less, or less of one is enough.
var weakened = []bad{
	{
		name: "another issuer", at: gates, by: "doors: AUTH_WEAKENED",
		edit: in("gateway.yaml", "issuer: https://id.example.com", "issuer: https://id.example.org"),
	},
	{
		name: "keys from elsewhere", at: gates, by: "doors: AUTH_WEAKENED",
		edit: in("gateway.yaml", "jwksUri: https://id.example.com/jwks.json", "jwksUri: https://keys.example.org/jwks.json"),
	},
	{
		name: "keys by plain http", at: gates, by: "doors: AUTH_WEAKENED, TLS_DOWNGRADE",
		edit: in("gateway.yaml", "jwksUri: https://id", "jwksUri: http://id"),
	},
	{
		name: "keys from elsewhere for one route in prod", at: gates, by: "doors: AUTH_WEAKENED",
		edit: prod("routes:\n  - id: orders\n    policy: { auth: { jwt: { jwksUri: https://keys.example.org/jwks.json } } }\n"),
	},
	{
		name: "one more audience", at: requestTests, by: "users need a token", behind: "gates: doors: AUTH_WEAKENED",
		edit: in("gateway.yaml", "audience: shop", "audiences: [shop, another]"),
	},
	{
		name: "another audience", at: requestTests, by: "users need a token", behind: "gates: doors: AUTH_WEAKENED",
		edit: in("gateway.yaml", "audience: shop", "audience: another"),
	},
	{
		name: "one more issuer", at: gates, by: "doors: AUTH_WEAKENED",
		edit: in("gateway.yaml", "        issuer: https://id.example.com\n        audience: shop\n        jwksUri: https://id.example.com/jwks.json\n        algorithms: [ES256]\n        clockSkewSeconds: 30\n", "        issuers:\n          - { issuer: https://id.example.com, audience: shop, jwksUri: https://id.example.com/jwks.json, clockSkewSeconds: 30 }\n          - { issuer: https://id.example.org, audience: shop, jwksUri: https://id.example.org/jwks.json }\n"),
	},
	{
		name: "more algorithms", at: gates, by: "doors: AUTH_WEAKENED",
		edit: in("gateway.yaml", "algorithms: [ES256]", "algorithms: [ES256, RS256]"),
	},
	{
		name: "more skew", at: gates, by: "doors: AUTH_WEAKENED",
		edit: in("gateway.yaml", "clockSkewSeconds: 30", "clockSkewSeconds: 300"),
		fine: in("gateway.yaml", "clockSkewSeconds: 30", "clockSkewSeconds: 20"),
	},
	{
		name: "the default skew", at: gates, by: "doors: AUTH_WEAKENED",
		edit: in("gateway.yaml", "        clockSkewSeconds: 30\n", ""),
	},
	{
		name: "an HMAC secret in place of keys", at: requestTests, by: "a token that cannot be judged opens nothing", behind: "gates: doors: AUTH_WEAKENED",
		edit: in("gateway.yaml", "jwksUri: https://id.example.com/jwks.json\n        algorithms: [ES256]", "secretRef: \"env:CORPUS_URL_KEY\"\n        algorithms: [HS256]"),
	},
	{
		name: "a role less", at: requestTests, by: "buyers order", behind: "gates: doors: AUTH_WEAKENED",
		edit: in("routes/orders.yaml", ordersAuth, ""),
	},
	{
		name: "another role", at: requestTests, by: "buyers order", behind: "gates: doors: AUTH_WEAKENED",
		edit: in("routes/orders.yaml", "requiredRoles: [buyer]", "requiredRoles: [user]"),
	},
	{
		name: "a scope less", at: requestTests, by: "one user is for those who may read it", behind: "gates: doors: AUTH_WEAKENED",
		edit: in("routes/users.yaml", "      auth: { jwt: { requiredScopes: [user.read] } }\n", ""),
		fine: in("routes/users.yaml", "requiredScopes: [user.read]", "requiredScopes: [user.read], type: JWT"),
	},
	{
		name: "a permission less", at: requestTests, by: "reports stay in the office", behind: "gates: doors: AUTH_WEAKENED",
		edit: in("routes/orders.yaml", "requiredPermissions: [\"reports:read\"]", "requiredPermissions: []"),
	},
	{
		name: "one of the roles in place of all", at: requestTests, by: "the support refunds, from the office", behind: "gates: doors: AUTH_WEAKENED",
		edit: in("policies/guards.yaml", "roles: { all: [support] }", "roles: { any: [support, buyer] }"),
	},
	{
		name: "a condition less", at: requestTests, by: "the support refunds, from the office", behind: "gates: doors: AUTH_WEAKENED",
		edit: in("routes/orders.yaml", "    policy:\n      authorization: { conditions: [{ id: not-their-own, when: \"claims.sub != params.id\" }] }\n", ""),
	},
	{
		name: "a condition that holds for everybody", at: requestTests, by: "the support refunds, from the office", behind: "gates: doors: AUTH_WEAKENED",
		edit: in("routes/orders.yaml", "claims.sub != params.id", "claims.sub != 'params.id'"),
		fine: in("policies/guards.yaml", "roles: { all: [support] }", "roles: { all: [support] }, conditions: [{ id: post, when: \"request.method == 'POST'\" }]"),
	},
	{
		name: "authorisation in shadow", at: requestTests, by: "the support refunds, from the office", behind: "gates: doors: AUTH_WEAKENED",
		edit: in("policies/guards.yaml", "roles: { all: [support] }", "roles: { all: [support] }, shadow: true"),
	},
	{
		name: "authorisation switched off", at: requestTests, by: "the support refunds, from the office", behind: "gates: doors: AUTH_WEAKENED",
		edit: in("policies/guards.yaml", "authorization: { roles", "authorization: { enabled: false, roles"),
	},
	{
		name: "a scope of API keys less", at: requestTests, by: "partners have keys", behind: "gates: doors: AUTH_WEAKENED",
		edit: in("routes/partners.yaml", "requiredScopes: [feed.read]", "requiredScopes: []"),
	},
	{
		name: "more guesses of API keys", at: gates, by: "doors: AUTH_WEAKENED",
		edit: in("routes/partners.yaml", "maxFailuresPerMinute: 60", "maxFailuresPerMinute: 6000"),
		fine: in("routes/partners.yaml", "maxFailuresPerMinute: 60", "maxFailuresPerMinute: 30"),
	},
	{
		name: "another key for signed addresses", at: gates, by: "doors: AUTH_WEAKENED",
		edit: in("routes/partners.yaml", "env:CORPUS_URL_KEY", "env:CORPUS_HOOK"),
	},
	{
		name: "signatures for ever", at: requestTests, by: "files have signed addresses", behind: "gates: doors: AUTH_WEAKENED",
		edit: in("routes/partners.yaml", ", maxLifetime: 1h", ""),
	},
	{
		name: "signatures for a day", at: requestTests, by: "files have signed addresses", behind: "gates: doors: AUTH_WEAKENED",
		edit: in("routes/partners.yaml", "maxLifetime: 1h", "maxLifetime: 24h"),
		fine: in("routes/partners.yaml", "maxLifetime: 1h", "maxLifetime: 45m"),
	},
	{
		name: "the identity of the caller no longer set", at: requestTests, by: "one user is for those who may read it", behind: "gates: doors: AUTH_WEAKENED",
		edit: in("routes/users.yaml", "      contextInjection: { claims: { X-User-Id: sub } }\n", ""),
	},
	{
		name: "the identity of the caller from another claim", at: requestTests, by: "one user is for those who may read it", behind: "gates: doors: AUTH_WEAKENED",
		edit: in("routes/users.yaml", "X-User-Id: sub", "X-User-Id: name"),
	},
	{
		name: "a token that is asked for elsewhere", at: dryRun, by: "allow_to_deny on user-by-id",
		edit: in("routes/users.yaml", "jwt: { requiredScopes: [user.read] }", "jwt: { requiredScopes: [user.read], from: { query: token } }"),
	},
}
