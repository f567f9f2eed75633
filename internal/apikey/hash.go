package apikey

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"sync"
	"time"
)

// MinPepper is how many bytes a pepper has at least. The secrets have entropy enough of their own: it is there so that who can
// only write to the store cannot make keys.
const MinPepper = 32

const (
	domain            = "gw-api-key-v1\x00"
	fingerprintDomain = "gw-pepper-v1\x00"
	hashLength        = 2 * sha256.Size // in hex
	// compared is how many hashes are looked at, whether there are so many or not: the time says nothing about a key that is
	// there, or about a rotation.
	compared = 2
)

// noHash is the hash of no secret.
var noHash = strings.Repeat("0", hashLength)

// Hasher hashes the secrets of keys under a pepper: HMAC-SHA-256 of the domain, the id and the secret. The pepper is the key of the
// HMAC, so that a stolen store cannot be searched; the id keeps the hash of one key from being put on another. The secrets were
// drawn by us and have 190 bits, so that a slow hash would protect nobody. It is for use by many at the same time.
type Hasher struct{ pool sync.Pool }

// NewHasher makes a Hasher. It fails for a pepper of less than MinPepper bytes.
func NewHasher(pepper []byte) (*Hasher, error) {
	if len(pepper) < MinPepper {
		return nil, fmt.Errorf("the pepper has %d bytes, must have at least %d", len(pepper), MinPepper)
	}
	pepper = append([]byte(nil), pepper...)
	return &Hasher{pool: sync.Pool{New: func() any { return &work{mac: hmac.New(sha256.New, pepper)} }}}, nil
}

// Fingerprint tells peppers apart without telling them: the first 64 bits of an HMAC-SHA-256 of a text of its own, in hex. It is no
// hash of any secret, and helps who guesses a pepper no more than the hash of a key he has. "" is the fingerprint of no pepper.
func Fingerprint(pepper []byte) string {
	if len(pepper) == 0 {
		return ""
	}
	mac := hmac.New(sha256.New, pepper)
	mac.Write([]byte(fingerprintDomain))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

// work is what one computation needs, kept for the next.
type work struct {
	mac          hash.Hash
	message, sum []byte
	hex, other   [hashLength]byte
}

// compute leaves the hash in w.hex, and of the secret no copy.
func (w *work) compute(id, secret string) {
	w.message = append(w.message[:0], domain...)
	w.message = append(w.message, id...)
	w.message = append(w.message, 0)
	w.message = append(w.message, secret...)
	w.mac.Reset()
	w.mac.Write(w.message)
	clear(w.message)
	w.sum = w.mac.Sum(w.sum[:0])
	hex.Encode(w.hex[:], w.sum)
}

// Hash is what is stored of a secret: 64 lower-case hex digits. It is good until somebody retires it.
func (h *Hasher) Hash(id, secret string) string {
	w := h.pool.Get().(*work)
	defer h.pool.Put(w)
	w.compute(id, secret)
	return string(w.hex[:])
}

// Match reports whether a secret is that of one of the stored hashes, and that one still good. It does the same work if there are none:
// whoever does not know an id asks with nil, so that its answer comes no sooner.
func (h *Hasher) Match(id, secret string, stored []string, now time.Time) bool {
	w := h.pool.Get().(*work)
	defer h.pool.Put(w)
	w.compute(id, secret)
	found := 0
	for i := range max(len(stored), compared) {
		one := noHash
		if i < len(stored) && len(stored[i]) >= hashLength {
			one = stored[i]
		}
		copy(w.other[:], one)
		same := subtle.ConstantTimeCompare(w.hex[:], w.other[:])
		if Good(one, now) { // tells of the stored hash alone
			found |= same
		}
	}
	return found == 1
}

// Retire returns the stored form of a hash that is good until a moment and no longer, to the second. Any moment it had is replaced.
func Retire(stored string, until time.Time) string {
	hashed, _, _ := strings.Cut(stored, "@")
	return hashed + "@" + strconv.FormatInt(until.Unix(), 10)
}

// Until is the moment until which a stored hash is good; false: it has no end. A hash that cannot be read ended in 1970.
func Until(stored string) (time.Time, bool) {
	_, text, ends := strings.Cut(stored, "@")
	if !ends && len(stored) == hashLength {
		return time.Time{}, false
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || len(stored) != hashLength+1+len(text) {
		seconds = 0
	}
	return time.Unix(seconds, 0).UTC(), true
}

// Good reports whether a stored hash is good at a moment.
func Good(stored string, now time.Time) bool {
	until, ends := Until(stored)
	return !ends || now.Before(until)
}
