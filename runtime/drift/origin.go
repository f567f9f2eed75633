package drift

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"golang.org/x/crypto/ssh"
)

const (
	lookTimeout  = 30 * time.Second
	fetchTimeout = 5 * time.Minute
	shallowDepth = 50 // commits, where the whole history is too large
	incoming     = "incoming-"
)

// tip is what the ref stands for at the moment.
type tip struct {
	name plumbing.ReferenceName
	id   plumbing.Hash // a commit, or a tag that leads to one
}

// origin is where the tracked ref lives.
type origin interface {
	// look finds the ref, without fetching anything.
	look(ctx context.Context) (tip, error)
	// open returns a store that holds what look found last.
	open(ctx context.Context, t tip) (*store, error)
	// rest lets go of connections until the next check.
	rest()
}

// errNoRef is a repository that answers, and does not have the ref.
type errNoRef struct{ names []plumbing.ReferenceName }

func (e *errNoRef) Error() string {
	if e.names[0] == plumbing.HEAD {
		return "the repository has no HEAD: it is empty, or its default branch does not exist"
	}
	return fmt.Sprintf("the repository has no branch or tag %s", e.names[0].Short())
}

// errMoved is a push between look and open: the check starts again.
var errMoved = errors.New("the ref moved in the middle of the check")

// fetchError is a failure of the server or the way to it, as opposed to one of the clone.
type fetchError struct{ err error }

func (e *fetchError) Error() string { return "fetch: " + e.err.Error() }
func (e *fetchError) Unwrap() error { return e.err }

// directory is a repository on this machine, read where it lies.
type directory struct {
	dir   string
	names []plumbing.ReferenceName
}

func (d *directory) rest() {}

func (d *directory) look(context.Context) (tip, error) {
	s, err := openDirectory(d.dir)
	if err != nil {
		return tip{}, err
	}
	for _, name := range d.names {
		ref, err := storer.ResolveReference(s.refs, name)
		if err == nil {
			return tip{ref.Name(), ref.Hash()}, nil
		}
		if !errors.Is(err, plumbing.ErrReferenceNotFound) {
			return tip{}, fmt.Errorf("read ref %s: %w", name, err)
		}
	}
	return tip{}, &errNoRef{d.names}
}

func (d *directory) open(context.Context, tip) (*store, error) { return openDirectory(d.dir) }

// remote is a repository behind https or ssh, with the clone kept of it.
type remote struct {
	names     []plumbing.ReferenceName
	client    transport.Transport
	endpoint  *transport.Endpoint
	auth      transport.AuthMethod
	transport *http.Transport // nil for ssh
	clone     clone
	limits    limits
	pending   chan struct{} // holds a token while a connection is in use
}

func newRemote(l *location, token, dir string, names []plumbing.ReferenceName, lim limits) (*remote, error) {
	endpoint, err := transport.NewEndpoint(l.url.String())
	if err != nil {
		return nil, errors.New("the address is not a valid URL")
	}
	r := &remote{names: names, endpoint: endpoint, clone: clone{dir}, limits: lim, pending: make(chan struct{}, 1)}
	if l.url.Scheme == "ssh" {
		// Keys come from the agent and hosts from known_hosts, as for git itself.
		endpoint.User = l.user
		r.client = gitssh.NewClient(&ssh.ClientConfig{Timeout: 10 * time.Second})
		return r, nil
	}
	r.transport = newTransport(l.plain)
	r.client = githttp.NewClientWithOptions(&http.Client{Transport: bounded{r.transport, lim.pack}},
		&githttp.ClientOptions{RedirectPolicy: githttp.NoFollowRedirects}) // credentials are for the host they were given for
	user, password := l.user, l.password
	if password == "" {
		password = token
	}
	if password != "" && user == "" {
		user = "git"
	}
	if user != "" {
		r.auth = &githttp.BasicAuth{Username: user, Password: password}
	}
	return r, nil
}

// newTransport makes connections with a time limit on every step. Without TLS it reaches loopback addresses only, whatever
// a name resolves to.
func newTransport(plain bool) *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	t := &http.Transport{
		TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 60 * time.Second, IdleConnTimeout: 30 * time.Second,
		DisableCompression: true, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 64 << 10,
	}
	if plain {
		dialer.Control = func(_, address string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			if err != nil || !at.Addr().Unmap().IsLoopback() {
				return fmt.Errorf("%s is not a loopback address, and the connection would not be encrypted", address)
			}
			return nil
		}
	} else {
		t.Proxy = http.ProxyFromEnvironment
	}
	t.DialContext = dialer.DialContext
	return t
}

func (r *remote) rest() {
	if r.transport != nil {
		r.transport.CloseIdleConnections()
	}
}

// within runs a conversation with the server. The ssh client does not listen to a context while it connects, so a server
// that hangs is left behind; no other one is started until it gives up.
func (r *remote) within(ctx context.Context, limit time.Duration, talk func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	select {
	case r.pending <- struct{}{}:
	case <-ctx.Done():
		cancel()
		return fmt.Errorf("the connection before has not ended: %w", ctx.Err())
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-r.pending }()
		done <- talk(ctx)
	}()
	defer cancel()
	if r.transport != nil {
		return <-done // it listens to ctx at every step
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *remote) look(ctx context.Context) (t tip, err error) {
	found := make(chan tip, 1)
	err = r.within(ctx, lookTimeout, func(ctx context.Context) error {
		session, err := r.client.NewUploadPackSession(r.endpoint, r.auth)
		if err != nil {
			return err
		}
		defer func() { _ = session.Close() }()
		adv, err := session.AdvertisedReferencesContext(ctx)
		if err != nil {
			return err
		}
		t, err := r.pick(adv)
		found <- t
		return err
	})
	if err != nil {
		return tip{}, fmt.Errorf("ask for the ref: %w", r.explain(err))
	}
	return <-found, nil
}

// pick finds the ref among those the server advertises.
func (r *remote) pick(adv *packp.AdvRefs) (tip, error) {
	for _, name := range r.names {
		if name == plumbing.HEAD && adv.Head != nil {
			return tip{name, *adv.Head}, nil
		}
		if id, ok := adv.References[name.String()]; ok {
			return tip{name, id}, nil
		}
	}
	return tip{}, &errNoRef{r.names}
}

func (r *remote) explain(err error) error {
	var hidden *plumbing.UnexpectedError // does not unwrap
	if errors.As(err, &hidden) {
		err = hidden.Err
	}
	var answer *githttp.Err
	switch {
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return &errNoRef{r.names}
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return errors.New("the server knows no such repository, or hides it from these credentials")
	case errors.Is(err, transport.ErrAuthenticationRequired), errors.Is(err, transport.ErrAuthorizationFailed):
		return errors.New("the server asks for credentials, or refuses the ones it got")
	case errors.As(err, &answer) && answer.Response != nil:
		return fmt.Errorf("the server answered %d", answer.Response.StatusCode)
	}
	return err
}

// open fetches what the clone lacks. A history too large to keep is cut off; then each new head is fetched anew.
func (r *remote) open(ctx context.Context, t tip) (*store, error) {
	if err := r.clone.tidy(r.limits); err != nil {
		return nil, err
	}
	s, st, err := r.clone.open()
	if err != nil {
		return nil, err
	}
	if s.has(t.id) && r.fetched(s) == t.id {
		return s, nil
	}
	if !s.shallow() {
		err = r.fetch(ctx, s, st, t, 0)
	}
	var large *errTooLarge
	if s.shallow() || errors.As(err, &large) {
		if err := r.clone.discard(); err != nil {
			return nil, err
		}
		if s, st, err = r.clone.open(); err != nil {
			return nil, err
		}
		err = r.fetch(ctx, s, st, t, shallowDepth)
	}
	if err != nil {
		return nil, &fetchError{r.explain(err)}
	}
	s, _, err = r.clone.open() // a storage lists its packs once
	return s, err
}

// fetched is what the last fetch was for.
func (r *remote) fetched(s *store) plumbing.Hash {
	ref, err := s.refs.Reference(headRef)
	if err != nil {
		return plumbing.ZeroHash
	}
	return ref.Hash()
}

func (r *remote) fetch(ctx context.Context, s *store, st *filesystem.Storage, t tip, depth int) error {
	return r.within(ctx, fetchTimeout, func(ctx context.Context) error {
		session, err := r.client.NewUploadPackSession(r.endpoint, r.auth)
		if err != nil {
			return err
		}
		defer func() { _ = session.Close() }()
		adv, err := session.AdvertisedReferencesContext(ctx)
		if err != nil {
			return err
		}
		if now, err := r.pick(adv); err != nil {
			return err
		} else if now.id != t.id {
			return errMoved
		}
		req := packp.NewUploadPackRequestFromCapabilities(adv.Capabilities)
		req.Capabilities.Delete(capability.Sideband)
		req.Capabilities.Delete(capability.Sideband64k)
		if adv.Capabilities.Supports(capability.NoProgress) {
			if err := req.Capabilities.Set(capability.NoProgress); err != nil {
				return err
			}
		}
		req.Wants = []plumbing.Hash{t.id}
		if depth > 0 {
			if err := req.Capabilities.Set(capability.Shallow); err != nil {
				return err
			}
			req.Depth = packp.DepthCommits(depth)
		} else if last := r.fetched(s); s.has(last) && last != t.id {
			req.Haves = []plumbing.Hash{last}
		}
		resp, err := session.UploadPack(ctx, req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Close() }()
		if err := r.receive(st, resp); err != nil {
			return err
		}
		if ends := append(resp.Shallows, adv.Shallows...); len(ends) > 0 {
			if err := st.SetShallow(ends); err != nil {
				return fmt.Errorf("keep where the history ends: %w", err)
			}
		}
		return st.SetReference(plumbing.NewHashReference(headRef, t.id))
	})
}

// receive puts a pack on disk, looks at what it would become, and only then takes it in.
func (r *remote) receive(st *filesystem.Storage, pack io.Reader) error {
	f, err := os.CreateTemp(r.clone.dir, incoming)
	if err != nil {
		return fmt.Errorf("receive pack: %w", err)
	}
	defer func() {
		_ = f.Close()
		_ = os.Remove(f.Name())
	}()
	if err := r.limits.copyPack(f, pack); err != nil {
		return err
	}
	for _, use := range []func() error{
		func() error { return r.limits.measure(f) },
		func() error { return packfile.UpdateObjectStorage(st, f) },
	} {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("receive pack: %w", err)
		}
		if err := use(); err != nil {
			return err
		}
	}
	return nil
}

// commit follows tags to the commit they stand for.
func (s *store) commit(id plumbing.Hash) (*object.Commit, error) {
	for range 5 {
		tag, err := object.GetTag(s, id)
		if missing(err) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read tag %s: %w", id, err)
		}
		id = tag.Target
	}
	c, err := object.GetCommit(s, id)
	if err != nil {
		return nil, fmt.Errorf("read commit %s: %w", id, err)
	}
	return c, nil
}
