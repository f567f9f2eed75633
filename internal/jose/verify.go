package jose

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // for the algorithms below
	_ "crypto/sha512"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"
)

// EdDSA is the algorithm of Ed25519 keys (RFC 8037).
const EdDSA = "EdDSA"

// Algorithms are all that are known (RFC 7518 section 3.1, RFC 8037).
var Algorithms = []string{
	"ES256", "ES384", "ES512", EdDSA, "PS256", "PS384", "PS512", "RS256", "RS384", "RS512", "HS256", "HS384", "HS512",
}

var rsaAlgorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}

var ecdsas = []struct {
	name  string
	curve elliptic.Curve
	size  int // bytes of a coordinate
}{{"ES256", elliptic.P256(), 32}, {"ES384", elliptic.P384(), 48}, {"ES512", elliptic.P521(), 66}}

var hmacs = []struct {
	name string
	size int // bytes of the hash, and of the shortest key
}{{"HS256", 32}, {"HS384", 48}, {"HS512", 64}}

var pss = map[string]crypto.Hash{"PS256": crypto.SHA256, "PS384": crypto.SHA384, "PS512": crypto.SHA512}

// verifies reports whether the signature is the key's. The algorithm is one the key may verify.
func (k *Key) verifies(algorithm string, signed, signature []byte) bool {
	if hash, ok := pss[algorithm]; ok { // RFC 7518 section 3.5: the salt is as long as the hash. The library takes any.
		key, ok := k.key.(*rsa.PublicKey)
		if !ok {
			return false
		}
		h := hash.New()
		h.Write(signed)
		return rsa.VerifyPSS(key, hash, h.Sum(nil), signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}) == nil
	}
	for _, a := range ecdsas {
		if a.name == algorithm && len(signature) != 2*a.size { // both numbers have all their bytes
			return false
		}
	}
	v, err := jws.NewVerifier(jwa.SignatureAlgorithm(algorithm))
	return err == nil && v.Verify(signed, signature, k.key) == nil
}
