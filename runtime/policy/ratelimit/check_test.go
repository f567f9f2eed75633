package ratelimit

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/runtime/policy"
)

func TestBuildRefuses(t *testing.T) {
	good := func() Plan {
		return Plan{
			Limits:  []Limit{{ID: "default", TokensPerInterval: 10, IntervalMs: 60000, Burst: 10, Key: []string{"ip"}, Cost: 1}},
			OnError: "local", Replicas: 1, Headers: "standard",
		}
	}
	for _, tt := range []struct {
		name string
		edit func(p *Plan)
		want string
	}{
		{"no limit", func(p *Plan) { p.Limits = nil }, "there are 0 limits, must be 1 to 8"},
		{"nine limits", func(p *Plan) { p.Limits = slices.Repeat(p.Limits, 9) }, "there are 9 limits, must be 1 to 8"},
		{"onError", func(p *Plan) { p.OnError = "pass" }, `onError "pass" is not known`},
		{"headers", func(p *Plan) { p.Headers = "" }, `headers "" is not known`},
		{"replicas", func(p *Plan) { p.Replicas = 0 }, "replicas is 0, must be 1 to 10000"},
		{"no tokens", func(p *Plan) { p.Limits[0].TokensPerInterval = 0 }, `limit "default": tokensPerInterval is 0, must be 1 to 1000000000`},
		{"no interval", func(p *Plan) { p.Limits[0].IntervalMs = -1 }, `limit "default": intervalMs is -1, must be 1000 to 86400000`},
		{"no burst", func(p *Plan) { p.Limits[0].Burst = 0 }, `limit "default": burst is 0, must be 1 to 1000000000`},
		{"no cost", func(p *Plan) { p.Limits[0].Cost = 0 }, `limit "default": cost is 0, must be 1 to 10`},
		{"cost above burst", func(p *Plan) { p.Limits[0].Cost = 11 }, `limit "default": cost is 11, must be 1 to 10`},
		{"share", func(p *Plan) { p.Limits[0].LocalPercent = 51 }, `limit "default": localPercent is 51, must be 0 to 50`},
		{"centuries", func(p *Plan) { p.Limits[0].TokensPerInterval, p.Limits[0].Burst = 1, 1e9 }, `limit "default": burst is 1000000000, must be at most 38430716`},
		{"id that breaks a field", func(p *Plan) { p.Limits[0].ID = "a\"\r\nSet-Cookie: b" }, `limit "a\"\r\nSet-Cookie: b": the id is malformed`},
		{"scope", func(p *Plan) { p.Limits[0].Scope = "\x00" }, `limit "default": scope "\x00" is malformed`},
		{"no key", func(p *Plan) { p.Limits[0].Key = nil }, `limit "default": there is no key`},
		{"unknown key", func(p *Plan) { p.Limits[0].Key = []string{"cookie"} }, `limit "default": key "cookie" is not known`},
		{"header without a name", func(p *Plan) { p.Limits[0].Key = []string{"header:"} }, `limit "default": key "header:" is not known`},
		{"key with what it cannot have", func(p *Plan) { p.Limits[0].Key = []string{"ip:x"} }, `limit "default": key "ip:x" is not known`},
		{"unsorted", func(p *Plan) { p.Limits[0].Key = []string{"user", "ip"} }, `limit "default": the parts of key are not sorted, or one is there twice`},
		{"twice", func(p *Plan) { p.Limits[0].Key = []string{"ip", "ip"} }, `limit "default": the parts of key are not sorted, or one is there twice`},
		{"one id", func(p *Plan) { p.Limits = slices.Repeat(p.Limits, 2) }, `limit "default" is there twice`},
		{"one bucket", func(p *Plan) {
			p.Limits[0].Scope = "s"
			p.Limits = slices.Repeat(p.Limits, 2)
			p.Limits[1].ID = "b"
		}, `limits "default" and "b" have one bucket`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := good()
			tt.edit(&p)
			raw, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			w, _ := world()
			if _, err := Kind.Build(t.Context(), &w.Env, raw); err == nil || err.Error() != tt.want {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
	raw, _ := json.Marshal(good())
	w, _ := world()
	w.State = nil
	if _, err := Kind.Build(t.Context(), &w.Env, raw); !errors.Is(err, policy.ErrNoState) {
		t.Errorf("without state: %v", err)
	}
}

// FuzzBuild holds that any plan is refused or works.
func FuzzBuild(f *testing.F) {
	f.Add(string(plan(f, "{ tokensPerInterval: 10, intervalMs: 60000 }")))
	f.Add(string(plan(f, "{ limits: [ { id: a, tokensPerInterval: 1, intervalMs: 1000, burst: 1000000, key: [ip, 'header:X-A', 'claim:a.b'], scope: s } ], shadow: true }")))
	f.Add(string(plan(f, "{ tokensPerInterval: 1000000000, intervalMs: 1000, cost: 1000000, localPercent: 50, replicas: 10000 }")))
	f.Add(`{"limits":[{"id":"a","tokensPerInterval":1,"intervalMs":86400000,"burst":26000000,"key":["ip"],"cost":1000000,"localPercent":50}],"onError":"local","replicas":10000,"headers":"legacy","shadow":false}`)
	f.Fuzz(func(t *testing.T, raw string) {
		w, s := world()
		h, err := Kind.Build(t.Context(), &w.Env, []byte(raw))
		if err != nil {
			return
		}
		defer h.(*handler).Close()
		r := &rig{w, s, h}
		for _, away := range []error{nil, policy.ErrStateAway} {
			s.setAway(away)
			for range 4 {
				if said, _ := r.send(r.from("192.0.2.1")); said != "pass" && said != "429 rate_limited" && said != "503 limit_unavailable" {
					t.Errorf("%s: %s", raw, said)
				}
				r.Advance(3 * second)
			}
		}
		if got := strings.Join(r.Counts.All(), "\n"); !strings.Contains(got, "gw_ratelimit_requests_total") {
			t.Errorf("%s: nothing was counted: %s", raw, got)
		}
	})
}
