package access

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
)

const salt = "c29tZXNhbHRzb21lc2FsdA"

var digest32 = base64.RawStdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))

func TestHashes(t *testing.T) {
	h, err := HashPassword("correct horse battery staple")
	if err != nil {
		t.Fatal(err)
	}
	read, err := ParseHash(h.String())
	if err != nil || !strings.HasPrefix(h.String(), "$argon2id$v=19$m=65536,t=3,p=4$") {
		t.Fatalf("%s: %v", h, err)
	}
	for password, want := range map[string]bool{
		"correct horse battery staple": true, "correct horse battery staple ": false, "Correct horse battery staple": false, "": false,
	} {
		if got := read.matches(password); got != want {
			t.Errorf("%q: %t", password, got)
		}
	}
	again, _ := HashPassword("correct horse battery staple")
	if again.String() == h.String() {
		t.Error("two hashes have one salt")
	}
}

// TestComposedCharacters types a password at two keyboards that compose an umlaut each in their own way.
func TestComposedCharacters(t *testing.T) {
	h, err := HashPassword("gr\u00fcne \u00c4pfel im Korb")
	if err != nil || !h.matches("gru\u0308ne A\u0308pfel im Korb") || h.matches("grune Apfel im Korb") {
		t.Errorf("%v", err)
	}
}

func TestPasswordsThatAreNoneToHash(t *testing.T) {
	for password, want := range map[string]string{
		"elevenbytes":             "the password has 11 bytes, must have at least 12",
		strings.Repeat("x", 1025): "the password has 1025 bytes, must have at most 1024",
	} {
		if _, err := HashPassword(password); err == nil || err.Error() != want {
			t.Errorf("%d bytes: %v", len(password), err)
		}
	}
}

func TestHashesThatAreNone(t *testing.T) {
	const no = "is no Argon2id hash such as $argon2id$v=19$m=65536,t=3,p=4$SALT$HASH; gwctl login --hash-password makes one"
	for name, tt := range map[string]struct{ text, want string }{
		"empty":             {"", no},
		"a password":        {"hunter2", no},
		"argon2i":           {"$argon2i$v=19$m=65536,t=3,p=4$" + salt + "$" + digest32, no},
		"bcrypt":            {"$2b$12$abcdefghijklmnopqrstuuxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", no},
		"another version":   {"$argon2id$v=16$m=65536,t=3,p=4$" + salt + "$" + digest32, no},
		"no version":        {"$argon2id$m=65536,t=3,p=4$" + salt + "$" + digest32, no},
		"another order":     {"$argon2id$v=19$t=3,m=65536,p=4$" + salt + "$" + digest32, no},
		"a leading zero":    {"$argon2id$v=19$m=065536,t=3,p=4$" + salt + "$" + digest32, no},
		"a key id":          {"$argon2id$v=19$m=65536,t=3,p=4,keyid=x$" + salt + "$" + digest32, no},
		"a line break":      {"$argon2id$v=19$m=65536,t=3,p=4$" + salt + "$" + digest32 + "\n", no},
		"all memory":        {"$argon2id$v=19$m=4294967295,t=1,p=1$" + salt + "$" + digest32, "has m=4294967295, must be from 7168 to 131072"},
		"beyond 32 bits":    {"$argon2id$v=19$m=9999999999,t=1,p=1$" + salt + "$" + digest32, "has m=9999999999, must be from 7168 to 131072"},
		"hardly any memory": {"$argon2id$v=19$m=7167,t=1,p=1$" + salt + "$" + digest32, "has m=7167, must be from 7168 to 131072"},
		"for minutes":       {"$argon2id$v=19$m=65536,t=9,p=1$" + salt + "$" + digest32, "has m=65536 and t=9, whose product must be at most 524288"},
		"many threads":      {"$argon2id$v=19$m=65536,t=1,p=17$" + salt + "$" + digest32, "has p=17, must be at most 16"},
		"spare bits":        {"$argon2id$v=19$m=65536,t=3,p=4$" + salt[:len(salt)-1] + "B$" + digest32, "holds what is not base64"},
		"a short salt":      {"$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$" + digest32, "has a salt of 4 bytes, must be from 8 to 64"},
		"a short digest":    {"$argon2id$v=19$m=65536,t=3,p=4$" + salt + "$c2FsdA", "has a digest of 4 bytes, must be from 16 to 64"},
		"endless":           {"$argon2id$v=19$m=65536,t=3,p=4$" + salt + "$" + strings.Repeat("A", 600), "is longer than 512 bytes"},
	} {
		if _, err := ParseHash(tt.text); err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, text := range []string{
		"$argon2id$v=19$m=7168,t=1,p=1$" + salt + "$" + digest32, "$argon2id$v=19$m=131072,t=4,p=16$" + salt + "$" + digest32, "$argon2id$v=19$m=65536,t=8,p=1$" + salt + "$" + digest32,
	} {
		if h, err := ParseHash(text); err != nil || h.String() != text {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestDecoys cost what they stand for.
func TestDecoys(t *testing.T) {
	like, err := ParseHash("$argon2id$v=19$m=7168,t=5,p=2$" + salt + "$" + base64.RawStdEncoding.EncodeToString(make([]byte, 24)))
	if err != nil {
		t.Fatal(err)
	}
	d := decoy(like)
	if d.memory != 7168 || d.passes != 5 || d.threads != 2 || len(d.salt) != len(like.salt) || len(d.digest) != 24 || bytes.Equal(d.digest, like.digest) {
		t.Errorf("%+v", d)
	}
	if d := decoy(nil); d.memory != newMemory || d.passes != newPasses || d.threads != newThreads || len(d.digest) != newDigestSize {
		t.Errorf("%+v", d)
	}
}

// FuzzParseHash holds that a hash has one spelling, and that none asks for more work than is bounded.
func FuzzParseHash(f *testing.F) {
	f.Add("$argon2id$v=19$m=65536,t=3,p=4$" + salt + "$" + digest32)
	f.Add("$argon2id$v=19$m=7168,t=1,p=1$" + salt + "$" + digest32)
	f.Add("$argon2id$v=19$m=1,t=1,p=1$" + salt + "$" + salt)
	f.Add("$argon2id$v=19$m=99999999999999999999,t=0,p=-1$$")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := ParseHash(text)
		if err != nil {
			return
		}
		if h.String() != text {
			t.Errorf("%q is read as %q", text, h)
		}
		if h.memory > maxMemory || h.memory < minMemory || h.passes < 1 || uint64(h.memory)*uint64(h.passes) > maxWork || h.threads < 1 || h.threads > maxThreads {
			t.Errorf("%q asks for %+v", text, h)
		}
	})
}
