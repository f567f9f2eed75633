package diag

// GW2xxx: shapes and values. GW200x the version, GW203x fields, GW210x-212x values, GW213x objects, GW219x secrets.
var schemaCodes = []Explanation{
	{
		Code: "GW2001", Title: "no apiVersion",
		Why: "the version says by which definitions a file is read; without it a later compiler would have to guess",
		Fix: "begin the file with the version",
		Bad: "routes: []", Good: "apiVersion: gateway.suuupra.dev/v1\nroutes: []",
	},
	{
		Code: "GW2002", Title: "unknown apiVersion",
		Why: "this compiler does not know the definitions of that version: it is misspelt, newer than the compiler, or no longer read",
		Fix: "write a version the message lists, or use a newer gwctl",
		Bad: "apiVersion: gateway.suuupra.dev/v9", Good: "apiVersion: gateway.suuupra.dev/v1",
	},
	{
		Code: "GW2031", Title: "unknown field",
		Why: "a field nobody reads is a setting that has no effect, and a misspelt protection protects nothing",
		Fix: "write the field the hint suggests, or remove it",
		Bad: "matcher: { path: /users, methodz: [GET] }", Good: "matcher: { path: /users, methods: [GET] }",
	},
	{
		Code: "GW2032", Title: "required field missing",
		Why: "without it the object has no meaning; after all overlays are applied, each object must be complete",
		Fix: "add the field, in this file or in a lower layer",
		Bad: "routes:\n  - id: users\n    matcher: { path: /users }", Good: "routes:\n  - id: users\n    matcher: { path: /users }\n    target: { type: http, url: \"http://users:8080\" }",
	},
	{
		Code: "GW2033", Title: "known, but not available",
		Why: "the field belongs to the gateway and is not built in this version; ignoring it would leave open what it is meant to close",
		Fix: "remove it, or use a version that has it",
		Bad: "policy: { waf: { mode: block } }", Good: "policy: { timeout: 10s }",
	},
	{
		Code: "GW2034", Title: "exactly one of several fields",
		Why: "the fields say the same thing in different ways; with two it is unclear which one holds, with none nothing is said",
		Fix: "keep one of them",
		Bad: "target: { type: http, url: \"http://users:8080\", upstream: users }", Good: "target: { type: http, upstream: users }",
	},
	{
		Code: "GW2101", Title: "wrong kind of value",
		Why: "a value of another kind would have to be converted, and every tool converts differently (is 010 eight or ten?)",
		Fix: "write the kind of value the message asks for; the hint shows how",
		Bad: "matcher: { path: /users, methods: GET }", Good: "matcher: { path: /users, methods: [GET] }",
	},
	{
		Code: "GW2102", Title: "not one of the allowed values",
		Why: "only the values that the message lists have a meaning",
		Fix: "write one of them",
		Bad: "accessLog: { format: xml }", Good: "accessLog: { format: json }",
	},
	{
		Code: "GW2103", Title: "out of range",
		Why: "beyond the bounds the setting does not protect any more, or cannot be kept; plain numbers are milliseconds for a duration and bytes for a size",
		Fix: "write a value within the bounds, with a unit where it helps",
		Bad: "limits: { maxHeaderFields: 0 }", Good: "limits: { maxHeaderFields: 100 }",
	},
	{
		Code: "GW2104", Title: "malformed text",
		Why: "the text has characters or a form that its field cannot have, so it would never match, resolve or be found",
		Fix: "write the form the message describes",
		Bad: "routes:\n  - id: users api", Good: "routes:\n  - id: users-api",
	},
	{
		Code: "GW2105", Title: "too long or too short",
		Why: "everything has a bound, so that no file can exhaust the gateway; an empty list says nothing, and is mostly a slip",
		Fix: "shorten it, split it, or leave the field out",
		Bad: "matcher: { path: /users, methods: [] }", Good: "matcher: { path: /users }",
	},
	{
		Code: "GW2106", Title: "given twice",
		Why: "the second mention has no effect, and was probably meant to be something else",
		Fix: "remove one of them, or correct it",
		Bad: "matcher: { path: /users, methods: [GET, GET] }", Good: "matcher: { path: /users, methods: [GET, HEAD] }",
	},
	{
		Code: "GW2111", Title: "malformed duration",
		Why: "a duration is a whole number of milliseconds, or text made of whole numbers with h, m, s and ms, in this order and without spaces",
		Fix: "write it in that form; 1.5s is 1s500ms",
		Bad: "timeout: 10 seconds", Good: "timeout: 10s",
	},
	{
		Code: "GW2112", Title: "malformed size",
		Why: "a size is a whole number of bytes, or text with one of the units B, KiB, MiB and GiB; MB is a million bytes for some and 1,048,576 for others",
		Fix: "write the binary unit",
		Bad: "bodyLimit: { maxBytes: 10MB }", Good: "bodyLimit: { maxBytes: 10MiB }",
	},
	{
		Code: "GW2121", Title: "unusable URL",
		Why: "the gateway forwards to an http or https origin with a host, perhaps a port and a path; a query or a fragment would be lost",
		Fix: "write scheme, host, and perhaps port and path",
		Bad: "target: { type: http, url: \"http://users:8080?debug=1\" }", Good: "target: { type: http, url: \"http://users:8080\" }",
	},
	{
		Code: "GW2122", Title: "unusable address",
		Why: "a listener needs a port from 1 to 65535, and a host only to listen on one interface",
		Fix: "write :port, or host:port with IPv6 addresses in brackets",
		Bad: "listeners: [{ id: main, address: \":80800\" }]", Good: "listeners: [{ id: main, address: \":8080\" }]",
	},
	{
		Code: "GW2123", Title: "unusable network",
		Why: "with bits set behind the prefix it is unclear whether one address or the whole network is meant",
		Fix: "write one of the two forms the hint gives",
		Bad: "trustedProxies: [10.1.2.3/8]", Good: "trustedProxies: [10.0.0.0/8]",
	},
	{
		Code: "GW2124", Title: "everybody is a trusted proxy",
		Why: "a trusted proxy says which address a request came from; if every client is one, address lists and limits by address mean nothing",
		Fix: "name the networks of the proxies in front of the gateway",
		Bad: "trustedProxies: [0.0.0.0/0]", Good: "trustedProxies: [10.0.0.0/8]",
	},
	{
		Code: "GW2125", Title: "unusable host",
		Why: "no request can carry this host, so the grant would cover nothing",
		Fix: "write a host name, or \"*.\" and a suffix, without scheme, port and path",
		Bad: "tenant: { hosts: [a..example.com] }", Good: "tenant: { hosts: [a.example.com] }",
	},
	{
		Code: "GW2127", Title: "header that cannot be used here",
		Why: "Host has its own field, whose rules decide between routes; fields of one connection (RFC 9110, section 7.6.1) are the gateway's to answer, and differ between HTTP/1.1 and HTTP/2",
		Fix: "use matcher.host, or name another header",
		Bad: "matcher: { path: /users, headers: { host: api.example.com } }", Good: "matcher: { path: /users, host: api.example.com }",
	},
	{
		Code: "GW2131", Title: "listeners collide",
		Why: "two listeners of one id cannot be told apart, and only one can have an address",
		Fix: "give each its own id and address, or remove one",
		Bad: "listeners: [{ id: a, address: \":8080\" }, { id: b, address: \":8080\" }]", Good: "listeners: [{ id: a, address: \":8080\" }, { id: b, address: \":8081\" }]",
	},
	{
		Code: "GW2190", Title: "secret value in the repository",
		Why: "whoever can read the repository, a clone of it, or a log of its build has the secret, and removing the line leaves it in the history",
		Fix: "withdraw the secret and issue another one, remove it from the file, and hand it to the gateway by other means; the line is not shown on purpose",
		Bad: "url: http://user:password@users:8080", Good: "url: http://users:8080",
	},
	{
		Code: "GW2191", Title: "no reference to a secret",
		Why: "a field for a secret takes only the name of one, env:NAME or file:/absolute/path in its normal form, so that the value cannot end up in the repository and a grant covers exactly what it names; what gwrun is told in variables of its own, GWRUN_*, is for nobody else; the line is not shown, because it may hold the value",
		Fix: "write a reference; if the value stands there, withdraw it",
		Bad: "tls: { cert: file:/etc/gwrun/tls.crt, key: tls.key }", Good: "tls: { cert: file:/etc/gwrun/tls.crt, key: file:/etc/gwrun/tls.key }",
	},
}
