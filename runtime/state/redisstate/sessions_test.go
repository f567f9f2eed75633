package redisstate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/admin/access/session"
	"github.com/suuupra/gateway/runtime/policy"
)

var _ session.Store = (*Client)(nil)

func sessionAt(id, user string, created time.Time) session.Session {
	return session.Session{
		ID: id, User: user, Address: "192.0.2.1", Created: created, Refreshed: created, Expires: created.Add(time.Hour),
		Refresh: strings.Repeat("a", 64), Password: strings.Repeat("b", 64),
	}
}

// TestSessionStores holds both stores to the contract.
func TestSessionStores(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, open := range map[string]func(t *testing.T, now func() time.Time) session.Store{
		"memory": func(_ *testing.T, now func() time.Time) session.Store { return session.NewMemory(now) },
		"redis": func(t *testing.T, now func() time.Time) session.Store {
			return open(t, testkit.Redis(t).URL, Options{Environment: "prod", Now: now, Budget: generous})
		},
	} {
		t.Run(name, func(t *testing.T) {
			clock := testkit.NewClock(start)
			store, ctx := open(t, clock.Now), t.Context()
			ids := func() string {
				all, err := store.Sessions(ctx)
				if err != nil {
					t.Fatal(err)
				}
				out := ""
				for _, s := range all {
					out += s.ID + " "
				}
				return strings.TrimSpace(out)
			}
			add := func(s session.Session, most, want int) {
				t.Helper()
				if ended, err := store.AddSession(ctx, s, most); err != nil || ended != want {
					t.Errorf("add %s: %d ended, %v", s.ID, ended, err)
				}
			}
			if got := ids(); got != "" {
				t.Errorf("at first: %s", got)
			}
			// The user's name is no part of a pattern or a script.
			for i, user := range []string{"ann", `a"nn`, "ann", "bob", "ann"} {
				add(sessionAt(fmt.Sprint("s", i), user, start.Add(time.Duration(i)*time.Second)), 3, 0)
			}
			add(sessionAt("s5", "ann", start.Add(5*time.Second)), 3, 1)
			if got := ids(); got != "s1 s2 s3 s4 s5" {
				t.Errorf("the oldest of ann's has ended: %s", got)
			}
			add(sessionAt("s6", "ann", start.Add(6*time.Second)), 1, 3)
			if got := ids(); got != "s1 s3 s6" {
				t.Errorf("one for ann: %s", got)
			}

			want := sessionAt("s3", "bob", start.Add(3*time.Second))
			if s, err := store.Session(ctx, "s3"); err != nil || s == nil || *s != want {
				t.Errorf("%+v, %v", s, err)
			}
			for _, id := range []string{"", "s0", "*", "s3\r\nDEL x"} {
				if s, err := store.Session(ctx, id); s != nil || err != nil {
					t.Errorf("%q: %+v, %v", id, s, err)
				}
			}

			next := strings.Repeat("c", 64)
			later := start.Add(time.Minute)
			if r, err := store.RotateSession(ctx, "s3", want.Refresh, next, later); r != session.Rotated || err != nil {
				t.Errorf("rotated: %d, %v", r, err)
			}
			want.Refresh, want.Refreshed = next, later
			if s, _ := store.Session(ctx, "s3"); s == nil || *s != want {
				t.Errorf("after that: %+v", s)
			}
			if r, err := store.RotateSession(ctx, "s3", strings.Repeat("a", 64), next, later); r != session.Reused || err != nil {
				t.Errorf("a spent token: %d, %v", r, err)
			}
			if r, err := store.RotateSession(ctx, "s3", next, next, later); r != session.Unknown || err != nil {
				t.Errorf("after that: %d, %v", r, err)
			}

			for _, want := range []bool{true, false} {
				if got, err := store.EndSession(ctx, "s6"); got != want || err != nil {
					t.Errorf("end: %t, %v", got, err)
				}
			}
			if got := ids(); got != "s1" {
				t.Errorf("left: %s", got)
			}
			clock.Advance(time.Hour + time.Second) // when s1 ends
			if s, err := store.Session(ctx, "s1"); s != nil || err != nil {
				t.Errorf("expired: %+v, %v", s, err)
			}
			if got, err := store.EndSession(ctx, "s1"); got || err != nil {
				t.Errorf("end what has expired: %t, %v", got, err)
			}
			if r, err := store.RotateSession(ctx, "s1", strings.Repeat("a", 64), next, later); r != session.Unknown || err != nil {
				t.Errorf("refresh what has expired: %d, %v", r, err)
			}
			add(sessionAt("s7", "ann", clock.Now()), 1, 0)
			if got := ids(); got != "s7" {
				t.Errorf("at last: %s", got)
			}
		})
	}
}

// TestOneOfManyRotates has several gateways show one refresh token at a time.
func TestOneOfManyRotates(t *testing.T) {
	server := testkit.Redis(t)
	var clients []*Client
	for range 4 {
		clients = append(clients, open(t, server.URL, Options{Environment: "prod", Budget: generous}))
	}
	for round := range 20 {
		s := sessionAt(fmt.Sprint("s", round), "ann", time.Now())
		if _, err := clients[0].AddSession(t.Context(), s, 100); err != nil {
			t.Fatal(err)
		}
		results := make([]session.Rotation, len(clients))
		var wait sync.WaitGroup
		for i, c := range clients {
			wait.Go(func() {
				var err error
				if results[i], err = c.RotateSession(t.Context(), s.ID, s.Refresh, strings.Repeat("c", 64), time.Now()); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		slices.Sort(results)
		if results[3] != session.Rotated || results[2] == session.Rotated {
			t.Fatalf("round %d: %v", round, results)
		}
	}
}

// TestSessionsOfOthers keeps environments apart, and copes with what somebody has put in their place.
func TestSessionsOfOthers(t *testing.T) {
	server := testkit.Redis(t)
	prod, test := open(t, server.URL, Options{Environment: "prod", Budget: generous}), open(t, server.URL, Options{Environment: "test", Budget: generous})
	db, ctx := direct(t, server.URL), t.Context()
	if _, err := prod.AddSession(ctx, sessionAt("s1", "ann", time.Now()), 5); err != nil {
		t.Fatal(err)
	}
	if s, err := test.Session(ctx, "s1"); s != nil || err != nil {
		t.Errorf("in another environment: %+v, %v", s, err)
	}
	if ttl := db.PTTL(ctx, "gw:admin:sessions:prod").Val(); ttl <= 0 || ttl > time.Hour {
		t.Errorf("kept for %s", ttl)
	}
	for _, raw := range []string{"", "{", "null", "[]", `{"id":"other","until_ms":99999999999999}`, `{"id":"bad","until_ms":"x"}`} {
		if err := db.HSet(ctx, "gw:admin:sessions:prod", "bad", raw).Err(); err != nil {
			t.Fatal(err)
		}
		if s, err := prod.Session(ctx, "bad"); s != nil || err == nil {
			t.Errorf("%q: %+v, %v", raw, s, err)
		}
		if r, _ := prod.RotateSession(ctx, "bad", "", "", time.Now()); r != session.Unknown {
			t.Errorf("%q: rotated %d", raw, r)
		}
		if _, err := prod.AddSession(ctx, sessionAt("s2", "ann", time.Now()), 5); err != nil {
			t.Errorf("%q: %v", raw, err)
		}
		if all, err := prod.Sessions(ctx); err != nil || len(all) != 2 {
			t.Errorf("%q: listed %+v, %v", raw, all, err)
		}
	}
	server.Stop()
	if _, err := prod.Session(ctx, "s1"); !errors.Is(err, policy.ErrStateAway) {
		t.Errorf("without a server: %v", err)
	}
	if r, err := prod.RotateSession(ctx, "s1", "", "", time.Now()); r != session.Unknown || !errors.Is(err, policy.ErrStateAway) {
		t.Errorf("without a server: %d, %v", r, err)
	}
}
