package diag

// GW4xxx: semantics across routes. The codes of matchers have names in package match.
var routeCodes = []Explanation{
	{
		Code: "GW4001", Title: "bad host pattern",
		Why: `a host is a name, an address, or "*." and a suffix, where "*" stands for one or more labels; ports, paths, a final dot and letters outside ASCII never match what a request carries`,
		Fix: `write the name alone, in punycode where it is not ASCII; use "*." only at the front; leave host out to match any`,
		Bad: "matcher: { host: api.example.com:8080, path: /* }", Good: "matcher: { host: api.example.com, path: /* }",
	},
	{
		Code: "GW4002", Title: "bad path pattern",
		Why: `a path is made of literal segments and captures "{name}", each one whole segment, and may end in "/*", which matches the path before it and everything under it; ` +
			"literals stand in the normalised form in which requests are matched, so that a pattern reads as the path it takes",
		Fix: `write the form the message suggests; for part of a segment use pathRegex`,
		Bad: "matcher: { path: /files/*/raw }", Good: "matcher: { path: \"/files/{name}/raw\" }",
	},
	{
		Code: "GW4003", Title: "bad pathRegex",
		Why: "expressions are RE2, whose time is linear in the path, so look-around and back-references do not exist; they are matched against the whole normalised path, and one that no such path matches is a mistake",
		Fix: `start with "/", escape what is special, and remember that nothing needs "^" or "$"`,
		Bad: "matcher: { pathRegex: 'v[0-9]+/users' }", Good: "matcher: { pathRegex: '/v[0-9]+/users' }",
	},
	{
		Code: "GW4004", Title: "two routes tie",
		Why:  "some request satisfies both, and host, path, methods, number of headers and number of query parameters are equally specific; the order of files never decides, so there is no winner",
		Fix:  "make one of them more specific (a host, a method list, one more header), or make them exclude each other (other values of the same header)",
		Bad:  "routes:\n  - id: a\n    matcher: { path: \"/users/{id}\" }\n    ...\n  - id: b\n    matcher: { path: \"/users/{name}\" }\n    ...",
		Good: "routes:\n  - id: a\n    matcher: { path: \"/users/{id}\", methods: [GET] }\n    ...\n  - id: b\n    matcher: { path: \"/users/{name}\", methods: [PUT] }\n    ...",
	},
	{
		Code: "GW4005", Title: "unreachable route",
		Why:  "more specific routes take every request that this one matches, so it is dead, and what it protects or limits is not; a pathRegex is less specific than any path pattern of its host",
		Fix:  "remove it, narrow the routes that take its requests, or give it a path instead of a pathRegex",
		Bad:  "routes:\n  - id: api\n    matcher: { path: /api/* }\n    ...\n  - id: users\n    matcher: { pathRegex: '/api/users/[0-9]+' }\n    ...",
		Good: "routes:\n  - id: api\n    matcher: { path: /api/* }\n    ...\n  - id: users\n    matcher: { path: \"/api/users/{id}\" }\n    ...",
	},
	{
		Code: "GW4006", Title: "reserved path",
		Why: "the gateway answers /health, /livez, /readyz, /metrics, /admin and everything under /admin itself, on every host, so a route for them would never see a request; a pattern such as /* that merely includes them is fine",
		Fix: "serve it under another path",
		Bad: "matcher: { path: /admin/* }", Good: "matcher: { path: /backoffice/* }",
	},
	{
		Code: "GW4007", Title: "patterns that are slow to search",
		Why: "a request may fit a literal and a capture at every segment, and the search follows both; patterns of one host that mix them at many depths, or many expressions without a literal prefix of their own, let one path cost as much as a thousand",
		Fix: "replace captures by literals or the other way round at the first segments, split by host, or start each pathRegex with literal segments",
		Bad: "", Good: "",
	},
	{
		Code: "GW4008", Title: "bad method, header or query condition",
		Why: "a method or header name with other characters, a value with space around it, or the same name twice can never be what a request carries",
		Fix: "write methods in capitals and each name once; an asterisk as value means that any will do",
		Bad: "matcher: { path: /users, methods: [get] }", Good: "matcher: { path: /users, methods: [GET] }",
	},
	{
		Code: "GW4009", Title: "guarded for some methods alone",
		Why:  "if a route does not take the method of a request, the next more general one is tried, and that one asks for no token, key, signature or address: what was meant to be protected is served or changed by another method. It is a warning, for the other route may be meant for everybody",
		Fix:  "leave methods out of the guarded route, guard the other one too, or narrow its path or its methods",
		Bad:  "routes:\n  - id: reports\n    matcher: { path: /reports/*, methods: [GET] }\n    policy: { auth: { apiKey: {} } }\n    ...\n  - id: site\n    matcher: { path: /* }\n    ...",
		Good: "routes:\n  - id: reports\n    matcher: { path: /reports/* }\n    policy: { auth: { apiKey: {} } }\n    ...\n  - id: site\n    matcher: { path: /* }\n    ...",
	},
}
