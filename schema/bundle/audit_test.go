package bundle

import (
	"bytes"
	"testing"
)

func TestAuditFooters(t *testing.T) {
	key, other := testKey(t, Ed25519), testKey(t, ES256)
	trust := testTrust(t, nil, trustKey(t, key, RoleAudit, "prod"), trustKey(t, other, RoleRelease))
	payload := []byte(`{"count":1}`)
	sign := func(s Signer, payload []byte) []byte { return must(SignAudit(payload, s))(t) }
	good := sign(key, payload)
	twice := must(newEnvelope(AuditType, payload).sign(key))(t)
	twice = must(twice.sign(other))(t)
	elsewhere := must(newEnvelope(channelType, payload).sign(key))(t)
	for _, c := range []struct {
		name string
		data []byte
		env  string
		want Reason
	}{
		{"good", good, "prod", ""},
		{"another environment", good, "dev", KeyNotAllowed},
		{"another role", sign(other, payload), "prod", KeyNotAllowed},
		{"an unknown key", sign(testKey(t, Ed25519), payload), "prod", KeyUnknown},
		{"a changed payload", bytes.Replace(good, []byte(`"eyJ`), []byte(`"eyK`), 1), "prod", SignatureInvalid},
		{"two signatures", twice.encode(), "prod", EnvelopeMalformed},
		{"no signature", newEnvelope(AuditType, payload).encode(), "prod", EnvelopeMalformed},
		{"signed as something else", elsewhere.encode(), "prod", PayloadType},
		{"white space", append(bytes.Clone(good), ' '), "prod", EnvelopeMalformed},
		{"no envelope", []byte(`{"seq":1}`), "prod", EnvelopeMalformed},
		{"too large", bytes.Repeat([]byte(" "), MaxAudit+1), "prod", TooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, id, err := VerifyAudit(c.data, trust, c.env)
			if refusal(err) != c.want {
				t.Fatalf("VerifyAudit: %v, want %q", err, c.want)
			}
			if err == nil && (!bytes.Equal(got, payload) || id != key.Public().ID()) {
				t.Errorf("%s by %s", got, id)
			}
		})
	}
	if _, _, err := VerifyAudit(good, nil, "prod"); refusal(err) != TrustInvalid {
		t.Errorf("without trust: %v", err)
	}
	if got, id, err := PeekAudit(good); err != nil || !bytes.Equal(got, payload) || id != key.Public().ID() {
		t.Errorf("PeekAudit: %s, %s, %v", got, id, err)
	}
	if _, err := SignAudit(bytes.Repeat([]byte("x"), MaxAudit), key); err == nil {
		t.Error("a footer that is too large was signed")
	}
}
