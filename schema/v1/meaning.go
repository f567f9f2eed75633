package v1

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/v1/internal/shape"
)

// meaning judges a scalar beyond its pattern, by the type its definition names.
func (w *walker) meaning(s *shape.Shape, n *schema.Node, where *loc) bool {
	before := w.diags.Len()
	switch s.Type {
	case "duration":
		if d, err := ParseDuration(n.Str); err != nil {
			w.malformed(s, n, where)
		} else if float64(d) < s.Number.Min || float64(d) > s.Number.Max {
			w.outOfRange(s, n, where)
		}
	case "size":
		if v, err := ParseSize(n.Str); err != nil {
			w.malformed(s, n, where)
		} else if float64(v) < s.Number.Min || float64(v) > s.Number.Max {
			w.outOfRange(s, n, where)
		}
	case "url":
		w.url(n, where)
	case "address":
		w.address(n, where)
	case "network":
		w.network(n, where)
	case "host":
		w.host(n, where)
	case "hostHeader":
		w.hostHeader(n, where)
	case "policyKind":
		w.policyKind(n, where)
	case "secretRef":
		w.secretRef(n, where)
	case "dnsName", "sni":
		w.dnsName(n, where)
	case "nameServer":
		w.nameServer(n, where)
	case "statusRange":
		w.statusRange(n, where)
	case "headerName":
		w.headerName(n, where)
	case "date":
		if _, err := time.Parse(time.DateOnly, n.Str); err != nil {
			w.malformed(s, n, where)
		}
	case "timeZone":
		if _, err := time.LoadLocation(n.Str); err != nil || n.Str == "Local" { // Local is another one on each machine
			w.malformed(s, n, where)
		}
	}
	return w.diags.Len() == before
}

// url wants an origin and perhaps a path. Credentials in a URL end up in logs and in the repository.
func (w *walker) url(n *schema.Node, where *loc) {
	bad := func(format string, args ...any) { w.diags.Add(at("GW2121", n, where, format, args...)) }
	u, err := url.Parse(n.Str)
	switch {
	case err != nil:
		bad("%s is %s, which is no URL", where.short(), shown(n))
	case u.User != nil:
		d := at("GW2190", n, where, "%s holds credentials, which must not stand in the repository", where.short())
		d.Redact = true
		d.Hint = "take the part before \"@\" out of the URL"
		w.diags.Add(d)
	case u.Hostname() == "":
		bad("%s is %s, which names no host", where.short(), shown(n))
	case u.RawQuery != "" || u.ForceQuery:
		bad("%s is %s, must not have a query", where.short(), shown(n))
	case strings.Contains(n.Str, "#"):
		bad("%s is %s, must not have a fragment", where.short(), shown(n))
	case strings.HasSuffix(u.Host, ":"):
		bad("%s is %s, which has a colon and no port", where.short(), shown(n))
	case u.Port() != "" && !validPort(u.Port()):
		bad("%s has port %s, must be from 1 to 65535", where.short(), u.Port())
	case !validHostname(u.Hostname()):
		bad("%s names the host %s, must be a host name or an IP address", where.short(), quoted(u.Hostname()))
	}
}

func validPort(s string) bool {
	p, err := strconv.ParseUint(s, 10, 16)
	return err == nil && p > 0
}

// validHostname accepts what can be looked up or dialled: an address, or a name of letters, digits, "-" and "_" (which
// service names of container platforms use) in labels of at most 63.
func validHostname(s string) bool {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Zone() == ""
	}
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 {
		return false
	}
	labels := strings.Split(s, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || !plainName(label) || label[0] == '-' || label[len(label)-1] == '-' || strings.Contains(label, "$") {
			return false
		}
	}
	// A name that ends in digits is an address somebody mistyped or disguised (127.1, 2130706433): RFC 3696, section 2.
	last := labels[len(labels)-1]
	return strings.Trim(last, "0123456789") != "" && !strings.HasPrefix(strings.ToLower(last), "0x")
}

func (w *walker) address(n *schema.Node, where *loc) {
	host, port, err := net.SplitHostPort(n.Str)
	switch {
	case err != nil:
		d := at("GW2122", n, where, "%s is %s, must be host:port, or :port for every interface", where.short(), shown(n))
		if strings.Count(n.Str, ":") > 1 && !strings.Contains(n.Str, "[") {
			d.Hint = "put an IPv6 address in brackets: \"[::1]:8080\""
		}
		w.diags.Add(d)
	case !validPort(port):
		w.diags.Add(at("GW2122", n, where, "%s has port %s, must be from 1 to 65535", where.short(), port))
	case host != "" && !validHostname(host):
		w.diags.Add(at("GW2122", n, where, "%s names the host %s, must be an IP address or a host name", where.short(), quoted(host)))
	}
}

func (w *walker) network(n *schema.Node, where *loc) {
	if !strings.Contains(n.Str, "/") {
		if _, err := netip.ParseAddr(n.Str); err != nil {
			w.diags.Add(at("GW2123", n, where, "%s is %s, must be an IP address or a network such as 10.0.0.0/8", where.short(), shown(n)))
		}
		return
	}
	p, err := netip.ParsePrefix(n.Str)
	switch {
	case err != nil:
		w.diags.Add(at("GW2123", n, where, "%s is %s, must be an IP address or a network such as 10.0.0.0/8", where.short(), shown(n)))
	case p != p.Masked():
		d := at("GW2123", n, where, "%s is %s, which has bits set behind the prefix", where.short(), shown(n))
		d.Hint = fmt.Sprintf("write %s for the network, or %s for the one address", p.Masked(), p.Addr())
		w.diags.Add(d)
	case p.Bits() == 0 && where.up != nil && (where.up.name == "trustedProxies" || where.up.name == "from"):
		d := at("GW2124", n, where, "%s is %s: every client may then claim any address", where.short(), shown(n))
		d.Severity = diag.Warning
		d.Hint = "name the networks of the proxies in front of the gateway"
		w.diags.Add(d)
	}
}

func (w *walker) host(n *schema.Node, where *loc) {
	name := strings.TrimPrefix(n.Str, "*.")
	if inner, ok := strings.CutPrefix(name, "["); ok {
		name = strings.TrimSuffix(inner, "]")
		if a, err := netip.ParseAddr(name); err != nil || !a.Is6() {
			w.diags.Add(at("GW2125", n, where, "%s is %s, which is no IPv6 address", where.short(), shown(n)))
		}
		return
	}
	if !validHostname(name) {
		w.diags.Add(at("GW2125", n, where, "%s is %s, must be %s", where.short(), shown(n), "a host name of labels of at most 63 characters"))
	}
}

func (w *walker) hostHeader(n *schema.Node, where *loc) {
	host, port := n.Str, "80"
	if h, p, err := net.SplitHostPort(n.Str); err == nil {
		host, port = h, p
	}
	if !validHostname(strings.Trim(host, "[]")) || !validPort(port) {
		w.diags.Add(at("GW2125", n, where, "%s is %s, must be a host name, with a port from 1 to 65535 if need be", where.short(), shown(n)))
	}
}

func (w *walker) policyKind(n *schema.Node, where *loc) {
	names := fieldNames(shapes()["RoutePolicy"])
	if slices.Contains(names, n.Str) {
		return
	}
	if p := planned("RoutePolicy", n.Str); p != nil {
		w.diags.Add(at("GW2033", n, where, "policy %q is known, but not available in this version (%s)", n.Str, p.What))
		return
	}
	d := at("GW2102", n, where, "%s is %s, must be one of %s", where.short(), shown(n), quoteAll(names))
	if best := closest(n.Str, names); best != "" {
		d.Hint = fmt.Sprintf("did you mean %q?", best)
	}
	w.diags.Add(d)
}

// reworded guesses what the author of a malformed value meant, or returns "".
func reworded(s *shape.Shape, text string) string {
	better := ""
	compact := strings.ToLower(strings.ReplaceAll(text, " ", ""))
	switch s.Type {
	case "duration":
		better = rewordedDuration(compact)
	case "size":
		better = compact + "B"
		if i := strings.IndexFunc(compact, func(r rune) bool { return r < '0' || r > '9' }); i > 0 {
			if strings.ContainsRune("kmg", rune(compact[i])) && slices.Contains([]string{"", "b", "i", "ib"}, compact[i+1:]) {
				better = compact[:i] + strings.ToUpper(compact[i:i+1]) + "iB"
			}
		}
	case "method":
		better = strings.ToUpper(text)
	case "url":
		if !strings.Contains(text, "://") && !strings.ContainsAny(text, " /@?#") {
			better = "http://" + text
		}
	case "address":
		if validPort(text) {
			better = ":" + text
		}
	case "nameServer":
		if a, err := netip.ParseAddr(text); err == nil {
			better = net.JoinHostPort(a.String(), "53")
		}
	case "host", "hostHeader", "dnsName", "sni":
		if host, _, err := net.SplitHostPort(text); err == nil {
			better = host
		}
		if u, err := url.Parse(text); err == nil && u.Scheme != "" && u.Hostname() != "" && u.User == nil {
			better = u.Hostname()
		}
	}
	if better == "" || better == text || s.Text.Pattern != nil && !s.Text.Pattern.MatchString(better) {
		return ""
	}
	return better
}

func rewordedDuration(compact string) string {
	if compact != "" && strings.Trim(compact, "0123456789") == "" {
		return compact + "ms"
	}
	if d, err := time.ParseDuration(compact); err == nil && d >= 0 && d%time.Millisecond == 0 {
		return Duration(d.Milliseconds()).String()
	}
	digits := strings.TrimRight(compact, "abcdefghijklmnopqrstuvwxyz")
	unit := strings.TrimSuffix(compact[len(digits):], "s")
	units := map[string]string{"hour": "h", "hr": "h", "min": "m", "minute": "m", "sec": "s", "second": "s", "milli": "ms", "millisecond": "ms", "msec": "ms"}
	if u, ok := units[unit]; ok && digits != "" {
		return digits + u
	}
	return ""
}
