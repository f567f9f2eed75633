package bundle

import (
	"fmt"
	"slices"
	"time"
)

// ApprovalSchema is the version of the approvals this package writes, and the only one it reads.
const ApprovalSchema = "gateway.suuupra.dev/approval/v1"

// MaxApproval bounds an approval's envelope, in bytes, and MaxApprovals is how many a place keeps for one environment.
const (
	MaxApproval  = 16 << 10
	MaxApprovals = 64
)

const approvalType = "application/vnd.suuupra.gateway.approval.v1+json"

// maxRisks is how many risks one approval names.
const maxRisks = 64

// Approval is the statement of a person that a bundle may take the place of another one in spite of certain risks. It says nothing
// about any other change: what it approves is the step from one manifest to the other.
type Approval struct {
	Schema      string   `json:"schema"`
	Name        string   `json:"name"` // the repository's name, as in the manifest
	Environment string   `json:"environment"`
	Manifest    Digest   `json:"manifest"`       // that may go live
	Base        Digest   `json:"base,omitempty"` // that it replaces; empty: none was live
	Risks       []string `json:"risks"`          // codes as gwctl diff prints them, sorted; empty for a change without any
	Reason      string   `json:"reason"`
	By          string   `json:"by,omitempty"` // who, in their own words; the signature says it for certain
	IssuedAt    Time     `json:"issuedAt"`
	ExpiresAt   Time     `json:"expiresAt"`
}

func (a *Approval) validate() error {
	if a.Schema != ApprovalSchema {
		return fmt.Errorf("schema is %q, must be %q", a.Schema, ApprovalSchema)
	}
	if !environmentPattern.MatchString(a.Environment) {
		return fmt.Errorf("environment %q must be 1 to 63 letters, digits, dots, dashes and underscores", a.Environment)
	}
	if _, err := ParseDigest(string(a.Manifest)); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	if _, err := ParseDigest(string(a.Base)); a.Base != "" && err != nil {
		return fmt.Errorf("base: %w", err)
	}
	if a.Base == a.Manifest {
		return fmt.Errorf("it approves of a manifest in its own place")
	}
	if !a.IssuedAt.Before(a.ExpiresAt.Time) {
		return fmt.Errorf("it expires at %s, before it was issued", a.ExpiresAt.Format(timeLayout))
	}
	for _, t := range []struct{ field, value string }{{"name", a.Name}, {"reason", a.Reason}} {
		if err := checkText(t.field, t.value); err != nil {
			return err
		}
	}
	if a.By != "" {
		if err := checkText("by", a.By); err != nil {
			return err
		}
	}
	if len(a.Risks) > maxRisks {
		return fmt.Errorf("it names %d risks, at most %d are allowed", len(a.Risks), maxRisks)
	}
	for i, r := range a.Risks {
		if err := checkText("risks", r); err != nil {
			return err
		}
		if i > 0 && a.Risks[i-1] >= r {
			return fmt.Errorf("risks must be sorted, and each named once")
		}
	}
	return nil
}

// Covers reports whether the approval names a risk.
func (a *Approval) Covers(risk string) bool { return slices.Contains(a.Risks, risk) }

// SignApproval encodes and signs an approval. It returns the envelope.
func SignApproval(a Approval, s Signer) ([]byte, error) {
	a.Schema = ApprovalSchema
	if a.Risks == nil {
		a.Risks = []string{}
	}
	if err := a.validate(); err != nil {
		return nil, fmt.Errorf("sign approval: %w", err)
	}
	payload, err := Canonical(a)
	if err != nil {
		return nil, fmt.Errorf("sign approval: %w", err)
	}
	e, err := newEnvelope(approvalType, payload).sign(s)
	if err != nil {
		return nil, fmt.Errorf("sign approval: %w", err)
	}
	out := e.encode()
	if len(out) > MaxApproval {
		return nil, fmt.Errorf("sign approval: %d bytes, at most %d are allowed", len(out), MaxApproval)
	}
	return out, nil
}

// VerifyApproval checks an approval: its signature, by an approver's key for the environment, and that it has not expired. It returns
// the key that signed. Whether it approves of what is at hand is for whoever asks.
func VerifyApproval(data []byte, c Check) (a *Approval, key string, err error) {
	if c.Trust == nil {
		return nil, "", Refuse(TrustInvalid, "there is no trust file; name one with --trust")
	}
	e, err := decodeEnvelope(data, approvalType, MaxApproval)
	if err != nil {
		return nil, "", fmt.Errorf("approval: %w", err)
	}
	if len(e.Signatures) > 1 {
		return nil, "", Refuse(EnvelopeMalformed, "the approval has %d signatures, must have one: each approver signs a statement of their own", len(e.Signatures))
	}
	if err := c.Trust.authenticate(e, "approval"); err != nil {
		return nil, "", err
	}
	if a, err = decodeApproval(e.Payload); err != nil {
		return nil, "", err
	}
	if err := c.belongs("approval", a.Environment, a.Name); err != nil {
		return nil, "", err
	}
	if err := c.Trust.authorise(e, RoleApprover, a.Environment, "approval"); err != nil {
		return nil, "", err
	}
	if c.Now.IsZero() || !c.Now.Before(a.ExpiresAt.Time) {
		return nil, "", Refuse(ApprovalExpired, "the approval expired at %s; approve again with gwctl approve", a.ExpiresAt.Format(timeLayout))
	}
	if c.Now.Add(clockSkew).Before(a.IssuedAt.Time) {
		return nil, "", Refuse(ApprovalMalformed, "the approval was issued at %s, which has yet to come", a.IssuedAt.Format(timeLayout))
	}
	return a, e.Signatures[0].KeyID, nil
}

// clockSkew is how far the clocks of an approver and of whoever verifies may be apart.
const clockSkew = 5 * time.Minute

// PeekApproval reads what an approval claims, without a look at its signature.
func PeekApproval(data []byte) (*Approval, error) {
	e, err := decodeEnvelope(data, approvalType, MaxApproval)
	if err != nil {
		return nil, fmt.Errorf("approval: %w", err)
	}
	return decodeApproval(e.Payload)
}

func decodeApproval(payload []byte) (*Approval, error) {
	if err := checkSchema(payload, ApprovalSchema, "approval"); err != nil {
		return nil, err
	}
	a, err := decodeExactly[Approval](payload)
	if err == nil {
		err = a.validate()
	}
	if err != nil {
		return nil, refuseFor(ApprovalMalformed, err, "approval")
	}
	return a, nil
}
