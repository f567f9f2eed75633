package bundle

import (
	"bytes"
	"crypto/ed25519"
	"os"
	"path/filepath"
	"testing"
)

// seeded is a key everybody knows. It must never be in a real trust file.
func seeded(t *testing.T, seed byte) *PrivateKey {
	t.Helper()
	return must(newPrivateKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))))(t)
}

// TestVectors holds the format still: the files under testdata/bundle were written once, and other programs read them.
// GOLDEN_UPDATE=1 writes them again, which is right only together with a new version of the format.
func TestVectors(t *testing.T) {
	dir := filepath.Join("..", "..", "testdata", "bundle")
	release, channel := seeded(t, 1), seeded(t, 2)
	b := must(New(testInfo(), testShards()))(t)
	if err := b.Sign(release); err != nil {
		t.Fatal(err)
	}
	envelope := must(SignChannel(Channel{
		Name: "shop", Environment: "prod", Epoch: 1, Version: 7, Manifest: b.Ref(), Previous: DigestOf([]byte("previous")), Replaces: DigestOf([]byte("replaced")),
		IssuedAt: TimeOf(now), ExpiresAt: TimeOf(now.AddDate(10, 0, 0)), Hold: &Hold{Reason: "checkout is failing", By: "ana"},
	}, channel))(t)
	trust := must(TrustFile{Keys: []TrustKey{trustKey(t, release, RoleRelease), trustKey(t, channel, RoleChannel, "prod")}}.Encode())(t)
	for name, want := range map[string][]byte{
		"trust.json": trust, "manifest.dsse.json": b.Raw().Manifest, "channel.dsse.json": envelope,
		"bundle.gwb": must(b.Encode(nil))(t), "channel.gwb": must(b.Encode(envelope))(t),
	} {
		path := filepath.Join(dir, name)
		if os.Getenv("GOLDEN_UPDATE") == "1" {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: the format has changed (%v)", name, err)
		}
	}
	raw, err := DecodeArchive(must(os.ReadFile(filepath.Join(dir, "channel.gwb")))(t))
	if err != nil {
		t.Fatal(err)
	}
	check := Check{Trust: must(ParseTrust(trust))(t), Environment: "prod", Runtime: "0.1.0", Now: now, NeedChannel: true}
	if v, err := Verify(raw, check); err != nil || v.Position.Version != 7 {
		t.Errorf("the stored vector: %v", err)
	}
}
