package bundle

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func testApproval() Approval {
	return Approval{
		Name: "shop", Environment: "prod", Manifest: DigestOf([]byte("new")), Base: DigestOf([]byte("old")), Risks: []string{"AUTH_REMOVED", "ROUTE_REMOVED"},
		Reason: "ticket 42", By: "ada", IssuedAt: TimeOf(now), ExpiresAt: TimeOf(now.Add(time.Hour)),
	}
}

func TestApproval(t *testing.T) {
	ada, release := testKey(t, Ed25519), testKey(t, Ed25519)
	trust := testTrust(t, nil, trustKey(t, ada, RoleApprover, "prod"), trustKey(t, release, RoleRelease))
	signed := func(change func(*Approval), s Signer) []byte {
		a := testApproval()
		change(&a)
		return must(SignApproval(a, s))(t)
	}
	same := func(*Approval) {}
	check := Check{Trust: trust, Environment: "prod", Name: "shop", Now: now}

	data := signed(same, ada)
	got, key, err := VerifyApproval(data, check)
	if err != nil || key != ada.Public().ID() || !got.Covers("AUTH_REMOVED") || got.Covers("EMPTY_CONFIG") || got.Base != DigestOf([]byte("old")) {
		t.Errorf("a good one: %+v by %s, %v", got, key, err)
	}
	twice := must(must(decodeEnvelope(data, approvalType, MaxApproval))(t).sign(release))(t)

	for name, c := range map[string]struct {
		data []byte
		now  time.Time
		want Reason
	}{
		"a release key":            {signed(same, release), now, KeyNotAllowed},
		"a stranger's key":         {signed(same, testKey(t, Ed25519)), now, KeyUnknown},
		"another environment":      {signed(func(a *Approval) { a.Environment = "staging" }, ada), now, WrongEnvironment},
		"another repository":       {signed(func(a *Approval) { a.Name = "shop2" }, ada), now, WrongName},
		"expired to the second":    {data, now.Add(time.Hour), ApprovalExpired},
		"without a clock":          {data, time.Time{}, ApprovalExpired},
		"from the future":          {signed(func(a *Approval) { a.IssuedAt = TimeOf(now.Add(6 * time.Minute)) }, ada), now, ApprovalMalformed},
		"two signatures":           {twice.encode(), now, EnvelopeMalformed},
		"a channel":                {newWorld(t).signChannel(t, func(*Channel) {}), now, PayloadType},
		"one bit":                  {flipped(data), now, SignatureInvalid},
		"longer than any":          {[]byte(strings.Repeat("x", MaxApproval+1)), now, TooLarge},
		"nothing":                  {nil, now, EnvelopeMalformed},
		"a channel's in its place": {[]byte(`{"payload":"e30=","payloadType":"` + approvalType + `","signatures":[]}`), now, SignatureMissing},
	} {
		check.Now = c.now
		if _, _, err := VerifyApproval(c.data, check); refusal(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// flipped changes a bit of the payload of an envelope.
func flipped(data []byte) []byte {
	out := slices.Clone(data)
	at := len(`{"payload":"`) + 40
	if out[at]++; out[at] > 'y' || out[at] < 'a' && out[at] > 'Y' {
		out[at] = 'b'
	}
	return out
}

func TestApprovalRefusesNonsense(t *testing.T) {
	key := testKey(t, Ed25519)
	for name, c := range map[string]struct {
		change func(*Approval)
		want   string
	}{
		"nothing to approve":  {func(a *Approval) { a.Manifest = "" }, "manifest: "},
		"in its own place":    {func(a *Approval) { a.Base = a.Manifest }, "it approves of a manifest in its own place"},
		"a base that is none": {func(a *Approval) { a.Base = "sha256:x" }, "base: "},
		"no reason":           {func(a *Approval) { a.Reason = "" }, "reason must be 1 to 256 bytes"},
		"a line in by":        {func(a *Approval) { a.By = "a\nb" }, "holds a control character"},
		"twice the same risk": {func(a *Approval) { a.Risks = []string{"A", "A"} }, "risks must be sorted, and each named once"},
		"too many risks":      {func(a *Approval) { a.Risks = make([]string, 65) }, "it names 65 risks, at most 64 are allowed"},
		"no time":             {func(a *Approval) { a.ExpiresAt = a.IssuedAt }, "before it was issued"},
		"no environment":      {func(a *Approval) { a.Environment = "" }, `environment ""`},
	} {
		a := testApproval()
		c.change(&a)
		if _, err := SignApproval(a, key); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func FuzzApproval(f *testing.F) {
	key := testKey(f, Ed25519)
	f.Add(must(SignApproval(testApproval(), key))(f))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := PeekApproval(data)
		if err != nil {
			return
		}
		again, err := SignApproval(*a, key)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if b, err := PeekApproval(again); err != nil || b.Manifest != a.Manifest || !slices.Equal(b.Risks, a.Risks) {
			t.Errorf("%+v became %+v, %v", a, b, err)
		}
	})
}
