package bundle

import (
	"bytes"
	"testing"
)

// FuzzArchive: what decodes encodes to the same bytes.
func FuzzArchive(f *testing.F) {
	w := newWorld(f)
	f.Add(w.archive)
	f.Add(must(w.bundle.Encode(nil))(f))
	f.Add(make([]byte, 2*tarBlock))
	f.Fuzz(func(t *testing.T, data []byte) {
		raw, err := DecodeArchive(data)
		if err != nil {
			if refusal(err) == "?" {
				t.Fatalf("not a refusal: %v", err)
			}
			return
		}
		if again, err := EncodeArchive(raw); err != nil || !bytes.Equal(again, data) {
			t.Fatalf("encodes differently (%v)", err)
		}
	})
}

// FuzzEnvelope: an envelope has one encoding, and nothing but the signer's own bytes verifies.
func FuzzEnvelope(f *testing.F) {
	w := newWorld(f)
	f.Add(w.envelope)
	f.Add(w.bundle.Raw().Manifest)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, payloadType := range []string{channelType, manifestType} {
			e, err := decodeEnvelope(data, payloadType, MaxManifest)
			if err != nil {
				continue
			}
			if !bytes.Equal(e.encode(), data) {
				t.Fatal("encodes differently")
			}
			original := map[string][]byte{channelType: w.envelope, manifestType: w.bundle.Raw().Manifest}[payloadType]
			if w.trust.authenticate(e, "envelope") == nil && !bytes.Equal(data, original) {
				t.Fatal("other bytes than the signer's verify")
			}
		}
	})
}

// FuzzManifest: a manifest that is accepted is the canonical encoding of itself.
func FuzzManifest(f *testing.F) {
	f.Add(newWorld(f).bundle.payload)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decodeManifest(data)
		if err != nil {
			return
		}
		if again, err := Canonical(m); err != nil || !bytes.Equal(again, data) {
			t.Fatalf("encodes differently (%v)", err)
		}
	})
}

// FuzzChannel: as FuzzManifest.
func FuzzChannel(f *testing.F) {
	w := newWorld(f)
	f.Add(must(decodeEnvelope(w.envelope, channelType, MaxChannel))(f).Payload)
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := decodeChannel(data)
		if err != nil {
			return
		}
		if again, err := Canonical(c); err != nil || !bytes.Equal(again, data) {
			t.Fatalf("encodes differently (%v)", err)
		}
	})
}

// FuzzTrust: every key of an accepted file has the id of its public key and may do something.
func FuzzTrust(f *testing.F) {
	w := newWorld(f)
	f.Add(must(TrustFile{Keys: []TrustKey{trustKey(f, w.release, RoleRelease)}, Thresholds: Thresholds{Release: 1}}.Encode())(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		trust, err := ParseTrust(data)
		if err != nil {
			return
		}
		for id, k := range trust.keys {
			if id != k.key.ID() || len(k.spec.Roles) == 0 || trust.threshold(RoleRelease, "prod") < 1 {
				t.Fatalf("accepted %+v", k.spec)
			}
		}
	})
}
