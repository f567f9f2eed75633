package hostile_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/admin"
)

// story is an input that is more than one request.
type story[S any] struct {
	name string
	is   outcome
	run  func(t *testing.T, s S)
}

func (s story[S]) outcome() outcome { return s.is }

var keyStories = []story[*ring]{
	{name: "key after it was revoked at another gateway", run: func(t *testing.T, r *ring) { revokedElsewhere(t, r, func() {}) }},
	{name: "key after it was revoked at another gateway, which nobody is told", run: func(t *testing.T, r *ring) {
		revokedElsewhere(t, r, func() { r.redis.Do("CLIENT", "KILL", "TYPE", "pubsub") })
	}},
	{name: "key whose checksum is wrong, which asks nobody", run: checksumAsksNobody},
	{name: "10,000 guesses from one address", run: manyGuesses},
	{name: "guesses of an id by the time that they take", is: bounded, run: timeOfGuesses},
	{name: "admin API without its token", run: func(t *testing.T, r *ring) {
		resp, err := http.Post("http://"+r.admin+"/admin/keys", "application/json", strings.NewReader(`{"owner":"evil"}`)) //nolint:noctx // bounded by the test
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("answered %d", resp.StatusCode)
		}
	}},
	{name: "admin API at the listener of everybody", run: func(t *testing.T, r *ring) {
		r.try(t, "keys", func() *attempt {
			return &attempt{line: "GET /admin/keys", fields: []string{"Authorization: Bearer " + adminToken}, want: noRoute}
		})
	}},
}

// revokedElsewhere revokes a key at one gateway. No other may take it two seconds later (the limit has a second of grace, for a machine
// that does much else).
func revokedElsewhere(t *testing.T, r *ring, before func()) {
	o := r.another(t)
	text, k := r.create(t, admin.NewKey{Owner: "hostile"})
	a := &attempt{line: "GET /k/x", fields: []string{"X-API-Key: " + text}}
	for _, s := range []*site{r.site, o} {
		if got := s.ask(t, ways[0], a).status; got != "200" {
			t.Fatalf("before: %q", got)
		}
	}
	before()
	if status, body := r.manage(t, http.MethodDelete, "/admin/keys/"+k.ID, nil, nil); status != http.StatusOK {
		t.Fatalf("revoke: %d %s", status, body)
	}
	since := time.Now()
	if got := r.ask(t, ways[0], a).status; got != keyRevoked {
		t.Errorf("at the gateway that has revoked it: %q", got)
	}
	testkit.Eventually(t, "the other gateway refuses the key", func() bool { return o.ask(t, ways[0], a).status == keyRevoked })
	if took := time.Since(since); took > 3*time.Second {
		t.Errorf("the other gateway took it for %s more", took)
	}
}

// checksumAsksNobody counts what Redis is asked.
func checksumAsksNobody(t *testing.T, r *ring) {
	const asked = `gw_state_calls_total{call="key"}`
	before := r.metric(t, asked)
	for _, name := range []string{"wrong checksum", "short", "capitals", "star id", "other environment", "long environment"} {
		for range 10 {
			if got := r.ask(t, ways[0], r.attempt(&keyInput{key: "{" + name + "}"})).status; got != badKey {
				t.Errorf("%s: %q", name, got)
			}
		}
	}
	if after := r.metric(t, asked); after != before {
		t.Errorf("Redis was asked %g times", after-before)
	}
	if got := r.ask(t, ways[0], r.attempt(&keyInput{key: "{wrong secret}"})).status; got != badKey {
		t.Errorf("wrong secret: %q", got)
	}
}

// asker asks again and again on one connection.
func (s *site) asker(t *testing.T, from string) *client {
	t.Helper()
	c := s.dialFrom(t, "in the clear", "", from)
	_ = c.SetDeadline(time.Time{})
	return c
}

// kept is a request that leaves its connection open.
func (a *attempt) kept() string { return strings.Replace(a.http1(), "Connection: close\r\n", "", 1) }

// manyGuesses has one address guess. Sixty tries a minute are looked at, of which the test may see two; neither a good key from there nor
// another kind of key is a way out, and no other address is kept out.
func manyGuesses(t *testing.T, r *ring) {
	const guesses, most = 10_000, 2 * 60
	guess := r.attempt(&keyInput{at: "/guess/x", key: "{wrong secret}"})
	before := r.moment()
	c := r.asker(t, "127.0.0.9")
	text := guess.kept()
	go func() { _, _ = io.WriteString(c, strings.Repeat(text, guesses)) }()
	seen := map[string]int{}
	for range guesses {
		got, body, err := c.response(http.MethodGet)
		if err != nil {
			t.Fatal(err)
		}
		r.heard(body)
		seen[got]++
	}
	_ = c.Close()
	if seen[badKey] == 0 || seen[badKey] > most || seen[badKey]+seen[guessed] != guesses {
		t.Errorf("guesses were answered %v", seen)
	}
	good := r.attempt(&keyInput{at: "/guess/x", key: "{good}"})
	good.from = "127.0.0.9"
	if got := r.ask(t, ways[0], good).status; got != guessed {
		t.Errorf("a good key from the same address: %q", got)
	}
	r.judge(t, before, "", "")
	good.from = "127.0.0.10"
	if got := r.ask(t, ways[0], good).status; got != "200" {
		t.Errorf("a good key from another address: %q", got)
	}
	guess.from, guess.want = "127.0.0.9", guessed
	guess.fields = append(guess.fields, "X-Forwarded-For: 127.0.0.11")
	r.send(t, ways[0], guess)
}

// timeOfGuesses compares how long it takes to refuse a wrong secret of an id that is there, and of one that is not. They take turns, so
// that whatever else the machine does meets both alike; a difference has to show three times in a row.
func timeOfGuesses(t *testing.T, r *ring) {
	const pairs, rounds = 5000, 3
	c := r.asker(t, "127.0.0.12")
	texts := [2]string{r.attempt(&keyInput{key: "{wrong secret}"}).kept(), r.attempt(&keyInput{key: "{unknown}"}).kept()}
	var median [2]time.Duration
	for range rounds {
		var took [2][]time.Duration
		for range pairs {
			for i, text := range texts {
				start := time.Now()
				_, _ = io.WriteString(c, text)
				if got, _, err := c.response(http.MethodGet); got != badKey || err != nil {
					t.Fatalf("answered %q, %v", got, err)
				}
				took[i] = append(took[i], time.Since(start))
			}
		}
		for i := range took {
			slices.Sort(took[i])
			median[i] = took[i][pairs/2]
		}
		if difference := (median[0] - median[1]).Abs(); difference < median[0]/20 {
			t.Logf("an id that is there: %s, one that is not: %s", median[0], median[1])
			return
		}
	}
	t.Errorf("an id that is there takes %s, one that is not %s", median[0], median[1])
}
