package access

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"
)

// The lengths of passwords, in bytes.
const (
	MinPassword = 12
	MaxPassword = 1024
)

// The bounds of a hash: a text from outside must not make the gateway work for minutes, or take all of its memory.
const (
	minMemory, maxMemory   = 7 << 10, 128 << 10 // KiB; the least is the least of the OWASP password storage cheat sheet
	maxWork                = 512 << 10          // KiB filled: memory x passes
	maxThreads             = 16
	minSalt, maxSalt       = 8, 64 // bytes
	minDigest, maxDigest   = 16, 64
	maxPHC                 = 512
	newMemory, newPasses   = 64 << 10, 3 // RFC 9106, section 4, the second recommended option
	newThreads             = 4
	newSalt, newDigestSize = 16, 32
)

// Hash is a password hash: Argon2id (RFC 9106) in the PHC string format.
type Hash struct {
	memory       uint32 // KiB
	passes       uint32
	threads      uint8
	salt, digest []byte
}

// phc is the string format in its one spelling: numbers without leading zeros, the parameters in this order, base64 without padding.
var phc = regexp.MustCompile(`^\$argon2id\$v=19\$m=([1-9][0-9]{0,9}),t=([1-9][0-9]{0,9}),p=([1-9][0-9]{0,9})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$`)

// ParseHash reads a hash. Its errors do not quote it.
func ParseHash(text string) (*Hash, error) {
	if len(text) > maxPHC {
		return nil, fmt.Errorf("is longer than %d bytes", maxPHC)
	}
	m := phc.FindStringSubmatch(text)
	if m == nil {
		return nil, errors.New("is no Argon2id hash such as $argon2id$v=19$m=65536,t=3,p=4$SALT$HASH; gwctl login --hash-password makes one")
	}
	var n [3]uint64
	for i := range n {
		n[i], _ = strconv.ParseUint(m[i+1], 10, 64) // at most ten digits
	}
	switch {
	case n[0] < minMemory || n[0] > maxMemory:
		return nil, fmt.Errorf("has m=%d, must be from %d to %d", n[0], minMemory, maxMemory)
	case n[1]*n[0] > maxWork:
		return nil, fmt.Errorf("has m=%d and t=%d, whose product must be at most %d", n[0], n[1], maxWork)
	case n[2] > maxThreads:
		return nil, fmt.Errorf("has p=%d, must be at most %d", n[2], maxThreads)
	}
	h := &Hash{memory: uint32(n[0]), passes: uint32(n[1]), threads: uint8(n[2])}
	var err1, err2 error
	h.salt, err1 = base64.RawStdEncoding.Strict().DecodeString(m[4])
	h.digest, err2 = base64.RawStdEncoding.Strict().DecodeString(m[5])
	switch {
	case err1 != nil || err2 != nil:
		return nil, errors.New("holds what is not base64")
	case len(h.salt) < minSalt || len(h.salt) > maxSalt:
		return nil, fmt.Errorf("has a salt of %d bytes, must be from %d to %d", len(h.salt), minSalt, maxSalt)
	case len(h.digest) < minDigest || len(h.digest) > maxDigest:
		return nil, fmt.Errorf("has a digest of %d bytes, must be from %d to %d", len(h.digest), minDigest, maxDigest)
	}
	return h, nil
}

// HashPassword makes a hash of a new password.
func HashPassword(password string) (*Hash, error) {
	switch {
	case len(password) < MinPassword:
		return nil, fmt.Errorf("the password has %d bytes, must have at least %d", len(password), MinPassword)
	case len(password) > MaxPassword:
		return nil, fmt.Errorf("the password has %d bytes, must have at most %d", len(password), MaxPassword)
	}
	h := &Hash{memory: newMemory, passes: newPasses, threads: newThreads, salt: make([]byte, newSalt), digest: make([]byte, newDigestSize)}
	_, _ = rand.Read(h.salt) // never fails
	h.digest = h.of(password)
	return h, nil
}

// decoy is a hash that costs as much as another one, and that no password has.
func decoy(like *Hash) *Hash {
	if like == nil {
		like = &Hash{memory: newMemory, passes: newPasses, threads: newThreads, salt: make([]byte, newSalt), digest: make([]byte, newDigestSize)}
	}
	h := *like
	h.digest = make([]byte, len(like.digest))
	_, _ = rand.Read(h.digest) // never fails
	return &h
}

// String is the PHC string.
func (h *Hash) String() string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", h.memory, h.passes, h.threads, b64(h.salt), b64(h.digest))
}

// of is the digest of a password. One that looks the same is the same, however a keyboard composes its characters (RFC 8265,
// section 4.2).
func (h *Hash) of(password string) []byte {
	return argon2.IDKey(norm.NFC.Bytes([]byte(password)), h.salt, h.passes, h.memory, h.threads, uint32(len(h.digest)))
}

// matches reports whether it is the hash of a password.
func (h *Hash) matches(password string) bool {
	return subtle.ConstantTimeCompare(h.of(password), h.digest) == 1
}
