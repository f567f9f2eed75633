package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// ManifestSchema is the version of the manifest this package writes, and the only one it reads.
const ManifestSchema = "gateway.suuupra.dev/bundle/v1"

// Manifest says what a bundle is. It holds no clock and no version, so that it can be reproduced from the source.
type Manifest struct {
	Schema        string       `json:"schema"`
	Name          string       `json:"name"`
	Environment   string       `json:"environment"`
	Source        Source       `json:"source"`
	Compiler      Compiler     `json:"compiler"`
	SchemaVersion string       `json:"schemaVersion"`
	MinRuntime    string       `json:"minRuntime"`
	Kinds         []string     `json:"kinds"` // sorted
	ContentDigest Digest       `json:"contentDigest"`
	Shards        []ShardEntry `json:"shards"` // sorted by Path
	Stats         Stats        `json:"stats"`
}

// Source says which tree was compiled. Commit and tree are empty if it was no git repository.
type Source struct {
	Commit string `json:"commit,omitempty"` // hexadecimal object id
	Tree   string `json:"tree,omitempty"`   // hexadecimal object id of the compiled folder
	Dirty  bool   `json:"dirty"`            // the files were not those of the commit
}

// Compiler says what compiled it.
type Compiler struct {
	Version string `json:"version"`
}

// ShardEntry lists one shard.
type ShardEntry struct {
	Path    string    `json:"path"`
	Kind    ShardKind `json:"kind"`
	Digest  Digest    `json:"digest"`
	Size    int64     `json:"size"` // bytes
	Objects int       `json:"objects"`
}

// Stats are sums over the shards.
type Stats struct {
	Bytes     int64 `json:"bytes"`
	Routes    int   `json:"routes"`
	Upstreams int   `json:"upstreams"`
}

var (
	pathPattern        = regexp.MustCompile(`^[a-z0-9]+(/[a-z0-9][a-z0-9._-]*)*$`)
	environmentPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	versionPattern     = regexp.MustCompile(`^(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})$`)
	objectIDPattern    = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})?$`)
	kindPattern        = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._/-]{0,63}$`)
)

// validate checks everything a manifest claims about itself.
func (m *Manifest) validate() error {
	switch {
	case m.Schema != ManifestSchema:
		return fmt.Errorf("schema is %q, must be %q", m.Schema, ManifestSchema)
	case !environmentPattern.MatchString(m.Environment):
		return fmt.Errorf("environment %q must be 1 to 63 letters, digits, dots, dashes and underscores", m.Environment)
	case !objectIDPattern.MatchString(m.Source.Commit) || !objectIDPattern.MatchString(m.Source.Tree):
		return errors.New("source.commit and source.tree must be git object ids, or absent")
	case !versionPattern.MatchString(m.MinRuntime):
		return fmt.Errorf("minRuntime %q must be major.minor.patch", m.MinRuntime)
	case m.Kinds == nil || len(m.Kinds) > maxKinds || !slices.IsSortedFunc(m.Kinds, ascending):
		return errors.New("kinds must be a sorted list without repetitions")
	case len(m.Shards) == 0:
		return errors.New("it lists no shards")
	case len(m.Shards) > MaxShards:
		return fmt.Errorf("it lists %d shards, at most %d are allowed", len(m.Shards), MaxShards)
	}
	for _, text := range []struct{ field, value string }{
		{"name", m.Name}, {"compiler.version", m.Compiler.Version}, {"schemaVersion", m.SchemaVersion},
	} {
		if err := checkText(text.field, text.value); err != nil {
			return err
		}
	}
	for _, k := range m.Kinds {
		if !kindPattern.MatchString(k) {
			return fmt.Errorf("kind %q is not a name of a kind", k)
		}
	}
	return m.validateShards()
}

func (m *Manifest) validateShards() error {
	total := int64(0)
	for i, s := range m.Shards {
		if err := s.validate(); err != nil {
			return fmt.Errorf("shard %q: %w", s.Path, err)
		}
		if i > 0 && m.Shards[i-1].Path >= s.Path {
			return fmt.Errorf("shard %q is listed out of order, or twice", s.Path)
		}
		if total += s.Size; total > MaxBundle {
			return fmt.Errorf("the shards are larger than %d bytes together", MaxBundle)
		}
	}
	if want := contentDigest(m.Shards); m.ContentDigest != want {
		return fmt.Errorf("contentDigest is %s, the listed shards give %s", m.ContentDigest, want)
	}
	if want := countStats(m.Shards); m.Stats != want {
		return fmt.Errorf("stats are %+v, the listed shards give %+v", m.Stats, want)
	}
	return nil
}

func (s ShardEntry) validate() error {
	if len(s.Path) > maxPath || !pathPattern.MatchString(s.Path) {
		return errors.New("the path must be lower-case names separated by slashes")
	}
	switch s.Kind {
	case KindGateway, KindUpstreams, KindRoutes, KindProvenance:
	default:
		return fmt.Errorf("unknown kind %q", s.Kind)
	}
	if s.Objects < 0 || int64(s.Objects) > s.Size {
		return fmt.Errorf("%d objects in %d bytes", s.Objects, s.Size)
	}
	return Ref{Digest: s.Digest, Size: s.Size}.validate(MaxBundle)
}

// ascending is a comparison by which only lists without repetitions are sorted.
func ascending(a, b string) int {
	if a == b {
		return -1
	}
	return strings.Compare(a, b)
}

func checkText(field, value string) error {
	if value == "" || len(value) > maxName {
		return fmt.Errorf("%s must be 1 to %d bytes", field, maxName)
	}
	for _, r := range value {
		if unicode.IsControl(r) {
			return fmt.Errorf("%s %q holds a control character", field, value)
		}
	}
	return nil
}

// decodeManifest reads a manifest whose signatures have been checked.
func decodeManifest(payload []byte) (*Manifest, error) {
	if err := checkSchema(payload, ManifestSchema, "manifest"); err != nil {
		return nil, err
	}
	m, err := decodeExactly[Manifest](payload)
	if err == nil {
		err = m.validate()
	}
	if err != nil {
		return nil, refuseFor(ManifestMalformed, err, "manifest")
	}
	return m, nil
}

// checkSchema tells a document of another version, which may be fine elsewhere, from a broken one.
func checkSchema(payload []byte, want, what string) error {
	var head struct{ Schema string }
	if err := json.Unmarshal(payload, &head); err == nil && head.Schema != want {
		return Refuse(UnknownSchema, "the %s has schema %.80q, this version reads %q; use the version that wrote it, or compile again", what, head.Schema, want)
	}
	return nil
}

// decodeExactly decodes a document that must be the canonical encoding of what it says: no unknown or repeated member,
// no other spelling, nothing left out.
func decodeExactly[T any](data []byte) (*T, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	v := new(T)
	if err := dec.Decode(v); err != nil {
		return nil, err
	}
	again, err := Canonical(v)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, data) {
		return nil, errors.New("not in canonical form")
	}
	return v, nil
}

// runtimeSatisfies reports whether a runtime of version have may run what needs version need. Suffixes of a development
// build ("-dev", "+abc") do not count, and neither does a leading v.
func runtimeSatisfies(have, need string) (bool, error) {
	have, _, _ = strings.Cut(have, "+")
	have, _, _ = strings.Cut(have, "-")
	have = strings.TrimPrefix(have, "v")
	if !versionPattern.MatchString(have) {
		return false, fmt.Errorf("runtime version %q is not major.minor.patch", have)
	}
	return slices.Compare(versionParts(have), versionParts(need)) >= 0, nil
}

func versionParts(v string) []int {
	parts := make([]int, 0, 3)
	for p := range strings.SplitSeq(v, ".") {
		n, _ := strconv.Atoi(p) // versionPattern has passed it
		parts = append(parts, n)
	}
	return parts
}

// PeekManifest reads what a manifest envelope claims, without a look at its signatures, as PeekChannel does.
func PeekManifest(data []byte) (*Manifest, Digest, error) {
	e, err := decodeEnvelope(data, manifestType, MaxManifest)
	if err != nil {
		return nil, "", fmt.Errorf("manifest: %w", err)
	}
	m, err := decodeManifest(e.Payload)
	if err != nil {
		return nil, "", err
	}
	return m, DigestOf(e.Payload), nil
}
