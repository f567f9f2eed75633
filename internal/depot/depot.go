// Package depot reaches the places where bundles are kept: a folder, a .gwb file, a web server, a branch of a git
// repository, an OCI registry. All of them hold the same OCI artifacts; a depot finds, fetches and stores their bytes,
// bounded, and knows how to replace a channel so that of two writers one wins. It must not judge what it carries: that is
// for package bundle, whose Verify sees every byte before anything else does. Format: docs/bundle-format.md.
package depot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/suuupra/gateway/schema/bundle"
)

// What callers branch on. Anything else is a failure of I/O, or a refusal of package bundle.
var (
	// ErrNotModified says that nothing changed since the state with the ETag that was given.
	ErrNotModified = errors.New("not modified")
	// ErrNotFound says that the depot, or what was asked of it, does not exist.
	ErrNotFound = errors.New("not found")
	// ErrConflict says that somebody else published in between.
	ErrConflict = errors.New("the destination has changed in the meantime")
)

// Unavailable is a failure that asks to be tried again later.
type Unavailable struct {
	After time.Duration // how long the server wants to be left alone; 0 if it did not say
	Err   error
}

// Error returns the cause.
func (u *Unavailable) Error() string { return u.Err.Error() }

// Unwrap returns the cause.
func (u *Unavailable) Unwrap() error { return u.Err }

// Depot is a place where bundles are kept.
type Depot interface {
	// Look reads the present state. With an environment and the ETag of an earlier state it returns ErrNotModified if the
	// channel of that environment cannot have changed. A place that does not exist yet is ErrNotFound.
	Look(ctx context.Context, environment, last string) (View, error)
	// Close releases connections.
	Close() error
}

// View is one state of a depot. Digests are only names here: who reads checks what comes.
type View interface {
	// ETag names the state, for the next Look. It may be empty.
	ETag() string
	// Tag returns the image manifest a tag names, or ErrNotFound.
	Tag(ctx context.Context, tag string) (bundle.Ref, error)
	// Image reads an image manifest; Blob reads a layer. Neither returns other bytes than ref names.
	Image(ctx context.Context, ref bundle.Ref) ([]byte, error)
	Blob(ctx context.Context, ref bundle.Ref) ([]byte, error)
	// Environments lists the channels, sorted.
	Environments(ctx context.Context) ([]string, error)
	// Bundles lists the bundles of an environment by manifest digest, in the order of publication if the place keeps one.
	Bundles(ctx context.Context, environment string) ([]bundle.Digest, error)
}

// Writer is a depot that takes bundles.
type Writer interface {
	Depot
	// Prepare readies an empty place. It is called before the first Put.
	Prepare(ctx context.Context) error
	// Put stores a layer, unless it is there. It may be called by several goroutines.
	Put(ctx context.Context, ref bundle.Ref, data []byte) error
	// Commit stores the image manifests, lists the bundle and moves the head's tag; all layers have been Put. It returns
	// ErrConflict if that tag no longer names the image manifest Expect.
	Commit(ctx context.Context, c Commit) error
}

// Commit is a publication.
type Commit struct {
	Bundle  *bundle.Artifact // nil: no bundle is added
	Head    *bundle.Artifact // the channel, or the approvals, of an environment; nil: none is moved
	Expect  bundle.Digest    // image manifest of the head that was read before; empty if there was none
	Message string           // one line, for places that keep a history
}

// artifacts are those there are.
func (c Commit) artifacts() []*bundle.Artifact {
	return slices.DeleteFunc([]*bundle.Artifact{c.Bundle, c.Head}, func(a *bundle.Artifact) bool { return a == nil })
}

// keepBundles is how many bundles of one environment stay listed in an index.
const keepBundles = 64

// Options say how to open a depot.
type Options struct {
	Credentials Credentials
	UserAgent   string // e.g. "gwrun/0.1.0"
}

// Open returns the depot at a location. It opens no connection and touches no file.
func Open(l Location, o Options) (Depot, error) {
	switch l.Kind {
	case Files:
		return &folder{path: l.Path}, nil
	case Archive:
		return &archive{path: l.Path}, nil
	case Web:
		return newWeb(l, o), nil
	case Git:
		return newGit(l, o)
	case Registry:
		return newRegistry(l, o)
	}
	return nil, fmt.Errorf("open %s: unknown kind of place", l)
}

// OpenWriter returns the depot at a location, if it takes bundles.
func OpenWriter(l Location, o Options) (Writer, error) {
	d, err := Open(l, o)
	if err != nil {
		return nil, err
	}
	w, ok := d.(Writer)
	if !ok || l.Bundle != "" {
		d.Close()
		return nil, fmt.Errorf("%s cannot be published to: name a folder, git+https://, oci:// or https://", l)
	}
	return w, nil
}

// indexView is a state described by an index.json.
type indexView struct {
	etag  string
	index *bundle.Index
	read  func(ctx context.Context, ref bundle.Ref) ([]byte, error)
}

func newIndexView(data []byte, etag string, read func(context.Context, bundle.Ref) ([]byte, error)) (*indexView, error) {
	index, err := bundle.ParseIndex(data)
	if err != nil {
		return nil, err
	}
	return &indexView{etag: etag, index: index, read: read}, nil
}

func (v *indexView) ETag() string { return v.etag }

func (v *indexView) Tag(_ context.Context, tag string) (bundle.Ref, error) {
	d, ok := v.index.Find(tag)
	if !ok {
		return bundle.Ref{}, fmt.Errorf("%s: %w", tag, ErrNotFound)
	}
	return d.Ref(), nil
}

func (v *indexView) Image(ctx context.Context, ref bundle.Ref) ([]byte, error) {
	return v.Blob(ctx, ref)
}

func (v *indexView) Blob(ctx context.Context, ref bundle.Ref) ([]byte, error) {
	data, err := v.read(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("read blob %s: %w", ref.Digest.Short(), err)
	}
	return data, checkBlob(ref, data)
}

func (v *indexView) Environments(context.Context) ([]string, error) {
	var envs []string
	for _, d := range v.index.Channels() {
		if env, ok := bundle.ChannelEnvironment(d.Tag()); ok {
			envs = append(envs, env)
		}
	}
	slices.Sort(envs)
	return envs, nil
}

func (v *indexView) Bundles(_ context.Context, environment string) ([]bundle.Digest, error) {
	var out []bundle.Digest
	for _, d := range v.index.Bundles() {
		if digest, ok := bundle.TagBundle(d.Tag()); ok && (environment == "" || d.Environment() == environment) {
			out = append(out, digest)
		}
	}
	return out, nil
}

// checkBlob refuses bytes that are not the ones that were asked for.
func checkBlob(ref bundle.Ref, data []byte) error {
	if bundle.RefOf(data) != ref {
		return bundle.Refuse(bundle.DigestMismatch, "blob %s holds other bytes than its name says: it was damaged or changed; publish it again", ref.Digest.Short())
	}
	return nil
}

// putImages stores the image manifests of a commit where they are blobs like others.
func putImages(c Commit, put func(ref bundle.Ref, data []byte) error) error {
	for _, a := range c.artifacts() {
		if err := put(a.Descriptor.Ref(), a.Manifest); err != nil {
			return err
		}
	}
	return nil
}

// advance returns the index after a commit, or ErrConflict. A nil index is an empty place.
func advance(index *bundle.Index, c Commit) ([]byte, error) {
	if index == nil {
		index = bundle.NewIndex()
	}
	if c.Head != nil {
		if d, _ := index.Find(c.Head.Descriptor.Tag()); d.Digest != c.Expect {
			return nil, ErrConflict
		}
	}
	for _, a := range c.artifacts() {
		index = index.With(a.Descriptor)
	}
	return index.Trim(keepBundles).Encode()
}
