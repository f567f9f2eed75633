// Package manifest reads Kubernetes manifests, in YAML with any number of documents and lists, or in JSON, into the typed objects
// that package kubernetes translates. What is translated is read strictly: an unknown field is an error with its place. Of everything
// else only the name is read; the content of secrets is never decoded.
package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/suuupra/gateway/compiler/kubernetes"
	"github.com/suuupra/gateway/schema/diag"
)

// MaxBytes is how much all files together may hold. It bounds what a mistaken path can cost.
const MaxBytes = 64 << 20

// maxDocuments bounds the documents of one file.
const maxDocuments = 100_000

// File is a manifest, or several, as they lie on disk.
type File struct {
	Path string // as messages show it
	Data []byte
}

// Read returns the objects of files. What is wrong with them is in diags: then the objects are not all of them, and must not be
// translated.
func Read(files []File, diags *diag.List) *kubernetes.Objects {
	r := &reader{out: &kubernetes.Objects{Places: map[kubernetes.Ref]diag.Pos{}}, diags: diags, unnamed: map[string]int{}}
	total := 0
	for _, f := range files {
		if total += len(f.Data); total > MaxBytes {
			diags.Errorf(codeRead, diag.Pos{File: f.Path}, "", "the files hold more than %d MiB", MaxBytes>>20)
			break
		}
		r.file(f)
	}
	return r.out
}

const (
	codeRead  = "GW1601"
	codeShape = "GW1602"
	codeTwice = "GW1603"
)

// reader collects the objects of one call.
type reader struct {
	out     *kubernetes.Objects
	diags   *diag.List
	path    string
	unnamed map[string]int // by kind
	bytes   int            // of all objects so far, aliases expanded
	nodes   int
}

var (
	yamlLine = regexp.MustCompile(`^yaml: line (\d+): `)
	template = regexp.MustCompile(`\{\{-?[^{}]*\}\}`)
)

func (r *reader) file(f File) {
	r.path = f.Path
	dec := yaml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(f.Data, []byte("\xef\xbb\xbf"))))
	for range maxDocuments {
		var doc yaml.Node
		err := decode(dec, &doc)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			r.syntax(f, err)
			return // the parser does not find the next document
		}
		if doc.Kind == yaml.DocumentNode && len(doc.Content) == 1 && doc.Content[0].ShortTag() != "!!null" {
			r.object(doc.Content[0], 0)
		}
		if r.full() {
			r.diags.Errorf(codeRead, diag.Pos{File: f.Path}, "", "the objects hold more than %d MiB or %d values, aliases counted as what they stand for", maxAll>>20, maxAllNodes)
			return
		}
	}
	r.diags.Errorf(codeRead, diag.Pos{File: f.Path}, "", "the file holds more than %d documents", maxDocuments)
}

// full reports whether more was read than fits.
func (r *reader) full() bool { return r.bytes > maxAll || r.nodes > maxAllNodes }

// decode parses one document. The parser panics on a few inputs that are no YAML.
func decode(dec *yaml.Decoder, doc *yaml.Node) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("yaml: %v", p)
		}
	}()
	return dec.Decode(doc)
}

func (r *reader) syntax(f File, err error) {
	d := diag.Diagnostic{Code: codeRead, Pos: diag.Pos{File: f.Path}, Message: strings.TrimPrefix(err.Error(), "yaml: ")}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		fmt.Sscan(m[1], &d.Pos.Line) //nolint:errcheck // digits
		d.Message = strings.TrimPrefix(err.Error(), m[0])
	}
	if template.Match(f.Data) {
		d.Hint = "this is a template: render it first, such as with helm template or kustomize build"
	}
	r.diags.Add(d)
}

// pos is the place of a node.
func (r *reader) pos(n *yaml.Node) diag.Pos {
	return diag.Pos{File: r.path, Line: n.Line, Col: n.Column}
}

// at is the value of a field of a mapping, nil if it has none.
func at(n *yaml.Node, name string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return nil
}

func text(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}

// maxNesting bounds lists within lists.
const maxNesting = 4

// object reads one object, or the objects of a list.
func (r *reader) object(n *yaml.Node, nesting int) {
	api, kind := text(at(n, "apiVersion")), text(at(n, "kind"))
	if n.Kind != yaml.MappingNode || api == "" || kind == "" {
		r.diags.Add(diag.Diagnostic{
			Code: codeShape, Pos: r.pos(n), Message: "an object needs apiVersion and kind", Hint: "is this a Kubernetes manifest?",
		})
		return
	}
	if items := at(n, "items"); strings.HasSuffix(kind, "List") && items != nil && items.Kind == yaml.SequenceNode {
		if nesting == maxNesting {
			r.diags.Errorf(codeShape, r.pos(n), "", "lists lie in lists more than %d deep", maxNesting)
			return
		}
		for _, item := range items.Content {
			r.object(item, nesting+1)
		}
		return
	}
	ref, ok := r.name(n, kind)
	if !ok {
		return
	}
	if place, twice := r.out.Places[ref]; twice {
		r.diags.Add(diag.Diagnostic{
			Code: codeTwice, Pos: r.pos(n), Message: fmt.Sprintf("%s is there twice", ref), Notes: []diag.Note{{Pos: place, Message: "the first one"}},
		})
		return
	}
	r.out.Places[ref] = diag.Pos{File: r.path, Line: n.Line}
	r.typed(n, api, ref)
}

// namespaceForm is that of RFC 1123. Names become names of files.
var namespaceForm = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

// clusterWide are the kinds without a namespace among those that are looked at.
var clusterWide = map[string]bool{"IngressClass": true, "GatewayClass": true, "Namespace": true}

// name reads the name of an object. One that the server would name gets a name here, in the order of the files.
func (r *reader) name(n *yaml.Node, kind string) (kubernetes.Ref, bool) {
	meta := at(n, "metadata")
	ref := kubernetes.Ref{Kind: kind, Namespace: text(at(meta, "namespace")), Name: text(at(meta, "name"))}
	if ref.Name == "" {
		r.unnamed[kind]++
		ref.Name = fmt.Sprintf("unnamed-%d", r.unnamed[kind])
	}
	switch {
	case clusterWide[kind]:
		ref.Namespace = ""
	case ref.Namespace == "":
		ref.Namespace = "default"
	}
	if known := versions[kind]; known == nil { // other kinds may have other names, such as system:node
		return ref, true
	}
	switch {
	case !kubernetes.IsName(ref.Name):
		r.diags.Errorf(codeShape, r.pos(at(meta, "name")), "metadata.name", "%q is no name: small letters, digits, \"-\" and \".\"", ref.Name)
	case ref.Namespace != "" && (len(ref.Namespace) > 63 || !namespaceForm.MatchString(ref.Namespace)):
		r.diags.Errorf(codeShape, r.pos(at(meta, "namespace")), "metadata.namespace", "%q is no namespace: up to 63 small letters, digits and \"-\"", ref.Namespace)
	default:
		return ref, true
	}
	return ref, false
}
