package corpus_test

import "testing"

// targetsAndTLS are requests that go where they did not, or in the open.
var targetsAndTLS = []bad{
	{
		name: "a server outside", at: gates, by: "doors: TARGET_EXTERNAL",
		edit: in("environments/prod/upstreams.yaml", "http://web-2.prod.internal:8080", "http://web-2.example.org:8080"),
		fine: in("environments/prod/upstreams.yaml", "http://web-2.prod.internal:8080", "http://web-3.prod.internal:8080"),
	},
	{
		name: "a route to a url outside", at: gates, by: "doors: TARGET_EXTERNAL",
		edit: in("routes/web.yaml", "path: /events, methods: [GET] }\n    target: { type: http, upstream: web }", "path: /events, methods: [GET] }\n    target: { type: http, url: \"https://events.example.org\" }"),
		fine: in("environments/prod/upstreams.yaml", "weight: 3", "weight: 4"),
	},
	{
		name: "another public server", at: gates, by: "doors: TARGET_EXTERNAL",
		edit: in("upstreams/services.yaml", "https://feed.partner.example.net", "https://feed.partner.example.org"),
	},
	{
		name: "servers found by a public name", at: gates, by: "doors: TARGET_EXTERNAL",
		edit: in("upstreams/services.yaml", `targets: [{ url: "https://feed.partner.example.net" }]`, "discovery: { dns: { name: feed.example.org, port: 443 } }\n    scheme: https"),
	},
	{
		name: "an upstream without TLS", at: gates, by: "doors: TLS_DOWNGRADE",
		edit: edits(in("upstreams/services.yaml", "https://orders.internal:8443", "http://orders.internal:8080"), in("upstreams/services.yaml", "    tls: { ca: \"env:CORPUS_CA\", sni: orders.internal, minVersion: \"1.3\" }\n", "")),
	},
	{
		name: "TLS settings of plain http", at: validation, by: "GW3043",
		edit: in("upstreams/services.yaml", "https://orders.internal:8443", "http://orders.internal:8080"),
	},
	{
		name: "certificates not verified", at: gates, by: "doors: TLS_WEAKENED",
		edit: in("upstreams/services.yaml", `tls: { ca: "env:CORPUS_CA",`, `tls: { skipVerify: true,`),
	},
	{
		name: "any authority", at: gates, by: "doors: TLS_WEAKENED",
		edit: in("upstreams/services.yaml", `ca: "env:CORPUS_CA", `, ""),
	},
	{
		name: "another authority", at: gates, by: "doors: TLS_WEAKENED",
		edit: in("upstreams/services.yaml", `ca: "env:CORPUS_CA"`, `ca: "env:OTHER_CA"`),
	},
	{
		name: "another name in the certificate", at: gates, by: "doors: TLS_WEAKENED",
		edit: in("upstreams/services.yaml", "sni: orders.internal", "sni: www.example.org"),
	},
	{
		name: "an older TLS to servers", at: gates, by: "doors: TLS_WEAKENED",
		edit: in("upstreams/services.yaml", `minVersion: "1.3"`, `minVersion: "1.2"`),
	},
	{
		name: "a listener in the clear", at: gates, by: "doors: TLS_DOWNGRADE",
		edit: in("gateway.yaml", "      tls:\n        certificates: [{ cert: \"file:/etc/gwrun/tls/tls.crt\", key: \"file:/etc/gwrun/tls/tls.key\" }]\n        minVersion: \"1.3\"\n", ""),
	},
	{
		name: "one more listener in the clear", at: gates, by: "doors: TLS_DOWNGRADE",
		edit: in("gateway.yaml", "  listeners:\n", "  listeners:\n    - { id: plain, address: \":8080\" }\n"),
	},
	{
		name: "an older TLS of clients", at: gates, by: "doors: TLS_WEAKENED",
		edit: in("gateway.yaml", `minVersion: "1.3"`, `minVersion: "1.2"`),
	},
	{
		name: "traces in the clear", at: gates, by: "doors: TLS_DOWNGRADE",
		edit: in("gateway.yaml", "https://collector.internal:4318", "http://collector.internal:4318"),
		fine: in("gateway.yaml", "https://collector.internal:4318", "https://collector-2.internal:4318"),
	},
	{
		name: "traces to the outside", at: gates, by: "doors: TARGET_EXTERNAL",
		edit: in("gateway.yaml", "https://collector.internal:4318", "https://collector.example.org:4318"),
	},
	{
		name: "a metadata service", at: validation, by: "GW3022",
		edit: in("upstreams/services.yaml", "https://feed.partner.example.net", "http://169.254.169.254"),
	},
	{
		name: "a private address of a tenant", at: validation, by: "GW3023",
		edit: in("tenants/globex/upstreams/portal.yaml", "https://portal.globex.example.org", "http://10.0.0.5:8080"),
	},
	{
		name: "private addresses granted to a tenant", at: gates, by: "doors: PRIVATE_ADDRESSES_ALLOWED, TENANT_WIDENED",
		edit: in("tenants/globex/tenant.yaml", "  upstreams: []\n", "  upstreams: []\n  allowPrivateAddresses: true\n"),
	},
	{
		name: "a server with credentials in its url", at: validation, by: "GW2190",
		edit: in("upstreams/services.yaml", "https://feed.partner.example.net", "https://user:pass@feed.partner.example.net"),
	},
	{
		name: "a server with a path", at: validation, by: "GW3021",
		edit: in("upstreams/services.yaml", "https://feed.partner.example.net", "https://feed.partner.example.net/v2"),
	},
	{
		name: "one server by http, one by https", at: validation, by: "GW3020",
		edit: in("environments/prod/upstreams.yaml", "http://web-2.prod.internal:8080", "https://web-2.prod.internal:8443"),
	},
}

// gatewayItself are changes of what the gateway says about itself, and to whom.
var gatewayItself = []bad{
	{
		name: "secrets listed by the admin API", at: gates, by: "doors: ADMIN_ENABLED",
		edit: in("gateway.yaml", "hotReloadEnabled: true", "hotReloadEnabled: true\n    secretsManagementEnabled: true"),
		fine: in("gateway.yaml", "    hotReloadEnabled: true\n", ""),
	},
	{
		name: "the dashboard in prod", at: gates, by: "doors: ADMIN_ENABLED",
		edit: in("environments/prod/gateway.yaml", "  gitops:\n", "  admin: { dashboardUiEnabled: true }\n  gitops:\n"),
	},
	{
		name: "a user who may do everything", at: gates, by: "doors: ADMIN_WIDENED",
		edit: in("gateway.yaml", "roles: [viewer]", "roles: [super-admin]"),
	},
	{
		name: "one more user", at: gates, by: "doors: ADMIN_WIDENED",
		edit: in("gateway.yaml", "roles: [viewer] }\n", "roles: [viewer] }\n      - { name: eve, passwordHash: \"file:/etc/gwrun/admin/eve.phc\", roles: [operator] }\n"),
	},
	{
		name: "another password", at: gates, by: "doors: ADMIN_WIDENED",
		edit: in("gateway.yaml", "ann.phc", "eve.phc"),
	},
	{
		name: "an identity provider", at: gates, by: "doors: ADMIN_WIDENED",
		edit: in("gateway.yaml", "    hosts: [admin", "    oidc: { issuer: https://id.example.org, audience: admin, roleMap: { everybody: [operator] } }\n    hosts: [admin"),
	},
	{
		name: "any name for the admin API", at: gates, by: "doors: ADMIN_WIDENED",
		edit: in("gateway.yaml", "    hosts: [admin.example.com]\n", ""),
		fine: in("gateway.yaml", "    users:\n      - { name: ann, passwordHash: \"file:/etc/gwrun/admin/ann.phc\", roles: [viewer] }\n", ""),
	},
	{
		name: "one more name for the admin API", at: gates, by: "doors: ADMIN_WIDENED",
		edit: in("gateway.yaml", "hosts: [admin.example.com]", "hosts: [admin.example.com, admin.example.org]"),
	},
	{
		name: "sessions for a month", at: gates, by: "uptime: LIMIT_RAISED",
		edit: in("gateway.yaml", "    hosts: [admin", "    sessions: { refreshLifetime: 24h }\n    hosts: [admin"),
	},
	{
		name: "two listeners at one address", at: validation, by: "GW2131",
		edit: in("gateway.yaml", "  listeners:\n", "  listeners:\n    - { id: other, address: \":8443\" }\n"),
	},
}

// environments are values in the wrong place, and secrets in any.
var environments = []bad{
	{
		name: "the rules of prod in staging", at: gates, by: "doors: GATES_LOOSENED",
		edit: moved("environments/prod/gateway.yaml", "environments/staging/gitops.yaml", "environments/staging/gateway.yaml"),
	},
	{
		name: "the folder of prod misspelt", at: validation, by: "GW3030",
		edit: edits(moved("environments/prod/gateway.yaml", "environments/porduction/gateway.yaml"), moved("environments/prod/upstreams.yaml", "environments/porduction/upstreams.yaml")),
	},
	{
		name: "no prod", at: validation, by: "GW3030",
		edit: drop("environments/prod/"),
	},
	{
		name: "an environment with a name that is none", at: validation, by: "GW1011",
		edit: add("environments/pr od/more.yaml", "gateway: {}\n"),
	},
	{
		name: "the gateway twice in prod", at: validation, by: "GW3005",
		edit: prod("gateway: { name: shop2 }\n"),
	},
	{
		name: "a key in the clear", at: validation, by: "GW2191",
		edit: in("routes/partners.yaml", `secretRef: "env:CORPUS_URL_KEY"`, `secretRef: "dGhpcyBpcyBhIHNlY3JldCBrZXkgb2YgMzIgYnl0ZXM="`),
	},
	{
		name: "a bearer token in a header", at: validation, by: "GW2190",
		edit: in("routes/web.yaml", "policy: { rewrite:", "policy: { headers: { request: { set: { Authorization: \"Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl\" } } }, rewrite:"),
	},
	{
		name: "a private key in a file", at: validation, by: "GW2190",
		edit: add("routes/more.yaml", "routes:\n  - id: key\n    matcher: { path: /key }\n    target: { type: http, upstream: web }\n    policy: { headers: { response: { set: { X-Key: \"-----BEGIN PRIVATE KEY-----\" } } } }\n"),
	},
	{
		name: "a secret of the gateway's own", at: validation, by: "GW2191",
		edit: in("routes/partners.yaml", "env:CORPUS_URL_KEY", "env:GWRUN_ADMIN_TOKEN"),
	},
	{
		name: "a password in a test", at: requestTests, by: "GW2190", behind: "traffic",
		edit: add("tests/more.yaml", "tests:\n  - name: with a token\n    requests:\n      - send: { url: /hello, headers: { Authorization: \"Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl\" } }\n        expect: { status: 200 }\n"),
	},
	{
		name: "a patch of prod that lost its rules", at: gates, by: "doors: GATES_LOOSENED",
		edit: drop("environments/prod/gateway.yaml"),
	},
}

// moved moves a file in place of another one, or to where there is none.
func moved(from, to string, without ...string) edit {
	return func(t testing.TB, r repository) {
		t.Helper()
		if _, there := r[from]; !there {
			t.Fatalf("there is no %s", from)
		}
		r[to] = r[from]
		delete(r, from)
		for _, name := range without {
			delete(r, name)
		}
	}
}

// noEvents takes one route away.
var noEvents = in("routes/web.yaml", "  - id: events\n    matcher: { path: /events, methods: [GET] }\n    target: { type: http, upstream: web }\n    use: [public]\n    policy: { timeout: 0, timeouts: { idle: 60s } }\n", "")

// removals take routes away.
var removals = []bad{
	{
		name: "one route", at: requestTests, by: "pages are for everybody", behind: "gates: uptime: ROUTE_REMOVED",
		edit: noEvents,
	},
	{
		name: "a route deleted in prod", at: requestTests, by: "pages are for everybody", behind: "gates: uptime: ROUTE_REMOVED",
		edit: prod("routes:\n  - { id: hello, $delete: true }\n"),
		fine: add("environments/dev/more.yaml", "routes:\n  - id: hello\n    policy: { timeout: 1h }\n"),
	},
	{
		name: "a fifth of the routes and one", at: gates, by: "maxRoutesRemovedPercent: ROUTES_REMOVED_MANY; uptime: ROUTES_REMOVED_MANY, ROUTE_REMOVED",
		edit: edits(drop("routes/partners.yaml", "tests/partners.yaml"), in("tests/web.yaml", "      - send: { url: /events }\n        expect: { status: 200, route: events }\n", ""), noEvents, in("upstreams/services.yaml", "  - id: feed\n    targets: [{ url: \"https://feed.partner.example.net\" }]\n", "")),
	},
	{
		name: "a tenant", at: requestTests, by: "tenants have their hosts to themselves", behind: "gates: uptime: ROUTE_REMOVED",
		edit: drop("tenants/acme/"),
	},
	{
		name: "all routes", at: gates, by: "every environment: EMPTY_CONFIG; maxRoutesRemovedPercent: ROUTES_REMOVED_MANY; uptime: EMPTY_CONFIG, ROUTES_REMOVED_MANY, ROUTE_REMOVED",
		edit: drop("routes/", "tests/", "tenants/"),
	},
	{
		name: "everything", at: validation, by: "GW1001",
		edit: drop("routes/", "tests/", "tenants/", "policies/", "upstreams/", "environments/", "gateway.yaml"),
	},
	{
		name: "everything but the name and the rules", at: gates, by: "every environment: EMPTY_CONFIG; maxRoutesRemovedPercent: ROUTES_REMOVED_MANY; uptime: EMPTY_CONFIG, ROUTES_REMOVED_MANY, ROUTE_REMOVED",
		edit: drop("routes/", "tests/", "tenants/", "policies/", "upstreams/", "environments/prod/upstreams.yaml"),
	},
	{
		name: "a lost file of routes", at: requestTests, by: "buyers order", behind: "gates: uptime: ROUTES_REMOVED_MANY, ROUTE_REMOVED",
		edit: drop("routes/orders.yaml"),
	},
	{
		name: "tests", at: requestTests, by: "no test reaches acme-cart, acme-shop, catalogue, 17 more", behind: "traffic",
		edit: drop("tests/"),
	},
	{
		name: "one test", at: requestTests, by: "no test reaches orders, refund, reports", behind: "traffic",
		edit: drop("tests/orders.yaml"),
	},
}

// unnamed are changes that no rule has a name for: they are of a kind that is harmless as a rule. Live requests show that this one is not.
var unnamed = []bad{
	{
		name: "a rewrite that leads nowhere", at: requestTests, by: "old addresses still lead somewhere", behind: "dry run: other_request on legacy",
		edit: in("routes/web.yaml", `"/v2/${params.name}"`, `"/v3/${params.name}"`),
	},
	{
		name: "a rewrite that loses the name", at: requestTests, by: "old addresses still lead somewhere", behind: "dry run: other_request on legacy",
		edit: in("routes/web.yaml", `"/v2/${params.name}"`, `"/v2"`),
	},
	{
		name: "a prefix cut off", at: dryRun, by: "other_request on catalogue",
		edit: in("routes/web.yaml", "policy: { cors:", "policy: { rewrite: { stripPrefix: /catalogue }, cors:"),
	},
	{
		name: "a header that most clients do not send", at: dryRun, by: "allow_to_deny on search",
		edit: in("routes/web.yaml", `X-Client: "*"`, `X-Client: "mobile"`),
	},
	{
		name: "a query that clients do not send", at: requestTests, by: "clients say who they are when they search", behind: "dry run: allow_to_deny on search",
		edit: in("routes/web.yaml", `query: { q: "*" }`, `query: { q: "*", page: "*" }`),
	},
	{
		name: "a limit that clients exceed", at: dryRun, by: "allow_to_deny on limited",
		edit: edits(in("routes/web.yaml", "tokensPerInterval: 10,", "tokensPerInterval: 5,"), in("tests/web.yaml", "times: 10", "times: 5")),
	},
	{
		name: "a limit where there was none", at: dryRun, by: "allow_to_deny on legacy",
		edit: edits(in("routes/web.yaml", "policy: { rewrite:", "policy: { rateLimit: { tokensPerInterval: 3, intervalMs: 60000, key: [ip] }, rewrite:"), add("tests/more.yaml", "tests:\n  - name: old addresses are asked for three times\n    requests:\n      - { send: { url: /old/a }, times: 3, expect: { status: 200 } }\n      - { send: { url: /old/a }, expect: { status: 429 } }\n")),
	},
	{
		name: "an office without a desk", at: dryRun, by: "allow_to_deny on intranet, allow_to_deny on refund, allow_to_deny on reports",
		edit: edits(in("policies/guards.yaml", "allow: [192.0.2.0/24]", "allow: [192.0.2.0/28]")),
	},
	{
		name: "an office behind a proxy nobody trusts", at: dryRun, by: "allow_to_deny on intranet",
		edit: in("gateway.yaml", "trustedProxies: [198.51.100.0/24]", "trustedProxies: [198.51.100.128/25]"),
	},
	{
		name: "a role that nobody has", at: requestTests, by: "a buyer orders once a second", behind: "dry run: allow_to_deny on orders",
		edit: edits(in("routes/orders.yaml", "requiredRoles: [buyer]", "requiredRoles: [buyer, adult]"), in("tests/orders.yaml", "claims: { roles: [buyer] } } }\n        expect: { status: 200, route: orders", "claims: { roles: [buyer, adult] } } }\n        expect: { status: 200, route: orders")),
	},
	{
		name: "a token where there was none", at: requestTests, by: "pages are for everybody", behind: "dry run: allow_to_deny on events",
		edit: in("routes/web.yaml", "path: /events, methods: [GET] }\n    target: { type: http, upstream: web }\n    use: [public]", "path: /events, methods: [GET] }\n    target: { type: http, upstream: web }"),
	},
	{
		name: "a media type that clients do not send", at: requestTests, by: "uploads are JSON, and not large", behind: "gates: doors: AUTH_WEAKENED",
		edit: in("routes/partners.yaml", "allow: [application/json]", "allow: [application/x-ndjson]"),
	},
	{
		name: "a body limit below what clients send", at: requestTests, by: "uploads are JSON, and not large", behind: "dry run: allow_to_deny on upload",
		edit: in("routes/partners.yaml", "maxBytes: 256KiB", "maxBytes: 100KiB"),
	},
	{
		name: "a method less", at: dryRun, by: "allow_to_deny on orders",
		edit: in("routes/orders.yaml", "methods: [GET, POST]", "methods: [GET]"),
	},
	{
		name: "a type of token that the issuer does not write", at: dryRun, by: "allow_to_deny on acme-cart, allow_to_deny on globex-account, allow_to_deny on orders, 5 more",
		edit: in("gateway.yaml", "algorithms: [ES256]", "algorithms: [ES256]\n        type: at+jwt"),
	},
	{
		name: "a narrower path", at: dryRun, by: "allow_to_deny on catalogue",
		edit: in("routes/web.yaml", "path: /catalogue/*", "path: /catalogue/shoes/*"),
	},
	{
		name: "another upstream inside", at: dryRun, by: "other_upstream on catalogue",
		edit: in("routes/web.yaml", "path: /catalogue/*, methods: [GET] }\n    target: { type: http, upstream: web }", "path: /catalogue/*, methods: [GET] }\n    target: { type: http, upstream: orders }"),
	},
	{
		name: "a host that clients do not ask for", at: requestTests, by: "partners have keys", behind: "dry run: allow_to_deny on partner-feed",
		edit: in("routes/partners.yaml", "host: partners.example.com", "host: partner.example.com"),
	},
	{
		name: "shorter lives of signed addresses than are handed out", at: dryRun, by: "allow_to_deny on files",
		edit: in("routes/partners.yaml", "maxLifetime: 1h", "maxLifetime: 5m"),
	},
	{
		name: "a new route that takes requests of another one", at: requestTests, by: "pages of the shop may read the catalogue", behind: "dry run: other_upstream on catalogue",
		edit: edits(add("routes/more.yaml", "routes:\n  - id: shoes\n    matcher: { host: api.example.com, path: /catalogue/shoes, methods: [GET] }\n    target: { type: http, upstream: orders }\n    use: [public]\n"), public("shoes", "https://api.example.com/catalogue/shoes")),
	},
}
