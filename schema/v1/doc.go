// Package v1 is API version gateway.suuupra.dev/v1: what people may write. The CUE files beside this one are the source of
// truth; the JSON Schema, the Go types and docs/reference.md are generated from them. The package validates trees of
// schema.Node and decodes them, speaking in diagnostics that point at the place. It must not read files, resolve
// references between objects, or know how a path pattern is matched.
package v1

import (
	"embed"
	"io/fs"
)

//go:generate go run ./internal/gen -docs ../../docs/reference.md

// APIVersion is what the apiVersion of a file says.
const APIVersion = "gateway.suuupra.dev/v1"

//go:embed *.cue
var sources embed.FS

//go:embed schema.json
var jsonSchema []byte

// Sources holds the CUE definitions, a package named v1.
func Sources() fs.FS { return sources }

// JSONSchema returns the definitions as one JSON Schema 2020-12 document. Its root is a whole file, with every object
// complete; $defs has a definition for each kind of object.
func JSONSchema() []byte { return append([]byte(nil), jsonSchema...) }

// Default is one default value, as an author would write it.
type Default struct {
	Def, Field string // e.g. "Limits", "maxUrlBytes"
	Value      string
}

// PlannedName is a field, or a value of a field, that the gateway knows and does not have in this version.
type PlannedName struct {
	Where string // a definition, or definition.field for a value
	Name  string
	What  string // what it would do, in a few words
}
