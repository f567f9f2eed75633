package redisstate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/policy"
)

// exchange says something as a gateway, and returns what it is told, as name=text.
func exchange(t *testing.T, c *Client, own string) (seen []string, refused int, err error) {
	t.Helper()
	refused, err = c.Exchange(t.Context(), []byte(own), func(instance string, age time.Duration, report []byte) {
		if age < 0 || age > reportCounts {
			t.Errorf("%s is %s old", instance, age)
		}
		seen = append(seen, instance+"="+string(report))
	})
	slices.Sort(seen)
	return seen, refused, err
}

func mustSee(t *testing.T, c *Client, own string, want ...string) {
	t.Helper()
	seen, refused, err := exchange(t, c, own)
	if err != nil || refused != 0 || !slices.Equal(seen, want) {
		t.Errorf("%q, %d refused, %v; want %q", seen, refused, err, want)
	}
}

func TestReports(t *testing.T) {
	server := testkit.Redis(t)
	a := open(t, server.URL, Options{Environment: "prod", Instance: "a"})
	b := open(t, server.URL, Options{Environment: "prod", Instance: "b"})
	other := open(t, server.URL, Options{Environment: "dev", Instance: "a"})
	mustSee(t, a, "one", "a=one")
	mustSee(t, b, "two: \x00\n", "a=one", "b=two: \x00\n")
	mustSee(t, other, "three", "a=three")
	mustSee(t, a, "four", "a=four", "b=two: \x00\n")
	if ms, err := strconv.Atoi(strings.TrimPrefix(server.Do("PTTL", "gw:fleet:prod"), ":")); err != nil || ms <= 0 || ms > 20_000 {
		t.Errorf("the reports expire in %d ms, %v", ms, err)
	}
	server.Do("SCRIPT", "FLUSH")
	mustSee(t, a, "five", "a=five", "b=two: \x00\n")

	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	mustSee(t, a, "six", "a=six") // one that leaves takes back what it said
}

func TestHostileReports(t *testing.T) {
	server := testkit.Redis(t)
	db := direct(t, server.URL)
	now := time.Now().UnixMilli()
	for name, tt := range map[string]struct {
		field, value string
		refused      int  // entries that are passed over
		kept         bool // in the hash
	}{
		"no time":                {"x", "{}", 0, false},
		"a time that is none":    {"x", "soon:{}", 0, false},
		"from long ago":          {"x", fmt.Sprint(now-25_000, ":{}"), 0, false},
		"from far ahead":         {"x", fmt.Sprint(now+1e9, ":{}"), 0, false},
		"a time without end":     {"x", strings.Repeat("9", 400) + ":{}", 0, false},
		"a long name":            {strings.Repeat("x", 129), fmt.Sprint(now, ":{}"), 1, true},
		"a long report":          {"x", fmt.Sprint(now, ":", strings.Repeat("x", 2049)), 1, true},
		"a report of a megabyte": {"x", fmt.Sprint(now, ":", strings.Repeat("x", 1<<20)), 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			env := strings.ReplaceAll(name, " ", "-")
			c := open(t, server.URL, Options{Environment: env, Instance: "a"})
			if err := db.HSet(t.Context(), "gw:fleet:"+env, tt.field, tt.value).Err(); err != nil {
				t.Fatal(err)
			}
			seen, refused, err := exchange(t, c, "me")
			if err != nil || !slices.Equal(seen, []string{"a=me"}) || refused != tt.refused {
				t.Errorf("%q, %d refused, %v", seen, refused, err)
			}
			if kept := db.HExists(t.Context(), "gw:fleet:"+env, tt.field).Val(); kept != tt.kept {
				t.Errorf("kept: %t", kept)
			}
		})
	}
	t.Run("no hash", func(t *testing.T) {
		server.Do("SET", "gw:fleet:text", "x")
		_, _, err := exchange(t, open(t, server.URL, Options{Environment: "text", Instance: "a"}), "me")
		if !errors.Is(err, policy.ErrStateAway) || !strings.Contains(err.Error(), "WRONGTYPE") {
			t.Errorf("%v", err)
		}
	})
	t.Run("too many", func(t *testing.T) {
		c := open(t, server.URL, Options{Environment: "many", Instance: "a"})
		fields := map[string]any{}
		for i := range mostReports + 1 {
			fields[fmt.Sprint("x", i)] = fmt.Sprint(now, ":{}")
		}
		for _, name := range slices.Sorted(maps.Keys(fields))[1:] {
			db.HSet(t.Context(), "gw:fleet:many", name, fields[name])
		}
		if seen, _, err := exchange(t, c, "me"); err != nil || len(seen) != mostReports+1 {
			t.Errorf("of as many as there may be, %d are seen, %v", len(seen), err)
		}
		db.HSet(t.Context(), "gw:fleet:many", fields)
		db.Persist(t.Context(), "gw:fleet:many")
		if seen, _, err := exchange(t, c, "me"); !errors.Is(err, ErrCrowded) || len(seen) != 0 {
			t.Errorf("%d are seen, %v", len(seen), err)
		}
		if left := db.PTTL(t.Context(), "gw:fleet:many").Val(); left <= 0 || left > reportCounts {
			t.Errorf("the hash goes away in %s", left)
		}
	})
}

func TestReportThatIsTooLong(t *testing.T) {
	server := testkit.Redis(t)
	c := open(t, server.URL, Options{Environment: "prod", Instance: "a"})
	if _, _, err := exchange(t, c, strings.Repeat("x", mostReport)); err != nil {
		t.Error(err)
	}
	_, _, err := exchange(t, c, strings.Repeat("x", mostReport+1))
	if err == nil || err.Error() != `the report of "a" has 2049 bytes, at most 2048 are taken` {
		t.Errorf("%v", err)
	}
}

func TestReportsWhileRedisIsAway(t *testing.T) {
	server := testkit.Redis(t)
	c := open(t, server.URL, Options{Environment: "prod", Instance: "a"})
	mustSee(t, c, "one", "a=one")
	server.Stop()
	if _, _, err := exchange(t, c, "two"); !errors.Is(err, policy.ErrStateAway) {
		t.Errorf("%v", err)
	}
	server.Restart()
	testkit.Eventually(t, "reports are taken again", func() bool {
		seen, _, err := exchange(t, c, "three")
		return err == nil && slices.Equal(seen, []string{"a=three"})
	})
}

func TestReportsInACluster(t *testing.T) {
	servers := startCluster(t)
	c := open(t, "redis+cluster://"+servers[0].Addr, Options{Environment: "prod", Instance: "a"})
	testkit.Eventually(t, "reports are taken", func() bool {
		refused, err := c.Exchange(context.Background(), []byte("x"), func(string, time.Duration, []byte) {})
		return err == nil && refused == 0
	})
}

// The commands that reports take beside those of TestAccessList.
func TestReportsWithAnAccessList(t *testing.T) {
	server := testkit.Redis(t)
	rules := []string{"ACL", "SETUSER", "gw", "on", ">pass", "~gw:*", "&gw:keys:changed"}
	for command := range strings.FieldsSeq("eval evalsha hget hset hlen hgetall hdel time pttl zadd zcard zrem zremrangebyscore pexpire set get subscribe ping") {
		rules = append(rules, "+"+command)
	}
	if got := server.Do(rules...); got != "+OK" {
		t.Fatal(got)
	}
	c := newRig(t, "redis://gw:pass@"+server.Addr, Options{Environment: "prod", Instance: "a", Budget: generous}).calm(t)
	server.Do("HSET", "gw:fleet:prod", "x", "old")
	mustSee(t, c.Client, "one", "a=one")
	c.withdraw(t.Context())
	if got := server.Do("HLEN", "gw:fleet:prod"); got != ":0" {
		t.Errorf("%s reports are left", got)
	}
}
