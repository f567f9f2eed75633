package apikey

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"math"
	mathrand "math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

// known is a key that was written down once: its form is a promise to those who hold one.
const known = "gw_prod_abcdefgh234567yz_0123456789ABCDEFGHIJKLMNOPQRSTUV23juC5"

func TestKnownKey(t *testing.T) {
	k, err := Parse(known)
	if want := (Key{"prod", "abcdefgh234567yz", "0123456789ABCDEFGHIJKLMNOPQRSTUV"}); err != nil || k != want {
		t.Fatalf("%#v, %v", k, err)
	}
	if got := k.Text(); got != known {
		t.Errorf("Text: %s", got)
	}
}

func TestParse(t *testing.T) {
	with := func(env string) string {
		return Key{env, "abcdefgh234567yz", "0123456789ABCDEFGHIJKLMNOPQRSTUV"}.Text()
	}
	for _, tt := range []struct {
		name, text string
		want       error
	}{
		{"a key", known, nil},
		{"an environment with an underscore", with("eu_west-1"), nil},
		{"an environment that looks like a key", with("gw_prod_abcdefgh234567yz"), nil},
		{"the longest environment", with(strings.Repeat("e", 63)), nil},
		{"a longer environment", with(strings.Repeat("e", 64)), ErrMalformed},
		{"no environment", with(""), ErrMalformed},
		{"an environment in capitals", with("Prod"), ErrMalformed},
		{"an environment that begins with an underscore", with("_prod"), ErrMalformed},
		{"nothing", "", ErrMalformed},
		{"the prefix", "gw_", ErrMalformed},
		{"another prefix", "gh" + known[2:], ErrMalformed},
		{"the prefix in capitals", "GW" + known[2:], ErrMalformed},
		{"another case", strings.ToUpper(known), ErrMalformed},
		{"the secret in another case", known[:25] + strings.ToLower(known[25:]), ErrChecksum},
		{"one character of the secret", known[:25] + "1" + known[26:], ErrChecksum},
		{"another id", "gw_prod_abcdefgh234567yy" + known[24:], ErrChecksum},
		{"another environment", "gw_prot" + known[7:], ErrChecksum},
		{"another checksum", known[:len(known)-1] + "p", ErrChecksum},
		{"a digit no id has", "gw_prod_abcdefgh234561yz" + known[24:], ErrMalformed},
		{"cut short", known[:len(known)-1], ErrMalformed},
		{"one more", known + "0", ErrMalformed},
		{"a space before", " " + known, ErrMalformed},
		{"a space behind", known + " ", ErrMalformed},
		{"a line break behind", known + "\r\n", ErrMalformed},
		{"NUL", known[:30] + "\x00" + known[31:], ErrMalformed},
		{"an encoded NUL", known[:30] + "%00" + known[33:], ErrMalformed},
		{"a letter that looks alike", known[:30] + "\u0410" + known[32:], ErrMalformed},
		{"a star", "*", ErrMalformed},
		{"a question mark", "?", ErrMalformed},
		{"a pattern", "gw:*", ErrMalformed},
		{"a star for the id", "gw_prod_****************" + known[24:], ErrMalformed},
		{"a command of Redis", "\r\nDEL x", ErrMalformed},
		{"a command of Redis for the id", "gw_prod_\r\nDEL gw:key:xyz" + known[24:], ErrMalformed},
		{"a megabyte", strings.Repeat("a", 1<<20), ErrMalformed},
		{"a megabyte in the form of a key", with(strings.Repeat("a", 1<<20)), ErrMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k, err := Parse(tt.text)
			if !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
			if tt.want == nil && k.Text() != tt.text || tt.want != nil && k != (Key{}) {
				t.Errorf("%+v", k)
			}
		})
	}
}

// TestOneCharacterIsNoticed changes each character of a key to each other: no CRC-32 misses a single one.
func TestOneCharacterIsNoticed(t *testing.T) {
	for i := range len(known) {
		for _, c := range base62 + "_-*% " {
			if changed := known[:i] + string(c) + known[i+1:]; changed != known {
				if _, err := Parse(changed); err == nil {
					t.Errorf("%q passes for a key", changed)
				}
			}
		}
	}
}

func TestGenerate(t *testing.T) {
	pattern := regexp.MustCompile("^(?:" + Pattern + ")$")
	ids, secrets := map[string]bool{}, map[string]bool{}
	for range 1000 {
		k, err := Generate("eu-west_1", rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := Parse(k.Text()); err != nil || back != k || !pattern.MatchString(k.Text()) {
			t.Errorf("%s: %v", k.Text(), err)
		}
		ids[k.ID], secrets[k.Secret] = true, true
	}
	if len(ids) != 1000 || len(secrets) != 1000 {
		t.Errorf("%d ids and %d secrets of 1000", len(ids), len(secrets))
	}
	if pattern.MatchString("gw_") || !regexp.MustCompile(Pattern).MatchString("key: "+known+", ") {
		t.Error("the pattern does not tell keys from other text")
	}
}

func TestGenerateFails(t *testing.T) {
	for _, tt := range []struct {
		name, env, id string
		random        io.Reader
		want          string
	}{
		{"environment", "Prod", "abcdefgh234567yz", rand.Reader, `"Prod" cannot be the name of an environment`},
		{"id", "prod", "a", rand.Reader, `"a" cannot be the id of a key`},
		{"random", "prod", "abcdefgh234567yz", bytes.NewReader(make([]byte, 31)), "draw random bytes: unexpected EOF"},
	} {
		if k, err := Renew(tt.env, tt.id, tt.random); err == nil || err.Error() != tt.want || k != (Key{}) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if _, err := Generate("prod", bytes.NewReader(nil)); err == nil || err.Error() != "draw random bytes: EOF" {
		t.Errorf("no random bytes for an id: %v", err)
	}
}

// TestDrawIsEven holds each character of the alphabets to its share, by chi-squared with 61 degrees of freedom. The source is a
// seeded one, so that the test says the same each time.
func TestDrawIsEven(t *testing.T) {
	const n = 62 * 5000
	text, err := draw(mathrand.NewChaCha8([32]byte{1}), base62, n)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[rune]float64{}
	for _, c := range text {
		counts[c]++
	}
	chi := 0.0
	for _, c := range base62 {
		chi += math.Pow(counts[c]-n/62, 2) / (n / 62)
	}
	if chi > 110 { // once in ten thousand; without the rejection of bytes it is above 10,000
		t.Errorf("chi-squared is %.0f", chi)
	}
}

func TestChecksumIsCRC32(t *testing.T) {
	for _, s := range []string{"", "a", "123456789", known} {
		sum := checksum(s)
		value := uint64(0)
		for _, c := range string(sum[:]) {
			value = value*62 + uint64(strings.IndexRune(base62, c))
		}
		if want := uint64(crc32.ChecksumIEEE([]byte(s))); value != want {
			t.Errorf("%q: %d, want %d", s, value, want)
		}
	}
}

func TestTheSecretIsNotShown(t *testing.T) {
	k, err := Parse(known)
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(map[string]any{"key": k, "list": []Key{k}})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("key", "value", k, "pointer", &k, "in", []Key{k})
	}
	shown := fmt.Sprintf("%v %+v %#v %s %q %x %v", k, k, k, k, k, k, []any{k, &k}) + string(asJSON) + log.String()
	if strings.Contains(shown, k.Secret) || strings.Contains(shown, fmt.Sprintf("%x", k.Secret)) {
		t.Errorf("the secret is shown: %s", shown)
	}
	if !strings.Contains(shown, "gw_prod_abcdefgh234567yz_[redacted]") {
		t.Errorf("it cannot be told which key it was: %s", shown)
	}
}

// FuzzParse holds that what is taken is exactly what Text writes, so that no key has two spellings.
func FuzzParse(f *testing.F) {
	for _, s := range []string{known, "", "gw_", known + " ", strings.ToUpper(known), "gw_a_b_c", "gw:*", "\r\nDEL x", "gw__" + known[8:]} {
		f.Add(s)
	}
	pattern := regexp.MustCompile("^(?:" + Pattern + ")$")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := Parse(text)
		if err == nil && (k.Text() != text || !pattern.MatchString(text)) {
			t.Errorf("%q is taken for %q", text, k.Text())
		}
		if err != nil && (k != (Key{}) || !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrChecksum)) {
			t.Errorf("%q: %v, %v", text, k, err)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(known); err != nil {
			b.Fatal(err)
		}
	}
}
