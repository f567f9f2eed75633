package corpus_test

import "testing"

// unseen is a change that may do harm, and that no station stops. It is here so that nobody believes otherwise.
type unseen struct {
	name, why string
	edit      edit
}

var unseens = []unseen{
	{"a new public route to something that should not be public", "a route without a credential is a notice (PUBLIC_ROUTE_ADDED), not a risk that the gates are about, and no live request asks for it yet; `gates: [{ risks: [PUBLIC_ROUTE_ADDED] }]` holds it", edits(
		add("routes/more.yaml", "routes:\n  - id: metrics\n    matcher: { path: /pub/metrics }\n    target: { type: http, upstream: web }\n    use: [public]\n    policy: { rewrite: { path: /internal/metrics } }\n"), public("metrics", "/pub/metrics"))},
	{"a limit raised by half, again and again", "each step is within `raisePercent`", edits(
		in("policies/bounds.yaml", "tokensPerInterval: 60,", "tokensPerInterval: 90,"), in("tests/orders.yaml", "times: 60", "times: 90"))},
	{"a limit for what nobody asks for at the moment", "live requests of ten minutes do not show the end of the month", edits(
		in("routes/orders.yaml", "      loadShedding: { priority: low }\n", "      loadShedding: { priority: low }\n      rateLimit: { tokensPerInterval: 5, intervalMs: 86400000, key: [user] }\n"),
		in("tests/orders.yaml", "  - name: reports stay in the office\n", "  - name: five reports a day\n    requests:\n      - { send: { url: https://api.example.com/reports/a, token: { claims: { permissions: [\"reports:read\"] } } }, times: 5, expect: { status: 200 } }\n      - { send: { url: https://api.example.com/reports/a, token: { claims: { permissions: [\"reports:read\"] } } }, expect: { status: 429 } }\n\n  - name: reports stay in the office\n"))},
	{"a timeout that is too short", "tests and dry runs have no time: whether servers answer within it is not asked", in("routes/web.yaml", "policy: { rewrite:", "policy: { timeout: 10ms, rewrite:")},
	{"a health check that no server passes", "servers are not asked before the change is live; below `panicPercent` all of them are used again", in("upstreams/services.yaml", "path: /healthz", "path: /health")},
	{"the name of an internal server misspelt", "it stays inside, and no request is sent to it before the change is live", in("environments/prod/upstreams.yaml", "http://web-1.prod.internal", "http://wbe-1.prod.internal")},
	{"a little traffic to the wrong service", "fewer of the live requests than `maxOther` differ", in("routes/web.yaml", "path: /events, methods: [GET] }\n    target: { type: http, upstream: web }", "path: /events, methods: [GET] }\n    target: { type: http, upstream: orders }")},
	{"weights the wrong way round", "servers of one upstream are taken for equal", in("environments/prod/upstreams.yaml", "weight: 3", "weight: 1000")},
	{"a field of the response taken away", "answers of servers are not part of what is judged", in("routes/web.yaml", "policy: { rewrite:", "policy: { headers: { response: { remove: [Cache-Control] } }, rewrite:")},
	{"a field of the request that a service believes", "fields that are set are not compared", in("routes/web.yaml", "policy: { rewrite:", "policy: { headers: { request: { set: { X-Role: admin } } }, rewrite:")},
	{"no access log", "it protects nobody, and whoever looks for traces later finds none", in("gateway.yaml", "accessLog: { enabled: true }", "accessLog: { enabled: false }")},
	{"a webhook of somebody else", "it carries nothing: gateways look at their source more often", rules("https://github.com/acme/shop-config", "https://github.com/eve/shop-config")},
}

// TestUnseen takes each of them to traffic. One that is stopped some day belongs into the tables of what is.
func TestUnseen(t *testing.T) {
	l := newLine(t)
	for _, u := range unseens {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			if got, _ := l.walk(t, l.repository.on(t, u.edit), begin); got.at != traffic {
				t.Errorf("stopped at %s", got)
			}
		})
	}
}
