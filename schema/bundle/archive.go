package bundle

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
)

// A .gwb file is an OCI image layout as a tar of plain ustar headers. Everything in it follows from the two envelopes and
// the shards, so there is exactly one file for them: decoding encodes again and compares.

const (
	blobDir    = "blobs/sha256/"
	layoutName = "oci-layout"
	indexName  = "index.json"
	// MaxArchive leaves room for headers, padding, and the documents besides the shards.
	MaxArchive = MaxBundle + (MaxShards+8)*2*tarBlock + MaxManifest + MaxImageManifest + MaxIndex
	maxEntries = MaxShards + 8
)

// EncodeArchive returns the .gwb file of a bundle. It checks no signature, but takes only what is listed.
func EncodeArchive(raw *Raw) ([]byte, error) {
	out, err := encodeArchive(raw)
	if err != nil {
		return nil, fmt.Errorf("encode archive: %w", err)
	}
	return out, nil
}

func encodeArchive(raw *Raw) ([]byte, error) {
	files, err := layoutFiles(raw)
	if err != nil {
		return nil, err
	}
	names := slices.Sorted(maps.Keys(files))
	size := 2 * tarBlock
	for _, data := range files {
		size += tarBlock + (len(data)+tarBlock-1)/tarBlock*tarBlock
	}
	out := make([]byte, 0, size)
	for _, name := range names {
		header := tarHeader(name, len(files[name]))
		out = append(append(out, header[:]...), files[name]...)
		out = append(out, make([]byte, tarPadding(len(files[name])))...)
	}
	return append(out, make([]byte, 2*tarBlock)...), nil
}

// layoutFiles returns the files of the OCI image layout that holds one bundle.
func layoutFiles(raw *Raw) (map[string][]byte, error) {
	bundle, err := BundleArtifact(raw.Manifest)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{layoutName: []byte(LayoutFile)}
	add := func(data []byte) { files[blobDir+DigestOf(data).Hex()] = data }
	add([]byte(EmptyBlob))
	add(raw.Manifest)
	add(bundle.Manifest)
	listed := make(map[Digest]bool, len(bundle.Layers))
	for _, layer := range bundle.Layers[1:] {
		data, ok := raw.Blobs[layer.Digest]
		if !ok {
			return nil, Refuse(ShardMissing, "shard %s (%s) is listed and missing", layer.Annotations[annotationTitle], layer.Digest.Short())
		}
		if RefOf(data) != layer.Ref() {
			return nil, Refuse(DigestMismatch, "shard %s is not the one that is listed: it was changed after signing", layer.Annotations[annotationTitle])
		}
		listed[layer.Digest] = true
		files[blobDir+layer.Digest.Hex()] = data
	}
	for d := range raw.Blobs {
		if !listed[d] {
			return nil, Refuse(ShardUnlisted, "blob %s is not listed in the manifest", d.Short())
		}
	}
	index := NewIndex(bundle.Descriptor)
	if raw.Channel != nil {
		channel, err := ChannelArtifact(raw.Channel)
		if err != nil {
			return nil, err
		}
		add(raw.Channel)
		add(channel.Manifest)
		index = index.With(channel.Descriptor)
	}
	files[indexName], err = index.Encode()
	return files, err
}

// DecodeArchive takes a .gwb file apart. It accepts only what EncodeArchive would have written, to the byte; signatures
// are for Verify. The result shares memory with data.
func DecodeArchive(data []byte) (*Raw, error) {
	if len(data) > MaxArchive {
		return nil, Refuse(TooLarge, "the archive has %d bytes, at most %d are allowed", len(data), MaxArchive)
	}
	files, err := readTar(data)
	if err != nil {
		return nil, refuseFor(ArchiveMalformed, err, "the archive was changed, or gwctl did not write it")
	}
	raw, err := rawOf(files)
	if err != nil {
		return nil, err
	}
	again, err := encodeArchive(raw)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, data) {
		return nil, Refuse(ArchiveMalformed, "the archive holds more, or other things, than the bundle in it: it was changed, or gwctl did not write it")
	}
	return raw, nil
}

// ArchiveFiles returns the files of the OCI image layout in a .gwb file, by name, after the checks of DecodeArchive.
func ArchiveFiles(data []byte) (map[string][]byte, error) {
	if _, err := DecodeArchive(data); err != nil {
		return nil, err
	}
	return readTar(data)
}

// rawOf follows the index of a layout to the documents and shards.
func rawOf(files map[string][]byte) (*Raw, error) {
	index, err := ParseIndex(files[indexName])
	if err != nil {
		return nil, err
	}
	bundles, channels := index.Bundles(), index.Channels()
	if len(bundles) != 1 || len(channels) > 1 {
		return nil, Refuse(ArchiveMalformed, "the archive holds %d bundles and %d channels, must be one bundle and at most one channel", len(bundles), len(channels))
	}
	blob := func(r Ref) []byte { return files[blobDir+r.Digest.Hex()] }
	first, err := FirstLayer(blob(bundles[0].Ref()), ArtifactType)
	if err != nil {
		return nil, err
	}
	raw := &Raw{Manifest: blob(first)}
	artifact, err := BundleArtifact(raw.Manifest)
	if err != nil {
		return nil, err
	}
	raw.Blobs = make(map[Digest][]byte, len(artifact.Layers))
	for _, layer := range artifact.Layers[1:] {
		if data, ok := files[blobDir+layer.Digest.Hex()]; ok {
			raw.Blobs[layer.Digest] = data
		}
	}
	if len(channels) == 1 {
		first, err := FirstLayer(blob(channels[0].Ref()), ChannelArtifactType)
		if err != nil {
			return nil, err
		}
		if raw.Channel = blob(first); raw.Channel == nil {
			return nil, Refuse(ArchiveMalformed, "the archive lists a channel and does not hold it")
		}
	}
	return raw, nil
}
