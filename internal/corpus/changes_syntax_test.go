package corpus_test

// typos are slips that a looser reader would take for something else, or for nothing.
var typos = []bad{
	{
		name: "a misspelt policy", at: validation, by: "GW2031",
		edit: in("routes/web.yaml", "policy: { rateLimit:", "policy: { ratelimit:"),
	},
	{
		name: "a misspelt field of a policy", at: validation, by: "GW2031",
		edit: in("routes/orders.yaml", "requiredRoles: [buyer]", "requiredRole: [buyer]"),
	},
	{
		name: "a policy beside policy", at: validation, by: "GW2031",
		edit: in("routes/web.yaml", "    policy: { rewrite:", "    polcy: { rewrite:"),
	},
	{
		name: "a misspelt key at the top", at: validation, by: "GW2031",
		edit: in("routes/users.yaml", "routes:", "route:"),
	},
	{
		name: "a field one level too high", at: validation, by: "GW2031",
		edit: in("routes/users.yaml", "    policy: { timeout: 10s }", "    timeout: 10s"),
		fine: in("routes/users.yaml", "timeout: 10s", "timeout: 10000"),
	},
	{
		name: "a limit as text", at: validation, by: "GW2101",
		edit: in("routes/web.yaml", "tokensPerInterval: 10,", `tokensPerInterval: "10",`),
		fine: in("routes/web.yaml", "tokensPerInterval: 10,", "tokensPerInterval: 10, burst: 10,"),
	},
	{
		name: "a limit with a half", at: validation, by: "GW2101",
		edit: in("routes/web.yaml", "tokensPerInterval: 10,", "tokensPerInterval: 10.5,"),
	},
	{
		name: "a limit with an exponent", at: validation, by: "GW1103",
		edit: in("routes/web.yaml", "tokensPerInterval: 10,", "tokensPerInterval: 1e9,"),
	},
	{
		name: "an interval in seconds", at: validation, by: "GW2103",
		edit: in("routes/web.yaml", "intervalMs: 60000", "intervalMs: 60"),
	},
	{
		name: "a duration with a space", at: validation, by: "GW2111",
		edit: in("routes/users.yaml", "timeout: 10s", "timeout: 10 s"),
	},
	{
		name: "a duration in days", at: validation, by: "GW2111",
		edit: in("routes/users.yaml", "timeout: 10s", "timeout: 1d"),
		fine: in("routes/users.yaml", "timeout: 10s", "timeout: 9s500ms"),
	},
	{
		name: "a size in MB", at: validation, by: "GW2112",
		edit: in("policies/bounds.yaml", "maxBytes: 64KiB", "maxBytes: 64MB"),
		fine: in("policies/bounds.yaml", "maxBytes: 64KiB", "maxBytes: 65536"),
	},
	{
		name: "yes for true", at: validation, by: "GW1101",
		edit: in("gateway.yaml", "apiEnabled: true", "apiEnabled: yes"),
	},
	{
		name: "an octal number", at: validation, by: "GW1102",
		edit: in("upstreams/services.yaml", "maxConnections: 512", "maxConnections: 0512"),
	},
	{
		name: "a version of TLS as a number", at: validation, by: "GW2101",
		edit: in("gateway.yaml", `minVersion: "1.3"`, "minVersion: 1.3"),
	},
	{
		name: "a key twice", at: validation, by: "GW1106",
		edit: in("routes/users.yaml", "    use: [resilient]\n", "    use: [resilient]\n    use: []\n"),
	},
	{
		name: "a merge key", at: validation, by: "GW1107",
		edit: in("routes/users.yaml", "    policy: { timeout: 10s }", "    policy: { <<: { timeout: 10s } }"),
	},
	{
		name: "a second document", at: validation, by: "GW1108",
		edit: in("routes/users.yaml", "  - id: user-by-id", "---\nroutes:\n  - id: user-by-id"),
	},
	{
		name: "a tab", at: validation, by: "GW1116",
		edit: in("routes/users.yaml", "    use: [resilient]", "\tuse: [resilient]"),
	},
	{
		name: "a list where a name is wanted", at: validation, by: "GW2101",
		edit: in("routes/users.yaml", "use: [resilient]", "use: resilient"),
	},
	{
		name: "a method in small letters", at: validation, by: "GW2104",
		edit: in("routes/orders.yaml", "methods: [GET, POST]", "methods: [get, POST]"),
	},
	{
		name: "a network with host bits and a typo", at: validation, by: "GW2123",
		edit: in("policies/guards.yaml", "192.0.2.0/24", "192.0.2.0/42"),
	},
	{
		name: "no apiVersion", at: validation, by: "GW2001",
		edit: in("routes/users.yaml", apiVersion, ""),
	},
	{
		name: "a bidirectional character that hides a line", at: validation, by: "GW1023",
		edit: in("routes/users.yaml", "# Users, for", "# Users\u202e, for"),
	},
	{
		name: "a file that no loader takes", at: validation, by: "GW1002",
		edit: add("routes/more.yml.bak", "routes: []\n"),
		fine: add("routes/more.yml", "routes: []\n"),
	},
	{
		name: "a folder with another name", at: validation, by: "GW1004",
		edit: add("route/more.yaml", "routes: []\n"),
	},
}

// dangling are references to what is not there, or not theirs.
var dangling = []bad{
	{
		name: "an upstream that is not there", at: validation, by: "GW3010",
		edit: in("routes/users.yaml", "path: /api/users/*, methods: [GET] }\n    target: { type: http, upstream: web }", "path: /api/users/*, methods: [GET] }\n    target: { type: http, upstream: wbe }"),
	},
	{
		name: "an upstream that is still used", at: validation, by: "GW3010",
		edit: in("upstreams/services.yaml", "  - id: feed\n", "  - id: feed2\n"),
	},
	{
		name: "a policy that is not there", at: validation, by: "GW3010",
		edit: in("routes/orders.yaml", "use: [support-only, office]", "use: [support, office]"),
	},
	{
		name: "a guard that is renamed where it is defined alone", at: validation, by: "GW3010",
		edit: in("policies/guards.yaml", "- id: office", "- id: offices"),
		fine: edits(in("policies/guards.yaml", "- id: support-only", "- id: support"), in("routes/orders.yaml", "use: [support-only, office]", "use: [support, office]")),
	},
	{
		name: "a route of a tenant to an upstream of another", at: validation, by: "GW3011",
		edit: in("tenants/acme/routes/shop.yaml", "path: /shop/* }\n    target: { type: http, upstream: web }", "path: /shop/* }\n    target: { type: http, upstream: globex-portal }"),
	},
	{
		name: "an upstream that the tenant was not granted", at: validation, by: "GW3013",
		edit: in("tenants/acme/routes/shop.yaml", "path: /shop/* }\n    target: { type: http, upstream: web }", "path: /shop/* }\n    target: { type: http, upstream: orders }"),
	},
	{
		name: "a host that the tenant was not granted", at: validation, by: "GW3013",
		edit: in("tenants/acme/routes/shop.yaml", "host: acme.example.com, path: /shop/*", "host: api.example.com, path: /shop/*"),
	},
	{
		name: "a path that the tenant was not granted", at: validation, by: "GW3013",
		edit: in("tenants/acme/routes/shop.yaml", "path: /shop/*", "path: /*"),
		fine: edits(add("tenants/acme/routes/more.yaml", "routes:\n  - id: acme-more\n    matcher: { host: acme.example.com, path: /shop/more }\n    target: { type: http, upstream: web }\n"), guarded("acme-more", "https://acme.example.com/shop/more")),
	},
	{
		name: "a policy that the tenant was not granted", at: validation, by: "GW3013",
		edit: in("tenants/globex/routes/portal.yaml", "    use: [public]\n", "    use: [public]\n    policy: { headers: { request: { set: { X-User-Id: root } } } }\n"),
	},
	{
		name: "a tenant that patches a route of the base", at: validation, by: "GW3013",
		edit: add("tenants/acme/routes/more.yaml", "routes:\n  - id: users-api\n    policy: { auth: { jwt: { enabled: false } } }\n"),
	},
	{
		name: "a tenant with a secret that it was not granted", at: validation, by: "GW3013",
		edit: in("tenants/globex/upstreams/portal.yaml", "portal.globex.example.org\" }]\n", "portal.globex.example.org\" }]\n    tls: { ca: \"env:CORPUS_CA\" }\n"),
	},
	{
		name: "a tenant that grants itself more", at: validation, by: "GW3006",
		edit: add("tenants/acme/more.yaml", "tenant: { hosts: [api.example.com] }\n"),
	},
	{
		name: "a tenant that sets the gateway", at: validation, by: "GW3006",
		edit: add("tenants/acme/gateway.yaml", "gateway: { trustedProxies: [0.0.0.0/1] }\n"),
	},
	{
		name: "a patch with a misspelt id", at: validation, by: "GW2032",
		edit: prod("routes:\n  - id: user-api\n    policy: { timeout: 5s }\n"),
		fine: prod("routes:\n  - id: users-api\n    policy: { timeout: 5s }\n"),
	},
	{
		name: "a patch that deletes what is not there", at: validation, by: "GW3004",
		edit: prod("routes:\n  - { id: hallo, $delete: true }\n"),
	},
	{
		name: "an unknown role of the admin API", at: validation, by: "GW3071",
		edit: in("gateway.yaml", "roles: [viewer]", "roles: [viewers]"),
	},
	{
		name: "a kind of policy that is not built", at: validation, by: "GW2033",
		edit: in("routes/users.yaml", "policy: { timeout: 10s }", "policy: { timeout: 10s, waf: { mode: block } }"),
	},
}

// hidden are routes that take one another's requests.
var hidden = []bad{
	{
		name: "two routes for the same requests", at: validation, by: "GW4004",
		edit: add("routes/more.yaml", "routes:\n  - id: hello-again\n    matcher: { path: /hello, methods: [GET] }\n    target: { type: http, upstream: web }\n"),
	},
	{
		name: "two captures for the same segment", at: validation, by: "GW4004",
		edit: add("routes/more.yaml", "routes:\n  - id: user-by-name\n    matcher: { path: \"/api/users/{name}\", methods: [GET, PUT] }\n    target: { type: http, upstream: web }\n"),
	},
	{
		name: "a tie in one environment alone", at: validation, by: "GW4004",
		edit: prod("routes:\n  - id: events\n    matcher: { path: /hello }\n"),
	},
	{
		name: "a regular expression behind a subtree", at: validation, by: "GW4005",
		edit: add("routes/more.yaml", "routes:\n  - id: numbers\n    matcher: { pathRegex: \"/echo/[0-9]+\" }\n    target: { type: http, upstream: web }\n"),
	},
	{
		name: "a route that grows over another one", at: requestTests, by: "pages are for everybody", behind: "gates: doors: PATH_WIDENED",
		edit: in("routes/web.yaml", "path: /echo/limited }", "path: /echo/*, methods: [GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, TRACE, PATCH] }"),
	},
	{
		name: "a path of the gateway's own", at: validation, by: "GW4006",
		edit: add("routes/more.yaml", "routes:\n  - id: own\n    matcher: { path: /admin/* }\n    target: { type: http, upstream: web }\n"),
	},
	{
		name: "the same id twice", at: validation, by: "GW3001",
		edit: in("routes/users.yaml", "- id: user-by-id", "- id: users-api"),
	},
	{
		name: "the same id in another file", at: validation, by: "GW3001",
		edit: add("routes/more.yaml", "routes:\n  - id: hello\n    matcher: { path: /hello2 }\n    target: { type: http, upstream: web }\n"),
	},
	{
		name: "two files of one layer that set one field", at: validation, by: "GW3002",
		edit: edits(prod("routes:\n  - id: users-api\n    policy: { timeout: 5s }\n"), add("environments/prod/more.yaml", "routes:\n  - id: users-api\n    policy: { timeout: 9s }\n")),
	},
	{
		name: "a star in the middle of a host", at: validation, by: "GW4001",
		edit: in("routes/partners.yaml", "host: partners.example.com", `host: "partners.*.com"`),
	},
	{
		name: "a star in the middle of a path", at: validation, by: "GW4002",
		edit: in("routes/partners.yaml", "path: /feed/*", "path: /feed/*/all"),
	},
	{
		name: "a regular expression that does not compile", at: validation, by: "GW4003",
		edit: in("routes/web.yaml", "path: /events,", "pathRegex: \"/(events\","),
	},
	{
		name: "path and regular expression", at: validation, by: "GW2034",
		edit: in("routes/web.yaml", "path: /events,", "path: /events, pathRegex: /events,"),
	},
}
