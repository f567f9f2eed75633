package kubernetes

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/suuupra/gateway/schema/match"
)

// exactPath returns the pattern for one path.
func exactPath(path string) (string, error) {
	switch {
	case !strings.HasPrefix(path, "/"):
		return "", fmt.Errorf("the path %q does not begin with a slash", path)
	case strings.Contains(path, "*"):
		return "", fmt.Errorf(`the path %q holds "*", which a path pattern has only as "/*" at its end`, path)
	}
	// Requests are matched in normalised form, so that a path in another form would match nothing. Braces, which stand for captures
	// in a pattern, come out of it escaped.
	normal, reason := match.NormalizePath(path)
	if reason != "" {
		return "", fmt.Errorf("requests for the path %q are answered 400 (%s)", path, reason)
	}
	if strings.Contains(path, "//") {
		return "", fmt.Errorf("the path %q has an empty segment, which no request has: runs of slashes are merged", path)
	}
	return normal, nil
}

// prefixPath returns the pattern for a path and everything under it, segment by segment. A slash at the end of the prefix says
// nothing, as in Kubernetes.
func prefixPath(path string) (string, error) {
	trimmed := strings.TrimSuffix(path, "/")
	if trimmed == "" {
		return "/*", nil
	}
	normal, err := exactPath(trimmed)
	if err != nil {
		return "", err
	}
	return normal + "/*", nil
}

// idiom is one of the regular expressions that people write for ingress-nginx where they mean a prefix.
type idiom struct {
	prefix string // without a slash at the end
	rest   string // the group, such as "2", that holds what follows the prefix and a slash; "" if none does
	loose  string // how the expression differs from the prefix; "" if only by letter case
}

// idiomForm splits an expression into plain text and one of the known ends. In plain text a dot stands for itself, with a backslash
// or without.
var idiomForm = regexp.MustCompile(`^\^?((?:/(?:[A-Za-z0-9_~.-]|\\\.)+)*)(/)?(\(/\|\$\)\(\.\*\)\$?|\(\.\*\)\$?|\?\(\.\*\)\$?|\.\*\$?|\(/\|\$\)|\(/\.\*\)\?\$|\$)?$`)

var errRegex = errors.New("is a regular expression beyond the known forms of a prefix, and ingress-nginx ranks those by length among all paths, while here a pathRegex comes after every path")

// readIdiom recognises an expression that means a prefix.
func readIdiom(expr string) (idiom, error) {
	m := idiomForm.FindStringSubmatch(expr)
	if m == nil {
		return idiom{}, errRegex
	}
	out := idiom{prefix: strings.ReplaceAll(m[1], `\.`, ".")}
	slash, end := m[2] == "/", strings.TrimSuffix(m[3], "$")
	self := fmt.Sprintf("the expression does not take %s itself, the route does", out.prefix)
	alike := fmt.Sprintf("the expression also takes paths that merely begin like %s, the route does not", out.prefix)
	switch {
	case end == "(/|$)(.*)" && !slash && out.prefix != "":
		out.rest = "2"
	case (end == "(/|$)" || end == "(/.*)?") && !slash && out.prefix != "":
	case end == "(.*)" && slash:
		out.rest, out.loose = "1", self
	case end == "?(.*)" && slash:
		out.rest, out.loose = "1", alike
	case slash && (end == ".*" || m[3] == ""):
		out.loose = self
	case !slash && m[3] == "" && out.prefix != "":
		out.loose = alike
	default:
		return idiom{}, errRegex
	}
	if out.prefix == "" {
		out.loose = "" // everything is everything
	}
	return out, nil
}

// rewriteTarget turns a rewrite-target into the template of a path: ${params.rest} for the group that holds the rest. rest is "" where
// no group does.
func rewriteTarget(target, rest string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(target); i++ {
		if target[i] != '$' {
			b.WriteByte(target[i])
			continue
		}
		group := ""
		if i+1 < len(target) {
			group = target[i+1 : i+2]
		}
		if group == "" || group != rest || b.Len() == 0 || target[i-1] != '/' || i+2 != len(target) {
			return "", fmt.Errorf("the target %q holds %q, and only the rest of the path can be inserted, after a slash, at the end", target, "$"+group)
		}
		b.WriteString("${params.rest}")
		i++
	}
	path := b.String()
	plain := strings.TrimSuffix(path, "${params.rest}")
	if normal, reason := match.NormalizePath(plain); reason != "" || normal != plain {
		return "", fmt.Errorf("the target %q is no path in normalised form", target)
	}
	return path, nil
}
