package depot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/suuupra/gateway/schema/bundle"
)

// registry is a repository in an OCI registry. Each bundle and each channel is a tag.
type registry struct {
	name      string
	repo      *remote.Repository
	transport *http.Transport
}

func newRegistry(l Location, o Options) (*registry, error) {
	repo, err := remote.NewRepository(l.repository)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", l, err)
	}
	transport := newTransport(l.plain)
	client := &auth.Client{
		// Registries send readers elsewhere for blobs, to a store of their provider; net/http leaves credentials behind when
		// the host changes, and every byte is checked against its digest.
		Client: &http.Client{Transport: throttled{transport}, Timeout: requestTimeout, CheckRedirect: keepEncrypted},
		Cache:  auth.NewCache(),
	}
	if l.plain {
		client.BlockedRealmPrefixes = []netip.Prefix{} // the registry itself is on loopback, and so may be its tokens
	}
	if o.UserAgent != "" {
		client.SetUserAgent(o.UserAgent)
	}
	user, secret := l.login(o.Credentials.RegistryUser, o.Credentials.RegistrySecret)
	if user != "" || secret != "" {
		client.Credential = auth.StaticCredential(repo.Reference.Registry, auth.Credential{Username: user, Password: secret})
	} else if store, err := credentials.NewStoreFromDocker(credentials.StoreOptions{}); err == nil {
		client.Credential = credentials.Credential(store)
	}
	repo.Client, repo.PlainHTTP = client, l.plain
	repo.ManifestMediaTypes = []string{bundle.MediaTypeImageManifest}
	repo.TagListMaxPages = 100
	return &registry{name: l.String(), repo: repo, transport: transport}, nil
}

func keepEncrypted(req *http.Request, via []*http.Request) error {
	if len(via) > 3 || via[0].URL.Scheme != req.URL.Scheme {
		return fmt.Errorf("redirected to %s://%s, which is not followed", req.URL.Scheme, req.URL.Host)
	}
	return nil
}

func (r *registry) Close() error {
	r.transport.CloseIdleConnections()
	return nil
}

func (r *registry) Look(ctx context.Context, environment, last string) (View, error) {
	v := &registryView{registry: r}
	if environment == "" {
		return v, nil
	}
	ref, err := v.Tag(ctx, bundle.ChannelTag(environment))
	switch {
	case errors.Is(err, ErrNotFound):
		return v, nil
	case err != nil:
		return nil, err
	case last != "" && last == string(ref.Digest):
		return nil, ErrNotModified
	}
	v.etag = string(ref.Digest)
	return v, nil
}

func (r *registry) explain(operation string, err error) error {
	var answer *errcode.ErrorResponse
	switch {
	case errors.Is(err, errdef.ErrNotFound):
		err = ErrNotFound
	case errors.As(err, &answer) && answer.StatusCode >= 500:
		err = &Unavailable{Err: err}
	default:
		err = transient(err)
	}
	return fmt.Errorf("%s in %s: %w", operation, r.name, err)
}

type registryView struct {
	*registry
	etag string
}

func (v *registryView) ETag() string { return v.etag }

func (v *registryView) Tag(ctx context.Context, tag string) (bundle.Ref, error) {
	d, err := v.repo.Manifests().Resolve(ctx, tag)
	if err != nil {
		return bundle.Ref{}, v.explain("find "+tag, err)
	}
	digest, err := bundle.ParseDigest(string(d.Digest))
	if err != nil || d.Size > bundle.MaxImageManifest {
		return bundle.Ref{}, v.explain("find "+tag, bundle.Refuse(bundle.ArchiveMalformed, "the tag names an image manifest of another kind, or of %d bytes", d.Size))
	}
	return bundle.Ref{Digest: digest, Size: d.Size}, nil
}

func (v *registryView) Image(ctx context.Context, ref bundle.Ref) ([]byte, error) {
	d := descriptor(bundle.MediaTypeImageManifest, ref)
	stream, err := v.repo.Manifests().Fetch(ctx, d)
	if err != nil {
		return nil, v.explain("read image manifest", err)
	}
	defer stream.Close()
	data, err := readAll(stream, ref.Size)
	if err != nil {
		return nil, v.explain("read image manifest", err)
	}
	return data, checkBlob(ref, data)
}

func (v *registryView) Blob(ctx context.Context, ref bundle.Ref) ([]byte, error) {
	stream, err := v.repo.Blobs().Fetch(ctx, descriptor("application/octet-stream", ref))
	if err != nil {
		return nil, v.explain("read blob "+ref.Digest.Short(), err)
	}
	defer stream.Close()
	data, err := readAll(stream, ref.Size)
	if err != nil {
		return nil, v.explain("read blob "+ref.Digest.Short(), err)
	}
	return data, checkBlob(ref, data)
}

func (v *registryView) tags(ctx context.Context) ([]string, error) {
	var all []string
	err := v.repo.Tags(ctx, "", func(tags []string) error {
		all = append(all, tags...)
		return nil
	})
	if err != nil {
		return nil, v.explain("list tags", err)
	}
	return all, nil
}

func (v *registryView) Environments(ctx context.Context) ([]string, error) {
	tags, err := v.tags(ctx)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	var envs []string
	for _, tag := range tags {
		if env, ok := bundle.ChannelEnvironment(tag); ok {
			envs = append(envs, env)
		}
	}
	slices.Sort(envs)
	return envs, err
}

// Bundles lists every bundle: a registry keeps neither their order nor their environment.
func (v *registryView) Bundles(ctx context.Context, _ string) ([]bundle.Digest, error) {
	tags, err := v.tags(ctx)
	var out []bundle.Digest
	for _, tag := range tags {
		if d, ok := bundle.TagBundle(tag); ok {
			out = append(out, d)
		}
	}
	return out, err
}

func descriptor(mediaType string, ref bundle.Ref) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.Digest(ref.Digest), Size: ref.Size}
}

func (r *registry) Prepare(ctx context.Context) error {
	return r.Put(ctx, bundle.EmptyDescriptor().Ref(), []byte(bundle.EmptyBlob))
}

// Put stores a blob. Image manifests are stored by Commit, under their tags.
func (r *registry) Put(ctx context.Context, ref bundle.Ref, data []byte) error {
	d := descriptor("application/octet-stream", ref)
	if ok, err := r.repo.Blobs().Exists(ctx, d); err == nil && ok {
		return nil
	}
	if err := r.repo.Blobs().Push(ctx, d, bytes.NewReader(data)); err != nil && !errors.Is(err, errdef.ErrAlreadyExists) {
		return r.explain("write blob "+ref.Digest.Short(), err)
	}
	return nil
}

// Commit tags the bundle, then the channel. A registry has no compare-and-swap: the tag is read right before and read
// back right after, which leaves a window of one request. Serialise publishers of one environment, as pipelines do.
func (r *registry) Commit(ctx context.Context, c Commit) error {
	if c.Bundle != nil {
		if err := r.push(ctx, c.Bundle); err != nil {
			return err
		}
	}
	if c.Head == nil {
		return nil
	}
	v := &registryView{registry: r}
	tag := c.Head.Descriptor.Tag()
	before, err := v.Tag(ctx, tag)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if before.Digest != c.Expect {
		return ErrConflict
	}
	if err := r.push(ctx, c.Head); err != nil {
		return err
	}
	after, err := v.Tag(ctx, tag)
	if err != nil {
		return err
	}
	if after.Digest != c.Head.Descriptor.Digest {
		return ErrConflict
	}
	return nil
}

func (r *registry) push(ctx context.Context, a *bundle.Artifact) error {
	d := descriptor(bundle.MediaTypeImageManifest, a.Descriptor.Ref())
	if err := r.repo.Manifests().PushReference(ctx, d, bytes.NewReader(a.Manifest), a.Descriptor.Tag()); err != nil {
		return r.explain("write "+a.Descriptor.Tag(), err)
	}
	return nil
}
