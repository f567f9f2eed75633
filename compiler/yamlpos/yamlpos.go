// Package yamlpos reads the one YAML dialect of the gateway: bytes in, positioned schema.Nodes and diagnostics out.
//
// The dialect is the part of YAML on which every parser agrees. yaml.v3 splits the text into nodes; one strict resolver
// gives them meaning. Plain words and numbers which parsers read differently (yes, 017, 1e3), duplicate keys, merge
// keys, second documents, foreign tags and hidden characters are errors that say what to write instead. JSON is a subset.
//
// What it makes of a value that yaml.v3 accepts too is what yaml.v3 makes of it, but for these differences: a date stays
// a string, an empty file is an empty map, and whole numbers must fit 64 bits.
//
// It must not know what a field means, read files, or panic: whatever the bytes are, the answer is a diagnostic.
package yamlpos

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

// The limits of one file.
const (
	MaxBytes   = 4 << 20 // bytes in a file
	MaxDepth   = 64      // maps and lists inside one another, aliases followed
	MaxAliased = 10_000  // nodes that the aliases of a file may add to it
)

// maxHidden bounds how many hidden characters of one file are reported.
const maxHidden = 10

// Decode reads one YAML or JSON document. It returns the root, always a Map, or nil if the text is unusable; in that case
// diags holds at least one error. A root may come back together with errors: a doubtful scalar is then read as its author
// most likely meant it, so that later checks do not report the same mistake twice.
//
// Positions name path, count lines and columns from 1 and columns in runes; a byte order mark is not counted. A node
// reached through an alias has the position of the anchor's value, which is where it has to be mended, and is the same
// *Node each time.
func Decode(path string, data []byte, diags *diag.List) *schema.Node {
	src, ok := newSource(path, data, diags)
	if !ok {
		return nil
	}
	src.cutSecondDocument(diags)
	root, err := parse(src.text)
	if err != nil {
		diags.Add(src.syntaxError(err))
		return nil
	}
	if root == nil {
		return &schema.Node{Kind: schema.Map, Pos: src.pos(1, 1)}
	}
	r := resolver{src: src, diags: diags, anchors: map[*yaml.Node]*anchored{}}
	node := r.root(root)
	if r.reported > maxReported {
		diags.Add(diag.Diagnostic{
			Code: "GW1117", Pos: diag.Pos{File: path},
			Message: fmt.Sprintf("the file has %d more problems, which are not listed", r.reported-maxReported),
		})
	}
	if r.unusable {
		return nil
	}
	return node
}

// errAfterEnd reports text after the end of the first document which the parser takes for a second one.
type errAfterEnd struct{ line, column int }

func (errAfterEnd) Error() string { return "text after the end of the document" }

// parse splits text into nodes. It returns nil for a document without content. yaml.v3 turns its own failures into
// errors; the recover is for the ones it calls internal, which hostile input must not turn into a crash.
func parse(text []byte) (root *yaml.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			root, err = nil, fmt.Errorf("yaml: %v", p)
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, next yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if err := dec.Decode(&next); err == nil {
		return nil, errAfterEnd{next.Line, next.Column}
	} else if !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(doc.Content) != 1 {
		return nil, nil
	}
	if n := doc.Content[0]; n.Kind != yaml.ScalarNode || n.Value != "" || n.Style != 0 || n.Anchor != "" {
		return n, nil
	}
	return nil, nil
}

// cutSecondDocument reports a second document at its "---" and leaves the first. A line that starts with the marker ends
// a document wherever it stands, even inside quotes, so looking at line starts is exact.
func (s *source) cutSecondDocument(diags *diag.List) {
	seen := false // the first document has begun, or its marker was seen
	for i, start := range s.lines {
		line := s.line(i + 1)
		if !isMarker(line) {
			content := bytes.TrimLeft(line, " \t")
			seen = seen || len(content) > 0 && content[0] != '#' && line[0] != '%'
			continue
		}
		if !seen {
			seen = true
			continue
		}
		diags.Add(diag.Diagnostic{
			Code: "GW1108", Pos: s.pos(i+1, 1), Width: 3,
			Message: "a second document starts here, a file holds one",
			Hint:    `remove the "---", or move what follows it into a file of its own`,
		})
		s.text = s.text[:start]
		return
	}
}

// isMarker reports whether a line is a document start marker.
func isMarker(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("---"))
	return ok && (len(rest) == 0 || strings.IndexByte(" \t", rest[0]) >= 0)
}
