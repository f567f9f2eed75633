package corpus_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit/publisher"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/v1"
)

// forgery is a bundle that did not come about as it should: its content would do no harm. Whoever made it has what it takes to put it
// where gateways look.
type forgery struct {
	name string
	at   station
	by   string
	make func(t *testing.T, f *forge) *bundle.Raw
	tear func(archive []byte) []byte // in place of make: changes the file that a good bundle travels in
}

// forge is what forgeries are made of: a harmless change of the base, as it would be published.
type forge struct {
	*keyring
	line    *line
	program *ir.Program
	bundle  *bundle.Bundle // signed by both
	says    bundle.Channel // the next version
}

func newForge(t *testing.T, l *line) *forge {
	t.Helper()
	f := &forge{keyring: l.keys, line: l, program: l.harmless(t, "prod")}
	f.bundle = f.sign(t, f.program, f.release, f.second)
	f.says = channelOf(f.bundle, nextVersion, begin)
	return f
}

// harmless is a change that may go live, compiled for an environment.
func (l *line) harmless(t *testing.T, env string) *ir.Program {
	t.Helper()
	d, s := l.compile(t, l.repository.on(t, in("routes/users.yaml", "timeout: 10s", "timeout: 9s")))
	if s.at != "" {
		t.Fatal(s)
	}
	return d.unit.Compile(env).WithOrigins()
}

// carry is what travels, with the right channel.
func (f *forge) carry(t *testing.T, edit func(*bundle.Channel), keys ...bundle.Signer) *bundle.Raw {
	t.Helper()
	c := f.says
	if edit != nil {
		edit(&c)
	}
	return carry(t, f.bundle, c, keys...)
}

// with is the program in a bundle by other keys.
func (f *forge) with(t *testing.T, p *ir.Program, keys ...*bundle.PrivateKey) *bundle.Raw {
	t.Helper()
	b := f.sign(t, p, keys...)
	return carry(t, b, channelOf(b, nextVersion, begin), f.channel)
}

func flip(data []byte, at int) []byte {
	out := bytes.Clone(data)
	out[at] ^= 1
	return out
}

// shards are the digests of a bundle's content, in the order of the manifest.
func shards(b *bundle.Bundle) []bundle.Digest {
	var out []bundle.Digest
	for _, s := range b.Manifest.Shards {
		out = append(out, s.Digest)
	}
	return out
}

var forgeries = []forgery{
	{name: "an older version", at: verification, by: "version_older", make: func(t *testing.T, f *forge) *bundle.Raw {
		return f.carry(t, func(c *bundle.Channel) { c.Version = runningVersion - 1 }, f.channel)
	}},
	{name: "the version that runs, with another content", at: verification, by: "version_fork", make: func(t *testing.T, f *forge) *bundle.Raw {
		return f.carry(t, func(c *bundle.Channel) { c.Version = runningVersion }, f.channel)
	}},
	{name: "the bundle of another environment", at: verification, by: "wrong_environment", make: func(t *testing.T, f *forge) *bundle.Raw {
		return f.with(t, f.line.harmless(t, "staging"), f.release, f.second)
	}},
	{name: "the bundle of another environment under the channel of this one", at: verification, by: "wrong_environment", make: func(t *testing.T, f *forge) *bundle.Raw {
		b := f.sign(t, f.line.harmless(t, "staging"), f.release, f.second)
		c := channelOf(b, nextVersion, begin)
		c.Environment = "prod"
		return carry(t, b, c, f.channel)
	}},
	{name: "the bundle of another repository that the same keys sign", at: verification, by: "wrong_name", make: func(t *testing.T, f *forge) *bundle.Raw {
		d, s := f.line.compile(t, f.line.repository.on(t, in("gateway.yaml", "name: shop\n", "name: blog\n")))
		if s.at != "" {
			t.Fatal(s)
		}
		return f.with(t, d.unit.Compile("prod").WithOrigins(), f.release, f.second)
	}},
	{name: "a channel of another repository", at: verification, by: "wrong_name", make: func(t *testing.T, f *forge) *bundle.Raw {
		return f.carry(t, func(c *bundle.Channel) { c.Name = "blog" }, f.channel)
	}},
	{name: "no channel", at: verification, by: "channel_missing", make: func(_ *testing.T, f *forge) *bundle.Raw { return f.bundle.Raw() }},
	{name: "a channel by a key nobody knows", at: verification, by: "key_unknown", make: func(t *testing.T, f *forge) *bundle.Raw { return f.carry(t, nil, f.anon) }},
	{name: "a channel by a release key", at: verification, by: "key_not_allowed", make: func(t *testing.T, f *forge) *bundle.Raw { return f.carry(t, nil, f.release) }},
	{name: "a channel by an approver", at: verification, by: "key_not_allowed", make: func(t *testing.T, f *forge) *bundle.Raw { return f.carry(t, nil, f.ada) }},
	{name: "a channel by the key of another environment", at: verification, by: "key_not_allowed", make: func(t *testing.T, f *forge) *bundle.Raw { return f.carry(t, nil, f.stagingChannel) }},
	{name: "a channel without a signature", at: verification, by: "signature_missing", make: func(t *testing.T, f *forge) *bundle.Raw { return f.carry(t, nil) }},
	{name: "an expired channel", at: verification, by: "channel_expired", make: func(t *testing.T, f *forge) *bundle.Raw {
		return f.carry(t, func(c *bundle.Channel) {
			c.IssuedAt, c.ExpiresAt = bundle.TimeOf(begin.Add(-48*time.Hour)), bundle.TimeOf(begin.Add(-time.Second))
		}, f.channel)
	}},
	{name: "a channel that was changed after it was signed", at: verification, by: "signature_invalid", make: func(t *testing.T, f *forge) *bundle.Raw {
		raw, other := f.carry(t, nil, f.channel), f.carry(t, func(c *bundle.Channel) { c.Version += 10 }, f.channel)
		raw.Channel = transplant(t, other.Channel, raw.Channel)
		return raw
	}},
	{name: "a manifest by a key nobody knows", at: verification, by: "key_unknown", make: func(t *testing.T, f *forge) *bundle.Raw { return f.with(t, f.program, f.release, f.anon) }},
	{name: "a manifest by one of two", at: verification, by: "signature_missing", make: func(t *testing.T, f *forge) *bundle.Raw { return f.with(t, f.program, f.release) }},
	{name: "a manifest by the same key twice", at: verification, by: "signature_missing", make: func(t *testing.T, f *forge) *bundle.Raw { return f.with(t, f.program, f.release, f.release) }},
	{name: "a manifest by nobody", at: verification, by: "signature_missing", make: func(t *testing.T, f *forge) *bundle.Raw { return f.with(t, f.program) }},
	{name: "a manifest by the key of another environment", at: verification, by: "key_not_allowed", make: func(t *testing.T, f *forge) *bundle.Raw {
		return f.with(t, f.program, f.release, f.stagingRelease)
	}},
	{name: "a manifest by the channel key", at: verification, by: "key_not_allowed", make: func(t *testing.T, f *forge) *bundle.Raw { return f.with(t, f.program, f.release, f.channel) }},
	{name: "a manifest by an approver", at: verification, by: "key_not_allowed", make: func(t *testing.T, f *forge) *bundle.Raw { return f.with(t, f.program, f.release, f.bob) }},
	{name: "a manifest that the channel does not name", at: verification, by: "manifest_mismatch", make: func(t *testing.T, f *forge) *bundle.Raw {
		raw := f.carry(t, nil, f.channel)
		raw.Manifest = f.line.bundle.Raw().Manifest
		return raw
	}},
	{name: "a manifest in place of the channel", at: verification, by: "payload_type", make: func(t *testing.T, f *forge) *bundle.Raw {
		raw := f.carry(t, nil, f.channel)
		raw.Channel = raw.Manifest
		return raw
	}},
	{name: "half a manifest", at: verification, by: "envelope_malformed", make: func(t *testing.T, f *forge) *bundle.Raw {
		raw := f.carry(t, nil, f.channel)
		raw.Manifest = raw.Manifest[:len(raw.Manifest)/2]
		return raw
	}},
	{name: "two shards swapped", at: verification, by: "digest_mismatch", make: func(t *testing.T, f *forge) *bundle.Raw {
		raw, all := f.carry(t, nil, f.channel), shards(f.bundle)
		raw.Blobs[all[0]], raw.Blobs[all[1]] = raw.Blobs[all[1]], raw.Blobs[all[0]]
		return raw
	}},
	{name: "the shard of another bundle", at: verification, by: "digest_mismatch", make: func(t *testing.T, f *forge) *bundle.Raw {
		raw, all := f.carry(t, nil, f.channel), shards(f.bundle)
		for i, s := range f.line.bundle.Manifest.Shards {
			if s.Digest != all[i] {
				raw.Blobs[all[i]] = f.line.bundle.Raw().Blobs[s.Digest]
				return raw
			}
		}
		t.Fatal("the bundles are the same")
		return nil
	}},
	{name: "a flipped bit in a shard", at: verification, by: "digest_mismatch", make: func(t *testing.T, f *forge) *bundle.Raw {
		raw, all := f.carry(t, nil, f.channel), shards(f.bundle)
		raw.Blobs[all[0]] = flip(raw.Blobs[all[0]], len(raw.Blobs[all[0]])/2)
		return raw
	}},
	{name: "a shard that is missing", at: verification, by: "shard_missing", make: func(t *testing.T, f *forge) *bundle.Raw {
		raw := f.carry(t, nil, f.channel)
		delete(raw.Blobs, shards(f.bundle)[0])
		return raw
	}},
	{name: "a blob that is not listed", at: verification, by: "shard_unlisted", make: func(t *testing.T, f *forge) *bundle.Raw {
		raw := f.carry(t, nil, f.channel)
		more := []byte(`{"routes":[]}`)
		raw.Blobs[bundle.DigestOf(more)] = more
		return raw
	}},
	{name: "a flipped bit in the archive", at: verification, by: "archive_malformed", tear: func(data []byte) []byte { return flip(data, 100) }},
	{name: "half an archive", at: verification, by: "archive_malformed", tear: func(data []byte) []byte { return data[:len(data)/2] }},
	{name: "a byte behind the archive", at: verification, by: "archive_malformed", tear: func(data []byte) []byte { return append(bytes.Clone(data), 0) }},
	{name: "a bundle for a newer gwrun", at: verification, by: "runtime_too_old", make: func(t *testing.T, f *forge) *bundle.Raw {
		m := f.bundle.Manifest
		b, err := bundle.New(bundle.Info{
			Name: m.Name, Environment: m.Environment, Source: m.Source, Compiler: m.Compiler.Version, SchemaVersion: v1.APIVersion, MinRuntime: "9.0.0", Kinds: m.Kinds,
		}, f.bundle.Shards)
		must(t, err)
		must(t, b.Sign(f.release))
		must(t, b.Sign(f.second))
		return carry(t, b, channelOf(b, nextVersion, begin), f.channel)
	}},
	{name: "a kind of policy that this gwrun has not", at: verification, by: "runtime_too_old", make: func(t *testing.T, f *forge) *bundle.Raw {
		p := *f.program
		p.Routes = append([]ir.Route(nil), p.Routes...)
		p.Routes[0].Policies = append([]ir.Policy{{Kind: "quantum", Plan: json.RawMessage("{}")}}, p.Routes[0].Policies...)
		return f.with(t, &p, f.release, f.second)
	}},
	{name: "a route to an upstream that is not in it", at: activation, by: "build_failed", make: func(t *testing.T, f *forge) *bundle.Raw {
		p := *f.program
		route := publisher.Route("stray", "nowhere")
		p.Routes = append([]ir.Route{route}, p.Routes...)
		return f.with(t, &p, f.release, f.second)
	}},
}

// transplant puts the payload of one envelope under the signatures of another.
func transplant(t *testing.T, payload, signatures []byte) []byte {
	t.Helper()
	var a, b map[string]json.RawMessage
	must(t, json.Unmarshal(payload, &a))
	must(t, json.Unmarshal(signatures, &b))
	b["payload"] = a["payload"]
	out, err := bundle.Canonical(b)
	must(t, err)
	return out
}

// TestForgeries offers each forgery to a gateway that runs the base.
func TestForgeries(t *testing.T) {
	l := newLine(t)
	f := newForge(t, l)
	t.Run("neighbour", func(t *testing.T) {
		if got := l.gateway(t, begin).offer(f.carry(t, nil, f.channel)); got.at != traffic {
			t.Errorf("what they were made of: %s", got)
		}
	})
	for _, c := range forgeries {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got, want := l.forged(t, f, &c), (stop{c.at, c.by}); got != want {
				t.Errorf("stopped at %s\nwant %s", got, want)
			}
		})
	}
}

// forged offers a forgery, unless it cannot even be read.
func (l *line) forged(t *testing.T, f *forge, c *forgery) stop {
	t.Helper()
	if c.tear == nil {
		return l.gateway(t, begin).offer(c.make(t, f))
	}
	data, err := bundle.EncodeArchive(f.carry(t, nil, f.channel))
	must(t, err)
	raw, err := bundle.DecodeArchive(c.tear(data))
	if err != nil {
		return stop{verification, reason(err)}
	}
	return l.gateway(t, begin).offer(raw)
}
