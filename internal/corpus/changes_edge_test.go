package corpus_test

// widened are matchers, lists and networks that take more than they did.
var widened = []bad{
	{
		name: "any host", at: gates, by: "doors: HOST_WIDENED",
		edit: in("routes/orders.yaml", "host: api.example.com, path: /orders/*", "path: /orders/*"),
	},
	{
		name: "every subdomain", at: gates, by: "doors: HOST_WIDENED",
		edit: in("routes/partners.yaml", "host: partners.example.com", `host: "*.example.com"`),
	},
	{
		name: "a whole tree", at: gates, by: "doors: PATH_WIDENED",
		edit: in("routes/web.yaml", "path: /events,", "path: /events/*,"),
	},
	{
		name: "a shorter prefix", at: gates, by: "doors: PATH_WIDENED",
		edit: in("routes/users.yaml", "path: /api/users/*", "path: /api/*"),
		fine: in("routes/users.yaml", "path: /api/users/*", "path: /api/users/*, query: { }"),
	},
	{
		name: "a regular expression in place of a path", at: gates, by: "doors: PATH_WIDENED",
		edit: in("routes/web.yaml", "path: /hello,", `pathRegex: "/hello.*",`),
	},
	{
		name: "one more method", at: gates, by: "doors: METHODS_WIDENED",
		edit: in("routes/orders.yaml", "methods: [GET, POST]", "methods: [GET, POST, DELETE]"),
	},
	{
		name: "any method", at: gates, by: "doors: METHODS_WIDENED",
		edit: in("routes/users.yaml", `path: "/api/users/{id}", methods: [GET, PUT]`, `path: "/api/users/{id}"`),
		fine: in("routes/users.yaml", "methods: [GET, PUT]", "methods: [PUT, GET]"),
	},
	{
		name: "a header no longer asked for", at: requestTests, by: "clients say who they are when they search", behind: "gates: doors: MATCH_WIDENED",
		edit: in("routes/web.yaml", `headers: { X-Client: "*" }, `, ""),
	},
	{
		name: "a query no longer asked for", at: requestTests, by: "clients say who they are when they search", behind: "gates: doors: MATCH_WIDENED",
		edit: in("routes/web.yaml", `, query: { q: "*" }`, ""),
	},
	{
		name: "the whole internet in the office", at: requestTests, by: "the support refunds, from the office", behind: "gates: doors: AUTH_WEAKENED",
		edit: in("policies/guards.yaml", "192.0.2.0/24", "0.0.0.0/0"),
	},
	{
		name: "one more network in the office", at: requestTests, by: "the support refunds, from the office", behind: "gates: doors: AUTH_WEAKENED",
		edit: in("policies/guards.yaml", "allow: [192.0.2.0/24]", "allow: [192.0.2.0/24, 203.0.113.0/24]"),
	},
	{
		name: "a wider network for the office", at: gates, by: "doors: AUTH_WEAKENED",
		edit: in("policies/guards.yaml", "192.0.2.0/24", "192.0.0.0/16"),
		fine: in("policies/guards.yaml", "allow: [192.0.2.0/24]", "allow: [192.0.2.0/25, 192.0.2.128/25]"),
	},
	{
		name: "the office switched off in prod", at: requestTests, by: "the support refunds, from the office", behind: "gates: doors: AUTH_WEAKENED",
		edit: prod("policies:\n  - id: office\n    ip: { enabled: false }\n"),
	},
	{
		name: "a deny list in place of an allow list", at: requestTests, by: "the support refunds, from the office", behind: "gates: doors: AUTH_WEAKENED",
		edit: in("policies/guards.yaml", "allow: [192.0.2.0/24]", "deny: [203.0.113.66]"),
	},
	{
		name: "one more origin", at: gates, by: "doors: AUTH_WEAKENED",
		edit: in("routes/web.yaml", `["https://shop.example.com"]`, `["https://shop.example.com", "https://evil.example"]`),
	},
	{
		name: "every origin", at: requestTests, by: "pages of the shop may read the catalogue", behind: "gates: doors: AUTH_WEAKENED",
		edit: in("routes/web.yaml", `["https://shop.example.com"]`, `["*"]`),
	},
	{
		name: "every subdomain as origin", at: gates, by: "doors: AUTH_WEAKENED",
		edit: in("routes/web.yaml", `["https://shop.example.com"]`, `["https://*.example.com"]`),
	},
	{
		name: "every subdomain of a public suffix", at: validation, by: "GW2104",
		edit: in("routes/web.yaml", `["https://shop.example.com"]`, `["https://*.github.io"]`),
	},
	{
		name: "origins with credentials", at: gates, by: "doors: AUTH_WEAKENED",
		edit: in("routes/web.yaml", "maxAge: 10m }", "maxAge: 10m, allowCredentials: true }"),
		fine: in("routes/web.yaml", "maxAge: 10m }", "maxAge: 5m }"),
	},
	{
		name: "every origin with credentials", at: validation, by: "GW3040",
		edit: in("routes/web.yaml", `["https://shop.example.com"], maxAge: 10m`, `["*"], allowCredentials: true`),
	},
	{
		name: "more methods for origins", at: gates, by: "doors: AUTH_WEAKENED",
		edit: in("routes/web.yaml", "maxAge: 10m }", "maxAge: 10m, allowMethods: [GET, DELETE] }"),
	},
	{
		name: "CORS left to the upstream", at: requestTests, by: "pages of the shop may read the catalogue", behind: "gates: doors: AUTH_WEAKENED",
		edit: in("routes/web.yaml", "    policy: { cors: { allowOrigins: [\"https://shop.example.com\"], maxAge: 10m } }\n", ""),
	},
	{
		name: "one more trusted proxy", at: gates, by: "doors: TRUSTED_PROXIES_WIDENED",
		edit: in("gateway.yaml", "[198.51.100.0/24]", "[198.51.100.0/24, 203.0.113.0/24]"),
		fine: in("gateway.yaml", "[198.51.100.0/24]", "[198.51.100.0/25, 198.51.100.128/25]"),
	},
	{
		name: "everybody a trusted proxy", at: gates, by: "doors: TRUSTED_PROXIES_WIDENED",
		edit: in("gateway.yaml", "[198.51.100.0/24]", "[0.0.0.0/0]"),
	},
	{
		name: "half of the world a trusted proxy", at: gates, by: "doors: TRUSTED_PROXIES_WIDENED",
		edit: in("gateway.yaml", "[198.51.100.0/24]", "[0.0.0.0/1]"),
	},
	{
		name: "a PROXY protocol from anywhere near", at: gates, by: "doors: TRUSTED_PROXIES_WIDENED",
		edit: in("gateway.yaml", "http2: { maxStreams: 100 }", "http2: { maxStreams: 100 }\n      proxyProtocol: { from: [10.0.0.0/8] }"),
	},
	{
		name: "any media type", at: gates, by: "doors: AUTH_WEAKENED",
		edit: in("routes/partners.yaml", "allow: [application/json]", `allow: [application/json, text/html]`),
	},
	{
		name: "media types not asked for", at: requestTests, by: "uploads are JSON, and not large", behind: "gates: doors: AUTH_WEAKENED",
		edit: in("routes/partners.yaml", "      contentType: { allow: [application/json] }\n", ""),
	},
	{
		name: "security headers gone", at: requestTests, by: "pages are for everybody", behind: "gates: doors: AUTH_WEAKENED",
		edit: in("gateway.yaml", "    securityHeaders: {}\n", ""),
	},
	{
		name: "framing allowed", at: gates, by: "doors: AUTH_WEAKENED",
		edit: in("gateway.yaml", "securityHeaders: {}", "securityHeaders: { frameOptions: upstream }"),
	},
}

// limits are bounds that give way.
var limits = []bad{
	{
		name: "a rate limit doubled", at: requestTests, by: "a buyer orders once a second", behind: "gates: uptime: LIMIT_RAISED",
		edit: in("policies/bounds.yaml", "tokensPerInterval: 60,", "tokensPerInterval: 120,"),
		fine: edits(in("policies/bounds.yaml", "tokensPerInterval: 60,", "tokensPerInterval: 90,"), in("tests/orders.yaml", "times: 60", "times: 90")),
	},
	{
		name: "a rate limit in a shorter interval", at: gates, by: "uptime: LIMIT_RAISED",
		edit: in("policies/bounds.yaml", "intervalMs: 60000", "intervalMs: 6000"),
	},
	{
		name: "a rate limit taken out", at: requestTests, by: "the eleventh call within a minute is refused", behind: "gates: uptime: LIMIT_REMOVED",
		edit: in("routes/web.yaml", "    policy: { rateLimit: { tokensPerInterval: 10, intervalMs: 60000, key: [ip] } }\n", ""),
	},
	{
		name: "a rate limit switched off", at: requestTests, by: "a buyer orders once a second", behind: "gates: uptime: LIMIT_REMOVED",
		edit: in("policies/bounds.yaml", "rateLimit: { tokens", "rateLimit: { enabled: false, tokens"),
	},
	{
		name: "a rate limit in shadow", at: requestTests, by: "a buyer orders once a second", behind: "gates: uptime: LIMIT_REMOVED",
		edit: in("policies/bounds.yaml", "rateLimit: { tokens", "rateLimit: { shadow: true, tokens"),
	},
	{
		name: "a rate limit that is open without Redis", at: gates, by: "uptime: LIMIT_REMOVED",
		edit: in("policies/bounds.yaml", "key: [user] }", "key: [user], onError: open }"),
		fine: in("policies/bounds.yaml", "key: [user] }", "key: [user], onError: closed }"),
	},
	{
		name: "a rate limit for each address in place of each user", at: gates, by: "uptime: LIMIT_REMOVED",
		edit: in("policies/bounds.yaml", "key: [user] }", "key: [ip] }"),
	},
	{
		name: "a rate limit by a header", at: requestTests, by: "the eleventh call within a minute is refused", behind: "gates: uptime: LIMIT_REMOVED",
		edit: in("routes/web.yaml", "key: [ip] }", `key: ["header:X-Client"] }`),
	},
	{
		name: "a larger burst", at: requestTests, by: "a partner asks twenty times at once", behind: "gates: uptime: LIMIT_RAISED",
		edit: in("routes/partners.yaml", "burst: 20", "burst: 100"),
		fine: edits(in("routes/partners.yaml", "burst: 20", "burst: 25"), in("tests/partners.yaml", "times: 20", "times: 25")),
	},
	{
		name: "a limit detached from a route", at: requestTests, by: "a buyer orders once a second", behind: "gates: uptime: LIMIT_REMOVED",
		edit: in("routes/orders.yaml", "    use: [fair-use]\n", ""),
	},
	{
		name: "a limit removed by a null in prod", at: requestTests, by: "the eleventh call within a minute is refused", behind: "gates: uptime: LIMIT_REMOVED",
		edit: prod("routes:\n  - id: limited\n    policy: { rateLimit: null }\n"),
	},
	{
		name: "a body limit ten times as high", at: requestTests, by: "one user is for those who may read it", behind: "gates: uptime: LIMIT_RAISED",
		edit: in("policies/bounds.yaml", "maxBytes: 64KiB", "maxBytes: 640KiB"),
		fine: edits(in("policies/bounds.yaml", "maxBytes: 64KiB", "maxBytes: 63KiB"), in("tests/web.yaml", "url: /echo/a, bodySize: 64KiB", "url: /echo/a, bodySize: 63KiB")),
	},
	{
		name: "a body limit detached", at: requestTests, by: "bodies are small", behind: "gates: uptime: LIMIT_REMOVED",
		edit: in("routes/web.yaml", "path: /echo/* }\n    target: { type: http, upstream: web }\n    use: [public, small-bodies]", "path: /echo/* }\n    target: { type: http, upstream: web }\n    use: [public]"),
	},
	{
		name: "the body limit of the gateway", at: gates, by: "uptime: LIMIT_RAISED",
		edit: in("gateway.yaml", "maxBodyBytes: 1MiB", "maxBodyBytes: 1GiB"),
		fine: in("gateway.yaml", "maxBodyBytes: 1MiB", "maxBodyBytes: 1280KiB"),
	},
	{
		name: "longer headers", at: gates, by: "uptime: LIMIT_RAISED",
		edit: in("gateway.yaml", "limits: { maxBodyBytes: 1MiB }", "limits: { maxBodyBytes: 1MiB, maxHeaderBytes: 1MiB }"),
	},
	{
		name: "slow headers", at: gates, by: "uptime: LIMIT_RAISED",
		edit: in("gateway.yaml", "readHeader: 10s", "readHeader: 10m"),
		fine: in("gateway.yaml", "readHeader: 10s", "readHeader: 12s"),
	},
	{
		name: "a timeout of an hour", at: gates, by: "uptime: LIMIT_RAISED",
		edit: in("routes/users.yaml", "timeout: 10s", "timeout: 1h"),
		fine: in("routes/users.yaml", "timeout: 10s", "timeout: 12s"),
	},
	{
		name: "a timeout switched off", at: gates, by: "uptime: LIMIT_REMOVED",
		edit: in("routes/users.yaml", "timeout: 10s", "timeout: 0"),
	},
	{
		name: "the default timeout switched off", at: gates, by: "uptime: LIMIT_REMOVED",
		edit: in("gateway.yaml", "timeout: 30s", "timeout: 0"),
	},
	{
		name: "silence for an hour", at: gates, by: "uptime: LIMIT_RAISED",
		edit: in("routes/web.yaml", "idle: 60s", "idle: 1h"),
	},
	{
		name: "more streams on a connection", at: gates, by: "uptime: LIMIT_RAISED",
		edit: in("gateway.yaml", "maxStreams: 100", "maxStreams: 10000"),
		fine: in("gateway.yaml", "maxStreams: 100", "maxStreams: 120"),
	},
	{
		name: "more connections to a server", at: gates, by: "uptime: LIMIT_RAISED",
		edit: in("upstreams/services.yaml", "maxConnections: 512", "maxConnections: 8192"),
		fine: in("upstreams/services.yaml", "maxConnections: 512", "maxConnections: 600"),
	},
	{
		name: "more requests under way", at: gates, by: "uptime: LIMIT_RAISED",
		edit: in("upstreams/services.yaml", "requests: 200, pending: 50", "requests: 20000, pending: 50"),
	},
	{
		name: "no bound on an upstream", at: gates, by: "uptime: LIMIT_RAISED",
		edit: in("upstreams/services.yaml", "    limits: { requests: 200, pending: 50 }\n", ""),
	},
}

// resilience are changes after which the gateway, or what is behind it, falls more easily.
var resilience = []bad{
	{
		name: "more retries", at: gates, by: "uptime: RETRY_WIDENED",
		edit: in("policies/bounds.yaml", "attempts: 2", "attempts: 10"),
		fine: in("policies/bounds.yaml", "perTryTimeout: 3s", "perTryTimeout: 2s"),
	},
	{
		name: "retries of every error", at: gates, by: "uptime: RETRY_WIDENED",
		edit: in("policies/bounds.yaml", "gatewayError, timeout]", "5xx, gatewayError, timeout]"),
	},
	{
		name: "POST repeated", at: gates, by: "uptime: RETRY_WIDENED",
		edit: in("policies/bounds.yaml", "perTryTimeout: 3s", "methods: [GET, HEAD, OPTIONS, PUT, DELETE, TRACE, POST], perTryTimeout: 3s"),
	},
	{
		name: "a larger budget of retries", at: gates, by: "uptime: RETRY_WIDENED",
		edit: in("policies/bounds.yaml", "perTryTimeout: 3s", "budget: { percent: 100 }, perTryTimeout: 3s"),
	},
	{
		name: "retries where there were none", at: gates, by: "uptime: RETRY_WIDENED",
		edit: in("routes/orders.yaml", "use: [fair-use]", "use: [fair-use, resilient]"),
	},
	{
		name: "no circuit breaker", at: requestTests, by: "a service that fails is given a rest", behind: "gates: uptime: RESILIENCE_REMOVED",
		edit: in("policies/bounds.yaml", "    circuitBreaker: { errorPercent: 50, minimumCalls: 20, openFor: 10s }\n", ""),
	},
	{
		name: "a circuit breaker switched off in prod", at: requestTests, by: "a service that fails is given a rest", behind: "gates: uptime: RESILIENCE_REMOVED",
		edit: prod("policies:\n  - id: resilient\n    circuitBreaker: { enabled: false }\n"),
	},
	{
		name: "a circuit breaker that hardly opens", at: gates, by: "uptime: LIMIT_RAISED",
		edit: in("policies/bounds.yaml", "errorPercent: 50", "errorPercent: 99"),
		fine: in("policies/bounds.yaml", "errorPercent: 50", "errorPercent: 40"),
	},
	{
		name: "a circuit breaker that closes at once", at: gates, by: "uptime: LIMIT_RAISED",
		edit: in("policies/bounds.yaml", "openFor: 10s", "openFor: 1s"),
		fine: in("policies/bounds.yaml", "openFor: 10s", "openFor: 12s"),
	},
	{
		name: "no health checks", at: gates, by: "uptime: RESILIENCE_REMOVED",
		edit: in("upstreams/services.yaml", "    health: { http: { path: /healthz } }\n", ""),
	},
	{
		name: "no health checks in prod", at: gates, by: "uptime: RESILIENCE_REMOVED",
		edit: in("environments/prod/upstreams.yaml", "  - id: web\n", "  - id: web\n    health: null\n"),
	},
	{
		name: "no ejection of servers", at: gates, by: "uptime: RESILIENCE_REMOVED",
		edit: in("upstreams/services.yaml", "    outlier: { maxEjectionPercent: 50 }\n", ""),
	},
	{
		name: "no load shedding", at: gates, by: "uptime: RESILIENCE_REMOVED",
		edit: in("gateway.yaml", "loadShedding: { enabled: true", "loadShedding: { enabled: false"),
	},
	{
		name: "load shedding that comes late", at: gates, by: "uptime: LIMIT_RAISED",
		edit: in("gateway.yaml", "maxInFlight: 5000", "maxInFlight: 500000"),
		fine: in("gateway.yaml", "maxInFlight: 5000", "maxInFlight: 4000"),
	},
	{
		name: "reports before customers", at: gates, by: "uptime: PRIORITY_RAISED",
		edit: in("routes/orders.yaml", "priority: low", "priority: critical"),
		fine: edits(in("routes/web.yaml", "    policy: { timeout: 0, timeouts: { idle: 60s } }", "    policy: { timeout: 0, timeouts: { idle: 60s }, loadShedding: { priority: low } }")),
	},
}
