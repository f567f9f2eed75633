package migrate

import (
	"errors"
	"reflect"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

// Decoder reads YAML or JSON as the compiler does. The path says which of the two; nil stands for text that cannot be read.
type Decoder func(path string, data []byte) *schema.Node

// Rewrite writes a file that is written for an older version as one of version to, which Versions must name, by changing those
// bytes that must change: comments, blank lines, quotes, line ends and a byte order mark stay, and only what moves to another
// depth is indented anew. Data is the text that f was decoded from with decode. It returns data itself if the file is not older.
//
// What is wrong with the file is an error in diags, and nil is returned. So is a file that can be read and not be rewritten
// (GW1205): where an alias stands for a policy, say. The result was read again, and is what Migrate makes of f.
func Rewrite(data []byte, f schema.File, to string, decode Decoder, diags *diag.List) []byte {
	table := versions()
	for i := len(table) - 1; i > 0; i-- {
		if table[i].name == to {
			return data
		}
		if f.Root.Get(fieldVersion).Text() != table[i].name {
			continue
		}
		var found diag.List
		next := migrate(f, table[i-1:i+1], &found)
		diags.Merge(found)
		if found.HasErrors() {
			return nil
		}
		written, err := rewriteStep(data, f, next.Root, table[i].toNext, decode)
		if err != nil {
			diags.Add(notRewritten(f, err))
			return nil
		}
		data, f.Root = written, decode(f.Path, written)
	}
	return data
}

// rewriteStep makes one step and reads what came of it.
func rewriteStep(data []byte, f schema.File, want *schema.Node, s *step, decode Decoder) ([]byte, error) {
	written, err := s.bytes(data, f, decode)
	if err != nil {
		return nil, err
	}
	if got := decode(f.Path, written); got == nil || !reflect.DeepEqual(got.Any(), want.Any()) {
		return nil, errors.New("what would be written does not say the same")
	}
	return written, nil
}

func notRewritten(f schema.File, err error) diag.Diagnostic {
	d := diag.Diagnostic{
		Code: "GW1205", Pos: diag.Pos{File: f.Path}, Message: "the file cannot be rewritten: " + err.Error(),
		Hint: "write aliases and tags out, move comments out of the brackets, or write the file anew: docs/migration.md shows both versions",
	}
	if at := (*rewriteError)(nil); errors.As(err, &at) {
		d.Message = "the file cannot be rewritten: " + at.why
		if at.pos.File != "" {
			d.Pos, d.Width = at.pos, 1
		}
	}
	return d
}

// markedType is what the type of a policy is called between the first and the second part of the rewriting.
const markedType = "$type"

// rewriteV1Beta1 rewrites in three parts, each of which reads what the one before has written: names and scalars, which moves
// nothing; then the list of policies; then the object below its key.
func rewriteV1Beta1(data []byte, f schema.File, decode Decoder) ([]byte, error) {
	c := converter{diags: &diag.List{}, edits: &edits{text: newText(data)}}
	c.root(f.Root)
	kind := f.Root.Get(fieldKind).Text()
	data, err := c.edits.apply()
	if err != nil {
		return nil, err
	}
	for _, part := range []func(*text, *schema.Node, *object) ([]byte, error){movePolicies, moveObject} {
		root := decode(f.Path, data)
		if root == nil {
			return nil, errors.New("its names cannot be replaced")
		}
		i := 0
		for objects()[i].kind != kind {
			i++
		}
		if data, err = part(newText(data), root, &objects()[i]); err != nil {
			return nil, err
		}
	}
	return data, nil
}
