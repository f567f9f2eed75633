package depot

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/suuupra/gateway/schema/bundle"
)

// Request says what to fetch.
type Request struct {
	// Environment chooses the channel. Empty takes the only one there is, or the only bundle of a place without channels.
	Environment string
	// Bundle takes a certain bundle, by manifest digest, and no channel.
	Bundle bundle.Digest
	// Last is the ETag of the state that is known; if nothing changed since, Fetch returns ErrNotModified.
	Last string
	// Have returns a blob the caller holds, so that it is not fetched. May be nil.
	Have func(bundle.Digest) ([]byte, bool)
	// Check sees the envelopes (the channel's is nil if there is none) before any shard is fetched. May be nil.
	Check func(channel, manifest []byte) error
}

// Received is what Fetch brought. None of it is verified.
type Received struct {
	Raw   *bundle.Raw
	ETag  string // of the state it was read from
	Blobs int    // how many blobs were fetched, and
	Bytes int64  // how large they were together; the rest the caller had
}

// Fetch reads a bundle: the channel, the manifest it names, and the shards that lists. Nothing larger than the format
// allows is read, and no blob whose bytes are not those of its digest is returned.
func Fetch(ctx context.Context, d Depot, r Request) (*Received, error) {
	v, err := d.Look(ctx, r.Environment, r.Last)
	if err != nil {
		return nil, err
	}
	f := &fetcher{view: v, have: r.Have, raw: &bundle.Raw{}, out: &Received{ETag: v.ETag()}}
	digest := r.Bundle
	if digest == "" {
		if digest, err = f.channel(ctx, r.Environment); err != nil {
			return nil, err
		}
	}
	shards, err := f.manifest(ctx, digest)
	if err != nil {
		return nil, err
	}
	if r.Check != nil {
		if err := r.Check(f.raw.Channel, f.raw.Manifest); err != nil {
			return nil, err
		}
	}
	if err := f.shards(ctx, shards); err != nil {
		return nil, err
	}
	f.out.Raw = f.raw
	return f.out, nil
}

type fetcher struct {
	view View
	have func(bundle.Digest) ([]byte, bool)
	raw  *bundle.Raw

	mu  sync.Mutex
	out *Received
}

// blob returns a blob from the caller's stock or from the depot.
func (f *fetcher) blob(ctx context.Context, ref bundle.Ref) ([]byte, error) {
	if f.have != nil {
		if data, ok := f.have(ref.Digest); ok && checkBlob(ref, data) == nil {
			return data, nil
		}
	}
	data, err := f.view.Blob(ctx, ref)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.out.Blobs++
	f.out.Bytes += ref.Size
	return data, nil
}

// channel reads the channel of an environment and returns the manifest it names.
func (f *fetcher) channel(ctx context.Context, environment string) (bundle.Digest, error) {
	if environment == "" {
		envs, err := f.view.Environments(ctx)
		if err != nil {
			return "", err
		}
		if len(envs) == 0 {
			return f.onlyBundle(ctx)
		}
		if len(envs) > 1 {
			return "", fmt.Errorf("there are channels for %s: name one with --env", strings.Join(envs, ", "))
		}
		environment = envs[0]
	}
	envelope, _, err := Channel(ctx, f.view, environment)
	if errors.Is(err, ErrNotFound) {
		return f.noChannel(ctx, environment, err)
	}
	if err != nil {
		return "", err
	}
	c, _, err := bundle.PeekChannel(envelope)
	if err != nil {
		return "", err
	}
	f.raw.Channel = envelope
	return c.Manifest.Digest, nil
}

// noChannel falls back to the only bundle of a place without channels, such as a .gwb file, and names the channels there
// are otherwise. Whether a channel is required is for bundle.Check to say.
func (f *fetcher) noChannel(ctx context.Context, environment string, cause error) (bundle.Digest, error) {
	envs, err := f.view.Environments(ctx)
	if err == nil && len(envs) == 0 {
		if digest, err := f.onlyBundle(ctx); err == nil {
			return digest, nil
		}
	}
	if len(envs) == 0 {
		return "", fmt.Errorf("there is no channel for environment %q: %w", environment, cause)
	}
	return "", fmt.Errorf("there is no channel for environment %q, only for %s: %w", environment, strings.Join(envs, ", "), cause)
}

func (f *fetcher) onlyBundle(ctx context.Context) (bundle.Digest, error) {
	all, err := f.view.Bundles(ctx, "")
	switch {
	case err != nil:
		return "", err
	case len(all) == 0:
		return "", fmt.Errorf("there is no bundle: %w", ErrNotFound)
	case len(all) > 1:
		return "", fmt.Errorf("there are %d bundles and no channel: name one as @%s", len(all), all[len(all)-1])
	}
	return all[0], nil
}

// Channel reads the channel of an environment: its envelope, and the image manifest it stands in.
func Channel(ctx context.Context, v View, environment string) ([]byte, bundle.Ref, error) {
	image, err := v.Tag(ctx, bundle.ChannelTag(environment))
	if err != nil {
		return nil, bundle.Ref{}, err
	}
	data, err := v.Image(ctx, image)
	if err != nil {
		return nil, bundle.Ref{}, err
	}
	ref, err := bundle.FirstLayer(data, bundle.ChannelArtifactType)
	if err != nil {
		return nil, bundle.Ref{}, err
	}
	envelope, err := v.Blob(ctx, ref)
	if err != nil {
		return nil, bundle.Ref{}, err
	}
	artifact, err := bundle.ChannelArtifact(envelope)
	if err != nil {
		return nil, bundle.Ref{}, err
	}
	return envelope, image, artifact.Check(data)
}

// manifest reads the manifest with a digest and returns the shards it lists.
func (f *fetcher) manifest(ctx context.Context, digest bundle.Digest) ([]bundle.Descriptor, error) {
	image, err := f.view.Tag(ctx, bundle.BundleTag(digest))
	if err != nil {
		return nil, err
	}
	data, err := f.view.Image(ctx, image)
	if err != nil {
		return nil, err
	}
	ref, err := bundle.FirstLayer(data, bundle.ArtifactType)
	if err != nil {
		return nil, err
	}
	if f.raw.Manifest, err = f.blob(ctx, ref); err != nil {
		return nil, err
	}
	artifact, err := bundle.BundleArtifact(f.raw.Manifest)
	if err != nil {
		return nil, err
	}
	if got := artifact.Descriptor.Tag(); got != bundle.BundleTag(digest) {
		return nil, bundle.Refuse(bundle.ManifestMismatch, "the bundle under the tag of manifest %s is another one (%s)", digest.Short(), got)
	}
	return artifact.Layers[1:], artifact.Check(data)
}

// shards reads what the manifest lists, a few at a time.
func (f *fetcher) shards(ctx context.Context, layers []bundle.Descriptor) error {
	blobs := make(map[bundle.Digest][]byte, len(layers))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(transfers)
	var mu sync.Mutex
	for _, layer := range layers {
		mu.Lock()
		_, seen := blobs[layer.Digest]
		if !seen {
			blobs[layer.Digest] = nil // on its way
		}
		mu.Unlock()
		if seen {
			continue
		}
		group.Go(func() error {
			data, err := f.blob(ctx, layer.Ref())
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			blobs[layer.Digest] = data
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	f.raw.Blobs = blobs
	return nil
}
