package bundle

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The payload types. They are part of what is signed, so that a signature for one document never counts for another.
const (
	manifestType = "application/vnd.suuupra.gateway.manifest.v1+json"
	channelType  = "application/vnd.suuupra.gateway.channel.v1+json"
)

// signatureOverhead is more than one signature takes in an envelope.
const signatureOverhead = 200

// envelope is a DSSE envelope (github.com/secure-systems-lab/dsse, version 1): bytes, their type, and signatures over
// both. It has one encoding only: canonical JSON, padded standard base64, signatures sorted by key id, each key once.
type envelope struct {
	Payload     []byte      `json:"payload"`
	PayloadType string      `json:"payloadType"`
	Signatures  []signature `json:"signatures"`
}

type signature struct {
	KeyID string `json:"keyid"`
	Sig   []byte `json:"sig"`
}

func newEnvelope(payloadType string, payload []byte) envelope {
	return envelope{Payload: payload, PayloadType: payloadType, Signatures: []signature{}}
}

// pae is DSSE's pre-authentication encoding: what is signed, unambiguous about where type and payload begin and end.
func (e envelope) pae() []byte {
	b := make([]byte, 0, len(e.Payload)+len(e.PayloadType)+40)
	b = append(b, "DSSEv1 "...)
	b = strconv.AppendInt(b, int64(len(e.PayloadType)), 10)
	b = append(append(append(b, ' '), e.PayloadType...), ' ')
	b = strconv.AppendInt(b, int64(len(e.Payload)), 10)
	return append(append(b, ' '), e.Payload...)
}

// sign returns the envelope with one signature more, in place of an earlier one by the same key.
func (e envelope) sign(s Signer) (envelope, error) {
	message := e.pae()
	sig, err := s.Sign(message)
	if err != nil {
		return e, fmt.Errorf("key %s: %w", s.Public().ID(), err)
	}
	if !s.Public().Verify(message, sig) {
		return e, fmt.Errorf("key %s: the signer returned a signature that does not verify", s.Public().ID())
	}
	id := s.Public().ID()
	sigs := slices.DeleteFunc(slices.Clone(e.Signatures), func(x signature) bool { return x.KeyID == id })
	sigs = append(sigs, signature{KeyID: id, Sig: sig})
	slices.SortFunc(sigs, func(a, b signature) int { return strings.Compare(a.KeyID, b.KeyID) })
	if len(sigs) > maxSignatures {
		return e, fmt.Errorf("more than %d signatures", maxSignatures)
	}
	e.Signatures = sigs
	return e, nil
}

func (e envelope) keyIDs() []string {
	ids := make([]string, len(e.Signatures))
	for i, s := range e.Signatures {
		ids[i] = s.KeyID
	}
	return ids
}

// encode writes the only encoding of e. Key ids and types are plain ASCII, so nothing needs escaping.
func (e envelope) encode() []byte {
	b64 := base64.StdEncoding
	out := make([]byte, 0, b64.EncodedLen(len(e.Payload))+len(e.PayloadType)+64+len(e.Signatures)*signatureOverhead)
	out = b64.AppendEncode(append(out, `{"payload":"`...), e.Payload)
	out = append(append(out, `","payloadType":"`...), e.PayloadType...)
	out = append(out, `","signatures":[`...)
	for i, s := range e.Signatures {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(out, `{"keyid":"`...), s.KeyID...)
		out = b64.AppendEncode(append(out, `","sig":"`...), s.Sig)
		out = append(out, `"}`...)
	}
	return append(out, `]}`...)
}

// decodeEnvelope reads an envelope of the given type. It looks at no signature.
func decodeEnvelope(data []byte, payloadType string, limit int) (envelope, error) {
	if len(data) > limit {
		return envelope{}, Refuse(TooLarge, "the envelope has %d bytes, at most %d are allowed", len(data), limit)
	}
	var e envelope
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&e); err != nil {
		return envelope{}, refuseFor(EnvelopeMalformed, err, "not a DSSE envelope")
	}
	if e.PayloadType != payloadType {
		return envelope{}, Refuse(PayloadType, "the envelope holds %.100q, must be %q", e.PayloadType, payloadType)
	}
	if err := e.validate(); err != nil {
		return envelope{}, refuseFor(EnvelopeMalformed, err, "DSSE envelope")
	}
	// One spelling only: this refuses white space, other base64, repeated members, and anything after the envelope.
	if !bytes.Equal(e.encode(), data) {
		return envelope{}, Refuse(EnvelopeMalformed, "the DSSE envelope is not in its canonical encoding; sign it again with gwctl sign")
	}
	return e, nil
}

func (e envelope) validate() error {
	if len(e.Payload) == 0 {
		return errors.New("it has no payload")
	}
	if len(e.Signatures) > maxSignatures {
		return fmt.Errorf("it has %d signatures, at most %d are allowed", len(e.Signatures), maxSignatures)
	}
	for i, s := range e.Signatures {
		if !isKeyID(s.KeyID) {
			return fmt.Errorf("signature %d has no key id, or one that is not a SHA-256 thumbprint", i+1)
		}
		if i > 0 && e.Signatures[i-1].KeyID >= s.KeyID {
			return fmt.Errorf("signatures are not sorted by key id, or key %s signed twice", s.KeyID)
		}
		if len(s.Sig) != signatureSize {
			return fmt.Errorf("the signature of key %s has %d bytes, must be %d", s.KeyID, len(s.Sig), signatureSize)
		}
	}
	return nil
}

func isKeyID(s string) bool {
	sum, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil && len(sum) == 32 && !strings.ContainsAny(s, "\r\n")
}
