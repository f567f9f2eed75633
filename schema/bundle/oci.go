package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// The media types under which a bundle is an OCI artifact.
const (
	ArtifactType        = "application/vnd.suuupra.gateway.bundle.v1"
	ChannelArtifactType = "application/vnd.suuupra.gateway.channel.v1"
	// ApprovalsArtifactType is that of the approvals for one environment, each a layer.
	ApprovalsArtifactType = "application/vnd.suuupra.gateway.approvals.v1"
	manifestMediaType     = "application/vnd.suuupra.gateway.manifest.v1.dsse+json"
	channelMediaType      = "application/vnd.suuupra.gateway.channel.v1.dsse+json"
	approvalMediaType     = "application/vnd.suuupra.gateway.approval.v1.dsse+json"
	shardMediaType        = "application/vnd.suuupra.gateway.shard.v1+json"

	MediaTypeImageManifest = "application/vnd.oci.image.manifest.v1+json"
	MediaTypeImageIndex    = "application/vnd.oci.image.index.v1+json"
	mediaTypeEmpty         = "application/vnd.oci.empty.v1+json"
	annotationTag          = "org.opencontainers.image.ref.name"
	annotationTitle        = "org.opencontainers.image.title"
	annotationEnvironment  = "dev.suuupra.gateway.environment"
)

// MaxIndex bounds an index.json, and MaxImageManifest an OCI image manifest, in bytes.
const (
	MaxIndex         = 1 << 20
	MaxImageManifest = MaxManifest
)

// EmptyBlob is the content of OCI's empty descriptor, which stands where an image has its configuration.
const EmptyBlob = "{}"

// LayoutFile is the content of the file oci-layout.
const LayoutFile = `{"imageLayoutVersion":"1.0.0"}`

// Descriptor is an OCI content descriptor, in canonical member order once encoded.
type Descriptor struct {
	Annotations  map[string]string `json:"annotations,omitempty"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Digest       Digest            `json:"digest"`
	MediaType    string            `json:"mediaType"`
	Size         int64             `json:"size"`
}

// Tag returns the tag of an entry of an index, or "".
func (d Descriptor) Tag() string { return d.Annotations[annotationTag] }

// Environment returns the environment an entry of an index is for, as whoever wrote the index says.
func (d Descriptor) Environment() string { return d.Annotations[annotationEnvironment] }

// Ref returns digest and size.
func (d Descriptor) Ref() Ref { return Ref{Digest: d.Digest, Size: d.Size} }

type imageManifest struct {
	ArtifactType  string       `json:"artifactType"`
	Config        Descriptor   `json:"config"`
	Layers        []Descriptor `json:"layers"`
	MediaType     string       `json:"mediaType"`
	SchemaVersion int          `json:"schemaVersion"`
}

// Index is the index.json of an OCI image layout.
type Index struct {
	Manifests     []Descriptor `json:"manifests"`
	MediaType     string       `json:"mediaType"`
	SchemaVersion int          `json:"schemaVersion"`
}

var tagPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)

// BundleTag is the tag of the bundle with a manifest digest.
func BundleTag(d Digest) string { return "bundle-" + d.Hex() }

// TagBundle returns the manifest digest a bundle's tag is for.
func TagBundle(tag string) (Digest, bool) {
	hex, ok := strings.CutPrefix(tag, "bundle-")
	d, err := ParseDigest(digestPrefix + hex)
	return d, ok && err == nil
}

// ChannelTag is the tag of an environment's channel.
func ChannelTag(environment string) string { return "channel-" + environment }

// ChannelEnvironment returns the environment a channel's tag is for.
func ChannelEnvironment(tag string) (string, bool) {
	env, ok := strings.CutPrefix(tag, "channel-")
	return env, ok && IsEnvironment(env)
}

// ApprovalsTag is the tag of an environment's approvals.
func ApprovalsTag(environment string) string { return "approvals-" + environment }

// IsEnvironment reports whether name can be the name of an environment.
func IsEnvironment(name string) bool { return environmentPattern.MatchString(name) }

// Artifact is an OCI artifact made of blobs the caller has: the bytes of its image manifest, and how an index names it.
type Artifact struct {
	Manifest   []byte
	Descriptor Descriptor // with its tag
	Layers     []Descriptor
}

// BundleArtifact returns the artifact of a bundle: the signed manifest, then every shard in the manifest's order. It
// depends on nothing but the envelope, whose signatures it does not check.
func BundleArtifact(envelope []byte) (*Artifact, error) {
	e, err := decodeEnvelope(envelope, manifestType, MaxManifest)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	m, err := decodeManifest(e.Payload)
	if err != nil {
		return nil, err
	}
	layers := make([]Descriptor, 0, len(m.Shards)+1)
	layers = append(layers, describe(manifestMediaType, envelope))
	for _, s := range m.Shards {
		layers = append(layers, Descriptor{
			MediaType: shardMediaType, Digest: s.Digest, Size: s.Size,
			Annotations: map[string]string{annotationTitle: s.Path},
		})
	}
	return newArtifact(ArtifactType, layers, BundleTag(DigestOf(e.Payload)), m.Environment)
}

// ChannelArtifact returns the artifact of a channel: the envelope is its only layer.
func ChannelArtifact(envelope []byte) (*Artifact, error) {
	e, err := decodeEnvelope(envelope, channelType, MaxChannel)
	if err != nil {
		return nil, fmt.Errorf("channel: %w", err)
	}
	c, err := decodeChannel(e.Payload)
	if err != nil {
		return nil, err
	}
	return newArtifact(ChannelArtifactType, []Descriptor{describe(channelMediaType, envelope)}, ChannelTag(c.Environment), c.Environment)
}

// ApprovalsArtifact returns the artifact of the approvals for one environment: the envelopes are its layers, in the order given.
func ApprovalsArtifact(environment string, envelopes [][]byte) (*Artifact, error) {
	if len(envelopes) == 0 || len(envelopes) > MaxApprovals {
		return nil, Refuse(TooLarge, "there are %d approvals, must be 1 to %d", len(envelopes), MaxApprovals)
	}
	layers := make([]Descriptor, 0, len(envelopes))
	for _, data := range envelopes {
		a, err := PeekApproval(data)
		if err != nil {
			return nil, err
		}
		if a.Environment != environment {
			return nil, Refuse(WrongEnvironment, "the approval is for environment %q, this is %q", a.Environment, environment)
		}
		layers = append(layers, describe(approvalMediaType, data))
	}
	return newArtifact(ApprovalsArtifactType, layers, ApprovalsTag(environment), environment)
}

// ApprovalLayers reads the image manifest of approvals far enough to find them. It trusts nothing: compare with ApprovalsArtifact of
// what it names.
func ApprovalLayers(image []byte) ([]Ref, error) {
	if len(image) > MaxImageManifest {
		return nil, Refuse(TooLarge, "the image manifest has %d bytes, at most %d are allowed", len(image), MaxImageManifest)
	}
	var m imageManifest
	if err := json.Unmarshal(image, &m); err != nil {
		return nil, refuseFor(ArchiveMalformed, err, "image manifest")
	}
	if m.ArtifactType != ApprovalsArtifactType || len(m.Layers) == 0 || len(m.Layers) > MaxApprovals {
		return nil, Refuse(ArchiveMalformed, "the image manifest is not one of 1 to %d approvals", MaxApprovals)
	}
	refs := make([]Ref, len(m.Layers))
	for i, l := range m.Layers {
		if refs[i] = l.Ref(); l.MediaType != approvalMediaType {
			return nil, Refuse(ArchiveMalformed, "layer %d of the approvals is not one", i)
		}
		if err := refs[i].validate(MaxApproval); err != nil {
			return nil, refuseFor(TooLarge, err, "approval %d", i)
		}
	}
	return refs, nil
}

func describe(mediaType string, data []byte) Descriptor {
	return Descriptor{MediaType: mediaType, Digest: DigestOf(data), Size: int64(len(data))}
}

// EmptyDescriptor describes EmptyBlob.
func EmptyDescriptor() Descriptor { return describe(mediaTypeEmpty, []byte(EmptyBlob)) }

func newArtifact(artifactType string, layers []Descriptor, tag, environment string) (*Artifact, error) {
	data, err := Canonical(imageManifest{
		ArtifactType: artifactType, Config: EmptyDescriptor(), Layers: layers,
		MediaType: MediaTypeImageManifest, SchemaVersion: 2,
	})
	if err != nil {
		return nil, fmt.Errorf("make image manifest: %w", err)
	}
	if len(data) > MaxImageManifest {
		return nil, Refuse(TooLarge, "the image manifest has %d bytes, at most %d are allowed", len(data), MaxImageManifest)
	}
	d := describe(MediaTypeImageManifest, data)
	d.ArtifactType = artifactType
	d.Annotations = map[string]string{annotationTag: tag, annotationEnvironment: environment}
	return &Artifact{Manifest: data, Descriptor: d, Layers: layers}, nil
}

// FirstLayer reads an image manifest far enough to find the signed document in it, which decides what the whole image
// manifest must look like. It trusts nothing: compare with BundleArtifact or ChannelArtifact of what it names.
func FirstLayer(image []byte, artifactType string) (Ref, error) {
	if len(image) > MaxImageManifest {
		return Ref{}, Refuse(TooLarge, "the image manifest has %d bytes, at most %d are allowed", len(image), MaxImageManifest)
	}
	var m imageManifest
	if err := json.Unmarshal(image, &m); err != nil {
		return Ref{}, refuseFor(ArchiveMalformed, err, "image manifest")
	}
	want, limit := manifestMediaType, int64(MaxManifest)
	if artifactType == ChannelArtifactType {
		want, limit = channelMediaType, MaxChannel
	}
	if m.ArtifactType != artifactType || len(m.Layers) == 0 || m.Layers[0].MediaType != want {
		return Ref{}, Refuse(ArchiveMalformed, "the image manifest is not a gateway artifact of type %q", artifactType)
	}
	if err := m.Layers[0].Ref().validate(limit); err != nil {
		return Ref{}, refuseFor(TooLarge, err, "first layer")
	}
	return m.Layers[0].Ref(), nil
}

// ImageBlobs returns every blob an image manifest names, for those who keep a store tidy.
func ImageBlobs(image []byte) ([]Ref, error) {
	var m imageManifest
	if len(image) > MaxImageManifest {
		return nil, Refuse(TooLarge, "the image manifest has %d bytes, at most %d are allowed", len(image), MaxImageManifest)
	}
	if err := json.Unmarshal(image, &m); err != nil {
		return nil, refuseFor(ArchiveMalformed, err, "image manifest")
	}
	refs := []Ref{m.Config.Ref()}
	for _, l := range m.Layers {
		refs = append(refs, l.Ref())
	}
	return refs, nil
}

// Check reports whether image is the image manifest of the artifact, byte for byte: nothing else is listed in it.
func (a *Artifact) Check(image []byte) error {
	if !bytes.Equal(a.Manifest, image) {
		return Refuse(ArchiveMalformed, "the image manifest is not the one that belongs to the signed document in it; publish it again")
	}
	return nil
}

// ParseIndex reads an index.json written by anyone. Entries it cannot use are an error, not skipped.
func ParseIndex(data []byte) (*Index, error) {
	if len(data) > MaxIndex {
		return nil, Refuse(TooLarge, "index.json has %d bytes, at most %d are allowed", len(data), MaxIndex)
	}
	canonical, err := canonicalise(data, false)
	if err != nil {
		return nil, refuseFor(ArchiveMalformed, err, "index.json")
	}
	var x Index
	if err := json.Unmarshal(canonical, &x); err != nil {
		return nil, refuseFor(ArchiveMalformed, err, "index.json")
	}
	if err := x.validate(); err != nil {
		return nil, refuseFor(ArchiveMalformed, err, "index.json")
	}
	return &x, nil
}

func (x *Index) validate() error {
	if x.SchemaVersion != 2 || x.MediaType != MediaTypeImageIndex {
		return errors.New("not an OCI image index of schema version 2")
	}
	tags := make(map[string]bool, len(x.Manifests))
	for i, d := range x.Manifests {
		if d.MediaType != MediaTypeImageManifest || !slices.Contains(artifactTypes, d.ArtifactType) {
			return fmt.Errorf("entry %d is not a gateway artifact", i)
		}
		if !IsEnvironment(d.Environment()) {
			return fmt.Errorf("entry %d is for no environment", i)
		}
		if !tagPattern.MatchString(d.Tag()) || tags[d.Tag()] {
			return fmt.Errorf("entry %d has no tag, or that of another entry", i)
		}
		tags[d.Tag()] = true
		if err := d.Ref().validate(MaxImageManifest); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
	}
	return nil
}

// Find returns the entry with a tag.
func (x *Index) Find(tag string) (Descriptor, bool) {
	for _, d := range x.Manifests {
		if d.Tag() == tag {
			return d, true
		}
	}
	return Descriptor{}, false
}

// Channels returns the entries that are channels.
func (x *Index) Channels() []Descriptor { return x.ofType(ChannelArtifactType) }

// Bundles returns the entries that are bundles, in the order in which they were published.
func (x *Index) Bundles() []Descriptor { return x.ofType(ArtifactType) }

func (x *Index) ofType(artifactType string) []Descriptor {
	var out []Descriptor
	for _, d := range x.Manifests {
		if d.ArtifactType == artifactType {
			out = append(out, d)
		}
	}
	return out
}

// NewIndex returns an index of artifacts in the order given.
func NewIndex(entries ...Descriptor) *Index {
	return &Index{Manifests: append([]Descriptor{}, entries...), MediaType: MediaTypeImageIndex, SchemaVersion: 2}
}

// artifactTypes are what an index may hold, in the order in which it does.
var artifactTypes = []string{ArtifactType, ChannelArtifactType, ApprovalsArtifactType}

// With returns an index in which d takes the place of the entry with its tag: bundles move to the end of the bundles,
// channels stand after all of them, and approvals last.
func (x *Index) With(d Descriptor) *Index {
	out := NewIndex()
	for _, group := range artifactTypes {
		for _, e := range x.Manifests {
			if e.ArtifactType == group && e.Tag() != d.Tag() {
				out.Manifests = append(out.Manifests, e)
			}
		}
		if d.ArtifactType == group {
			out.Manifests = append(out.Manifests, d)
		}
	}
	return out
}

// Trim returns an index that keeps, for each environment, the latest bundles only.
func (x *Index) Trim(keep int) *Index {
	out, seen := NewIndex(), map[string]int{}
	for i := len(x.Manifests) - 1; i >= 0; i-- {
		d := x.Manifests[i]
		if d.ArtifactType == ArtifactType {
			if seen[d.Environment()]++; seen[d.Environment()] > keep {
				continue
			}
		}
		out.Manifests = append(out.Manifests, d)
	}
	slices.Reverse(out.Manifests)
	return out
}

// Encode writes the index.
func (x *Index) Encode() ([]byte, error) {
	if err := x.validate(); err != nil {
		return nil, fmt.Errorf("encode index.json: %w", err)
	}
	data, err := Canonical(x)
	if err != nil {
		return nil, fmt.Errorf("encode index.json: %w", err)
	}
	if len(data) > MaxIndex {
		return nil, fmt.Errorf("encode index.json: %d bytes, at most %d are allowed", len(data), MaxIndex)
	}
	return data, nil
}
