package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
	"time"
)

// scheme finds out how a delivery proves where it comes from. Keys are never empty. An answer is a refusal: no body is read
// for that.
type scheme func(keys [][]byte, h Header, now time.Time) (proof, *Answer)

// proof sees the body as it comes, and then says whether it is the forge's.
type proof interface {
	io.Writer
	holds() bool
}

// prove begins to judge where a delivery comes from, by its header.
func (r *Receiver) prove(h *hook, header Header) (proof, *Answer) {
	if h.insecure {
		return settled{io.Discard}, nil
	}
	keys, err := h.keys()
	if len(keys) == 0 {
		r.log.Warn("webhook has no secret that can be used", "webhook", h.id, "error", err)
		return nil, &refuseSecretAway
	}
	return h.provider.scheme(keys, header, r.now())
}

// keys are the secrets as they are now. While one is rotated, the other may be away.
func (h *hook) keys() (keys [][]byte, err error) {
	for _, secret := range h.secrets {
		value, problem := secret()
		value = bytes.TrimRight(value, "\r\n") // a file ends in one; what is typed in at a forge does not
		if problem == nil && len(value) < MinSecret {
			problem = fmt.Errorf("a secret is shorter than %d bytes", MinSecret)
		}
		if problem != nil {
			err = errors.Join(err, problem)
			continue
		}
		keys = append(keys, value)
	}
	return keys, err
}

// settled needs no body.
type settled struct{ io.Writer }

func (settled) holds() bool { return true }

// macs compares HMAC-SHA-256 of the body, under each key, with what the sender claims.
type macs struct {
	io.Writer
	sums   []hash.Hash
	claims [][]byte
}

// newMACs feeds each hash what stands before the body.
func newMACs(keys, claims [][]byte, before string) *macs {
	m := &macs{claims: claims}
	var all []io.Writer
	for _, key := range keys {
		sum := hmac.New(sha256.New, key)
		_, _ = io.WriteString(sum, before) // hashes do not fail
		m.sums, all = append(m.sums, sum), append(all, sum)
	}
	m.Writer = io.MultiWriter(all...)
	return m
}

// holds compares all with all, whatever is found, so that time tells nothing.
func (m *macs) holds() bool {
	found := 0
	for _, sum := range m.sums {
		is := sum.Sum(nil)
		for _, claim := range m.claims {
			found |= subtle.ConstantTimeCompare(is, claim)
		}
	}
	return found == 1
}

// field is where a signature stands, and what stands before its hexadecimal digits.
type field struct{ name, prefix string }

// signed is an HMAC-SHA-256 of the body in the first of the fields that is there. A bad one is not rescued by a good one in
// another field: whoever could choose would choose the weaker reader.
func signed(fields ...field) scheme {
	return func(keys [][]byte, h Header, _ time.Time) (proof, *Answer) {
		for _, f := range fields {
			if len(h.Values(f.name)) == 0 {
				continue
			}
			value, ok := one(h, f.name)
			digits, prefixed := strings.CutPrefix(value, f.prefix)
			claim, err := hex.DecodeString(digits)
			if !ok || !prefixed || err != nil || len(claim) != sha256.Size || digits != strings.ToLower(digits) {
				a := refuseSignature.because("the signature in " + f.name + " must be " + f.prefix + " and 64 hexadecimal digits in lower case")
				return nil, &a
			}
			return newMACs(keys, [][]byte{claim}, ""), nil
		}
		a := refuseUnsigned.because("the delivery has no " + fields[0].name + ": give the webhook a secret at the forge")
		if strings.HasPrefix(strings.Join(h.Values("X-Hub-Signature"), ""), "sha1=") {
			a.Detail = "the delivery is signed with SHA-1 alone, which is not taken; " + fields[0].name + " is missing"
		}
		return nil, &a
	}
}

const (
	signingPrefix = "whsec_"
	tolerance     = 5 * time.Minute
	maxClaims     = 8 // signatures in one delivery; more than one is there while the sender rotates its key
)

// gitlab takes a signature where there is one and a key for it, and only without looks at the token. Which of them a secret is
// for shows in the secret.
func gitlab(keys [][]byte, h Header, now time.Time) (proof, *Answer) {
	var signing, tokens [][]byte
	for _, key := range keys {
		if text, ok := bytes.CutPrefix(key, []byte(signingPrefix)); ok {
			if raw, err := base64.StdEncoding.DecodeString(string(text)); err == nil && len(raw) >= MinSecret {
				signing = append(signing, raw)
			}
		} else {
			tokens = append(tokens, key)
		}
	}
	token, tokenOK := one(h, "X-Gitlab-Token")
	switch {
	case len(signing) == 0 && len(tokens) == 0:
		a := refuseSecretAway.because("the signing token of this webhook is not whsec_ and base64")
		return nil, &a
	case len(signing) > 0 && len(h.Values("webhook-signature")) > 0:
		return standard(signing, h, now)
	case token == "":
		a := refuseUnsigned.because("the delivery has neither webhook-signature nor X-Gitlab-Token: give the webhook a token at GitLab")
		return nil, &a
	case len(tokens) == 0:
		a := refuseUnsigned.because("the delivery has only X-Gitlab-Token, and this webhook takes a signing token")
		return nil, &a
	case !tokenOK || !anyEqual(tokens, []byte(token)):
		a := refuseSignature.because("X-Gitlab-Token is not the token of this webhook")
		return nil, &a
	}
	return settled{io.Discard}, nil
}

// anyEqual compares digests, so that time tells nothing about the length either.
func anyEqual(keys [][]byte, value []byte) bool {
	is, found := sha256.Sum256(value), 0
	for _, key := range keys {
		want := sha256.Sum256(key)
		found |= subtle.ConstantTimeCompare(is[:], want[:])
	}
	return found == 1
}

// standard is Standard Webhooks (https://www.standardwebhooks.com): the signature covers id, time and body.
func standard(keys [][]byte, h Header, now time.Time) (proof, *Answer) {
	id, idOK := one(h, "webhook-id")
	stamp, stampOK := one(h, "webhook-timestamp")
	list, listOK := one(h, "webhook-signature")
	// An id with a full stop could be read as id and time, and the time as the beginning of the body.
	if !idOK || !isDelivery(id) || !stampOK || !listOK || len(stamp) > 12 || strings.Trim(stamp, "0123456789") != "" || stamp == "" {
		a := refuseSignature.because("webhook-id, webhook-timestamp or webhook-signature is missing, repeated or malformed")
		return nil, &a
	}
	seconds, _ := strconv.ParseInt(stamp, 10, 64) // at most 12 digits
	if now.Sub(time.Unix(seconds, 0)).Abs() > tolerance {
		return nil, &refuseExpired
	}
	var claims [][]byte
	for text := range strings.FieldsSeq(list) {
		digits, ok := strings.CutPrefix(text, "v1,")
		claim, err := base64.StdEncoding.DecodeString(digits)
		if ok && err == nil && len(claim) == sha256.Size && len(claims) < maxClaims {
			claims = append(claims, claim)
		}
	}
	if len(claims) == 0 {
		a := refuseSignature.because("webhook-signature has no v1 signature")
		return nil, &a
	}
	return newMACs(keys, claims, id+"."+stamp+"."), nil
}
