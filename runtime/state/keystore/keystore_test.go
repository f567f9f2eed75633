package keystore

import (
	"strings"
	"testing"

	"github.com/suuupra/gateway/runtime/policy"
)

func TestValidID(t *testing.T) {
	for id, want := range map[string]bool{
		"a": true, "k3YzA0-9.x": true, strings.Repeat("a", 64): true,
		"": false, strings.Repeat("a", 65): false, "a b": false, "a_b": false, "a\r\nDEL x": false, "*": false, "{a}": false, "a\x00": false,
		"é": false, "a/b": false, "a:b": false,
	} {
		if got := ValidID(id); got != want {
			t.Errorf("%q: %t", id, got)
		}
	}
}

func TestCheck(t *testing.T) {
	many := make([]string, 65)
	for _, tt := range []struct {
		name string
		edit func(*policy.KeyRecord)
		want string
	}{
		{"good", func(*policy.KeyRecord) {}, ""},
		{"no id", func(r *policy.KeyRecord) { r.ID = "" }, `an API key's id is 1 to 64 letters, digits, "-" and "."`},
		{"no hash", func(r *policy.KeyRecord) { r.Hashes = nil }, "API key k has 0 hashes; 1 to 64 are allowed"},
		{"many hashes", func(r *policy.KeyRecord) { r.Hashes = many }, "API key k has 65 hashes; 1 to 64 are allowed"},
		{"many scopes", func(r *policy.KeyRecord) { r.Scopes = many }, "API key k has 65 scopes; 64 are allowed"},
		{"long owner", func(r *policy.KeyRecord) { r.Owner = strings.Repeat("o", 257) }, "API key k has a text of 257 bytes; 256 are allowed"},
		{"long scope", func(r *policy.KeyRecord) { r.Scopes = []string{strings.Repeat("s", 300)} }, "API key k has a text of 300 bytes; 256 are allowed"},
	} {
		r := &policy.KeyRecord{ID: "k", Hashes: []string{"00"}}
		tt.edit(r)
		got := ""
		if err := Check(r); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestPage(t *testing.T) {
	for limit, want := range map[int]int{-1: 100, 0: 100, 1: 1, 1000: 1000, 1001: 1000} {
		if got := Page(limit); got != want {
			t.Errorf("%d: %d, want %d", limit, got, want)
		}
	}
}
