package jose

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/lestrrat-go/jwx/v2/jwk"
)

// Bounds of a key set.
const (
	MaxSet     = 256 << 10 // bytes
	MaxKeys    = 100
	minRSABits = 2048
	maxRSABits = 8192
)

// Set is the keys of one issuer that can verify tokens.
type Set struct{ keys []Key }

// Key is one of them.
type Key struct {
	ID         string   // kid; may be empty
	algorithms []string // it may verify
	key        any      // *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey, or []byte
}

// Skipped is a key of a set that is not used.
type Skipped struct {
	ID  string
	Why string
}

// ParseSet reads a JSON Web Key Set (RFC 7517 section 5). Keys that are for other uses, weak, broken, or not told from each other are
// skipped: one bad key of an issuer's must not refuse what the good ones sign. Secret keys in a set are skipped, since it is published.
func ParseSet(data []byte) (*Set, []Skipped, error) {
	if len(data) > MaxSet {
		return nil, nil, fmt.Errorf("the key set is longer than %d bytes", MaxSet)
	}
	doc, err := Object(data)
	if err != nil {
		return nil, nil, fmt.Errorf("the key set: %w", err)
	}
	list, ok := doc["keys"].([]any)
	if !ok {
		return nil, nil, errors.New(`the key set has no list "keys"`)
	}
	if len(list) > MaxKeys {
		return nil, nil, fmt.Errorf("the key set has %d keys, %d are allowed", len(list), MaxKeys)
	}
	s, skipped := &Set{}, []Skipped(nil)
	for _, v := range list {
		k, err := parseKey(v)
		if err != nil {
			skipped = append(skipped, Skipped{k.ID, err.Error()})
			continue
		}
		s.keys = append(s.keys, k)
	}
	// Two keys of one name leave open which one is meant.
	count := map[string]int{}
	for _, k := range s.keys {
		count[k.ID]++
	}
	s.keys = slices.DeleteFunc(s.keys, func(k Key) bool {
		if k.ID == "" || count[k.ID] == 1 {
			return false
		}
		skipped = append(skipped, Skipped{k.ID, "another key has the same kid"})
		return true
	})
	return s, skipped, nil
}

// Secret makes the set of one secret key, for HS256, HS384 and HS512 as far as it is long enough (RFC 7518 section 3.2).
func Secret(key []byte) (*Set, error) {
	k := Key{key: slices.Clone(key)}
	for _, a := range hmacs {
		if len(key) >= a.size {
			k.algorithms = append(k.algorithms, a.name)
		}
	}
	if k.algorithms == nil {
		return nil, fmt.Errorf("the secret has %d bytes, at least %d are needed", len(key), hmacs[0].size)
	}
	return &Set{keys: []Key{k}}, nil
}

// Len is the number of keys.
func (s *Set) Len() int { return len(s.keys) }

// Has reports whether a key has the name.
func (s *Set) Has(id string) bool {
	return slices.ContainsFunc(s.keys, func(k Key) bool { return k.ID == id })
}

// find returns the key that a token names, if it may verify with the algorithm. A token that names none is for the one key that may.
func (s *Set) find(id, algorithm string) *Key {
	var found *Key
	for i := range s.keys {
		k := &s.keys[i]
		if id != "" && k.ID != id && k.secret() == nil || !slices.Contains(k.algorithms, algorithm) {
			continue
		}
		if found != nil {
			return nil
		}
		found = k
	}
	return found
}

// secret is the key if it is a secret one, which is alone in its set and has no name.
func (k *Key) secret() []byte {
	s, _ := k.key.([]byte)
	return s
}

// parseKey reads a key. On error the result still has its name.
func parseKey(v any) (Key, error) {
	o, ok := v.(map[string]any)
	if !ok {
		return Key{}, errors.New("it is no JSON object")
	}
	var k Key
	if id, there := o["kid"]; there {
		s, ok := id.(string)
		if !ok || s == "" || len(s) > maxName {
			return k, errors.New("its kid is no short text")
		}
		k.ID = s
	}
	if use, there := o["use"]; there && use != "sig" {
		return k, errors.New("it is not for signatures")
	}
	if ops, there := o["key_ops"]; there {
		if l, ok := ops.([]any); !ok || !slices.Contains(l, any("verify")) {
			return k, errors.New("it is not for verifying")
		}
	}
	if kty := o["kty"]; kty != "RSA" && kty != "EC" && kty != "OKP" {
		return k, errors.New("its type is not one that is used")
	}
	raw, err := json.Marshal(o)
	if err != nil {
		return k, err
	}
	if k.key, err = publicKey(raw); err != nil {
		return k, err
	}
	if k.algorithms, err = fit(k.key); err != nil {
		return k, err
	}
	if alg, there := o["alg"]; there {
		name, _ := alg.(string)
		if !slices.Contains(k.algorithms, name) {
			return k, errors.New("its alg does not go with its type")
		}
		k.algorithms = []string{name}
	}
	return k, nil
}

func publicKey(raw []byte) (any, error) {
	parsed, err := jwk.ParseKey(raw)
	if err != nil {
		return nil, errors.New("it cannot be read")
	}
	if parsed, err = parsed.PublicKey(); err != nil {
		return nil, errors.New("it has no public part")
	}
	var key any
	if err := parsed.Raw(&key); err != nil {
		return nil, errors.New("it cannot be read")
	}
	return key, nil
}

// fit returns the algorithms a public key may verify, and refuses one that is weak or no key at all.
func fit(key any) ([]string, error) {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return rsaAlgorithms, checkRSA(k)
	case *ecdsa.PublicKey:
		if _, err := k.ECDH(); err != nil { // which checks that the point is on the curve
			return nil, errors.New("its point is not on its curve")
		}
		for _, a := range ecdsas {
			if a.curve == k.Curve {
				return []string{a.name}, nil
			}
		}
		return nil, errors.New("its curve is not one that is used")
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize {
			return nil, errors.New("its length is wrong")
		}
		return []string{EdDSA}, nil
	}
	return nil, errors.New("its type is not one that is used")
}

func checkRSA(k *rsa.PublicKey) error {
	switch bits := k.N.BitLen(); {
	case bits < minRSABits || bits > maxRSABits:
		return fmt.Errorf("it has %d bits, %d to %d are allowed", bits, minRSABits, maxRSABits)
	case k.E < 3 || k.E%2 == 0 || k.N.Bit(0) == 0:
		return errors.New("it is no RSA key")
	case roca(k.N):
		return errors.New("it was made by a generator whose keys can be factored (CVE-2017-15361)")
	}
	return nil
}

// roca reports whether a modulus has the fingerprint of keys that can be factored (Nemec et al., The Return of Coppersmith's Attack,
// 2017): modulo each small prime it is a power of 65537.
func roca(n *big.Int) bool {
	for _, p := range rocaPrimes {
		left := new(big.Int).Mod(n, big.NewInt(p)).Int64()
		power, found := int64(1), false
		for range p {
			if power == left {
				found = true
				break
			}
			power = power * 65537 % p
		}
		if !found {
			return false
		}
	}
	return true
}

var rocaPrimes = []int64{
	3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113, 127, 131, 137,
	139, 149, 151, 157, 163, 167,
}
