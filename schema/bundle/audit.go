package bundle

import "fmt"

// AuditType is the payload type of the footers of an audit trail. What they say is for package internal/audit; here they are bytes.
const AuditType = "application/vnd.suuupra.gateway.audit.v1+json"

// MaxAudit bounds the envelope of a footer, in bytes.
const MaxAudit = 4 << 10

// SignAudit signs the footer of a segment of an audit trail. It returns the envelope.
func SignAudit(payload []byte, s Signer) ([]byte, error) {
	e, err := newEnvelope(AuditType, payload).sign(s)
	if err != nil {
		return nil, fmt.Errorf("sign audit footer: %w", err)
	}
	out := e.encode()
	if len(out) > MaxAudit {
		return nil, fmt.Errorf("sign audit footer: %d bytes, at most %d are allowed", len(out), MaxAudit)
	}
	return out, nil
}

// VerifyAudit checks that an audit key for the environment signed a footer. It returns the signed bytes and the key.
func VerifyAudit(data []byte, t *Trust, env string) (payload []byte, key string, err error) {
	if t == nil {
		return nil, "", Refuse(TrustInvalid, "there is no trust file; name one with --trust")
	}
	e, err := decodeFooter(data)
	if err != nil {
		return nil, "", err
	}
	if err := t.authenticate(e, "footer"); err != nil {
		return nil, "", err
	}
	if err := t.authorise(e, RoleAudit, env, "footer"); err != nil {
		return nil, "", err
	}
	return e.Payload, e.Signatures[0].KeyID, nil
}

// PeekAudit reads a footer without a look at its signature: what it says, and which key claims to have signed it.
func PeekAudit(data []byte) (payload []byte, key string, err error) {
	e, err := decodeFooter(data)
	if err != nil {
		return nil, "", err
	}
	return e.Payload, e.Signatures[0].KeyID, nil
}

// decodeFooter takes one signature only: a footer is a line with one spelling, and nobody adds to it.
func decodeFooter(data []byte) (envelope, error) {
	e, err := decodeEnvelope(data, AuditType, MaxAudit)
	if err == nil && len(e.Signatures) != 1 {
		err = Refuse(EnvelopeMalformed, "the footer has %d signatures, must have one", len(e.Signatures))
	}
	return e, err
}
