// Package bundle is the format in which a compiled configuration travels: canonical JSON shards addressed by digest, a
// manifest that lists them (signed by a release key), and a channel that says which manifest is current (signed by a
// channel key). It builds, encodes, signs, verifies and decodes; everything is a pure function on bytes. It must not
// read a file, open a connection, look at a clock, or know what is inside a shard. docs/bundle-format.md is the same,
// byte by byte.
package bundle

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// The limits of the format. What exceeds one is refused, when a bundle is made and when it is read.
const (
	MaxChannel    = 16 << 10 // bytes of a channel envelope
	MaxManifest   = 4 << 20  // bytes of a manifest envelope
	MaxBundle     = 64 << 20 // bytes of all shards together
	MaxShards     = 10_000
	MaxTrust      = 1 << 20 // bytes of a trust.json
	maxName       = 256     // bytes of a repository's name
	maxPath       = 128     // bytes of a shard's path
	maxKinds      = 1024
	maxSignatures = 16
)

// ShardKind says what a shard holds.
type ShardKind string

// The kinds of shards. Provenance says where people set each value; it is no part of the content, so that a moved line
// or a changed comment is not a difference.
const (
	KindGateway    ShardKind = "gateway"
	KindUpstreams  ShardKind = "upstreams"
	KindRoutes     ShardKind = "routes"
	KindProvenance ShardKind = "provenance"
)

// Shard is one piece of content.
type Shard struct {
	Path    string    // lower case, slash-separated, e.g. "routes/0a"; unique in a bundle
	Kind    ShardKind //
	Objects int       // how many objects it holds, for statistics
	Data    []byte    // canonical JSON, never changed after it was handed over
}

// Info is what a manifest says besides its shards.
type Info struct {
	Name          string   // the repository's name, from gateway.yaml; never a path or a remote
	Environment   string   // the environment it was compiled for
	Source        Source   //
	Compiler      string   // version of the compiler
	SchemaVersion string   // API version of the definitions, e.g. "gateway.suuupra.dev/v1"
	MinRuntime    string   // the oldest gwrun that understands it: "major.minor.patch"
	Kinds         []string // policy and target kinds in use, in any order
}

// Bundle is one environment, compiled: the third of the four types. It is made by New and by Verify.
type Bundle struct {
	Manifest Manifest
	Shards   []Shard // sorted by Path, as the manifest lists them

	payload  []byte   // the canonical bytes of Manifest
	envelope envelope // the signed manifest
}

// New assembles an unsigned bundle. The same info and shards give the same bytes, whatever the order of the shards.
// It fails if a shard is not canonical JSON or the whole exceeds a limit of the format.
func New(info Info, shards []Shard) (*Bundle, error) {
	shards = slices.Clone(shards)
	slices.SortFunc(shards, func(a, b Shard) int { return strings.Compare(a.Path, b.Path) })
	kinds := append([]string{}, info.Kinds...)
	slices.Sort(kinds)
	m := Manifest{
		Schema:        ManifestSchema,
		Name:          info.Name,
		Environment:   info.Environment,
		Source:        info.Source,
		Compiler:      Compiler{Version: info.Compiler},
		SchemaVersion: info.SchemaVersion,
		MinRuntime:    info.MinRuntime,
		Kinds:         slices.Compact(kinds),
		Shards:        make([]ShardEntry, len(shards)),
	}
	for i, s := range shards {
		if err := CheckCanonical(s.Data); err != nil {
			return nil, fmt.Errorf("shard %s: %w", s.Path, err)
		}
		ref := RefOf(s.Data)
		m.Shards[i] = ShardEntry{Path: s.Path, Kind: s.Kind, Digest: ref.Digest, Size: ref.Size, Objects: s.Objects}
	}
	m.ContentDigest, m.Stats = contentDigest(m.Shards), countStats(m.Shards)
	if err := m.validate(); err != nil {
		return nil, fmt.Errorf("make manifest: %w", err)
	}
	payload, err := Canonical(m)
	if err != nil {
		return nil, fmt.Errorf("make manifest: %w", err)
	}
	b := &Bundle{Manifest: m, Shards: shards, payload: payload, envelope: newEnvelope(manifestType, payload)}
	if size := len(b.envelope.encode()); size > MaxManifest-maxSignatures*signatureOverhead {
		return nil, fmt.Errorf("make manifest: %d bytes do not leave room for signatures in %d", size, MaxManifest)
	}
	return b, nil
}

// Sign adds a release signature, in place of an earlier one by the same key.
func (b *Bundle) Sign(s Signer) error {
	e, err := b.envelope.sign(s)
	if err != nil {
		return fmt.Errorf("sign manifest: %w", err)
	}
	b.envelope = e
	return nil
}

// Digest is the identity of the bundle: the digest of its manifest, without signatures. Equal source, compiler and
// environment give an equal digest.
func (b *Bundle) Digest() Digest { return DigestOf(b.payload) }

// Ref returns the digest and size of the manifest, as a channel names them.
func (b *Bundle) Ref() Ref { return RefOf(b.payload) }

// SignedBy returns the key ids that signed the manifest, sorted.
func (b *Bundle) SignedBy() []string { return b.envelope.keyIDs() }

// Raw returns the bytes that travel, without a channel. They share memory with the bundle.
func (b *Bundle) Raw() *Raw {
	r := &Raw{Manifest: b.envelope.encode(), Blobs: make(map[Digest][]byte, len(b.Shards))}
	for i, s := range b.Shards {
		r.Blobs[b.Manifest.Shards[i].Digest] = s.Data
	}
	return r
}

// Raw is a bundle as it was received: nothing in it is to be believed before Verify has seen it.
type Raw struct {
	Channel  []byte            // the channel's envelope, nil if it came without
	Manifest []byte            // the manifest's envelope
	Blobs    map[Digest][]byte // the shards, by the digest under which they were fetched
}

// contentDigest covers every shard that decides how the gateway behaves.
func contentDigest(shards []ShardEntry) Digest {
	h := sha256.New()
	for _, s := range shards {
		if s.Kind != KindProvenance {
			fmt.Fprintf(h, "%s %s %s\n", s.Path, s.Kind, s.Digest)
		}
	}
	return Digest(digestPrefix + hex.EncodeToString(h.Sum(nil)))
}

func countStats(shards []ShardEntry) Stats {
	var st Stats
	for _, s := range shards {
		st.Bytes += s.Size
		switch s.Kind {
		case KindRoutes:
			st.Routes += s.Objects
		case KindUpstreams:
			st.Upstreams += s.Objects
		}
	}
	return st
}

// Equal reports whether two bundles were compiled to the same content, whoever signed them and wherever lines stand.
func (b *Bundle) Equal(other *Bundle) bool {
	return b.Manifest.ContentDigest == other.Manifest.ContentDigest
}

// Shard returns the shard with a path.
func (b *Bundle) Shard(path string) (Shard, bool) {
	i, ok := slices.BinarySearchFunc(b.Shards, path, func(s Shard, p string) int { return cmp.Compare(s.Path, p) })
	if !ok {
		return Shard{}, false
	}
	return b.Shards[i], true
}

// Encode returns the .gwb file of the bundle; with a non-nil channel envelope, that travels along.
func (b *Bundle) Encode(channel []byte) ([]byte, error) {
	r := b.Raw()
	r.Channel = bytes.Clone(channel)
	return EncodeArchive(r)
}
