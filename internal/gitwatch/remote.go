package gitwatch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"golang.org/x/crypto/ssh"

	"github.com/suuupra/gateway/internal/gitsend"
)

const lookTimeout = 30 * time.Second

// Tip is what a ref stands for at the moment.
type Tip struct {
	Name plumbing.ReferenceName
	ID   plumbing.Hash // a commit, or a tag that leads to one
}

// NoRef is a repository that answers, and does not have the ref.
type NoRef struct{ Names []plumbing.ReferenceName }

// Error names the ref.
func (e *NoRef) Error() string {
	if e.Names[0] == plumbing.HEAD {
		return "the repository has no HEAD: it is empty, or its default branch does not exist"
	}
	return fmt.Sprintf("the repository has no branch or tag %s", e.Names[0].Short())
}

// Resolve finds the first of the names that a store of refs has, without following what it stands for.
func Resolve(refs storer.ReferenceStorer, names []plumbing.ReferenceName) (Tip, error) {
	for _, name := range names {
		ref, err := storer.ResolveReference(refs, name)
		if err == nil {
			return Tip{ref.Name(), ref.Hash()}, nil
		}
		if !errors.Is(err, plumbing.ErrReferenceNotFound) {
			return Tip{}, fmt.Errorf("read ref %s: %w", name, err)
		}
	}
	return Tip{}, &NoRef{names}
}

// Pick finds the first of the names among the refs that a server advertises.
func Pick(adv *packp.AdvRefs, names []plumbing.ReferenceName) (Tip, error) {
	for _, name := range names {
		if name == plumbing.HEAD && adv.Head != nil {
			return Tip{name, *adv.Head}, nil
		}
		if id, ok := adv.References[name.String()]; ok {
			return Tip{name, id}, nil
		}
	}
	return Tip{}, &NoRef{names}
}

// Remote is the way to one repository behind https or ssh. It is safe for concurrent use; one conversation is held at a
// time.
type Remote struct {
	client    transport.Transport
	endpoint  *transport.Endpoint
	auth      transport.AuthMethod
	transport *http.Transport // nil for ssh
	pending   chan struct{}   // holds a token while a connection is in use
}

// NewRemote opens no connection. The token is the password for https where the address has none; keys for ssh come from the
// agent and hosts from known_hosts, as for git itself. maxPack bounds the bytes of an answer.
func NewRemote(a *Address, token string, maxPack int64) (*Remote, error) {
	if a.url == nil {
		return nil, errors.New("a directory is not reached over a network")
	}
	endpoint, err := transport.NewEndpoint(a.url.String())
	if err != nil {
		return nil, errors.New("the address is not a valid URL")
	}
	r := &Remote{endpoint: endpoint, pending: make(chan struct{}, 1)}
	if a.url.Scheme == "ssh" {
		endpoint.User = a.user
		r.client = gitssh.NewClient(&ssh.ClientConfig{Timeout: 10 * time.Second})
		return r, nil
	}
	r.transport = newTransport(a.plain)
	r.client = githttp.NewClientWithOptions(&http.Client{Transport: bounded{r.transport, maxPack}},
		&githttp.ClientOptions{RedirectPolicy: githttp.NoFollowRedirects}) // credentials are for the host they were given for
	user, password := a.user, a.password
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

// Rest lets go of connections that nobody uses.
func (r *Remote) Rest() {
	if r.transport != nil {
		r.transport.CloseIdleConnections()
	}
}

// Look finds the first of the names among the refs of the repository, without fetching anything.
func (r *Remote) Look(ctx context.Context, names []plumbing.ReferenceName) (t Tip, err error) {
	adv, err := r.advertised(ctx)
	if err == nil {
		t, err = Pick(adv, names)
	} else if errors.Is(err, transport.ErrEmptyRemoteRepository) {
		err = &NoRef{names}
	}
	if err != nil {
		return Tip{}, fmt.Errorf("ask for the ref: %w", err)
	}
	return t, nil
}

// advertised is what git ls-remote prints.
func (r *Remote) advertised(ctx context.Context) (*packp.AdvRefs, error) {
	found := make(chan *packp.AdvRefs, 1) // a conversation that was given up may still end
	err := r.Talk(ctx, lookTimeout, func(_ context.Context, _ transport.UploadPackSession, adv *packp.AdvRefs) error {
		found <- adv
		return nil
	})
	if err != nil {
		return nil, err
	}
	return <-found, nil
}

// Talk holds a conversation with the server, of at most limit, that begins with the refs it advertises.
func (r *Remote) Talk(ctx context.Context, limit time.Duration, talk func(context.Context, transport.UploadPackSession, *packp.AdvRefs) error) error {
	return r.hold(ctx, limit, func(ctx context.Context) error {
		session, err := r.client.NewUploadPackSession(r.endpoint, r.auth)
		if err != nil {
			return err
		}
		defer func() { _ = session.Close() }()
		adv, err := session.AdvertisedReferencesContext(ctx)
		if err != nil {
			return err
		}
		return talk(ctx, session, adv)
	})
}

// Send moves a branch of the repository, within limit. Errors are those of gitsend, and of the conversation.
func (r *Remote) Send(ctx context.Context, limit time.Duration, p gitsend.Push) error {
	return r.hold(ctx, limit, func(ctx context.Context) error {
		session, err := r.client.NewReceivePackSession(r.endpoint, r.auth)
		if err != nil {
			return err
		}
		defer func() { _ = session.Close() }()
		return p.Send(ctx, session)
	})
}

// hold has one conversation, of at most limit. The ssh client does not listen to a context while it connects, so a server that hangs is
// left behind; no other conversation is started until it gives up.
func (r *Remote) hold(ctx context.Context, limit time.Duration, conversation func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	select {
	case r.pending <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("the connection before has not ended: %w", ctx.Err())
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-r.pending }()
		done <- conversation(ctx)
	}()
	if r.transport != nil {
		return explain(<-done) // it listens to ctx at every step
	}
	select {
	case err := <-done:
		return explain(err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// explain says what the git library means.
func explain(err error) error {
	var hidden *plumbing.UnexpectedError // does not unwrap
	if errors.As(err, &hidden) {
		err = hidden.Err
	}
	var answer *githttp.Err
	switch {
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return errors.New("the server knows no such repository, or hides it from these credentials")
	case errors.Is(err, transport.ErrAuthenticationRequired), errors.Is(err, transport.ErrAuthorizationFailed):
		return errors.New("the server asks for credentials, or refuses the ones it got")
	case errors.As(err, &answer) && answer.Response != nil:
		return fmt.Errorf("the server answered %d", answer.Response.StatusCode)
	}
	return err
}
