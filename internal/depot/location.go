package depot

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/suuupra/gateway/schema/bundle"
)

// Kind is a kind of place.
type Kind string

// The kinds.
const (
	Files    Kind = "files"    // a folder that is an OCI image layout
	Archive  Kind = "archive"  // a .gwb file
	Web      Kind = "web"      // a web server that serves such a folder
	Git      Kind = "git"      // a branch that holds such a folder
	Registry Kind = "registry" // a repository in an OCI registry
)

// Location says where bundles are kept. Its String has no secrets in it.
type Location struct {
	Kind   Kind
	Path   string        // Files and Archive
	Bundle bundle.Digest // a certain bundle there, instead of the one the channel names

	url        *url.URL // Web and Git, without user
	branch     string   // Git
	repository string   // Registry: host/name
	plain      bool     // no TLS; loopback only
	user       *url.Userinfo
}

// Credentials are what the environment of the process holds. A name and password in a location win over them.
type Credentials struct {
	WebToken                     string // sent as a bearer token
	GitUser, GitToken            string // Git over https; the user is "git" if only the token is set
	RegistryUser, RegistrySecret string // otherwise Docker's configuration is asked
}

// CredentialsFrom reads PREFIX_HTTP_TOKEN, PREFIX_GIT_USER, PREFIX_GIT_TOKEN, PREFIX_OCI_USER and PREFIX_OCI_PASSWORD.
func CredentialsFrom(getenv func(string) string, prefix string) Credentials {
	return Credentials{
		WebToken: getenv(prefix + "_HTTP_TOKEN"),
		GitUser:  getenv(prefix + "_GIT_USER"), GitToken: getenv(prefix + "_GIT_TOKEN"),
		RegistryUser: getenv(prefix + "_OCI_USER"), RegistrySecret: getenv(prefix + "_OCI_PASSWORD"),
	}
}

// String and GoString keep credentials out of logs.
func (Credentials) String() string { return "(credentials)" }

// GoString is String.
func (c Credentials) GoString() string { return c.String() }

// ParseLocation reads a place as people write it: a path, file:///dir, site.gwb, https://host/path,
// git+https://host/repo#branch, git+ssh://git@host/repo#branch or oci://host/repository, each with an optional
// "@sha256:..." that names a certain bundle. Without TLS only loopback addresses are taken.
func ParseLocation(s string) (Location, error) {
	l, err := parseLocation(s)
	if err != nil {
		return Location{}, fmt.Errorf("bundle location: %w", err)
	}
	return l, nil
}

func parseLocation(s string) (Location, error) {
	var l Location
	if at := strings.LastIndex(s, "@sha256:"); at >= 0 {
		d, err := bundle.ParseDigest(s[at+1:])
		if err != nil {
			return l, err
		}
		l.Bundle, s = d, s[:at]
	}
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		return l, errors.New("it is empty or holds a control character")
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return l.file(s)
	}
	switch scheme {
	case "file":
		if !strings.HasPrefix(rest, "/") {
			return l, errors.New("file:// must be followed by an absolute path, e.g. file:///srv/bundles")
		}
		path, err := url.PathUnescape(rest)
		if err != nil {
			return l, errors.New("file:// is followed by a bad escape")
		}
		return l.file(path)
	case "http", "https":
		return l.web(s)
	case "git+http", "git+https", "git+ssh":
		return l.git(strings.TrimPrefix(s, "git+"))
	case "oci":
		return l.registry(rest)
	}
	return l, fmt.Errorf("scheme %q is not one of file, https, git+https, git+ssh, oci", scheme)
}

func (l Location) file(path string) (Location, error) {
	l.Kind, l.Path = Files, filepath.FromSlash(path)
	if strings.HasSuffix(path, ".gwb") {
		l.Kind = Archive
	}
	return l, nil
}

func (l Location) web(s string) (Location, error) {
	l.Kind = Web
	if err := l.parseURL(s); err != nil {
		return l, err
	}
	if l.url.RawQuery != "" || l.url.Fragment != "" {
		return l, errors.New("the address must have no query and no fragment")
	}
	if strings.HasSuffix(l.url.Path, ".gwb") {
		return l, errors.New("a .gwb file is read from disk; over https, name the folder gwctl apply publishes to")
	}
	l.url = l.url.JoinPath("/")
	return l, nil
}

func (l Location) git(s string) (Location, error) {
	l.Kind = Git
	if err := l.parseURL(s); err != nil {
		return l, err
	}
	l.branch, l.url.Fragment, l.url.RawFragment = l.url.Fragment, "", ""
	if !branchPattern.MatchString(l.branch) || strings.Contains(l.branch, "..") || strings.HasSuffix(l.branch, ".lock") ||
		strings.Contains(l.branch, "//") || strings.HasSuffix(l.branch, "/") {
		return l, fmt.Errorf("%q is not a branch: write git+https://host/repository#branch", l.branch)
	}
	if l.url.Path == "" || l.url.Path == "/" || l.url.RawQuery != "" {
		return l, errors.New("the address names no repository")
	}
	return l, nil
}

var (
	branchPattern     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._/-]{0,200}$`)
	repositoryPattern = regexp.MustCompile(`^[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$`)
	hostPattern       = regexp.MustCompile(`^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)(:[0-9]{1,5})?$`)
)

func (l *Location) parseURL(s string) error {
	u, err := url.Parse(s)
	if err != nil {
		return errors.New("the address is not a URL") // the cause would quote it, with its password
	}
	if !hostPattern.MatchString(u.Host) {
		return errors.New("the address names no host")
	}
	l.user, u.User = u.User, nil
	l.url = u
	if l.plain = u.Scheme == "http"; l.plain && !isLoopback(u.Hostname()) {
		return fmt.Errorf("http:// is for loopback addresses only, %s needs https://", u.Host)
	}
	return nil
}

func (l Location) registry(rest string) (Location, error) {
	l.Kind = Registry
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		user, err := url.Parse("oci://" + rest[:at] + "@host")
		if err != nil {
			return l, errors.New("the user and password in the address are not encoded as in a URL")
		}
		l.user, rest = user.User, rest[at+1:]
	}
	host, name, _ := strings.Cut(rest, "/")
	if !hostPattern.MatchString(host) || !repositoryPattern.MatchString(name) || len(name) > 255 {
		return l, errors.New("write oci://host/repository, without a tag: the environment chooses it")
	}
	hostname := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		hostname = h
	}
	l.repository, l.plain = host+"/"+name, isLoopback(strings.Trim(hostname, "[]"))
	return l, nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// String writes the location without user and password.
func (l Location) String() string {
	s := l.Path
	switch l.Kind {
	case Web:
		s = l.url.String()
	case Git:
		s = "git+" + l.url.String() + "#" + l.branch
	case Registry:
		s = "oci://" + l.repository
	}
	if l.Bundle != "" {
		s += "@" + string(l.Bundle)
	}
	return s
}

// GoString is String, so that %#v does not print the password.
func (l Location) GoString() string { return l.String() }

// login returns the name and password of the location, or the given ones.
func (l Location) login(user, secret string) (string, string) {
	if l.user == nil {
		return user, secret
	}
	password, ok := l.user.Password()
	if !ok {
		password = secret
	}
	return l.user.Username(), password
}
