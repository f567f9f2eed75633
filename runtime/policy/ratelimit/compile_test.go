package ratelimit

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit/policytest"
)

func TestCompile(t *testing.T) {
	const tail = `"onError":"local","replicas":1,"headers":"standard","shadow":false}`
	one := func(key string) string {
		return `{"limits":[{"id":"default","tokensPerInterval":60,"intervalMs":60000,"burst":60,"key":["` + key + `"],"cost":1,"localPercent":0}],` + tail
	}
	for _, tt := range []struct{ name, policy, want string }{
		{"what the guide has", "rateLimit: { enabled: true, tokensPerInterval: 60, intervalMs: 60000 }", one("ip")},
		{"users", "rateLimit: { tokensPerInterval: 60, intervalMs: 60000 }\nauth: { jwt: {}, apiKey: {} }", one("user")},
		{"keys", "rateLimit: { tokensPerInterval: 60, intervalMs: 60000 }\nauth: { apiKey: { enabled: true } }", one("key")},
		{"keys that are switched off", "rateLimit: { tokensPerInterval: 60, intervalMs: 60000 }\nauth: { apiKey: { enabled: false } }", one("ip")},
		{"switched off", "rateLimit: { enabled: false, tokensPerInterval: 60 }", ""},
		{
			"everything",
			"rateLimit: { tokensPerInterval: 60, intervalMs: 60000, burst: 100, key: [user, ip, 'header:X-App', 'claim:Org.ID'], scope: all, cost: 2, localPercent: 10, " +
				"onError: local, replicas: 3, headers: legacy, shadow: true }\nauth: { jwt: {} }",
			`{"limits":[{"id":"default","tokensPerInterval":60,"intervalMs":60000,"burst":100,"key":["claim:Org.ID","header:x-app","ip","user"],"scope":"all",` +
				`"cost":2,"localPercent":10}],"onError":"local","replicas":3,"headers":"legacy","shadow":true}`,
		},
		{
			"several",
			"rateLimit: { onError: closed, limits: [ { id: b, tokensPerInterval: 60, intervalMs: 60000 }, { id: a, tokensPerInterval: 600, intervalMs: 86400000, key: [tenant, route] } ] }",
			`{"limits":[{"id":"b","tokensPerInterval":60,"intervalMs":60000,"burst":60,"key":["ip"],"cost":1,"localPercent":0},` +
				`{"id":"a","tokensPerInterval":600,"intervalMs":86400000,"burst":600,"key":["route","tenant"],"cost":1,"localPercent":0}],` +
				`"onError":"closed","replicas":1,"headers":"standard","shadow":false}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, said := policytest.Compile(t, Kind, policytest.Route{Policy: tt.policy})
			if string(got) != tt.want || len(said) > 0 {
				t.Errorf("got  %s\nwant %s\nsaid %q", got, tt.want, said)
			}
		})
	}
}

func TestCompileSays(t *testing.T) {
	const numbers = "tokensPerInterval: 60, intervalMs: 60000"
	for _, tt := range []struct {
		name, rateLimit string
		want            []string
	}{
		{"nothing", "{}", []string{
			"error GW2034 policy.rateLimit: neither tokensPerInterval nor limits is there, must be one of them (add tokensPerInterval: 60 and intervalMs: 60000, or limits)",
		}},
		{"no interval", "{ tokensPerInterval: 60 }", []string{
			"error GW3042 policy.rateLimit.tokensPerInterval: tokensPerInterval says how many tokens, but not for how long (add intervalMs: 60000 (one minute))",
		}},
		{"no tokens", "{ intervalMs: 60000 }", []string{
			"error GW3042 policy.rateLimit.intervalMs: intervalMs says for how long, but not how many tokens (add tokensPerInterval: 60)",
		}},
		{"a limit without numbers", "{ limits: [ { id: a } ] }", []string{
			`error GW3042 policy.rateLimit.limits[0]: limit "a" has no numbers, so that it limits nothing (add tokensPerInterval: 60 and intervalMs: 60000)`,
		}},
		{"both forms", "{ " + numbers + ", burst: 3, limits: [ { id: a, " + numbers + " } ] }", []string{
			"error GW2034 policy.rateLimit.limits: both tokensPerInterval and limits are there, must be one of them (move the single limit into limits, with an id)",
		}},
		{"parts of both forms", "{ burst: 3, key: [ip], limits: [ { id: a, " + numbers + " } ] }", []string{
			"error GW3040 policy.rateLimit.burst: burst stands beside limits, of which each has its own (write it in each element of limits)",
			"error GW3040 policy.rateLimit.key: key stands beside limits, of which each has its own (write it in each element of limits)",
		}},
		{"cost above burst", "{ " + numbers + ", burst: 5, cost: 6 }", []string{
			"error GW2103 policy.rateLimit.cost: cost is 6, must be at most the burst of 5: no request would ever pass (raise burst, or lower cost)",
		}},
		{"a bucket that never fills", "{ tokensPerInterval: 1, intervalMs: 86400000, burst: 1000000000 }", []string{
			"error GW2103 policy.rateLimit.burst: burst is 1000000000, must be at most 26687: a bucket must not take more than 73 years to fill (lower burst)",
		}},
		{"users that nobody knows", "{ " + numbers + ", key: [user, 'claim:org', key, ip] }", []string{
			"error GW3042 policy.rateLimit.key[0]: key holds user, but the route verifies no token: nobody is known (add auth.jwt, or count by ip)",
			"error GW3042 policy.rateLimit.key[1]: key holds claim:org, but the route verifies no token: nobody is known (add auth.jwt, or count by ip)",
			"error GW3042 policy.rateLimit.key[2]: key holds key, but the route asks for no API key: nobody is known (add auth.apiKey, or count by ip)",
		}},
		{"one header twice", "{ " + numbers + ", key: ['header:X-App', 'header:x-app', ip] }", []string{
			"warning GW3041 policy.rateLimit.key[1]: key holds header:x-app twice (drop it)",
		}},
		{"replicas that nobody asks for", "{ " + numbers + ", onError: open, replicas: 3 }", []string{
			"warning GW3041 policy.rateLimit.replicas: with onError: open no gateway counts by itself, so that nobody asks how many there are (drop it, or write onError: local)",
		}},
		{"a lease of nothing", "{ tokensPerInterval: 5, intervalMs: 60000, localPercent: 10 }", []string{
			"warning GW3041 policy.rateLimit.localPercent: 10% of a burst of 5 is 0 tokens, too few to take for two requests of 1 at once (drop it, or raise burst)",
		}},
		{"a lease of less than two requests", "{ tokensPerInterval: 100, intervalMs: 60000, localPercent: 10, cost: 6 }", []string{
			"warning GW3041 policy.rateLimit.localPercent: 10% of a burst of 100 is 10 tokens, too few to take for two requests of 6 at once (drop it, or raise burst)",
		}},
		{"leases of several", "{ limits: [ { id: a, " + numbers + ", localPercent: 20 }, { id: b, tokensPerInterval: 1, intervalMs: 1000 } ] }", []string{
			"warning GW3041 policy.rateLimit.limits[0].localPercent: several limits are asked for in one question, and none of them ahead (drop it)",
		}},
		{"one name twice", "{ limits: [ { id: a, " + numbers + " }, { id: a, tokensPerInterval: 1, intervalMs: 1000 } ] }", []string{
			`error GW3040 policy.rateLimit.limits[1].id: limit "a" is there twice (choose another name)`,
		}},
		{"one limit twice", "{ limits: [ { id: a, " + numbers + " }, { id: b, " + numbers + " } ] }", []string{
			`warning GW3041 policy.rateLimit.limits[1]: limits "a" and "b" have the same numbers and key, so that one of them never refuses anything (drop one of them)`,
		}},
		{"one bucket twice", "{ limits: [ { id: a, scope: s, " + numbers + " }, { id: b, scope: s, cost: 2, " + numbers + " } ] }", []string{
			`error GW3040 policy.rateLimit.limits[1]: limits "a" and "b" have the same scope, numbers and key, so that one bucket would count each request twice (drop one of them, or give it a scope of its own)`,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, said := policytest.Compile(t, Kind, policytest.Route{Policy: "rateLimit: " + tt.rateLimit})
			if !slices.Equal(said, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(said, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// FuzzCompile holds that what compiles without an error can be built.
func FuzzCompile(f *testing.F) {
	f.Add(int64(60), int64(60000), int64(60), int64(1), int64(0))
	f.Add(int64(1), int64(86400000), int64(1000000000), int64(1000000), int64(50))
	f.Add(int64(1000000000), int64(1000), int64(1), int64(1), int64(1))
	f.Add(int64(7), int64(1001), int64(100), int64(13), int64(33))
	f.Fuzz(func(t *testing.T, tokens, interval, burst, cost, local int64) {
		for _, n := range []struct{ is, min, max int64 }{
			{tokens, 1, maxTokens}, {interval, minIntervalMs, maxIntervalMs}, {burst, 1, maxTokens}, {cost, 1, maxCost}, {local, 0, maxPercent},
		} {
			if n.is < n.min || n.is > n.max {
				return // the schema refuses it
			}
		}
		text := fmt.Sprintf("rateLimit: { tokensPerInterval: %d, intervalMs: %d, burst: %d, cost: %d, localPercent: %d }", tokens, interval, burst, cost, local)
		raw, said := policytest.Compile(t, Kind, policytest.Route{Policy: text})
		if slices.ContainsFunc(said, func(s string) bool { return strings.HasPrefix(s, "error") }) {
			return
		}
		w, _ := world()
		h, err := Kind.Build(t.Context(), &w.Env, raw)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		defer h.(*handler).Close()
		b := h.(*handler).limits[0].bucket
		if perInterval := interval * 1_000_000 / b.Every; perInterval > tokens {
			t.Errorf("%s: %d tokens for each interval", text, perInterval)
		}
	})
}
