package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Digest names bytes by their content: "sha256:" and 64 lower-case hexadecimal digits. It has the spelling OCI uses, and
// no other algorithm.
type Digest string

const digestPrefix = "sha256:"

// DigestOf returns the digest of data.
func DigestOf(data []byte) Digest {
	sum := sha256.Sum256(data)
	return Digest(digestPrefix + hex.EncodeToString(sum[:]))
}

// ParseDigest checks the spelling of a digest that came from outside.
func ParseDigest(s string) (Digest, error) {
	rest, ok := strings.CutPrefix(s, digestPrefix)
	if !ok || len(rest) != 2*sha256.Size || strings.Trim(rest, "0123456789abcdef") != "" {
		return "", fmt.Errorf("digest %.80q is not sha256: followed by 64 lower-case hexadecimal digits", s)
	}
	return Digest(s), nil
}

// Hex returns the digits without the name of the algorithm.
func (d Digest) Hex() string { return strings.TrimPrefix(string(d), digestPrefix) }

// Short returns the first twelve digits, for messages.
func (d Digest) Short() string {
	h := d.Hex()
	return h[:min(12, len(h))]
}

// Ref names bytes by digest and size, so that a reader knows how much to read before it reads.
type Ref struct {
	Digest Digest `json:"digest"`
	Size   int64  `json:"size"` // bytes
}

// RefOf returns the reference to data.
func RefOf(data []byte) Ref { return Ref{Digest: DigestOf(data), Size: int64(len(data))} }

func (r Ref) validate(limit int64) error {
	if _, err := ParseDigest(string(r.Digest)); err != nil {
		return err
	}
	if r.Size < 1 || r.Size > limit {
		return fmt.Errorf("size %d is not between 1 and %d", r.Size, limit)
	}
	return nil
}
