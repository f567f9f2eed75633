package gitwatch

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// Address is a repository whose address has been judged: a URL, or a directory. Printed, it shows no credentials.
type Address struct {
	url      *url.URL // without user; nil for a directory
	dir      string
	user     string
	password string
	plain    bool // no TLS; loopback only
}

// String is the address without credentials.
func (a *Address) String() string {
	if a.url == nil {
		return a.dir
	}
	return a.url.String()
}

// GoString keeps %#v from showing the password.
func (a *Address) GoString() string { return a.String() }

// Directory is the path of a repository on this machine; false for one that is reached over a network.
func (a *Address) Directory() (string, bool) { return a.dir, a.url == nil }

// Password is the one that stood in the address, for keeping it out of messages; empty if there was none.
func (a *Address) Password() string { return a.password }

var (
	schemePattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*$`)
	hostPattern   = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)
	userPattern   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@+-]*$`)
)

// SplitSubdirectory takes the folder off an address as people write it, "https://host/org/repo.git//gateway": what stands
// behind a double slash is a folder inside the repository. Without one the folder is empty.
func SplitSubdirectory(address string) (repository, subdirectory string) {
	from := 0
	if i := strings.Index(address, "://"); i >= 0 {
		from = i + len("://")
	}
	if i := strings.Index(address[from:], "//"); i > 0 {
		return address[:from+i], strings.Trim(address[from+i:], "/")
	}
	return address, ""
}

// ParseAddress refuses everything that is not plainly https, ssh, http to a loopback address, or a directory. Git itself
// understands addresses that run programs (ext::), options that look like addresses (-oProxyCommand, --upload-pack) and
// transports without any authentication (git://). No message quotes the address: it may hold a password.
func ParseAddress(s string) (*Address, error) {
	switch scheme, _, ok := strings.Cut(s, "://"); {
	case s == "":
		return nil, errors.New("the address is empty")
	case len(s) > 2048 || strings.ContainsFunc(s, control):
		return nil, errors.New("the address is too long, or holds a control character")
	case strings.HasPrefix(s, "-"):
		return nil, errors.New(`the address starts with "-", like an option; write ./ before a directory of that name`)
	case ok && schemePattern.MatchString(scheme):
		return parseURL(s)
	}
	if head, _, ok := strings.Cut(s, ":"); ok && !strings.Contains(head, "/") {
		if strings.HasPrefix(s[len(head):], "::") {
			return nil, fmt.Errorf("%.20q names a remote helper, which is a program to run; use https:// or ssh://", head+"::")
		}
		return nil, errors.New("host:path is not taken; write ssh://user@host/path, or ./ before a directory with a colon")
	}
	dir, err := filepath.Abs(s)
	if err != nil {
		return nil, fmt.Errorf("find the directory: %w", err)
	}
	return &Address{dir: dir}, nil
}

func parseURL(s string) (*Address, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, errors.New("the address is not a valid URL") // the error of url.Parse quotes it
	}
	a := &Address{url: u}
	switch u.Scheme {
	case "https", "ssh":
	case "http":
		if !loopback(u.Hostname()) {
			return nil, errors.New("http:// is taken for loopback addresses only: anybody on the way could change the answer; use https://")
		}
		a.plain = true
	case "file":
		return nil, errors.New("file:// is not taken; write the path of the directory itself")
	default:
		return nil, fmt.Errorf("scheme %.20q is not one of https, ssh, http (loopback only); a directory is written as its path", u.Scheme)
	}
	if err := checkURL(u); err != nil {
		return nil, err
	}
	if u.User != nil {
		a.user = u.User.Username()
		a.password, _ = u.User.Password()
		if u.Scheme == "ssh" && (a.password != "" || !userPattern.MatchString(a.user)) {
			return nil, errors.New("an ssh address takes a plain user name and no password: keys come from the agent")
		}
		u.User = nil
	}
	return a, nil
}

func checkURL(u *url.URL) error {
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); err != nil && !hostPattern.MatchString(host) {
		return errors.New("the host of the address is not a name or an IP address")
	}
	if port := u.Port(); port != "" || strings.HasSuffix(u.Host, ":") {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return errors.New("the port of the address is not a number from 1 to 65535")
		}
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(u.String(), "#") {
		return errors.New(`the address must have no query and no fragment; the branch is "ref", the folder stands behind //`)
	}
	path := strings.TrimSuffix(strings.TrimPrefix(u.Path, "/"), "/")
	if path == "" || u.RawPath != "" {
		return errors.New("the address names no repository, or writes its path with escapes it does not need")
	}
	for segment := range strings.SplitSeq(path, "/") {
		switch {
		case segment == "" || segment == "." || segment == "..":
			return errors.New(`the path of the address holds an empty, "." or ".." segment`)
		case strings.HasPrefix(segment, "-"):
			return errors.New(`a segment of the path starts with "-", like an option`)
		case u.Scheme == "ssh" && strings.Contains(segment, " "), strings.ContainsFunc(segment, special):
			return errors.New("the path of the address holds a character that means something to a shell")
		}
	}
	return nil
}

func control(r rune) bool { return r < 0x20 || r == 0x7f }

// special reports whether a character means something to a shell, which is what an ssh server hands the path to.
func special(r rune) bool { return control(r) || strings.ContainsRune("\\\"'`$;|&<>", r) }

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// ParseRef returns the full names a ref may stand for, the preferred one first: a branch before a tag, or exactly what
// begins with refs/. Empty is HEAD.
func ParseRef(ref string) ([]plumbing.ReferenceName, error) {
	if ref == "" || ref == "HEAD" {
		return []plumbing.ReferenceName{plumbing.HEAD}, nil
	}
	names := []plumbing.ReferenceName{plumbing.NewBranchReferenceName(ref), plumbing.NewTagReferenceName(ref)}
	if strings.HasPrefix(ref, "refs/") {
		names = []plumbing.ReferenceName{plumbing.ReferenceName(ref)}
	}
	for _, name := range names {
		if len(name) > 255 || name.Validate() != nil || strings.ContainsFunc(ref, func(r rune) bool { return r <= 0x20 || r == 0x7f }) {
			return nil, fmt.Errorf("ref %.80q is not the name of a branch or a tag (git check-ref-format)", ref)
		}
	}
	return names, nil
}
