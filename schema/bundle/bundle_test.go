package bundle

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// world is a valid bundle with everything needed to verify it.
type world struct {
	release, channel *PrivateKey
	trust            *Trust
	bundle           *Bundle
	channelDoc       Channel
	envelope         []byte // the channel's
	archive          []byte
}

func testKey(t testing.TB, alg Algorithm) *PrivateKey {
	t.Helper()
	k, err := GenerateKey(alg)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func testShards() []Shard {
	return []Shard{
		{Path: "routes/0a", Kind: KindRoutes, Objects: 2, Data: []byte(`[{"id":"a"},{"id":"é"}]`)},
		{Path: "gateway", Kind: KindGateway, Objects: 1, Data: []byte(`{"name":"shop"}`)},
		{Path: "routes/ff", Kind: KindRoutes, Objects: 1, Data: []byte(`[{"id":"z"}]`)},
		{Path: "upstreams/00", Kind: KindUpstreams, Objects: 1, Data: []byte(`[{"id":"u"}]`)},
		{Path: "provenance/00", Kind: KindProvenance, Objects: 1, Data: []byte(`{"routes/a":"routes.yaml:3"}`)},
	}
}

func testInfo() Info {
	return Info{
		Name: "shop", Environment: "prod", Compiler: "0.1.0", SchemaVersion: "gateway.suuupra.dev/v1", MinRuntime: "0.1.0",
		Source: Source{Commit: "0123456789012345678901234567890123456789", Tree: "abcdefabcdefabcdefabcdefabcdefabcdefabcd"},
		Kinds:  []string{"rateLimit", "auth.jwt", "rateLimit"},
	}
}

func testTrust(t testing.TB, edit func(*TrustFile), keys ...TrustKey) *Trust {
	t.Helper()
	f := TrustFile{Keys: keys}
	if edit != nil {
		edit(&f)
	}
	data, err := f.Encode()
	if err != nil {
		t.Fatal(err)
	}
	trust, err := ParseTrust(data)
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

func trustKey(t testing.TB, k *PrivateKey, r Role, envs ...string) TrustKey {
	t.Helper()
	tk, err := TrustKeyOf(k.Public(), r, envs...)
	if err != nil {
		t.Fatal(err)
	}
	return tk
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{release: testKey(t, Ed25519), channel: testKey(t, Ed25519)}
	w.trust = testTrust(t, nil, trustKey(t, w.release, RoleRelease, "prod"), trustKey(t, w.channel, RoleChannel, "prod", "staging"))
	b, err := New(testInfo(), testShards())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Sign(w.release); err != nil {
		t.Fatal(err)
	}
	w.bundle = b
	w.channelDoc = Channel{
		Name: "shop", Environment: "prod", Epoch: 1, Version: 7, Manifest: b.Ref(), Previous: DigestOf([]byte("previous")),
		IssuedAt: TimeOf(now.Add(-time.Hour)), ExpiresAt: TimeOf(now.Add(time.Hour)),
	}
	w.envelope = w.signChannel(t, nil)
	w.archive, err = b.Encode(w.envelope)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) signChannel(t testing.TB, edit func(*Channel)) []byte {
	t.Helper()
	c := w.channelDoc
	if edit != nil {
		edit(&c)
	}
	data, err := SignChannel(c, w.channel)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (w *world) check() Check {
	return Check{Trust: w.trust, Environment: "prod", Runtime: "0.1.0", Now: now}
}

func TestRoundTrip(t *testing.T) {
	w := newWorld(t)
	raw, err := DecodeArchive(w.archive)
	if err != nil {
		t.Fatal(err)
	}
	v, err := Verify(raw, w.check())
	if err != nil {
		t.Fatal(err)
	}
	if v.Channel == nil || v.Channel.Version != 7 || v.Position != (Position{Epoch: 1, Version: 7, Digest: v.Position.Digest}) {
		t.Errorf("channel = %+v, position = %+v", v.Channel, v.Position)
	}
	if v.Bundle.Digest() != w.bundle.Digest() || len(v.Bundle.Shards) != 5 {
		t.Errorf("the verified bundle differs from the one that was made")
	}
	for i, s := range v.Bundle.Shards {
		if !bytes.Equal(s.Data, w.bundle.Shards[i].Data) || s.Path != w.bundle.Shards[i].Path || s.Kind != w.bundle.Shards[i].Kind {
			t.Errorf("shard %d = %+v", i, s)
		}
	}
	if got := v.Bundle.Manifest.Stats; got != (Stats{Routes: 3, Upstreams: 1, Bytes: got.Bytes}) {
		t.Errorf("stats = %+v", got)
	}
	again, err := v.Bundle.Encode(raw.Channel)
	if err != nil || !bytes.Equal(again, w.archive) {
		t.Errorf("encoding the verified bundle gives other bytes (%v)", err)
	}
}

func TestSameInputSameBytes(t *testing.T) {
	w := newWorld(t)
	shards := testShards()
	shards[0], shards[3] = shards[3], shards[0]
	b, err := New(testInfo(), shards)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Sign(w.release); err != nil {
		t.Fatal(err)
	}
	archive, err := b.Encode(w.envelope)
	if err != nil || !bytes.Equal(archive, w.archive) {
		t.Errorf("the order of shards changed the archive (%v)", err)
	}
}

func TestProvenanceIsNoContent(t *testing.T) {
	w := newWorld(t)
	shards := testShards()
	shards[4].Data = []byte(`{"routes/a":"routes.yaml:4"}`)
	moved, err := New(testInfo(), shards)
	if err != nil {
		t.Fatal(err)
	}
	if !moved.Equal(w.bundle) || moved.Digest() == w.bundle.Digest() {
		t.Errorf("a moved line must change the manifest and not the content")
	}
	shards[0].Data = []byte(`[{"id":"a"},{"id":"b"}]`)
	changed, err := New(testInfo(), shards)
	if err != nil {
		t.Fatal(err)
	}
	if changed.Equal(w.bundle) {
		t.Errorf("a changed route must change the content")
	}
}

func TestWithoutChannelFreshnessIsUnknown(t *testing.T) {
	w := newWorld(t)
	v, err := Verify(w.bundle.Raw(), w.check())
	if err != nil || v.Channel != nil || !v.Position.IsZero() {
		t.Errorf("Verify = %+v, %v", v, err)
	}
}

func TestES256(t *testing.T) {
	w := newWorld(t)
	key := testKey(t, ES256)
	w.trust = testTrust(t, nil, trustKey(t, key, RoleRelease), trustKey(t, w.channel, RoleChannel))
	b, err := New(testInfo(), testShards())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Sign(key); err != nil {
		t.Fatal(err)
	}
	first := b.Raw().Manifest
	if _, err := Verify(b.Raw(), w.check()); err != nil {
		t.Fatal(err)
	}
	if err := b.Sign(key); err != nil || !bytes.Equal(first, b.Raw().Manifest) {
		t.Errorf("signing twice gave two files (%v)", err)
	}
}

func BenchmarkVerify10k(b *testing.B) {
	w := newWorld(b)
	shards := manyRoutes(b, 10_000)
	bun, err := New(testInfo(), shards)
	if err != nil {
		b.Fatal(err)
	}
	if err := bun.Sign(w.release); err != nil {
		b.Fatal(err)
	}
	raw := bun.Raw()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Verify(raw, w.check()); err != nil {
			b.Fatal(err)
		}
	}
}

// manyRoutes packs n routes of about 500 bytes into 256 shards.
func manyRoutes(t testing.TB, n int) []Shard {
	t.Helper()
	groups := make([][]any, 256)
	for i := range n {
		groups[i%256] = append(groups[i%256], sampleRoute(i))
	}
	var shards []Shard
	for i, g := range groups {
		data, err := Canonical(g)
		if err != nil {
			t.Fatal(err)
		}
		shards = append(shards, Shard{Path: fmt.Sprintf("routes/%02x", i), Kind: KindRoutes, Objects: len(g), Data: data})
	}
	return shards
}
