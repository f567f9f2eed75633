package diag

// GW3xxx: references, overlays and tenants.
var referenceCodes = []Explanation{
	{
		Code: "GW3001", Title: "duplicate id",
		Why: "an id names one object everywhere: in overlays, logs, metrics and explanations",
		Fix: "give one of them another id; to change an object of a lower layer, patch it from environments/ or tenants/",
		Bad: "routes:\n  - id: users\n    ...\n  - id: users\n    ...", Good: "routes:\n  - id: users\n    ...\n  - id: users-v2\n    ...",
	},
	{
		Code: "GW3002", Title: "two files of one layer set the same field",
		Why: "the order of files never decides, so there is no winner", Fix: "keep one of them",
	},
	{
		Code: "GW3003", Title: "$delete is misplaced",
		Why: "$delete: true removes a whole object that a lower layer has", Fix: "write only id and $delete: true, in an overlay",
		Bad: "routes:\n  - id: users\n    $delete: true\n    target: {...}", Good: "routes:\n  - id: users\n    $delete: true",
	},
	{
		Code: "GW3004", Title: "$delete names nothing",
		Why: "a deletion that hits nothing is most often a misspelt id", Fix: "check the id, or drop the entry",
	},
	{
		Code: "GW3005", Title: "gateway is set twice in one layer",
		Why: "the order of files never decides, so there is no winner", Fix: "keep the gateway's settings of a layer in one file",
	},
	{
		Code: "GW3006", Title: "a tenant reaches beyond its own objects",
		Why: "what a tenant may change is what its grant says", Fix: "move the change to the layer that owns the object",
	},
	{
		Code: "GW3007", Title: "null removes nothing",
		Why: "null in a patch removes a field of a lower layer; here no layer sets it", Fix: "drop the line, or check the spelling",
	},
	{
		Code: "GW3008", Title: "a patch that patches nothing",
		Why: "an overlay whose id no lower layer has adds a new object; an incomplete one was most likely meant as a patch", Fix: "check the id",
	},
	{
		Code: "GW3010", Title: "dangling reference",
		Why: "a route can't go to an upstream, or use a policy, that does not exist", Fix: "define it, or check the spelling",
		Bad: "target: { type: http, upstream: user }", Good: "target: { type: http, upstream: users }",
	},
	{
		Code: "GW3011", Title: "reference to another tenant's object",
		Why: "tenants are isolated from each other", Fix: "use an object of your own, or one of the base that your grant names",
	},
	{
		Code: "GW3012", Title: "a tenant without a grant",
		Why: "whatever is not granted is refused", Fix: "add tenants/<tenant>/tenant.yaml with the hosts it may own",
	},
	{
		Code: "GW3013", Title: "not granted",
		Why: "a tenant may only own what tenant.yaml grants it", Fix: "stay inside the grant, or have it widened",
	},
	{
		Code: "GW3020", Title: "an upstream with two schemes",
		Why: "requests would be encrypted or not depending on which server was picked", Fix: "make two upstreams of it",
	},
	{
		Code: "GW3021", Title: "the target of an upstream has a path",
		Why: "every server of an upstream answers the same paths; a prefix belongs to the route", Fix: "give the route a target.url with the path",
	},
	{
		Code: "GW3022", Title: "an address that is never dialled",
		Why: "link-local addresses lead to metadata services, which hand out credentials", Fix: "name the service by its own address or DNS name",
	},
	{
		Code: "GW3023", Title: "a tenant's target is a private address",
		Why: "a tenant could reach the platform's own services through the gateway", Fix: "use a public address, or have allowPrivateAddresses granted",
	},
	{
		Code: "GW3024", Title: "target type not available",
		Why: "this compiler does not have the kind of target", Fix: "use type http, or a newer compiler",
	},
	{
		Code: "GW3025", Title: "discovery that a tenant may not use",
		Why: "the gateway asks a source of discovery inside its own network and with its own rights, and is told addresses of that network",
		Fix: "name the servers under targets, or have allowPrivateAddresses granted; a kubeconfig is never a tenant's",
	},
	{
		Code: "GW3026", Title: "policy not available",
		Why: "this compiler does not have the kind of policy; left out in silence it would protect nothing",
		Fix: "use a newer compiler, or leave the policy out",
	},
	{
		Code: "GW3030", Title: "unknown environment",
		Why: "an environment exists if environments/<env>/ holds a file", Fix: "check the spelling, or add the folder",
	},
	{
		Code: "GW3040", Title: "settings that contradict each other",
		Why: "both cannot hold, and whichever won would surprise the author of the other one",
		Fix: "change one of the two; the message says which bound is broken",
		Bad: "health: { http: {}, interval: 1s, timeout: 2s }", Good: "health: { http: {}, interval: 3s, timeout: 2s }",
	},
	{
		Code: "GW3041", Title: "a setting without effect",
		Why: "somebody relies on it, or will; a setting that changes nothing is most often a misunderstanding",
		Fix: "remove it, or change what keeps it from having an effect",
		Bad: "targets: [{ url: \"http://a\", weight: 3 }, { url: \"http://b\" }]\nloadBalancing: { strategy: roundRobin }", Good: "targets: [{ url: \"http://a\", weight: 3 }, { url: \"http://b\" }]\nloadBalancing: { strategy: weighted }",
	},
	{
		Code: "GW3042", Title: "a setting that needs another one",
		Why: "alone it does not do what it says: requests would not stick to a server, nothing would be repeated, nobody would be believed",
		Fix: "add what the hint names, or leave the setting out",
		Bad: "loadBalancing: { strategy: maglev }", Good: "loadBalancing: { strategy: maglev, hashOn: [{ cookie: session }] }",
	},
	{
		Code: "GW3043", Title: "TLS settings of servers that speak plain http",
		Why: "whoever reads the settings believes that the connection is encrypted and the server verified, and neither would be true",
		Fix: "write https in the urls of the targets, or as scheme beside discovery; or leave tls out",
		Bad: "targets: [{ url: \"http://users:8080\" }]\ntls: { ca: file:/etc/gwrun/ca.pem }", Good: "targets: [{ url: \"https://users:8443\" }]\ntls: { ca: file:/etc/gwrun/ca.pem }",
	},
	{
		Code: "GW3044", Title: "certificates are not verified",
		Why: "encryption with nobody in particular keeps out no one who stands in between",
		Fix: "give the issuer of the server's certificate as tls.ca, or the name it is for as tls.sni",
		Bad: "tls: { skipVerify: true }", Good: "tls: { ca: file:/etc/gwrun/ca.pem, sni: users.internal }",
	},
	{
		Code: "GW3045", Title: "a gRPC check of servers that speak HTTP/1.1",
		Why: "gRPC needs HTTP/2: either the check fails on a healthy server, or requests fail on one that passes",
		Fix: "write protocol: http2, or give the check a port of its own",
		Bad: "targets: [{ url: \"http://users:8080\" }]\nhealth: { grpc: {} }", Good: "targets: [{ url: \"http://users:8080\" }]\nprotocol: http2\nhealth: { grpc: {} }",
	},
	{
		Code: "GW3046", Title: "a certificate twice",
		Why: "the first of two equal certificates answers, so the second one was meant to be another, or its key never comes to use",
		Fix: "remove one of them, or correct the reference",
	},
	{
		Code: "GW3047", Title: "a server twice",
		Why: "one server counts once: its load, its health and its connections are its own, however often it is written",
		Fix: "remove one of them, or give it a weight",
		Bad: "targets: [{ url: \"http://a:80\" }, { url: \"http://a\" }]", Good: "targets: [{ url: \"http://a\", weight: 2 }, { url: \"http://b\" }]",
	},
	{
		Code: "GW3048", Title: "servers that are verified by their addresses",
		Why: "most certificates hold names, so connections to servers found by address fail unless it is said which name to verify",
		Fix: "give the name in their certificates as tls.sni",
		Bad: "discovery: { kubernetes: { namespace: shop, service: users } }\nscheme: https", Good: "discovery: { kubernetes: { namespace: shop, service: users } }\nscheme: https\ntls: { sni: users.shop.svc, ca: file:/etc/gwrun/ca.pem }",
	},
	{
		Code: "GW3060", Title: "a condition that does not compile",
		Why: "a condition that cannot be judged lets nobody pass, or everybody",
		Fix: "use the names that the hint lists, and make it true or false; claims are known only at run time: has(claims.tenant) tells whether there is one",
		Bad: "conditions: [{ id: own, when: \"claim.tenant == params.tenant\" }]", Good: "conditions: [{ id: own, when: \"claims.tenant == params.tenant\" }]",
	},
	{
		Code: "GW3061", Title: "keys that come in the clear",
		Why: "whoever stands between the gateway and the issuer can put in keys of their own, and then make tokens for anybody",
		Fix: "write https; inside one machine or an encrypted network it can stay",
		Bad: "auth: { jwt: { issuer: https://id.example.com, audience: api, jwksUri: \"http://id.example.com/jwks.json\" } }", Good: "auth: { jwt: { issuer: https://id.example.com, audience: api, jwksUri: \"https://id.example.com/jwks.json\" } }",
	},
	{
		Code: "GW3070", Title: "a name of the admin API that is taken",
		Why: "what the built-in roles permit is the same at every gateway, and a record of what was done must leave no doubt who did it",
		Fix: "choose another name",
		Bad: "roles: [{ id: operator, permissions: [\"*:*\"] }]", Good: "roles: [{ id: lead, inherits: [operator], permissions: [\"sessions:delete\"] }]",
	},
	{
		Code: "GW3071", Title: "an unknown role of the admin API",
		Why: "a role that is not there permits nothing, and one of that name that comes later would permit more than anybody has reviewed",
		Fix: "define it in gateway.admin.roles, or check the spelling",
		Bad: "users: [{ name: ann, passwordHash: env:ANN_HASH, roles: [operators] }]", Good: "users: [{ name: ann, passwordHash: env:ANN_HASH, roles: [operator] }]",
	},
	{
		Code: "GW3072", Title: "roles that inherit in a circle",
		Why: "all roles of a circle permit the same, so that each of them permits more than it says",
		Fix: "take one of them out of inherits",
		Bad: "roles: [{ id: a, inherits: [b] }, { id: b, inherits: [a] }]", Good: "roles: [{ id: a, inherits: [b] }, { id: b, permissions: [\"keys:read\"] }]",
	},
	{
		Code: "GW3073", Title: "an unknown permission of the admin API",
		Why: "a permission that is none permits nothing, and whoever was to have it finds out when it matters",
		Fix: "write one of those that docs/admin.md lists, or a star for all resources or all actions",
		Bad: "roles: [{ id: keys, permissions: [\"keys:write\"] }]", Good: "roles: [{ id: keys, permissions: [\"keys:create\", \"keys:update\"] }]",
	},
}
