package hostile_test

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
)

// rateInput is a caller who has used up a limit of two, and who somebody says he is when he comes again.
type rateInput struct {
	name          string
	at            string // the route
	claims, later map[string]any
	fields, again []string
	from          string
	is            outcome // refused: it is the same caller; normal: it is another one, or should be
	line          string  // of the third request; "": GET and at
	host          string
}

const (
	limited   = "429 rate_limited"
	limitAway = "503 limit_unavailable"
)

var rateInputs = []rateInput{
	{name: "the same address", at: "/ip/x"},
	{name: "another address", is: normal, at: "/ip/x", from: "127.0.0.8"},
	{name: "X-Forwarded-For", at: "/ip/x", again: []string{"X-Forwarded-For: 10.0.0.1"}},
	{name: "X-Real-IP and others", at: "/ip/x", again: []string{"X-Real-IP: 10.0.0.1", "Forwarded: for=10.0.0.1", "X-Client-IP: 10.0.0.1"}},
	{name: "another path of the route", at: "/ip/x", line: "GET /ip/y"},
	{name: "another spelling of the path", at: "/ip/x", line: "GET //ip/./z/../%78"},
	{name: "a query", at: "/ip/x", line: "GET /ip/x?y=z"},
	{name: "another method", at: "/ip/x", line: "DELETE /ip/x"},
	{name: "another host", at: "/ip/x", host: "other.test"},
	{name: "a token nobody asks for", at: "/ip/x", again: []string{"Authorization: Bearer x", "X-API-Key: y", "Cookie: z"}},
	{name: "another agent", at: "/ip/x", again: []string{"User-Agent: another"}},
	{name: "address of the same network of IPv6", at: "/ip/x", from: proxy, fields: []string{"X-Forwarded-For: 2001:db8::1"}, again: []string{"X-Forwarded-For: 2001:db8::ffff:1"}},
	{name: "address of another network of IPv6", is: normal, at: "/ip/x", from: proxy, fields: []string{"X-Forwarded-For: 2001:db8:1::1"}, again: []string{"X-Forwarded-For: 2001:db8:1:1::1"}},
	{name: "address in the mapped form", at: "/ip/x", from: proxy, fields: []string{"X-Forwarded-For: 8.8.8.8"}, again: []string{"X-Forwarded-For: ::ffff:8.8.8.8"}},
	{name: "address with a port", at: "/ip/x", from: proxy, fields: []string{"X-Forwarded-For: 8.8.4.4:1"}, again: []string{"X-Forwarded-For: 8.8.4.4:2"}},
	{name: "address that is claimed", at: "/ip/x", from: proxy, fields: []string{"X-Forwarded-For: 1.1.1.1, 8.8.8.1"}, again: []string{"X-Forwarded-For: 2.2.2.2, 8.8.8.1"}},

	{name: "the same subject", at: "/user/x", claims: subject("ann")},
	{name: "the same subject with other claims", at: "/user/x", claims: subject("ann"), later: map[string]any{"sub": "ann", "tenant": "red", "roles": nil, "x": "y"}},
	{name: "the same subject from another address", at: "/user/x", claims: subject("ann"), later: subject("ann"), from: "127.0.0.8"},
	{name: "another subject", is: normal, at: "/user/x", claims: subject("ann"), later: subject("bob")},
	{name: "subject in capitals", is: normal, at: "/user/x", claims: subject("ann"), later: subject("ANN")},
	{name: "subject with a space", is: normal, at: "/user/x", claims: subject("ann"), later: subject("ann ")},
	{name: "subject in braces", is: normal, at: "/user/x", claims: subject("ann"), later: subject("{ann}")},
	{name: "subject with a hash tag of a cluster", is: normal, at: "/user/x", claims: subject("}{ann}"), later: subject("{}{ann}")},
	{name: "subject with a colon", is: normal, at: "/user/x", claims: subject("a:b"), later: subject("a")},
	{name: "subject that ends with another's name", is: normal, at: "/user/x", claims: subject("1:x"), later: subject("x")},
	{name: "subject of a star", is: normal, at: "/user/x", claims: subject("ann"), later: subject("*")},
	{name: "subject with CR LF", is: normal, at: "/user/x", claims: subject("ann"), later: subject("ann\r\nDEL x")},
	{name: "subject with NUL", is: normal, at: "/user/x", claims: subject("ann"), later: subject("ann\x00")},
	{name: "subject beyond ASCII", is: normal, at: "/user/x", claims: subject("\u00e4nn"), later: subject("a\u0308nn")},
	{name: "subject of 4 KiB", at: "/user/x", claims: subject(strings.Repeat("s", 4<<10))},
	{name: "subjects of 4 KiB that end in something else", is: normal, at: "/user/x", claims: subject(strings.Repeat("s", 4<<10) + "a"), later: subject(strings.Repeat("s", 4<<10) + "b")},
	{name: "no subject, by address", at: "/user/x", claims: map[string]any{"sub": nil}, later: map[string]any{"sub": nil, "jti": "another"}},
	{name: "empty subject, by address", at: "/user/x", claims: subject(""), later: map[string]any{"sub": nil}},

	{name: "the same claim", at: "/claim/x", claims: map[string]any{"org": "a"}},
	{name: "another claim", is: normal, at: "/claim/x", claims: map[string]any{"org": "a"}, later: map[string]any{"org": "b"}},
	{name: "text and number", is: normal, at: "/claim/x", claims: map[string]any{"org": "1"}, later: map[string]any{"org": 1}},
	{name: "claim null, by address", at: "/claim/x", claims: map[string]any{"org": []any(nil)}, later: map[string]any{"org": ""}},
	{name: "list with its members in one", is: normal, at: "/claim/x", claims: map[string]any{"org": []string{"a", "b"}}, later: map[string]any{"org": []string{"a,b"}}},

	{name: "the same field", at: "/field/x", fields: []string{"X-Tenant: a"}, again: []string{"x-tenant: a"}},
	{name: "another field", is: normal, at: "/field/x", fields: []string{"X-Tenant: a"}, again: []string{"X-Tenant: b"}}, // it divides traffic, and protects nobody
	{name: "field with what ends a name", is: normal, at: "/field/x", fields: []string{"X-Tenant: a"}, again: []string{"X-Tenant: a."}},
	{name: "field twice, and once with both", is: normal, at: "/field/x", fields: []string{"X-Tenant: a", "X-Tenant: b"}, again: []string{"X-Tenant: a1:b"}},
	{name: "field of 20 KiB", at: "/field/x", fields: []string{"X-Tenant: " + strings.Repeat("t", 20<<10)}, again: []string{"X-Tenant: " + strings.Repeat("t", 20<<10)}},
	{name: "field with bytes of Redis", is: normal, at: "/field/x", fields: []string{"X-Tenant: *3 $3 DEL"}, again: []string{"X-Tenant: gw:keys"}},

	{name: "another route of the scope", at: "/scope-a/x", line: "GET /scope-b/x"},
	{name: "another route", is: normal, at: "/ip/x", line: "GET /ip-too/x"},
}

func subject(sub string) map[string]any { return map[string]any{"sub": sub} }

// rateRoutes have limits of two for a day: nothing comes back while the test lasts. Where Redis is away they say so.
const rateRoutes = `routes:
  - id: ip
    matcher: { path: /ip/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { rateLimit: { tokensPerInterval: 2, intervalMs: 86400000, key: [ip], onError: closed } }
  - id: ip-too
    matcher: { path: /ip-too/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { rateLimit: { tokensPerInterval: 2, intervalMs: 86400000, key: [ip], onError: closed } }
  - id: user
    matcher: { path: /user/* }
    target: { type: http, url: "http://{guarded}" }
    policy:
      auth: { jwt: { issuer: "https://identity.example", audience: suuupra-api, jwksUri: "{keys}/keys" } }
      rateLimit: { tokensPerInterval: 2, intervalMs: 86400000, onError: closed }
  - id: claim
    matcher: { path: /claim/* }
    target: { type: http, url: "http://{guarded}" }
    policy:
      auth: { jwt: { issuer: "https://identity.example", audience: suuupra-api, jwksUri: "{keys}/keys" } }
      rateLimit: { tokensPerInterval: 2, intervalMs: 86400000, key: ["claim:org"], onError: closed }
  - id: field
    matcher: { path: /field/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { rateLimit: { tokensPerInterval: 2, intervalMs: 86400000, key: ["header:X-Tenant"], onError: closed } }
  - id: scope-a
    matcher: { path: /scope-a/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { rateLimit: { tokensPerInterval: 2, intervalMs: 86400000, key: [ip], scope: all, onError: closed } }
  - id: scope-b
    matcher: { path: /scope-b/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { rateLimit: { tokensPerInterval: 2, intervalMs: 86400000, key: [ip], scope: all, onError: closed } }
  - id: hundred
    matcher: { path: /hundred/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { rateLimit: { tokensPerInterval: 100, intervalMs: 86400000, key: ["header:X-Tenant"], onError: closed } }
  - id: ahead
    matcher: { path: /ahead/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { rateLimit: { tokensPerInterval: 100, intervalMs: 86400000, key: ["header:X-Tenant"], localPercent: 20, onError: closed } }
  - id: fails
    matcher: { path: /fails/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { retry: { attempts: 2, on: [reset, gatewayError, connectFailure] } }
  - id: breaks
    matcher: { path: /breaks/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { circuitBreaker: { minimumCalls: 20, openFor: 5m } }
  - id: breaks-not
    matcher: { path: /breaks-not/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { circuitBreaker: { minimumCalls: 20, openFor: 5m } }
`

// rates is a site that counts.
type rates struct {
	*site
	*mint
}

func newRates(t *testing.T) *rates {
	t.Helper()
	server := newKeyServer(t)
	r := &rates{mint: newMint(t)}
	server.publish("/keys", r.mint.keys(t))
	r.site = startSite(t, plan{
		settings: "  trustedProxies: [127.0.0.5/32]\n", scripts: failing,
		files: map[string]string{"routes/rates.yaml": strings.ReplaceAll(rateRoutes, "{keys}", server.URL)},
	})
	return r
}

// attempt is a request of a caller.
func (r *rates) attempt(line, from string, fields []string, claims map[string]any, want string) *attempt {
	a := &attempt{line: line, from: from, fields: append([]string(nil), fields...), want: want}
	if claims != nil {
		token := by(r.es, nil, claims)
		r.keepToken(token)
		a.fields = append(a.fields, "Authorization: Bearer "+token)
	}
	if want == "200" {
		a.to = line
	}
	return a
}

// TestRates has callers use up a limit, and come again as somebody else. The buckets of a row are its own: Redis is emptied before it.
func TestRates(t *testing.T) {
	t.Parallel()
	r := newRates(t)
	for _, in := range rateInputs {
		for _, w := range ways {
			t.Run(in.name+" "+w.String(), func(t *testing.T) {
				first := in.from
				if first != proxy { // whoever comes from somewhere else comes from there the second time
					first = ""
				}
				testkit.Eventually(t, "two have passed, and nothing was taken beside them", func() bool {
					r.redis.Do("FLUSHALL")
					a := r.attempt("GET "+in.at, first, in.fields, in.claims, "200")
					one, two := r.ask(t, ways[0], a), r.ask(t, ways[0], a)
					return one.status == "200" && two.status == "200"
				})
				again, claims, line, want := in.again, in.later, in.line, limited
				if again == nil {
					again = in.fields
				}
				if claims == nil {
					claims = in.claims
				}
				if line == "" {
					line = "GET " + in.at
				}
				if in.is == normal {
					want = "200"
				}
				a := r.attempt(line, in.from, again, claims, want)
				a.host = in.host
				r.send(t, w, a)
			})
		}
	}
	for _, s := range rateStories {
		t.Run(s.name, func(t *testing.T) { s.run(t, r) })
	}
}

var rateStories = []story[*rates]{
	{name: "fifty at a time", run: func(t *testing.T, r *rates) { r.exhaust(t, "/hundred/x", r.site) }},
	{name: "two gateways", run: func(t *testing.T, r *rates) { r.exhaust(t, "/hundred/x", r.site, r.another(t)) }},
	{name: "two gateways that take ahead", run: func(t *testing.T, r *rates) { r.exhaust(t, "/ahead/x", r.site, r.another(t)) }},
	{name: "scripts forgotten by Redis", is: bounded, run: func(t *testing.T, r *rates) {
		r.redis.Do("SCRIPT", "FLUSH")
		r.exhaust(t, "/hundred/x", r.site)
	}},
	{name: "5,000 callers", is: bounded, run: manyCallers},
	{name: "keys of somebody else in Redis", is: bounded, run: func(t *testing.T, r *rates) {
		r.redis.Do("SET", "gw:keys", "not a set")
		r.redis.Do("SET", "ann", "1")
		r.send(t, ways[0], r.attempt("GET /user/x", "", nil, subject("keys of somebody else"), "200"))
		if got := r.redis.Do("EXISTS", "gw:keys", "ann"); got != ":2" {
			t.Errorf("they are gone: %s", got)
		}
	}},

	{name: "POST that broke off", run: func(t *testing.T, r *rates) {
		r.repeated(t, &attempt{line: "POST /fails/cut", body: "x"}, "502 upstream_reset", 1)
	}},
	{name: "POST that failed", run: func(t *testing.T, r *rates) { r.repeated(t, &attempt{line: "POST /fails/503", body: "x"}, "503", 1) }},
	{name: "POST with a key that makes it one", is: bounded, run: func(t *testing.T, r *rates) {
		r.repeated(t, &attempt{line: "POST /fails/503", body: "x", fields: []string{"Idempotency-Key: 1"}}, "503", 3)
	}},
	{name: "GET that failed", is: bounded, run: func(t *testing.T, r *rates) { r.repeated(t, &attempt{line: "GET /fails/503"}, "503", 3) }},
	{name: "GET that broke off within its answer", run: func(t *testing.T, r *rates) {
		before := r.moment()
		c := r.dial(t, "in the clear", "")
		_, _ = io.WriteString(c, (&attempt{line: "GET /fails/half"}).http1())
		if status, _, err := c.response(http.MethodGet); status != "200" || err == nil {
			t.Errorf("answered %q, %v", status, err)
		}
		r.judge(t, before, "", "GET /fails/half (cut)")
	}},
	{name: "Retry-After of ten years", is: bounded, run: func(t *testing.T, r *rates) { r.repeated(t, &attempt{line: "GET /fails/later"}, "503", 1) }},
	{name: "Retry-After of more than a number holds", is: bounded, run: func(t *testing.T, r *rates) { r.repeated(t, &attempt{line: "GET /fails/never"}, "503", 1) }},
	{name: "Retry-After in the past", is: bounded, run: func(t *testing.T, r *rates) { r.repeated(t, &attempt{line: "GET /fails/past"}, "503", 3) }},
	{name: "Retry-After negative", is: bounded, run: func(t *testing.T, r *rates) { r.repeated(t, &attempt{line: "GET /fails/negative"}, "503", 3) }},
	{name: "breaker that one route opens for another", is: bounded, run: breaks},
}

// exhaust has fifty clients ask for a limit of a hundred, four times as often as it allows: what all gateways together let pass is never
// more, and less only by those that Redis was too slow for. Where tokens are taken ahead, some may lapse with whoever holds them.
func (r *rates) exhaust(t *testing.T, at string, sites ...*site) {
	t.Helper()
	const limit, clients, each = 100, 50, 8
	tenant := rand.Text()
	before := r.moment()
	var passed, away atomic.Int64
	var wg sync.WaitGroup
	for i := range clients {
		c := sites[i%len(sites)].asker(t, "")
		wg.Go(func() {
			for range each {
				_, _ = io.WriteString(c, (&attempt{line: "GET " + at, fields: []string{"X-Tenant: " + tenant}}).kept())
				switch got, _, err := c.response(http.MethodGet); {
				case got == "200":
					passed.Add(1)
				case got == limitAway:
					away.Add(1)
				case got != limited:
					t.Errorf("answered %q, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
	least := limit - away.Load()
	if at == "/ahead/x" {
		least -= int64(len(sites)) * limit / 5
	}
	if n := passed.Load(); n > limit || n < least {
		t.Errorf("%d of %d requests passed, %d could not be counted", n, clients*each, away.Load())
	}
	if seen, _ := r.guarded.since(t, before.guarded); len(seen) != int(passed.Load()) {
		t.Errorf("the upstream saw %d requests, of %d that passed", len(seen), passed.Load())
	}
}

// manyCallers has so many names that Redis would be full of them if they stayed.
func manyCallers(t *testing.T, r *rates) {
	const callers = 5000
	r.redis.Do("FLUSHALL")
	c := r.asker(t, "")
	go func() {
		for i := range callers {
			_, _ = io.WriteString(c, (&attempt{line: "GET /hundred/x", fields: []string{fmt.Sprintf("X-Tenant: %d %s", i, strings.Repeat("x", 400))}}).kept())
		}
	}()
	for range callers {
		if got, _, err := c.response(http.MethodGet); err != nil || got != "200" && got != limitAway {
			t.Fatalf("answered %q, %v", got, err)
		}
	}
	const lua = `local stay, long, all = 0, 0, redis.call('keys', '*')
for _, k in ipairs(all) do
  if redis.call('pttl', k) < 0 and string.sub(k, 1, 3) == 'gw:' and k ~= 'gw:keys:used' and string.sub(k, 1, 10) ~= 'gw:pepper:' then stay = stay + 1 end
  if #k > 100 then long = long + 1 end
end
return #all .. ' ' .. stay .. ' ' .. long`
	if got := r.redis.Do("EVAL", "return redis.status_reply((function() "+lua+" end)())", "0"); !strings.HasSuffix(got, " 0 0") || len(got) < len("+1000 0 0") {
		t.Errorf("keys, those that stay, those that are long: %s", got)
	}
	if n := r.metric(t, "process_resident_memory_bytes"); n > 256<<20 {
		t.Errorf("the gateway takes %g bytes", n)
	}
}

// repeated asks, and counts how often the upstream is asked.
func (r *rates) repeated(t *testing.T, a *attempt, want string, times int) {
	t.Helper()
	before, began := r.moment(), time.Now()
	if got := r.ask(t, ways[0], a).status; got != want {
		t.Errorf("answered %q, want %q", got, want)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	seen, _ := r.guarded.since(t, before.guarded)
	if len(seen) != times {
		t.Errorf("the upstream was asked %d times, want %d", len(seen), times)
	}
}

// breaks opens the breaker of one route. Another route to the same upstream goes on.
func breaks(t *testing.T, r *rates) {
	failed := &attempt{line: "GET /breaks/503"}
	for range 20 {
		if got := r.ask(t, ways[0], failed).status; got != "503" {
			t.Fatalf("answered %q", got)
		}
	}
	const open = "503 breaker_open"
	testkit.Eventually(t, "the breaker is open", func() bool { return r.ask(t, ways[0], failed).status == open })
	r.send(t, ways[0], &attempt{line: "GET /breaks/x", want: open})
	r.send(t, ways[0], &attempt{line: "GET /breaks-not/x", want: "200", to: "GET /breaks-not/x"})
}

// failing are upstreams that fail.
func failing(path string) script {
	after := map[string]string{"/fails/later": "315360000", "/fails/never": strings.Repeat("9", 30), "/fails/past": "Thu, 01 Jan 1970 00:00:00 GMT", "/fails/negative": "-1"}[path]
	switch {
	case after != "":
		return answered("HTTP/1.1 503 Service Unavailable\r\nRetry-After: " + after + "\r\nContent-Length: 0\r\n\r\n")
	case path == "/fails/503", path == "/breaks/503":
		return answered("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	case path == "/fails/half":
		return func(c net.Conn, _ *bufio.Reader) bool {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\nhalf")
			return false
		}
	case path == "/fails/cut":
		return func(net.Conn, *bufio.Reader) bool { return false }
	}
	return nil
}

// answered says something, and ends the connection.
func answered(text string) script {
	return func(c net.Conn, _ *bufio.Reader) bool {
		_, _ = io.WriteString(c, text)
		return false
	}
}
