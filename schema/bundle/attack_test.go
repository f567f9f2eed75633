package bundle

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// refusal returns the reason of an error, or "" for nil, or "?" for an error that is no refusal.
func refusal(err error) Reason {
	var e *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Reason
	}
	return "?"
}

// open does what a reader of a .gwb does.
func (w *world) open(archive []byte) error {
	raw, err := DecodeArchive(archive)
	if err != nil {
		return err
	}
	_, err = Verify(raw, w.check())
	return err
}

func TestFlippedBitsAreRefused(t *testing.T) {
	w := newWorld(t)
	if err := w.open(w.archive); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	tail := bytes.Index(w.archive, []byte(indexName)) // from here on every byte: index, layout, headers, padding, end
	offsets := rng.Perm(tail)[:1500]
	for i := tail; i < len(w.archive); i++ {
		offsets = append(offsets, i)
	}
	for _, i := range offsets {
		bit := byte(1) << rng.IntN(8)
		w.archive[i] ^= bit
		if r := refusal(w.open(w.archive)); r == "" || r == "?" {
			t.Fatalf("a flipped bit in byte %d of %d gave %q", i, len(w.archive), r)
		}
		w.archive[i] ^= bit
	}
}

func TestFlippedBitsOfALargeArchive(t *testing.T) {
	w := newWorld(t)
	b, err := New(testInfo(), manyRoutes(t, 400))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Sign(w.release); err != nil {
		t.Fatal(err)
	}
	w.channelDoc.Manifest = b.Ref()
	archive, err := b.Encode(w.signChannel(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.open(archive); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		i, bit := rng.IntN(len(archive)), byte(1)<<rng.IntN(8)
		archive[i] ^= bit
		if r := refusal(w.open(archive)); r == "" || r == "?" {
			t.Fatalf("a flipped bit in byte %d of %d gave %q", i, len(archive), r)
		}
		archive[i] ^= bit
	}
}

// TestFlippedBitsOfEachPart does not go through the archive: in a registry or a folder the parts lie apart.
func TestFlippedBitsOfEachPart(t *testing.T) {
	w := newWorld(t)
	parts := map[string]func(*Raw) *[]byte{
		"channel":  func(r *Raw) *[]byte { return &r.Channel },
		"manifest": func(r *Raw) *[]byte { return &r.Manifest },
	}
	for name, part := range parts {
		raw := w.bundle.Raw()
		raw.Channel = w.envelope
		original := *part(raw)
		for i := range original { // all bits of the signatures, one of each byte before them
			for bit := range 8 {
				if i < bytes.Index(original, []byte(`"signatures"`)) && bit != i%8 {
					continue
				}
				data := bytes.Clone(original)
				data[i] ^= 1 << bit
				*part(raw) = data
				if _, err := Verify(raw, w.check()); refusal(err) == "" || refusal(err) == "?" {
					t.Fatalf("bit %d of byte %d of the %s flipped: %v", bit, i, name, err)
				}
			}
		}
	}
	for digest, original := range w.bundle.Raw().Blobs {
		for i := range original {
			raw := w.bundle.Raw()
			data := bytes.Clone(original)
			data[i] ^= 1
			raw.Blobs[digest] = data
			if _, err := Verify(raw, w.check()); refusal(err) != DigestMismatch {
				t.Fatalf("byte %d of shard %s flipped: %v", i, digest.Short(), err)
			}
		}
	}
}

func TestEveryTruncationIsRefused(t *testing.T) {
	w := newWorld(t)
	for n := 0; n < len(w.archive); n += 1 << 10 {
		if r := refusal(w.open(w.archive[:n])); r == "" || r == "?" {
			t.Errorf("truncated to %d bytes: %q", n, r)
		}
	}
	for _, n := range []int{1, 511, 512, 1023, 1024, len(w.archive) - 1, len(w.archive) - 512, len(w.archive) - 1024} {
		if r := refusal(w.open(w.archive[:n])); r != ArchiveMalformed {
			t.Errorf("truncated to %d bytes: %q", n, r)
		}
	}
	for _, tail := range []int{1, 512, 1024, 9 << 10} {
		if r := refusal(w.open(append(bytes.Clone(w.archive), make([]byte, tail)...))); r != ArchiveMalformed {
			t.Errorf("%d zero bytes appended: %q", tail, r)
		}
	}
}

// TestAttacks changes one thing each in a bundle that would otherwise be accepted.
func TestAttacks(t *testing.T) {
	stranger := testKey(t, Ed25519)
	for _, c := range []struct {
		name string
		edit func(t *testing.T, w *world, raw *Raw, c *Check)
		want Reason
	}{
		{"nothing changed", func(*testing.T, *world, *Raw, *Check) {}, ""},
		{"no trust", func(_ *testing.T, _ *world, _ *Raw, c *Check) { c.Trust = nil }, TrustInvalid},
		{"unlisted blob", func(_ *testing.T, _ *world, r *Raw, _ *Check) { r.Blobs[DigestOf([]byte("{}"))] = []byte("{}") }, ShardUnlisted},
		{"missing blob", func(_ *testing.T, w *world, r *Raw, _ *Check) { delete(r.Blobs, w.bundle.Manifest.Shards[0].Digest) }, ShardMissing},
		{"digest right, size wrong", func(_ *testing.T, w *world, r *Raw, _ *Check) {
			d := w.bundle.Manifest.Shards[0].Digest
			r.Blobs[d] = append(bytes.Clone(r.Blobs[d]), ' ')
		}, DigestMismatch},
		{"two shards swapped", func(_ *testing.T, w *world, r *Raw, _ *Check) {
			a, b := w.bundle.Manifest.Shards[1].Digest, w.bundle.Manifest.Shards[2].Digest
			r.Blobs[a], r.Blobs[b] = r.Blobs[b], r.Blobs[a]
		}, DigestMismatch},
		{"channel left out", func(_ *testing.T, _ *world, r *Raw, c *Check) { r.Channel, c.NeedChannel = nil, true }, ChannelMissing},
		{"oversized channel", func(_ *testing.T, _ *world, r *Raw, _ *Check) { r.Channel = make([]byte, MaxChannel+1) }, TooLarge},
		{"oversized manifest", func(_ *testing.T, _ *world, r *Raw, _ *Check) { r.Manifest = make([]byte, MaxManifest+1) }, TooLarge},
		{"manifest by a stranger", func(t *testing.T, w *world, r *Raw, _ *Check) {
			r.Channel, r.Manifest = nil, w.sealManifest(t, nil, stranger)
		}, KeyUnknown},
		{"manifest by the channel's key", func(t *testing.T, w *world, r *Raw, _ *Check) {
			r.Channel, r.Manifest = nil, w.sealManifest(t, nil, w.channel)
		}, KeyNotAllowed},
		{"channel by a stranger", func(t *testing.T, w *world, r *Raw, _ *Check) {
			r.Channel = must(SignChannel(w.channelDoc, stranger))(t)
		}, KeyUnknown},
		{"channel by the release key", func(t *testing.T, w *world, r *Raw, _ *Check) {
			r.Channel = must(SignChannel(w.channelDoc, w.release))(t)
		}, KeyNotAllowed},
		{"a known and an unknown signature", func(t *testing.T, w *world, r *Raw, _ *Check) {
			r.Channel = must(SignChannel(w.channelDoc, w.channel, stranger))(t)
		}, KeyUnknown},
		{"signature under another key's id", func(t *testing.T, w *world, r *Raw, _ *Check) {
			r.Channel = bytes.Replace(must(SignChannel(w.channelDoc, stranger))(t), []byte(stranger.Public().ID()), []byte(w.channel.Public().ID()), 1)
		}, SignatureInvalid},
		{"channel for another environment", func(t *testing.T, w *world, r *Raw, _ *Check) {
			r.Channel = w.signChannel(t, func(c *Channel) { c.Environment = "staging" })
		}, WrongEnvironment},
		{"other environment required", func(_ *testing.T, _ *world, r *Raw, c *Check) { r.Channel = nil; c.Environment = "staging" }, WrongEnvironment},
		{"key of another environment", func(t *testing.T, w *world, r *Raw, c *Check) {
			r.Channel, c.Environment = nil, ""
			r.Manifest = w.sealManifest(t, func(m *Manifest) { m.Environment = "staging" }, w.release)
		}, KeyNotAllowed},
		{"manifest for another environment than its channel", func(t *testing.T, w *world, r *Raw, c *Check) {
			c.Environment = ""
			r.Channel = w.signChannel(t, func(c *Channel) { c.Environment = "staging" })
		}, WrongEnvironment},
		{"manifest of another repository than its channel", func(t *testing.T, w *world, r *Raw, _ *Check) {
			r.Channel = w.signChannel(t, func(c *Channel) { c.Name = "other" })
		}, WrongName},
		{"another repository", func(_ *testing.T, _ *world, _ *Raw, c *Check) { c.Name = "other" }, WrongName},
		{"old version", func(_ *testing.T, _ *world, _ *Raw, c *Check) { c.Last = Position{Epoch: 1, Version: 8} }, VersionOlder},
		{"old epoch with a higher version", func(_ *testing.T, _ *world, _ *Raw, c *Check) { c.Last = Position{Epoch: 2, Version: 1} }, VersionOlder},
		{"new epoch with a lower version", func(t *testing.T, w *world, r *Raw, c *Check) {
			c.Last = Position{Epoch: 1, Version: 999}
			r.Channel = w.signChannel(t, func(c *Channel) { c.Epoch, c.Version = 2, 1 })
		}, ""},
		{"same version, other content", func(_ *testing.T, _ *world, _ *Raw, c *Check) {
			c.Last = Position{Epoch: 1, Version: 7, Digest: DigestOf([]byte("another"))}
		}, VersionFork},
		{"same version again", func(t *testing.T, w *world, r *Raw, c *Check) {
			_, c.Last = must2(VerifyChannel(r.Channel, *c))(t)
		}, ""},
		{"expired", func(_ *testing.T, w *world, _ *Raw, c *Check) { c.Now = w.channelDoc.ExpiresAt.Time }, ChannelExpired},
		{"a second before it expires", func(_ *testing.T, w *world, _ *Raw, c *Check) { c.Now = w.channelDoc.ExpiresAt.Add(-time.Second) }, ""},
		{"expired, but retained", func(_ *testing.T, w *world, _ *Raw, c *Check) { c.Now, c.Retained = w.channelDoc.ExpiresAt.Time, true }, ""},
		{"no clock", func(_ *testing.T, _ *world, _ *Raw, c *Check) { c.Now = time.Time{} }, ChannelExpired},
		{"manifest swapped for another signed one", func(t *testing.T, w *world, r *Raw, _ *Check) {
			r.Manifest = w.sealManifest(t, func(m *Manifest) { m.Compiler.Version = "0.1.1" }, w.release)
		}, ManifestMismatch},
		{"manifest size differs", func(t *testing.T, w *world, r *Raw, _ *Check) {
			r.Channel = w.signChannel(t, func(c *Channel) { c.Manifest.Size++ })
		}, ManifestMismatch},
		{"empty signature list", func(t *testing.T, w *world, r *Raw, _ *Check) { r.Channel, r.Manifest = nil, w.sealManifest(t, nil) }, SignatureMissing},
		{"channel without signature", func(t *testing.T, w *world, r *Raw, _ *Check) { r.Channel = must(SignChannel(w.channelDoc))(t) }, SignatureMissing},
		{"channel as manifest", func(_ *testing.T, _ *world, r *Raw, _ *Check) { r.Manifest, r.Channel = r.Channel, nil }, PayloadType},
		{"manifest as channel", func(_ *testing.T, _ *world, r *Raw, _ *Check) { r.Channel = r.Manifest }, PayloadType},
		{"payload type exchanged after signing", func(t *testing.T, w *world, r *Raw, _ *Check) {
			r.Channel = nil
			r.Manifest = must(replaceType(w.envelope, channelType, manifestType))(t)
		}, SignatureInvalid},
		{"runtime too old", func(_ *testing.T, _ *world, _ *Raw, c *Check) { c.Runtime = "0.0.9" }, RuntimeTooOld},
		{"runtime newer", func(_ *testing.T, _ *world, _ *Raw, c *Check) { c.Runtime = "v0.10.0-dev+abc" }, ""},
		{"runtime unknown", func(_ *testing.T, _ *world, _ *Raw, c *Check) { c.Runtime = "devel" }, RuntimeTooOld},
		{"unknown manifest schema", func(t *testing.T, w *world, r *Raw, _ *Check) {
			r.Channel, r.Manifest = nil, w.sealManifest(t, func(m *Manifest) { m.Schema = "gateway.suuupra.dev/bundle/v2" }, w.release)
		}, UnknownSchema},
		{"shard that is not canonical", func(t *testing.T, w *world, r *Raw, _ *Check) {
			r.Channel = nil
			r.Manifest = w.sealManifest(t, func(m *Manifest) { r.Blobs = swapShard(w, m, []byte(`{"a":1, "a":2}`)) }, w.release)
		}, ShardMalformed},
		{"shard with a float", func(t *testing.T, w *world, r *Raw, _ *Check) {
			r.Channel = nil
			r.Manifest = w.sealManifest(t, func(m *Manifest) { r.Blobs = swapShard(w, m, []byte(`{"a":1.5}`)) }, w.release)
		}, ShardMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			raw, check := w.bundle.Raw(), w.check()
			raw.Channel = w.envelope
			c.edit(t, w, raw, &check)
			v, err := Verify(raw, check)
			if got := refusal(err); got != c.want {
				t.Errorf("Verify: %q (%v), want %q", got, err, c.want)
			}
			if (err == nil) == (v == nil) {
				t.Errorf("Verify returned %v and %v", v, err)
			}
		})
	}
}

// TestSignedButWrong has documents with good signatures that say something they must not.
func TestSignedButWrong(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(m *Manifest)
	}{
		{"no shards", func(m *Manifest) { m.Shards = nil }},
		{"shards null", func(m *Manifest) { m.Shards = nil; m.Stats = Stats{} }},
		{"kinds null", func(m *Manifest) { m.Kinds = nil }},
		{"kinds repeated", func(m *Manifest) { m.Kinds = []string{"a", "a"} }},
		{"kinds unsorted", func(m *Manifest) { m.Kinds = []string{"b", "a"} }},
		{"path out of the bundle", func(m *Manifest) { m.Shards[0].Path = "../gateway" }},
		{"absolute path", func(m *Manifest) { m.Shards[0].Path = "/gateway" }},
		{"upper case path", func(m *Manifest) { m.Shards[0].Path = "Gateway" }},
		{"path twice", func(m *Manifest) { m.Shards[1].Path = m.Shards[0].Path }},
		{"paths out of order", func(m *Manifest) { m.Shards[0], m.Shards[1] = m.Shards[1], m.Shards[0] }},
		{"unknown shard kind", func(m *Manifest) { m.Shards[0].Kind = "plugins" }},
		{"no size", func(m *Manifest) { m.Shards[0].Size = 0 }},
		{"endless size", func(m *Manifest) { m.Shards[0].Size = MaxBundle + 1 }},
		{"sizes that overflow together", func(m *Manifest) { m.Shards[0].Size, m.Shards[1].Size = MaxBundle, MaxBundle }},
		{"digest of another algorithm", func(m *Manifest) { m.Shards[0].Digest = "sha512:00" }},
		{"digest in upper case", func(m *Manifest) { m.Shards[0].Digest = Digest(strings.ToUpper(string(m.Shards[0].Digest))) }},
		{"more objects than bytes", func(m *Manifest) { m.Shards[0].Objects = 1 << 40 }},
		{"content digest of something else", func(m *Manifest) { m.ContentDigest = DigestOf(nil) }},
		{"stats of something else", func(m *Manifest) { m.Stats.Routes++ }},
		{"minimum runtime without numbers", func(m *Manifest) { m.MinRuntime = "latest" }},
		{"environment that is a path", func(m *Manifest) { m.Environment = "../prod" }},
		{"no name", func(m *Manifest) { m.Name = "" }},
		{"name with a line break", func(m *Manifest) { m.Name = "shop\nprod" }},
		{"commit that is a branch", func(m *Manifest) { m.Source.Commit = "main" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.trust = testTrust(t, nil, trustKey(t, w.release, RoleRelease))
			raw := w.bundle.Raw()
			raw.Manifest = w.sealManifest(t, c.edit, w.release)
			check := w.check()
			check.Environment = ""
			if _, err := Verify(raw, check); refusal(err) != ManifestMalformed {
				t.Errorf("Verify: %v", err)
			}
		})
	}
}

func TestPayloadsMustBeCanonical(t *testing.T) {
	w := newWorld(t)
	for name, edit := range map[string]func(string) string{
		"unknown member":        func(s string) string { return strings.Replace(s, `{"compiler"`, `{"clock":1,"compiler"`, 1) },
		"repeated member":       func(s string) string { return strings.Replace(s, `"name":"shop"`, `"name":"other","name":"shop"`, 1) },
		"member in other case":  func(s string) string { return strings.Replace(s, `"name"`, `"Name"`, 1) },
		"missing member":        func(s string) string { return strings.Replace(s, `"dirty":false,`, ``, 1) },
		"white space":           func(s string) string { return strings.Replace(s, `,`, `, `, 1) },
		"other order":           func(s string) string { return `{"name":"shop",` + strings.Replace(s[1:], `,"name":"shop"`, ``, 1) },
		"second value":          func(s string) string { return s + `{}` },
		"line break at the end": func(s string) string { return s + "\n" },
	} {
		payload := edit(string(w.bundle.payload))
		if payload == string(w.bundle.payload) {
			t.Fatalf("%s: nothing was changed", name)
		}
		raw := w.bundle.Raw()
		raw.Manifest = seal(t, manifestType, []byte(payload), w.release)
		if _, err := Verify(raw, w.check()); refusal(err) != ManifestMalformed {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEnvelopes(t *testing.T) {
	w := newWorld(t)
	second := testKey(t, Ed25519)
	good := string(must(SignChannel(w.channelDoc, w.channel, second))(t))
	w.trust = testTrust(t, nil, trustKey(t, w.channel, RoleChannel), trustKey(t, second, RoleChannel))
	at := strings.Index(good, `{"keyid"`)
	middle := strings.Index(good, `},{`)
	one, two := good[at:middle+1], good[middle+2:len(good)-2]
	for name, envelope := range map[string]string{
		"white space":            strings.Replace(good, ",", ", ", 1),
		"line break at the end":  good + "\n",
		"unknown member":         strings.Replace(good, `{"payload"`, `{"alg":"none","payload"`, 1),
		"repeated member":        strings.Replace(good, `{"payload"`, `{"payload":"","payload"`, 1),
		"member in other case":   strings.Replace(good, `"payloadType"`, `"PayloadType"`, 1),
		"other order":            `{"payloadType":"` + channelType + `",` + strings.Replace(good[1:], `,"payloadType":"`+channelType+`"`, ``, 1),
		"key id missing":         strings.Replace(good, `"keyid":"`+w.channel.Public().ID()+`",`, ``, 1),
		"key id empty":           strings.Replace(good, w.channel.Public().ID(), ``, 1),
		"key id that is no hash": strings.Replace(good, w.channel.Public().ID(), `../../key`, 1),
		"same signer twice":      good[:at] + one + "," + one + "," + two + "]}",
		"signers unsorted":       good[:at] + two + "," + one + "]}",
		"signatures null":        good[:at-1] + "null}",
		"payload null":           `{"payload":null` + good[strings.Index(good, `,"payloadType"`):],
		"payload empty":          `{"payload":""` + good[strings.Index(good, `,"payloadType"`):],
		"base64 with a line":     strings.Replace(good, `{"payload":"`, `{"payload":"\n`, 1),
		"base64url":              strings.ReplaceAll(strings.ReplaceAll(good, "+", "-"), "/", "_"),
		"short signature":        good[:strings.LastIndex(good, `"sig":"`)+7] + `AAAA"}]}`,
		"escaped":                strings.Replace(good, `"keyid"`, `"\u006beyid"`, 1),
	} {
		if envelope == good {
			t.Fatalf("%s: nothing was changed", name)
		}
		if _, _, err := VerifyChannel([]byte(envelope), w.check()); refusal(err) != EnvelopeMalformed && refusal(err) != PayloadType {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := VerifyChannel([]byte(good), w.check()); err != nil {
		t.Error(err)
	}
}

// TestBase64SpareBits: the last character of padded base64 has bits that decode to nothing.
func TestBase64SpareBits(t *testing.T) {
	w := newWorld(t)
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	end := bytes.LastIndex(w.envelope, []byte(`=="`)) // a signature is 64 bytes: its base64 always ends in ==
	if end < 0 {
		t.Fatal("no padding found")
	}
	data := bytes.Clone(w.envelope)
	data[end-1] = alphabet[strings.IndexByte(alphabet, data[end-1])|1]
	if bytes.Equal(data, w.envelope) {
		t.Fatal("nothing was changed")
	}
	if _, _, err := VerifyChannel(data, w.check()); refusal(err) != EnvelopeMalformed {
		t.Errorf("spare bits set: %v", err)
	}
}

func TestES256IsNotMalleable(t *testing.T) {
	key := testKey(t, ES256)
	message := []byte("message")
	sig := must(key.Sign(message))(t)
	if !key.Public().Verify(message, sig) {
		t.Fatal("the signature does not verify")
	}
	high := bytes.Clone(sig)
	order, _ := new(big.Int).SetString("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", 16)
	new(big.Int).Sub(order, new(big.Int).SetBytes(sig[32:])).FillBytes(high[32:])
	if key.Public().Verify(message, high) {
		t.Error("the mirrored signature verifies too")
	}
	if key.Public().Verify(message, append(sig, 0)) || key.Public().Verify(message, sig[:63]) || key.Public().Verify(message, make([]byte, 64)) {
		t.Error("a signature of another length, or of zeros, verifies")
	}
}

func TestHostileTars(t *testing.T) {
	w := newWorld(t)
	files := must(layoutFiles(&Raw{Manifest: w.bundle.Raw().Manifest, Blobs: w.bundle.Raw().Blobs, Channel: w.envelope}))(t)
	type entry = tar.Header
	plain := func(name string) *entry {
		return &entry{Name: name, Mode: 0o644, Format: tar.FormatUSTAR, Typeflag: tar.TypeReg}
	}
	for _, c := range []struct {
		name  string
		extra []*entry
	}{
		{"parent folder", []*entry{plain("../x")}},
		{"absolute", []*entry{plain("/etc/passwd")}},
		{"symlink", []*entry{{Name: "link", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink, Mode: 0o644}}},
		{"hard link", []*entry{{Name: "link", Linkname: "index.json", Typeflag: tar.TypeLink, Mode: 0o644}}},
		{"character device", []*entry{{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, Mode: 0o644}}},
		{"block device", []*entry{{Name: "sda", Typeflag: tar.TypeBlock, Devmajor: 8, Mode: 0o644}}},
		{"fifo", []*entry{{Name: "fifo", Typeflag: tar.TypeFifo, Mode: 0o644}}},
		{"folder", []*entry{{Name: "blobs/", Typeflag: tar.TypeDir, Mode: 0o755}}},
		{"duplicate name", []*entry{plain("oci-layout")}},
		{"case-fold twin", []*entry{plain("OCI-LAYOUT")}},
		{"Mac attribute file", []*entry{plain("._oci-layout")}},
		{"unlisted file", []*entry{plain("zzz")}},
		{"owner", []*entry{{Name: "zzz", Uid: 1, Mode: 0o644, Format: tar.FormatUSTAR}}},
		{"time", []*entry{{Name: "zzz", ModTime: now, Mode: 0o644, Format: tar.FormatUSTAR}}},
		{"executable", []*entry{{Name: "zzz", Mode: 0o755, Format: tar.FormatUSTAR}}},
		{"PAX path", []*entry{{Name: "zzz", Mode: 0o644, Format: tar.FormatPAX, PAXRecords: map[string]string{"COMMENT.x": "y"}}}},
		{"PAX long name", []*entry{{Name: strings.Repeat("z", 200), Mode: 0o644, Format: tar.FormatPAX}}},
		{"GNU long name", []*entry{{Name: strings.Repeat("z", 200), Mode: 0o644, Format: tar.FormatGNU}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, first := range []bool{true, false} {
				if _, err := DecodeArchive(buildTar(t, files, c.extra, first)); refusal(err) != ArchiveMalformed {
					t.Errorf("extra entry first=%t: %v", first, err)
				}
			}
		})
	}
	t.Run("the same files by archive/tar", func(t *testing.T) { // proves that the tests above fail for the extra entry
		if raw, err := DecodeArchive(append(trimEnd(w.archive), make([]byte, 2*tarBlock)...)); err != nil || raw == nil {
			t.Error(err)
		}
		r := tar.NewReader(bytes.NewReader(w.archive))
		for h, err := r.Next(); err == nil; h, err = r.Next() {
			if _, ok := files[h.Name]; !ok || h.Typeflag != tar.TypeReg || h.Mode != 0o644 {
				t.Errorf("archive/tar reads %+v", h)
			}
			delete(files, h.Name)
		}
		if len(files) > 0 {
			t.Errorf("archive/tar does not see %d files", len(files))
		}
	})
}

func TestTarOfManyEmptyFilesAndGiants(t *testing.T) {
	var empty []byte
	for i := range maxEntries + 1 {
		h := tarHeader(fmt.Sprintf("%07d", i), 0)
		empty = append(empty, h[:]...)
	}
	empty = append(empty, make([]byte, 2*tarBlock)...)
	if _, err := DecodeArchive(empty); refusal(err) != ArchiveMalformed || !strings.Contains(err.Error(), "more than 10008 entries") {
		t.Errorf("many empty files: %v", err)
	}
	sparse := tarHeader("a", 8<<30-1) // claims 8 GiB
	if _, err := DecodeArchive(append(sparse[:], make([]byte, 8*tarBlock)...)); refusal(err) != ArchiveMalformed {
		t.Errorf("a giant: %v", err)
	}
	if _, err := DecodeArchive(make([]byte, MaxArchive+1)); refusal(err) != TooLarge {
		t.Errorf("a giant archive: %v", err)
	}
}

func TestRefusedByNew(t *testing.T) {
	for name, edit := range map[string]func(*Info, *[]Shard){
		"no shards":       func(_ *Info, s *[]Shard) { *s = nil },
		"not canonical":   func(_ *Info, s *[]Shard) { (*s)[0].Data = []byte(`{ }`) },
		"path twice":      func(_ *Info, s *[]Shard) { (*s)[0].Path = (*s)[1].Path },
		"upper case path": func(_ *Info, s *[]Shard) { (*s)[0].Path = "Routes" },
		"no environment":  func(i *Info, _ *[]Shard) { i.Environment = "" },
		"no name":         func(i *Info, _ *[]Shard) { i.Name = "" },
		"too many": func(_ *Info, s *[]Shard) {
			for i := range MaxShards {
				*s = append(*s, Shard{Path: fmt.Sprintf("routes/%d", i), Kind: KindRoutes, Data: []byte("[]")})
			}
		},
	} {
		info, shards := testInfo(), testShards()
		edit(&info, &shards)
		if b, err := New(info, shards); err == nil {
			t.Errorf("%s: accepted as %s", name, b.Digest())
		}
	}
}

// helpers

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func must2[A, B any](a A, b B, err error) func(testing.TB) (A, B) {
	return func(t testing.TB) (A, B) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return a, b
	}
}

// seal signs any payload as any type.
func seal(t testing.TB, payloadType string, payload []byte, keys ...*PrivateKey) []byte {
	t.Helper()
	e := newEnvelope(payloadType, payload)
	for _, k := range keys {
		e = must(e.sign(k))(t)
	}
	return e.encode()
}

func (w *world) sealManifest(t testing.TB, edit func(*Manifest), keys ...*PrivateKey) []byte {
	t.Helper()
	m := *must(decodeManifest(w.bundle.payload))(t)
	if edit != nil {
		edit(&m)
	}
	return seal(t, manifestType, must(Canonical(m))(t), keys...)
}

// swapShard puts data in the place of the first shard, with everything that depends on it.
func swapShard(w *world, m *Manifest, data []byte) map[Digest][]byte {
	blobs := w.bundle.Raw().Blobs
	delete(blobs, m.Shards[0].Digest)
	blobs[DigestOf(data)] = data
	m.Shards[0].Digest, m.Shards[0].Size = DigestOf(data), int64(len(data))
	m.ContentDigest, m.Stats = contentDigest(m.Shards), countStats(m.Shards)
	return blobs
}

func replaceType(data []byte, from, to string) ([]byte, error) {
	e, err := decodeEnvelope(data, from, MaxManifest)
	e.PayloadType = to
	return e.encode(), err
}

func trimEnd(archive []byte) []byte { return bytes.Clone(archive[:len(archive)-2*tarBlock]) }

// buildTar writes the good files and the extra entries as archive/tar does, without its larger end.
func buildTar(t testing.TB, files map[string][]byte, extra []*tar.Header, first bool) []byte {
	t.Helper()
	var buf bytes.Buffer
	addExtra := func() {
		var part bytes.Buffer
		tw := tar.NewWriter(&part)
		for _, h := range extra {
			if err := tw.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
		}
		if err := tw.Flush(); err != nil {
			t.Fatal(err)
		}
		buf.Write(part.Bytes())
	}
	if first {
		addExtra()
	}
	for _, name := range sortedNames(files) {
		h := tarHeader(name, len(files[name]))
		buf.Write(h[:])
		buf.Write(files[name])
		buf.Write(make([]byte, tarPadding(len(files[name]))))
	}
	if !first {
		addExtra()
	}
	buf.Write(make([]byte, 2*tarBlock))
	return buf.Bytes()
}
