package hostile_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/apikey"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/admin"
	"github.com/suuupra/gateway/runtime/policy"
)

// ring is a site that asks for API keys, and the keys that it has handed out, with all that look like them.
type ring struct {
	*site
	*mint
	texts map[string]string
}

const keyRoutes = `routes:
  - id: k
    matcher: { path: /k/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { auth: { apiKey: { maxFailuresPerMinute: 100000 } } }
  - id: other
    matcher: { path: /other/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { auth: { apiKey: { header: X-Other-Key, maxFailuresPerMinute: 100000 } } }
  - id: scoped
    matcher: { path: /scoped/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { auth: { apiKey: { requiredScopes: [orders.read], maxFailuresPerMinute: 100000 } } }
  - id: both
    matcher: { path: /both/* }
    target: { type: http, url: "http://{guarded}" }
    policy:
      auth:
        apiKey: { maxFailuresPerMinute: 100000 }
        jwt: { issuer: "https://identity.example", audience: suuupra-api, jwksUri: "{keys}/keys" }
  - id: together
    matcher: { path: /together/* }
    target: { type: http, url: "http://{guarded}" }
    policy:
      auth:
        apiKey: { maxFailuresPerMinute: 100000 }
        jwt: { issuer: "https://identity.example", audience: suuupra-api, jwksUri: "{keys}/keys" }
      authorization: { scopes: { all: [orders.read, user.read] } }
  - id: guess
    matcher: { path: /guess/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { auth: { apiKey: {} } }
`

// tenantFiles are those of a tenant with a route for keys.
func tenantFiles(name string) map[string]string {
	return map[string]string{
		"tenants/" + name + "/tenant.yaml": fmt.Sprintf("tenant: { hosts: [%s.test], policyKinds: [auth], allowPrivateAddresses: true }\n", name),
		"tenants/" + name + "/routes/k.yaml": fmt.Sprintf(`routes:
  - id: %[1]s-k
    matcher: { host: %[1]s.test, path: /k/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { auth: { apiKey: { maxFailuresPerMinute: 100000 } } }
`, name),
	}
}

func newRing(t *testing.T) *ring {
	t.Helper()
	server := newKeyServer(t)
	r := &ring{mint: newMint(t), texts: map[string]string{}}
	server.publish("/keys", r.mint.keys(t))
	files := map[string]string{"routes/keys.yaml": strings.ReplaceAll(keyRoutes, "{keys}", server.URL)}
	for _, tenant := range []string{"red", "blue"} {
		for name, text := range tenantFiles(tenant) {
			files[name] = text
		}
	}
	r.site = startSite(t, plan{files: files})
	r.handOut(t)
	r.forge(t)
	r.plant(t)
	return r
}

// create has the gateway make a key.
func (s *site) create(t *testing.T, order admin.NewKey) (text string, k apikey.Key) {
	t.Helper()
	var made admin.Key
	if status, body := s.manage(t, http.MethodPost, "/admin/keys", order, &made); status != http.StatusCreated {
		t.Fatalf("create a key: %d %s", status, body)
	}
	return made.Key, s.keepKey(t, made.Key)
}

// keepKey notes that the secret of a key must not show, nor its hash. Its id is no secret.
func (s *site) keepKey(t *testing.T, text string) apikey.Key {
	t.Helper()
	k, err := apikey.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	s.keep("the secret of an API key", k.Secret)
	s.keep("the hash of an API key", hashOf(t, pepper, k))
	return k
}

func hashOf(t *testing.T, pepper string, k apikey.Key) string {
	t.Helper()
	h, err := apikey.NewHasher([]byte(pepper))
	if err != nil {
		t.Fatal(err)
	}
	return h.Hash(k.ID, k.Secret)
}

// handOut has the gateway make the keys that are good, and those that were.
func (r *ring) handOut(t *testing.T) {
	t.Helper()
	for name, order := range map[string]admin.NewKey{
		"good": {}, "second": {}, "revoked": {}, "rotated old": {}, "finished old": {}, "red": {Tenant: "red"}, "red revoked": {Tenant: "red"},
		"scoped": {Scopes: []string{"orders.read", "other"}}, "scopedx": {Scopes: []string{"orders.readx"}}, "expired": {ExpiresIn: "1s"},
	} {
		order.Owner = "hostile"
		text, k := r.create(t, order)
		r.texts[name] = text
		do := func(method, path string, order any) string {
			var made admin.Key
			if status, body := r.manage(t, method, "/admin/keys/"+k.ID+path, order, &made); status != http.StatusOK {
				t.Fatalf("%s: %d %s", name, status, body)
			}
			return made.Key
		}
		switch name {
		case "revoked", "red revoked":
			do(http.MethodDelete, "", nil)
		case "rotated old", "finished old":
			fresh := do(http.MethodPost, "/rotate", admin.Rotation{})
			r.keepKey(t, fresh)
			r.texts[strings.Replace(name, "old", "new", 1)] = fresh
			if name == "finished old" {
				do(http.MethodPost, "/finish-rotation", nil)
			}
		}
	}
	testkit.Eventually(t, "a key has expired", func() bool {
		return r.ask(t, ways[0], &attempt{line: "GET /k/x", fields: []string{"X-API-Key: " + r.texts["expired"]}}).status == keyExpired
	})
}

// forge makes keys that the gateway has not made.
func (r *ring) forge(t *testing.T) {
	t.Helper()
	good, second := r.keepKey(t, r.texts["good"]), r.keepKey(t, r.texts["second"])
	revoked, expired := r.keepKey(t, r.texts["revoked"]), r.keepKey(t, r.texts["expired"])
	text := r.texts["good"]
	fresh := func(env, id, secret string) string { return apikey.Key{Env: env, ID: id, Secret: secret}.Text() }
	for name, forged := range map[string]string{
		"wrong secret":        fresh("prod", good.ID, second.Secret),
		"wrong id":            fresh("prod", second.ID, good.Secret),
		"unknown":             fresh("prod", "abcdefgh234567ab", good.Secret),
		"wrong checksum":      text[:len(text)-6] + r.texts["second"][len(text)-6:],
		"short":               text[:len(text)-1],
		"second tail":         strings.TrimPrefix(r.texts["second"], "gw_"),
		"capitals":            strings.ToUpper(text),
		"small":               strings.ToLower(text),
		"capital id":          fresh("prod", strings.ToUpper(good.ID), good.Secret),
		"other environment":   fresh("dev", good.ID, good.Secret),
		"capital environment": fresh("PROD", good.ID, good.Secret),
		"long environment":    fresh(strings.Repeat("a", 64), good.ID, good.Secret),
		"star id":             fresh("prod", strings.Repeat("*", 16), good.Secret),
		"index id":            fresh("prod", ":keys\x21\x21\x21\x21\x21\x21\x21\x21\x21\x21\x21", good.Secret),
		"escaped id":          fresh("prod", `\r\nDEL\tgw:keys!`, good.Secret),
		"revoked wrong":       fresh("prod", revoked.ID, good.Secret),
		"expired wrong":       fresh("prod", expired.ID, good.Secret),
		"token":               r.good(),
		"forged":              by(r.thief, nil, nil),
	} {
		r.texts[name] = forged
	}
	r.keepToken(r.texts["token"])
	r.keepToken(r.texts["forged"])
}

// plant writes records into the store, as somebody could who has got at it.
func (r *ring) plant(t *testing.T) {
	t.Helper()
	good := r.keepKey(t, r.texts["good"])
	for name, change := range map[string]func(k apikey.Key, record *policy.KeyRecord){
		"stolen hash": func(_ apikey.Key, record *policy.KeyRecord) { record.Hashes = []string{hashOf(t, pepper, good)} },
		"no hash":     func(_ apikey.Key, record *policy.KeyRecord) { record.Hashes = nil },
		"empty hash":  func(_ apikey.Key, record *policy.KeyRecord) { record.Hashes = []string{"", ""} },
		"plain hash":  func(k apikey.Key, record *policy.KeyRecord) { record.Hashes = []string{k.Secret} },
		"other pepper": func(k apikey.Key, record *policy.KeyRecord) {
			record.Hashes = []string{hashOf(t, strings.Repeat("\x00", 32), k)}
		},
		"stolen environment": func(_ apikey.Key, record *policy.KeyRecord) { record.Environment = "dev" },
		"stolen id":          func(_ apikey.Key, record *policy.KeyRecord) { record.ID = good.ID },
		"no record":          nil,
		"list record":        nil,
		"large record":       func(_ apikey.Key, record *policy.KeyRecord) { record.Owner = strings.Repeat("o", mebibyte) },
	} {
		id := strings.Map(func(c rune) rune {
			if c == ' ' {
				return '2'
			}
			return c
		}, name+"aaaaaaaaaaaaaaaa")[:16]
		k := apikey.Key{Env: "prod", ID: id, Secret: good.Secret}
		r.texts[name] = k.Text()
		record := &policy.KeyRecord{ID: id, Environment: "prod", Owner: "hostile", Hashes: []string{hashOf(t, pepper, k)}, Created: time.Now().UTC()}
		text := []byte("{")
		if change != nil {
			change(k, record)
			var err error
			if text, err = json.Marshal(record); err != nil {
				t.Fatal(err)
			}
		}
		if name == "list record" {
			r.redis.Do("LPUSH", "gw:key:"+id, string(text))
		} else {
			r.redis.Do("SET", "gw:key:"+id, string(text))
		}
	}
}

// stored looks for secrets in Redis. It has to hold their hashes.
func (r *ring) stored(t *testing.T) {
	t.Helper()
	const lua = `local said = ''
for _, k in ipairs(redis.call('keys', '*')) do
  local kind, text = redis.call('type', k)['ok'], k
  if kind == 'string' then text = text .. redis.call('get', k) end
  if kind == 'hash' then text = text .. table.concat(redis.call('hgetall', k), ' ') end
  for _, secret in ipairs(ARGV) do
    if string.find(text, secret, 1, true) then said = said .. ' ' .. k end
  end
end
return redis.status_reply('found' .. said)`
	args := []string{"EVAL", lua, "0", pepper, adminToken}
	for _, name := range []string{"good", "second", "scoped", "red", "rotated new", "finished new"} {
		k, err := apikey.Parse(r.texts[name])
		if err != nil {
			t.Fatal(err)
		}
		args = append(args, k.Secret)
	}
	r.redis.Do("DEL", "gw:key:plain2hashaaaaaa") // one was put there in the clear
	if got := r.redis.Do(args...); got != "+found" {
		t.Errorf("Redis holds a secret: %s", got)
	}
}
