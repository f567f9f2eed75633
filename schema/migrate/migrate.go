// Package migrate brings files written for an older API version to the current one: as trees of nodes, for the compiler,
// and as bytes, for people who want their files rewritten. There is a file per version step. It must not judge anything
// but the version and its spelling: what a file of the current version may hold is the business of schema/v1.
package migrate

import (
	"fmt"
	"slices"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/v1"
)

// step converts a file from one version to the next newer one.
type step struct {
	// nodes converts the root. The nodes of f are never changed; what is wrong with them is added to diags.
	nodes func(f schema.File, diags *diag.List) *schema.Node
	// bytes rewrites the text that root was decoded from, which nodes has converted without an error. decode reads what an
	// intermediate step wrote.
	bytes func(data []byte, f schema.File, decode Decoder) ([]byte, error)
}

// version is one API version that is still read.
type version struct {
	name   string
	toNext *step // nil for the current version
}

// versions is the table of those that are read, newest first. A version leaves it after two minor releases of warnings.
func versions() []version {
	return []version{
		{name: v1.APIVersion},
		{name: V1Beta1, toNext: &step{nodes: convertV1Beta1, bytes: rewriteV1Beta1}},
	}
}

// Versions names the API versions that are read, newest first.
func Versions() []string { return names(versions()) }

func names(table []version) []string {
	out := make([]string, len(table))
	for i, v := range table {
		out[i] = v.name
	}
	return out
}

// Current reports whether a root is read by the definitions of the current version: it names that one, or none.
func Current(root *schema.Node) bool {
	v := root.Get("apiVersion")
	return v == nil || v.Text() == v1.APIVersion
}

// Older returns the version a root is written for if that is one that is still read but not the current one, else "".
func Older(root *schema.Node) string {
	if v := root.Get("apiVersion").Text(); slices.Contains(Versions()[1:], v) {
		return v
	}
	return ""
}

// Migrate returns the file as one of the current version, every node with the position of what it was made of. A file
// without a version, with one that is not known, or with anything its own version does not have, is an error, and is
// returned unchanged. The nodes of f are never changed.
func Migrate(f schema.File, diags *diag.List) schema.File {
	return migrate(f, versions(), diags)
}

func migrate(f schema.File, table []version, diags *diag.List) schema.File {
	var found diag.List
	out := f
	name := v1.CheckAPIVersion(f.Root, names(table), &found)
	for i := len(table) - 1; i > 0 && !found.HasErrors(); i-- {
		if table[i].name == name {
			out.Root = table[i].toNext.nodes(out, &found)
			name = table[i-1].name
		}
	}
	if found.HasErrors() {
		v1.CheckSecrets(f.Root, "", &found) // nobody else will look at what could not be converted
		out = f
	}
	hideSecrets(&found, diags)
	return out
}

// hideSecrets moves diagnostics on, each one marked that points at a line on which another found a secret.
func hideSecrets(from, to *diag.List) {
	secret := map[int]bool{}
	all := from.Sorted() // of one file
	for _, d := range all {
		if d.Redact {
			secret[d.Pos.Line] = true
		}
	}
	for _, d := range all {
		d.Redact = d.Redact || secret[d.Pos.Line]
		to.Add(d)
	}
}

// maxWarned is how many files are warned about one by one.
const maxWarned = 3

// Warn adds a warning for each file that is written for an older version, or a single one with their number if they are
// many: a repository that has not been migrated must not drown everything else that is said about it.
func Warn(files []schema.File, diags *diag.List) {
	byVersion := map[string][]*schema.Node{}
	for _, f := range files {
		if v := Older(f.Root); v != "" {
			byVersion[v] = append(byVersion[v], f.Root.Get("apiVersion"))
		}
	}
	for _, v := range Versions() {
		found := byVersion[v]
		for i, n := range found {
			d := diag.Diagnostic{
				Severity: diag.Warning, Code: "GW1201", Pos: n.Pos, Width: n.Width, Path: "apiVersion",
				Message: fmt.Sprintf("the file is written for %s, which is deprecated", v),
				Hint:    "gwctl migrate --write brings it to " + v1.APIVersion,
			}
			if len(found) > maxWarned {
				d.Message = fmt.Sprintf("%d files are written for %s, which is deprecated; this is the first", len(found), v)
				d.Hint = "gwctl migrate --write brings them to " + v1.APIVersion
			}
			diags.Add(d)
			if i == 0 && len(found) > maxWarned {
				break
			}
		}
	}
}
