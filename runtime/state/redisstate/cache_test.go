package redisstate

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/suuupra/gateway/runtime/policy"
)

func newCache() *cache {
	k := &cache{}
	k.init()
	return k
}

func (k *cache) holds(id string, now time.Duration) bool { _, known := k.get(id, now); return known }

func TestCacheAges(t *testing.T) {
	k := newCache()
	r := &policy.KeyRecord{ID: "k"}
	k.put("k", r, 0, k.begin("k"))
	k.put("none", nil, 0, k.begin("none"))
	for _, tt := range []struct {
		name        string
		told        time.Duration
		now         time.Duration
		key, absent bool
	}{
		{"new", 0, untrusted*3/4 - 1, true, true},
		{"old", 0, untrusted, false, false},
		{"old, and changes are told", untrusted + 1, untrusted, true, false},
		{"old, and changes were told until now", untrusted, untrusted, false, false},
		{"nearly too old, and changes are told", 2 * trusted, trusted*3/4 - 1, true, false},
		{"too old, and changes are told", 2 * trusted, trusted, false, false},
	} {
		k.told.Store(int64(tt.told))
		if key, absent := k.holds("k", tt.now), k.holds("none", tt.now); key != tt.key || absent != tt.absent {
			t.Errorf("%s: key %t, absence %t", tt.name, key, absent)
		}
	}
}

func TestCacheForgets(t *testing.T) {
	k := newCache()
	r := &policy.KeyRecord{ID: "k"}
	for name, change := range map[string]func(){"one": func() { k.forget("k") }, "all": k.drop} {
		k.put("k", r, 0, k.begin("k"))
		if !k.holds("k", 0) {
			t.Fatalf("%s: it is not kept", name)
		}
		drops := k.begin("k") // a question is under way
		change()
		if k.holds("k", 0) {
			t.Errorf("%s: it is still there", name)
		}
		k.put("k", r, 0, drops)
		if k.holds("k", 0) {
			t.Errorf("%s: what was asked for before the change came after it, and was kept", name)
		}
	}
	k.put("k", nil, 0, k.begin("k"))
	k.put("k", r, 0, k.begin("k"))
	if got, known := k.get("k", 0); !known || got != r {
		t.Error("a key that was made is still absent")
	}
	k.put("k", nil, 0, k.begin("k"))
	if got, known := k.get("k", 0); !known || got != nil {
		t.Error("a key that is gone is still there")
	}
}

// TestGuessesPushNothingOut asks for many ids that are not there: keys that are there stay.
func TestGuessesPushNothingOut(t *testing.T) {
	k := newCache()
	for i := range 1000 {
		id := fmt.Sprint("key", i)
		k.put(id, &policy.KeyRecord{ID: id}, 0, k.begin(id))
	}
	for i := range 100_000 {
		id := fmt.Sprint("guess", i)
		k.put(id, nil, 0, k.begin(id))
	}
	kept := 0
	for i := range 1000 {
		if k.holds(fmt.Sprint("key", i), 0) {
			kept++
		}
	}
	if kept != 1000 {
		t.Errorf("%d of 1000 keys are kept", kept)
	}
	for i := range 100_000 {
		id := fmt.Sprint("key", i)
		k.put(id, &policy.KeyRecord{ID: id}, 0, k.begin(id))
	}
	found, absent := 0, 0
	for i := range k.shards {
		found, absent = found+len(k.shards[i].found), absent+len(k.shards[i].absent)
	}
	if found > 10_000 || absent > 4_096 || found < 9_000 {
		t.Errorf("%d keys and %d absences are kept", found, absent)
	}
}

func BenchmarkCache(b *testing.B) {
	k := newCache()
	k.put("k3YzA0Q9x8w7v6u5", &policy.KeyRecord{}, 0, k.begin("k3YzA0Q9x8w7v6u5"))
	b.ReportAllocs()
	for b.Loop() {
		if !k.holds("k3YzA0Q9x8w7v6u5", 1) {
			b.Fatal("it is gone")
		}
	}
}

// TestHear is what a subscription may conclude: an answer vouches for two seconds from when it was asked for, not from when it came.
func TestHear(t *testing.T) {
	for _, tt := range []struct {
		mode mode
		told time.Duration
	}{{standalone, 3 * time.Second}, {sentinel, 3 * time.Second}, {cluster, 0}} {
		c := &Client{at: &location{mode: tt.mode}}
		c.keys.init()
		l := &listener{c: c}
		l.hear(&redis.Pong{Payload: "no number"})
		if l.answered.Load() != 0 {
			t.Errorf("%s: something else is an answer", tt.mode)
		}
		l.hear(&redis.Pong{Payload: "1000000000"})
		if got := time.Duration(c.keys.told.Load()); got != tt.told || l.answered.Load() != int64(time.Second) {
			t.Errorf("%s: changes are told until %s, want %s", tt.mode, got, tt.told)
		}
		c.keys.put("a", nil, 0, c.keys.begin("a"))
		c.keys.put("b", nil, 0, c.keys.begin("b"))
		if l.hear(&redis.Message{Channel: changedChannel, Payload: "a"}); c.keys.holds("a", 0) || !c.keys.holds("b", 0) {
			t.Errorf("%s: a change of one is not heard, or too well", tt.mode)
		}
		if l.hear(&redis.Subscription{Kind: "subscribe", Channel: changedChannel}); c.keys.holds("b", 0) {
			t.Errorf("%s: what was known before the subscription is still", tt.mode)
		}
	}
}
