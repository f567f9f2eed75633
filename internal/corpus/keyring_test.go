package corpus_test

import (
	"testing"
	"time"

	"github.com/suuupra/gateway/compiler"
	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
)

// keyring is everybody's keys, and the trust file of the gateways: what serves customers is signed by two release keys.
type keyring struct {
	trust                           *bundle.Trust
	release, second, channel        *bundle.PrivateKey
	stagingRelease, stagingChannel  *bundle.PrivateKey // good for staging alone
	ada, bob, stagingApprover, anon *bundle.PrivateKey // anon is nobody's that the trust file knows
}

func newKeyring(t testing.TB) *keyring {
	t.Helper()
	k := &keyring{}
	file := bundle.TrustFile{Environments: map[string]bundle.Thresholds{"prod": {Release: 2}}}
	for _, one := range []struct {
		key  **bundle.PrivateKey
		role bundle.Role
		envs []string
	}{
		{&k.release, bundle.RoleRelease, nil},
		{&k.second, bundle.RoleRelease, nil},
		{&k.channel, bundle.RoleChannel, nil},
		{&k.stagingRelease, bundle.RoleRelease, []string{"staging"}},
		{&k.stagingChannel, bundle.RoleChannel, []string{"staging"}},
		{&k.ada, bundle.RoleApprover, nil},
		{&k.bob, bundle.RoleApprover, nil},
		{&k.stagingApprover, bundle.RoleApprover, []string{"staging"}},
		{&k.anon, "", nil},
	} {
		key, err := bundle.GenerateKey(bundle.Ed25519)
		must(t, err)
		*one.key = key
		if one.role == "" {
			continue
		}
		entry, err := bundle.TrustKeyOf(key.Public(), one.role, one.envs...)
		must(t, err)
		file.Keys = append(file.Keys, entry)
	}
	data, err := file.Encode()
	must(t, err)
	k.trust, err = bundle.ParseTrust(data)
	must(t, err)
	return k
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// sign makes a bundle of a program, as gwctl build does, and signs it.
func (k *keyring) sign(t testing.TB, p *ir.Program, keys ...*bundle.PrivateKey) *bundle.Bundle {
	t.Helper()
	b, err := compiler.Emit(p, load.Origin{Commit: "0123456789abcdef0123456789abcdef01234567"}, "1.0.0")
	must(t, err)
	for _, key := range keys {
		must(t, b.Sign(key))
	}
	return b
}

// channelOf is the next thing a publisher says: that a bundle is current from a time on, for a week.
func channelOf(b *bundle.Bundle, version int64, at time.Time) bundle.Channel {
	return bundle.Channel{
		Name: b.Manifest.Name, Environment: b.Manifest.Environment, Epoch: 1, Version: version, Manifest: b.Ref(),
		IssuedAt: bundle.TimeOf(at), ExpiresAt: bundle.TimeOf(at.Add(7 * 24 * time.Hour)),
	}
}

// publish gives a bundle a version of the channel.
func (k *keyring) publish(t testing.TB, b *bundle.Bundle, version int64, at time.Time) *bundle.Raw {
	t.Helper()
	return carry(t, b, channelOf(b, version, at), k.channel)
}

// carry puts a bundle and a channel into what travels.
func carry(t testing.TB, b *bundle.Bundle, c bundle.Channel, keys ...bundle.Signer) *bundle.Raw {
	t.Helper()
	raw := b.Raw()
	var err error
	raw.Channel, err = bundle.SignChannel(c, keys...)
	must(t, err)
	return raw
}
