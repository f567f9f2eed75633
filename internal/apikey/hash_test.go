package apikey

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"sync"
	"testing"
	"time"
)

var pepper = []byte("0123456789abcdef0123456789abcdef")

var now = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func newHasher(t testing.TB) *Hasher {
	t.Helper()
	h, err := NewHasher(pepper)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestHash(t *testing.T) {
	h := newHasher(t)
	mac := hmac.New(sha256.New, pepper)
	mac.Write([]byte("gw-api-key-v1\x00the-id\x00the-secret"))
	want := hex.EncodeToString(mac.Sum(nil))
	for range 3 { // the second comes from what the first has left behind
		if got := h.Hash("the-id", "the-secret"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestFingerprint(t *testing.T) {
	mac := hmac.New(sha256.New, pepper)
	mac.Write([]byte("gw-pepper-v1\x00"))
	if got, want := Fingerprint(pepper), hex.EncodeToString(mac.Sum(nil))[:16]; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if Fingerprint(pepper) == Fingerprint(pepper[1:]) || Fingerprint(nil) != "" {
		t.Error("peppers are not told apart")
	}
}

func TestMatch(t *testing.T) {
	h := newHasher(t)
	other, err := NewHasher([]byte("another pepper that is long enough"))
	if err != nil {
		t.Fatal(err)
	}
	good, old, third := h.Hash("id", "secret"), h.Hash("id", "old"), h.Hash("id", "third")
	for _, tt := range []struct {
		name   string
		secret string
		stored []string
		want   bool
	}{
		{"the secret", "secret", []string{good}, true},
		{"the newer of two", "secret", []string{good, old}, true},
		{"the older of two", "old", []string{good, old}, true},
		{"the third of three", "third", []string{good, old, third}, true},
		{"another", "wrong", []string{good, old}, false},
		{"nothing", "", []string{good}, false},
		{"of another id", "secret", []string{h.Hash("di", "secret")}, false},
		{"under another pepper", "secret", []string{other.Hash("id", "secret")}, false},
		{"no hash", "secret", nil, false},
		{"an empty hash", "secret", []string{""}, false},
		{"the beginning of the hash", "secret", []string{good[:63]}, false},
		{"the hash and more", "secret", []string{good + "0"}, false},
		{"the hash in capitals", "secret", []string{strings.ToUpper(good)}, false},
		{"the hash as secret", good, []string{good}, false},
		{"retired in a second", "secret", []string{Retire(good, now.Add(time.Second))}, true},
		{"retired now", "secret", []string{Retire(good, now)}, false},
		{"retired a second ago", "secret", []string{Retire(good, now.Add(-time.Second))}, false},
		{"retired beside a good one", "old", []string{good, Retire(old, now.Add(-time.Hour))}, false},
		{"the good one beside a retired one", "secret", []string{good, Retire(old, now.Add(-time.Hour))}, true},
		{"retired at no time", "secret", []string{good + "@"}, false},
		{"retired at something else", "secret", []string{good + "@tomorrow"}, false},
		{"retired twice", "secret", []string{good + "@9999999999@9999999999"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := h.Match("id", tt.secret, tt.stored, now); got != tt.want {
				t.Errorf("%t", got)
			}
		})
	}
}

func TestRetire(t *testing.T) {
	hash := newHasher(t).Hash("id", "secret")
	if _, ends := Until(hash); ends || !Good(hash, now.AddDate(100, 0, 0)) {
		t.Error("a hash that nobody retired has an end")
	}
	until := now.Add(90*time.Second + 999*time.Millisecond)
	once := Retire(hash, until)
	if got, ends := Until(once); !ends || !got.Equal(now.Add(90*time.Second)) {
		t.Errorf("until %s, %t", got, ends)
	}
	if again := Retire(once, now); again != Retire(hash, now) {
		t.Errorf("retired again: %s", again)
	}
}

func TestShortPepper(t *testing.T) {
	for _, pepper := range []string{"", "123456789012345"} {
		if _, err := NewHasher([]byte(pepper)); err == nil || !strings.HasPrefix(err.Error(), "the pepper has ") || strings.Contains(err.Error(), "1234") {
			t.Errorf("%q: %v", pepper, err)
		}
	}
}

// TestMany has many use one Hasher, whose parts are handed on from one to the next.
func TestMany(t *testing.T) {
	h := newHasher(t)
	secrets := []string{"a", "another", "yet another"}
	var hashes []string
	for _, s := range secrets {
		hashes = append(hashes, h.Hash("id", s))
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 500 {
				k := (i + j) % len(secrets)
				if !h.Match("id", secrets[k], hashes[k:k+1], now) || h.Match("id", secrets[k], hashes[(k+1)%3:(k+1)%3+1], now) {
					t.Error("two computations have mixed")
				}
			}
		})
	}
	all.Wait()
}

// BenchmarkMatch is the work for each request. A known id with a wrong secret and an unknown id have to cost alike.
func BenchmarkMatch(b *testing.B) {
	h := newHasher(b)
	one := []string{h.Hash("abcdefgh234567yz", "secret")}
	two := append(one, Retire(h.Hash("abcdefgh234567yz", "old"), now.Add(time.Hour)))
	for _, bb := range []struct {
		name   string
		stored []string
	}{{"unknown id", nil}, {"wrong secret", one}, {"wrong secret of two", two}} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if h.Match("abcdefgh234567yz", "0123456789ABCDEFGHIJKLMNOPQRSTUV", bb.stored, now) {
					b.Fatal("it matches")
				}
			}
		})
	}
}
