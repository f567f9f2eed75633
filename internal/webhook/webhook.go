// Package webhook receives what git forges send when somebody has pushed. A delivery is a hint to look at a repository: it is
// proven to come from the forge, and even then nothing in it is believed but which repository and which ref are worth a look.
// It knows no HTTP server, opens no connection, and must not fetch or activate anything.
package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"regexp"
	"time"

	"github.com/suuupra/gateway/internal/gitwatch"
)

// Provider is the kind of forge that sends.
type Provider string

// The providers.
const (
	GitHub    Provider = "github"
	GitLab    Provider = "gitlab" // with a signing token (whsec_...), or the older secret token
	Gitea     Provider = "gitea"
	Forgejo   Provider = "forgejo"
	Bitbucket Provider = "bitbucket" // Cloud and Data Center
	Generic   Provider = "generic"   // anything that can sign {"repository", "ref", "commit"}, such as a CI job
)

// MinSecret is the least length of a secret, in bytes. Whoever has one delivery can try shorter ones at leisure.
const MinSecret = 16

// Secret returns a secret as it is now; it is asked for each delivery, so that a rotation needs no restart. It returns at once.
type Secret func() ([]byte, error)

// Hook is one webhook of one repository.
type Hook struct {
	ID         string // the name in its path: letters, digits, "-" and "_", up to 63
	Provider   Provider
	Secrets    []Secret // one, or two while they are rotated: either is taken
	Insecure   bool     // take what is not signed; then there are no secrets
	Repository string   // its address, in any of the forms the forge gives: https, ssh or host:path
	Refs       []string // branches and tags that matter, "main" or "refs/heads/main"; none: all of them
}

// Header is the header fields of a request, by name without regard to case. http.Header is one.
type Header interface{ Values(name string) []string }

// Request is one delivery.
type Request struct {
	Hook          string // the hook's name, as the path has it
	Method        string
	Header        Header
	ContentLength int64     // -1: unknown
	Body          io.Reader // nil: none. Whoever hands it over bounds the time a read may take
	From          netip.Addr
}

// Answer is what the sender is told. Code never changes its meaning.
type Answer struct {
	Status     int
	Code       string
	Detail     string
	RetryAfter time.Duration // 0: nothing to wait for
}

// Hint says that a ref may have moved. It comes from the forge, or from whoever has the secret; Commit is what they say it
// moved to, and is only good for a log line.
type Hint struct {
	Hook       string
	Repository string // host/path of the hook's repository
	Ref        string // full name
	Commit     string // hexadecimal; empty if none is named, or the ref was deleted
	Delivery   string // empty where the provider names none
}

// Firsts remembers names on behalf of all gateways: First reports whether nobody has asked for the name within ttl.
type Firsts interface {
	First(ctx context.Context, name string, ttl time.Duration) (bool, error)
}

// Options are the settings of a Receiver.
type Options struct {
	Hooks []Hook
	// Hint hears of each delivery that matters. It is called by the goroutine that serves the request, by several at a time,
	// and returns at once: hand it on to a Debouncer.
	Hint    func(Hint)
	Observe func(hook, code string) // counts the answers of a hook; "" is one that is not known. Codes lists the codes. May be nil
	Seen    Firsts                  // nil: this process alone remembers
	Now     func() time.Time        // nil is time.Now
	Log     *slog.Logger            // nil drops everything
}

// Receiver judges deliveries. It is safe for concurrent use.
type Receiver struct {
	hooks    map[string]*hook
	hint     func(Hint)
	observe  func(hook, code string)
	seen     *seen
	failures *failures
	memory   budget
	now      func() time.Time
	log      *slog.Logger
}

// hook is a Hook that was found to be in order.
type hook struct {
	id         string
	provider   *provider
	secrets    []Secret
	insecure   bool
	repository string
	refs       map[string]bool // full names; empty: all
}

var idPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)

// New judges the options: all hooks, whatever is wrong with the first.
func New(o Options) (*Receiver, error) {
	if o.Hint == nil {
		return nil, errors.New("webhooks: Hint must be set")
	}
	if o.Observe == nil {
		o.Observe = func(string, string) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r := &Receiver{
		hooks: map[string]*hook{}, hint: o.Hint, observe: o.Observe, seen: newSeen(o.Seen), failures: newFailures(),
		memory: budget{limit: maxBuffered}, now: o.Now, log: o.Log,
	}
	var wrong []error
	for _, spec := range o.Hooks {
		h, err := newHook(spec)
		if err == nil && r.hooks[spec.ID] != nil {
			err = errors.New("there is another one of that id")
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("webhook %.80q: %w", spec.ID, err))
			continue
		}
		r.hooks[spec.ID] = h
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	return r, nil
}

func newHook(spec Hook) (*hook, error) {
	h := &hook{id: spec.ID, provider: providers[spec.Provider], secrets: spec.Secrets, insecure: spec.Insecure, refs: map[string]bool{}}
	var ok bool
	h.repository, ok = normalise(spec.Repository)
	switch {
	case !idPattern.MatchString(spec.ID):
		return nil, errors.New(`the id must be up to 63 letters, digits, "-" and "_", the first a letter or a digit`)
	case h.provider == nil:
		return nil, fmt.Errorf("provider %.40q is not one of github, gitlab, gitea, forgejo, bitbucket, generic", spec.Provider)
	case spec.Insecure && len(spec.Secrets) > 0:
		return nil, errors.New("it has a secret and is insecure: take one away")
	case !spec.Insecure && len(spec.Secrets) == 0:
		return nil, errors.New("it has no secret: anybody could send to it. Give it one, the same as at the forge")
	case len(spec.Secrets) > 2:
		return nil, fmt.Errorf("it has %d secrets; two are enough to rotate them", len(spec.Secrets))
	case !ok: // not quoted: it may hold a password
		return nil, errors.New("the repository is not an address such as https://host/org/repo or git@host:org/repo")
	}
	for _, ref := range spec.Refs {
		names, err := gitwatch.ParseRef(ref)
		if err == nil && (ref == "" || ref == "HEAD") {
			err = errors.New("HEAD is no ref that is pushed to; name the branch")
		}
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			h.refs[name.String()] = true
		}
	}
	return h, nil
}
