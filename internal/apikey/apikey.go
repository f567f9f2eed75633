// Package apikey is the text of the API keys that the gateway hands out, and the form in which it keeps their secrets. It stores
// nothing, and decides about no request.
//
// A key reads gw_<environment>_<id>_<secret><checksum>. The environment keeps a key of one from being tried in another; the id finds
// the record, and may be shown; the secret is what the holder proves. The checksum tells a mistyped key, and what only looks like
// one, without asking anybody. The prefix is there for tools that look for secrets in places where they must not be; Pattern is
// what to tell them.
package apikey

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
)

// Pattern matches keys, in the syntax of RE2.
const Pattern = `\bgw_[a-z0-9][a-z0-9_-]{0,62}_[a-z2-7]{16}_[0-9A-Za-z]{38}\b`

const (
	prefix         = "gw_"
	maxEnvironment = 63
	idLength       = 16 // 80 bits
	secretLength   = 32 // 190 bits
	checksumLength = 6  // 62^6 > 2^32

	// behind is what follows the environment. All of it has a fixed length, so that an environment may have "_" in its name.
	behind    = 1 + idLength + 1 + secretLength + checksumLength
	maxLength = len(prefix) + maxEnvironment + behind

	base32 = "abcdefghijklmnopqrstuvwxyz234567" // RFC 4648, in lower case: an id is read out, and stands in paths
	base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// What is wrong with a text that is no key. Neither holds any of it.
var (
	ErrMalformed = errors.New("it is not of the form gw_<environment>_<id>_<secret>")
	ErrChecksum  = errors.New("its checksum is wrong: something is missing or mistyped")
)

// Key is an API key. Only Text shows its secret; printed or logged, it is redacted.
type Key struct {
	Env    string // the environment it is for
	ID     string
	Secret string
}

// Generate makes a key with a new id for an environment. It fails if the environment cannot have such a name, or if random does.
func Generate(env string, random io.Reader) (Key, error) {
	id, err := draw(random, base32, idLength)
	if err != nil {
		return Key{}, err
	}
	return Renew(env, id, random)
}

// Renew makes a key with a new secret for an id.
func Renew(env, id string, random io.Reader) (Key, error) {
	if !IsName(env) {
		return Key{}, fmt.Errorf("%q cannot be the name of an environment", env)
	}
	if !IsID(id) {
		return Key{}, fmt.Errorf("%q cannot be the id of a key", id)
	}
	secret, err := draw(random, base62, secretLength)
	if err != nil {
		return Key{}, err
	}
	return Key{Env: env, ID: id, Secret: secret}, nil
}

// Parse reads the text of a key. It takes exactly what Text writes, and never panics; its error is ErrMalformed or ErrChecksum.
func Parse(text string) (Key, error) {
	n := len(text) - behind // where the environment ends
	if len(text) > maxLength || n <= len(prefix) || text[:len(prefix)] != prefix {
		return Key{}, ErrMalformed
	}
	k := Key{Env: text[len(prefix):n], ID: text[n+1 : n+1+idLength], Secret: text[n+2+idLength : len(text)-checksumLength]}
	if text[n] != '_' || text[n+1+idLength] != '_' || !IsName(k.Env) || !IsID(k.ID) || !madeOf(k.Secret, &inBase62) {
		return Key{}, ErrMalformed
	}
	if sum := checksum(text[:len(text)-checksumLength]); text[len(text)-checksumLength:] != string(sum[:]) {
		return Key{}, ErrChecksum
	}
	return k, nil
}

// Text is the whole key, for whom it was made.
func (k Key) Text() string {
	text := prefix + k.Env + "_" + k.ID + "_" + k.Secret
	sum := checksum(text)
	return text + string(sum[:])
}

// String is the key without its secret.
func (k Key) String() string { return prefix + k.Env + "_" + k.ID + "_[redacted]" }

// GoString keeps %#v from showing the secret.
func (k Key) GoString() string { return k.String() }

// LogValue implements slog.LogValuer.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText keeps encoders from showing the secret.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// IsName reports whether a text can be the name of an environment, or of a tenant: up to 63 lower-case letters, digits, "-" and "_",
// the first a letter or a digit.
func IsName(s string) bool {
	if s == "" || len(s) > maxEnvironment || s[0] == '-' || s[0] == '_' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// IsID reports whether a text can be the id of a key.
func IsID(s string) bool { return len(s) == idLength && madeOf(s, &inBase32) }

// The alphabets as sets: each request has its key looked through.
var inBase32, inBase62 = setOf(base32), setOf(base62)

func setOf(alphabet string) (set [256]bool) {
	for i := range len(alphabet) {
		set[alphabet[i]] = true
	}
	return set
}

func madeOf(s string, set *[256]bool) bool {
	for i := range len(s) {
		if !set[s[i]] {
			return false
		}
	}
	return true
}

// checksum is the CRC-32 of RFC 1952 in base 62. It is written out because crc32.ChecksumIEEE takes a slice, which would have to be
// made of each key that a client sends.
func checksum(s string) (out [checksumLength]byte) {
	crc := ^uint32(0)
	for i := range len(s) {
		crc = crc32.IEEETable[byte(crc)^s[i]] ^ crc>>8
	}
	crc = ^crc
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = base62[crc%62]
		crc /= 62
	}
	return out
}

// draw picks n characters of an alphabet, each as likely as the others.
func draw(random io.Reader, alphabet string, n int) (string, error) {
	// Bytes above the last multiple of the alphabet's length would make its first characters likelier.
	limit := 256 - 256%len(alphabet)
	out, batch := make([]byte, 0, n), make([]byte, n)
	for len(out) < n {
		if _, err := io.ReadFull(random, batch); err != nil {
			return "", fmt.Errorf("draw random bytes: %w", err)
		}
		for _, b := range batch {
			if int(b) < limit && len(out) < n {
				out = append(out, alphabet[int(b)%len(alphabet)])
			}
		}
	}
	return string(out), nil
}
