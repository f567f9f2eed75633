package webhook

import (
	"net/url"
	"regexp"
	"strings"
)

var (
	hostPattern = regexp.MustCompile(`^(\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9._-]*[a-z0-9])?)(:[0-9]{1,5})?$`)
	defaultPort = map[string]string{"http": ":80", "https": ":443", "ssh": ":22", "git": ":9418"}
)

// normalise brings the address of a repository into one form, host/path: without scheme, user, the port that goes without
// saying and ".git", and in lower case. Forges treat paths that differ in case alone as one; where one does not, a hint more
// is all that comes of it. It takes URLs and the host:path of ssh. It is for comparing: nothing is dialled because of it.
func normalise(address string) (string, bool) {
	if len(address) > 2048 || strings.ContainsFunc(address, func(r rune) bool { return r <= 0x20 || r == 0x7f }) {
		return "", false
	}
	var host, path string
	if strings.Contains(address, "://") {
		u, err := url.Parse(address)
		if err != nil || defaultPort[u.Scheme] == "" || u.RawQuery != "" || u.Fragment != "" {
			return "", false
		}
		host, path = strings.TrimSuffix(u.Host, defaultPort[u.Scheme]), u.Path
	} else {
		head, rest, ok := strings.Cut(address, ":")
		if !ok || strings.Contains(head, "/") {
			return "", false
		}
		host, path = head[strings.LastIndex(head, "@")+1:], rest
	}
	host = strings.ToLower(host)
	path = strings.TrimSuffix(strings.Trim(strings.ToLower(path), "/"), ".git")
	if !hostPattern.MatchString(host) || path == "" || path[0] == ':' || strings.Contains(path, `\`) {
		return "", false
	}
	return host + "/" + path, true
}
