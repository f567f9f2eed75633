// Package migrate brings files written for an older API version to the current one. A file per step, once there are
// older versions; today there is one version and nothing to convert. It must not judge anything but the version: what a
// file of the current version may hold is the business of schema/v1.
package migrate

import (
	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/v1"
)

// step converts the root of a file from one version to the next newer one.
type step func(root *schema.Node, diags *diag.List) *schema.Node

// version is one API version that is still read.
type version struct {
	name   string
	toNext step // nil for the current version
}

// versions is the table of those that are read, newest first. A version leaves it after two minor releases of warnings.
func versions() []version {
	return []version{
		{name: v1.APIVersion},
	}
}

// Versions names the API versions that are read, newest first.
func Versions() []string {
	var out []string
	for _, v := range versions() {
		out = append(out, v.name)
	}
	return out
}

// Migrate returns the file as one of the current version. A file without a version, or with one that is not known, is an
// error that names those that are, and is returned unchanged. The nodes of f are never changed.
func Migrate(f schema.File, diags *diag.List) schema.File {
	return migrate(f, versions(), diags)
}

func migrate(f schema.File, table []version, diags *diag.List) schema.File {
	names := make([]string, len(table))
	for i, v := range table {
		names[i] = v.name
	}
	name := v1.CheckAPIVersion(f.Root, names, diags)
	if name == "" {
		return f
	}
	for i := len(table) - 1; i > 0; i-- {
		if table[i].name == name {
			f.Root = table[i].toNext(f.Root, diags)
			name = table[i-1].name
		}
	}
	return f
}
