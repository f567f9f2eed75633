package depot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/suuupra/gateway/schema/bundle"
)

// gitDepot is an OCI image layout in a branch. It speaks the protocol only: no work tree, no git program, no disk. Each
// publication is a commit on top of the last, pushed with the old tip as a condition, so history stays and one writer
// wins.
type gitDepot struct {
	name      string
	branch    plumbing.ReferenceName
	client    transport.Transport
	endpoint  *transport.Endpoint
	auth      transport.AuthMethod
	transport *http.Transport // nil for ssh

	mu    sync.Mutex
	store *memory.Storage
	tip   plumbing.Hash     // what store holds, zero if nothing
	size  int64             // bytes unpacked into it
	puts  map[string][]byte // file name to content, for the next commit
}

// maxPack bounds what a git server may send, and what that may unpack to.
const (
	maxPack     = 128 << 20
	maxUnpacked = 256 << 20
)

func newGit(l Location, o Options) (*gitDepot, error) {
	endpoint, err := transport.NewEndpoint(l.url.String())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", l, err)
	}
	g := &gitDepot{
		name: l.String(), branch: plumbing.NewBranchReferenceName(l.branch), endpoint: endpoint,
		store: memory.NewStorage(), puts: map[string][]byte{},
	}
	if l.url.Scheme == "ssh" {
		// Keys come from the agent and hosts from known_hosts, as for git itself.
		if l.user != nil {
			g.endpoint.User = l.user.Username()
		}
		g.client = gitssh.NewClient(nil)
		return g, nil
	}
	g.transport = newTransport(l.plain)
	g.client = githttp.NewClientWithOptions(
		&http.Client{Transport: bounded{g.transport}},
		&githttp.ClientOptions{RedirectPolicy: githttp.NoFollowRedirects})
	user, token := l.login(o.Credentials.GitUser, o.Credentials.GitToken)
	if token != "" && user == "" {
		user = "git"
	}
	if user != "" {
		g.auth = &githttp.BasicAuth{Username: user, Password: token}
	}
	return g, nil
}

// bounded cuts off answers that do not end.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(req)
	if err == nil {
		resp.Body = &boundedBody{ReadCloser: resp.Body, left: maxPack}
	}
	return resp, err
}

type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooMuch()
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

func errTooMuch() error {
	return bundle.Refuse(bundle.TooLarge, "the git server sent more than %d bytes, or more than %d unpacked", maxPack, maxUnpacked)
}

func (g *gitDepot) Close() error {
	if g.transport != nil {
		g.transport.CloseIdleConnections()
	}
	return nil
}

func (g *gitDepot) explain(operation string, err error) error {
	var answer *githttp.Err
	var wrapped *plumbing.UnexpectedError // which hides its cause from errors.As
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	switch {
	case errors.Is(err, transport.ErrRepositoryNotFound):
		err = fmt.Errorf("the repository: %w", ErrNotFound)
	case errors.Is(err, transport.ErrAuthenticationRequired), errors.Is(err, transport.ErrAuthorizationFailed):
		err = errors.New("the server asks for credentials, or refuses them")
	case errors.As(err, &answer) && answer.Response != nil:
		err = statusError(answer.Response)
	default:
		err = transient(err)
	}
	return fmt.Errorf("%s from %s: %w", operation, g.name, err)
}

func (g *gitDepot) Look(ctx context.Context, _, last string) (View, error) {
	// The end of ctx also ends answers that go-git leaves open.
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	g.mu.Lock()
	defer g.mu.Unlock()
	tip, err := g.sync(ctx, last)
	if errors.Is(err, ErrNotModified) {
		return nil, err
	}
	if err != nil {
		return nil, g.explain("fetch", err)
	}
	return g.view(tip)
}

// sync brings the tip of the branch into the store. The caller holds mu.
func (g *gitDepot) sync(ctx context.Context, last string) (plumbing.Hash, error) {
	session, err := g.client.NewUploadPackSession(g.endpoint, g.auth)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	defer session.Close()
	adv, err := session.AdvertisedReferencesContext(ctx)
	if errors.Is(err, transport.ErrEmptyRemoteRepository) {
		return plumbing.ZeroHash, fmt.Errorf("branch %s: %w", g.branch.Short(), ErrNotFound)
	}
	if err != nil {
		return plumbing.ZeroHash, err
	}
	tip, ok := adv.References[g.branch.String()]
	switch {
	case !ok:
		return plumbing.ZeroHash, fmt.Errorf("branch %s: %w", g.branch.Short(), ErrNotFound)
	case tip.String() == last:
		return tip, ErrNotModified
	case tip == g.tip:
		return tip, nil
	}
	if !g.tip.IsZero() && g.size < maxUnpacked/2 {
		if err := g.fetch(ctx, session, adv, tip, g.tip); err == nil {
			return tip, nil
		} else if ctx.Err() != nil {
			return plumbing.ZeroHash, err
		}
	}
	// From the start: what was there is too much by now, or the server could not build on it (a rewritten branch).
	g.store, g.tip, g.size = memory.NewStorage(), plumbing.ZeroHash, 0
	return tip, g.fetch(ctx, session, adv, tip, plumbing.ZeroHash)
}

// fetch asks for the tree of one commit, without its history, and without what another commit had.
func (g *gitDepot) fetch(ctx context.Context, session transport.UploadPackSession, adv *packp.AdvRefs, tip, have plumbing.Hash) error {
	req := packp.NewUploadPackRequestFromCapabilities(adv.Capabilities)
	req.Capabilities.Delete(capability.Sideband)
	req.Capabilities.Delete(capability.Sideband64k)
	shallow := adv.Capabilities.Supports(capability.Shallow)
	for c, wanted := range map[capability.Capability]bool{
		capability.NoProgress: adv.Capabilities.Supports(capability.NoProgress), capability.Shallow: shallow,
	} {
		if wanted {
			if err := req.Capabilities.Set(c); err != nil {
				return err
			}
		}
	}
	req.Wants = []plumbing.Hash{tip}
	if shallow {
		req.Depth = packp.DepthCommits(1)
	}
	if !have.IsZero() {
		// Only for a thin pack does the server look at what a shallow client has.
		if err := req.Capabilities.Set(capability.ThinPack); err != nil {
			return err
		}
		req.Haves = []plumbing.Hash{have}
		if shallow {
			req.Shallows = []plumbing.Hash{have}
		}
	}
	resp, err := session.UploadPack(ctx, req)
	if err != nil {
		return err
	}
	defer resp.Close()
	size, err := unpack(resp, g.store)
	if err != nil {
		return err
	}
	if _, err := object.GetCommit(g.store, tip); err != nil {
		return fmt.Errorf("the server sent another commit than %s: %w", tip, err)
	}
	g.tip, g.size = tip, g.size+size
	return nil
}

// view describes the layout in a commit.
func (g *gitDepot) view(tip plumbing.Hash) (*indexView, error) {
	commit, err := object.GetCommit(g.store, tip)
	if err != nil {
		return nil, g.explain("read commit", err)
	}
	tree, err := commit.Tree()
	if err != nil {
		return nil, g.explain("read commit", err)
	}
	data, err := treeFile(tree, indexName, bundle.MaxIndex)
	if err != nil {
		return nil, g.explain("read "+indexName, err)
	}
	read := func(_ context.Context, ref bundle.Ref) ([]byte, error) {
		return treeFile(tree, blobName(ref.Digest), ref.Size)
	}
	v, err := newIndexView(data, tip.String(), read)
	if err != nil {
		return nil, g.explain("read "+indexName, err)
	}
	return v, nil
}

// treeFile reads a plain file of a tree. Links and submodules are not followed.
func treeFile(tree *object.Tree, name string, limit int64) ([]byte, error) {
	file, err := tree.File(name)
	if errors.Is(err, object.ErrFileNotFound) || errors.Is(err, object.ErrEntryNotFound) || errors.Is(err, object.ErrDirectoryNotFound) {
		return nil, fmt.Errorf("%s: %w", name, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	if !file.Mode.IsRegular() {
		return nil, fmt.Errorf("%s is not a plain file", name)
	}
	if file.Size > limit {
		return nil, bundle.Refuse(bundle.TooLarge, "%s is larger than the %d bytes it may have", name, limit)
	}
	r, err := file.Reader()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return readAll(r, limit)
}

// unpack stores the objects of a pack, after it has looked at how large they would become: deltas and zlib streams can
// describe gigabytes in a few bytes. It returns how large they are.
func unpack(r io.Reader, store *memory.Storage) (int64, error) {
	data, err := readAll(r, maxPack)
	if err != nil {
		return 0, err
	}
	size, err := measurePack(data)
	if err != nil {
		return 0, err
	}
	return size, updateStorage(store, bytes.NewReader(data))
}
