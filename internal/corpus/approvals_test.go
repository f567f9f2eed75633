package corpus_test

import (
	"testing"
	"time"

	"github.com/suuupra/gateway/schema/bundle"
)

// pledge is what lies beside a change that opens a door, in place of the second of the two approvals that it needs. The first one is good.
type pledge struct {
	name    string
	make    func(t *testing.T, k *keyring, good bundle.Approval) []byte // nil: nothing
	ignored string                                                      // reason why it does not even count as an approval; empty: it is one, but not of this
}

func by(t *testing.T, a bundle.Approval, key *bundle.PrivateKey) []byte {
	t.Helper()
	out, err := bundle.SignApproval(a, key)
	must(t, err)
	return out
}

var pledges = []pledge{
	{name: "nothing"},
	{name: "another approval by the same person", make: func(t *testing.T, k *keyring, a bundle.Approval) []byte {
		a.Reason, a.By = "I am somebody else", "bob"
		return by(t, a, k.ada)
	}},
	{name: "an approval of the step from another bundle", make: func(t *testing.T, k *keyring, a bundle.Approval) []byte {
		a.Base = bundle.DigestOf([]byte("another"))
		return by(t, a, k.bob)
	}},
	{name: "an approval of another bundle", make: func(t *testing.T, k *keyring, a bundle.Approval) []byte {
		a.Manifest = bundle.DigestOf([]byte("another"))
		return by(t, a, k.bob)
	}},
	{name: "an approval of the step back", make: func(t *testing.T, k *keyring, a bundle.Approval) []byte {
		a.Base, a.Manifest = a.Manifest, a.Base
		return by(t, a, k.bob)
	}},
	{name: "an approval that names no risk", make: func(t *testing.T, k *keyring, a bundle.Approval) []byte {
		a.Risks = nil
		return by(t, a, k.bob)
	}},
	{name: "an approval of another risk", make: func(t *testing.T, k *keyring, a bundle.Approval) []byte {
		a.Risks = []string{"LIMIT_RAISED"}
		return by(t, a, k.bob)
	}},
	{name: "an approval that has expired", ignored: "approval_expired", make: func(t *testing.T, k *keyring, a bundle.Approval) []byte {
		a.IssuedAt, a.ExpiresAt = bundle.TimeOf(begin.Add(-48*time.Hour)), bundle.TimeOf(begin.Add(-time.Hour))
		return by(t, a, k.bob)
	}},
	{name: "an approval from tomorrow", ignored: "approval_malformed", make: func(t *testing.T, k *keyring, a bundle.Approval) []byte {
		a.IssuedAt, a.ExpiresAt = bundle.TimeOf(begin.Add(24*time.Hour)), bundle.TimeOf(begin.Add(48*time.Hour))
		return by(t, a, k.bob)
	}},
	{name: "an approval for another environment", ignored: "wrong_environment", make: func(t *testing.T, k *keyring, a bundle.Approval) []byte {
		a.Environment = "staging"
		return by(t, a, k.bob)
	}},
	{name: "an approval for another repository", ignored: "wrong_name", make: func(t *testing.T, k *keyring, a bundle.Approval) []byte {
		a.Name = "blog"
		return by(t, a, k.bob)
	}},
	{name: "an approval by a release key", ignored: "key_not_allowed", make: func(t *testing.T, k *keyring, a bundle.Approval) []byte { return by(t, a, k.release) }},
	{name: "an approval by the channel key", ignored: "key_not_allowed", make: func(t *testing.T, k *keyring, a bundle.Approval) []byte { return by(t, a, k.channel) }},
	{name: "an approval by an approver of another environment", ignored: "key_not_allowed", make: func(t *testing.T, k *keyring, a bundle.Approval) []byte {
		return by(t, a, k.stagingApprover)
	}},
	{name: "an approval by a key nobody knows", ignored: "key_unknown", make: func(t *testing.T, k *keyring, a bundle.Approval) []byte { return by(t, a, k.anon) }},
	{name: "an approval that was changed after it was signed", ignored: "signature_invalid", make: func(t *testing.T, k *keyring, a bundle.Approval) []byte {
		other := a
		other.Base = bundle.DigestOf([]byte("another"))
		return transplant(t, by(t, a, k.bob), by(t, other, k.bob))
	}},
	{name: "half an approval", ignored: "envelope_malformed", make: func(t *testing.T, k *keyring, a bundle.Approval) []byte {
		out := by(t, a, k.bob)
		return out[:len(out)/2]
	}},
	{name: "a channel in place of an approval", ignored: "payload_type", make: func(t *testing.T, k *keyring, a bundle.Approval) []byte {
		out, err := bundle.SignChannel(bundle.Channel{
			Name: a.Name, Environment: a.Environment, Epoch: 1, Version: nextVersion, Manifest: bundle.Ref{Digest: a.Manifest, Size: 1}, IssuedAt: a.IssuedAt, ExpiresAt: a.ExpiresAt,
		}, k.bob)
		must(t, err)
		return out
	}},
}

// pledged is what holds the change that pledges are about.
const pledged = "doors: AUTH_REMOVED"

// TestApprovals opens a door with one good approval and something else, which is never enough, and with two good ones, which are.
func TestApprovals(t *testing.T) {
	l := newLine(t)
	d, s := l.compile(t, l.repository.on(t, in("routes/users.yaml", "use: [resilient]", "use: [resilient, public]")))
	if s.at != "" {
		t.Fatal(s)
	}
	b := l.keys.sign(t, d.program, l.keys.release, l.keys.second)
	good := bundle.Approval{
		Name: "shop", Environment: "prod", Manifest: b.Digest(), Base: l.bundle.Digest(), Risks: []string{"AUTH_REMOVED"}, Reason: "a test", By: "ada",
		IssuedAt: bundle.TimeOf(begin), ExpiresAt: bundle.TimeOf(begin.Add(24 * time.Hour)),
	}
	offer := func(t *testing.T, envelopes ...[]byte) (stop, []error) {
		t.Helper()
		g := l.gateway(t, begin)
		g.approvals = envelopes
		return g.offer(l.keys.publish(t, b, nextVersion, begin)), g.ignored
	}
	for _, c := range pledges {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			envelopes := [][]byte{by(t, good, l.keys.ada)}
			if c.make != nil {
				envelopes = append(envelopes, c.make(t, l.keys, good))
			}
			got, ignored := offer(t, envelopes...)
			if want := (stop{activation, pledged}); got != want {
				t.Errorf("stopped at %s\nwant %s", got, want)
			}
			switch {
			case c.ignored == "" && len(ignored) > 0, c.ignored != "" && (len(ignored) != 1 || reason(ignored[0]) != c.ignored):
				t.Errorf("ignored %v, want %q", ignored, c.ignored)
			}
		})
	}
	t.Run("two who did not hear live requests", func(t *testing.T) {
		t.Parallel()
		got, _ := offer(t, by(t, good, l.keys.ada), by(t, good, l.keys.bob))
		if want := (stop{dryRun, "deny_to_allow on users-api"}); got != want {
			t.Errorf("stopped at %s\nwant %s", got, want)
		}
	})
	t.Run("two who know what they do", func(t *testing.T) {
		t.Parallel()
		all := good
		all.Risks = []string{"AUTH_REMOVED", "DRY_RUN"}
		if got, _ := offer(t, by(t, all, l.keys.ada), by(t, all, l.keys.bob)); got.at != traffic {
			t.Errorf("stopped at %s", got)
		}
	})
}
