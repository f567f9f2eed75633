package kubernetes

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/suuupra/gateway/schema"
	v1 "github.com/suuupra/gateway/schema/v1"
)

// A file that translate has written begins with a marker. It tells files that may be written again from those of people, and those
// that people have changed since by the digest of all that follows. A live source puts its name into it, so that two of them do not
// take each other's files for ones whose objects are gone.
const (
	marker     = "# Written by gwctl translate (sha256 %x). Change the Kubernetes objects, or remove this line and keep the file.\n"
	liveMarker = "# Written by gwctl translate for %s (sha256 %x). Change the Kubernetes objects, or remove this line and keep the file.\n"
)

var markerForm = regexp.MustCompile(`^# Written by gwctl translate (?:for ([a-z0-9./ -]{1,600}) )?\(sha256 ([0-9a-f]{64})\)\.[^\n]*\n`)

// Encode writes a file as YAML: fields in the order of the schema, maps sorted, so that the same content gives the same bytes. A live
// source gives its name, of small letters, digits and "./ -"; a translation of files has none.
func (f *File) Encode(source string) ([]byte, error) {
	var body bytes.Buffer
	e := yaml.NewEncoder(&body)
	e.SetIndent(2)
	root := nodeOf(reflect.ValueOf(f.Content))
	if len(f.Written) > 0 {
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for _, n := range f.Written {
			list.Content = append(list.Content, asWritten(n))
		}
		root.Content = append(root.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "routes"}, list)
	}
	if err := e.Encode(root); err != nil {
		return nil, fmt.Errorf("encode %s: %w", f.Path, err)
	}
	if err := e.Close(); err != nil {
		return nil, fmt.Errorf("encode %s: %w", f.Path, err)
	}
	sum := sha256.Sum256(body.Bytes())
	head := fmt.Appendf(nil, marker, sum)
	if source != "" {
		head = fmt.Appendf(nil, liveMarker, source, sum)
	}
	return append(head, body.Bytes()...), nil
}

// IsOwn reports whether Encode wrote these bytes, and nobody changed them since.
func IsOwn(data []byte) bool {
	_, own := Writer(data)
	return own
}

// Writer returns the live source that has written a file, "" for a translation of files. False: it is the work of people, or they have
// changed it since.
func Writer(data []byte) (source string, own bool) {
	m := markerForm.FindSubmatch(data)
	if m == nil || string(m[2]) != fmt.Sprintf("%x", sha256.Sum256(data[len(m[0]):])) {
		return "", false
	}
	return string(m[1]), true
}

// Body is what a file says, without the marker.
func Body(data []byte) []byte { return data[len(markerForm.Find(data)):] }

// nodeOf turns a value of the schema into YAML, durations and sizes as people write them. nil: there is nothing to write.
func nodeOf(v reflect.Value) *yaml.Node {
	switch x := v.Interface().(type) {
	case v1.Duration:
		return scalar(x.String())
	case v1.Size:
		return scalar(x.String())
	}
	switch v.Kind() {
	case reflect.Pointer:
		return nodeOf(v.Elem())
	case reflect.Struct:
		return mapping(v)
	case reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.Len() {
			n.Content = append(n.Content, nodeOf(v.Index(i)))
		}
		if n.Content[0].Kind == yaml.ScalarNode {
			n.Style = yaml.FlowStyle
		}
		return n
	case reflect.Map:
		n := &yaml.Node{Kind: yaml.MappingNode}
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			n.Content = append(n.Content, scalar(k.String()), nodeOf(v.MapIndex(k)))
		}
		return n
	case reflect.Bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(v.Bool())}
	case reflect.Int64:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.FormatInt(v.Int(), 10)}
	case reflect.Float64:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!float", Value: strconv.FormatFloat(v.Float(), 'f', -1, 64)}
	}
	return scalar(v.String())
}

// asWritten turns what people wrote into YAML, field by field: what is empty may mean something else than what is absent.
func asWritten(n *schema.Node) *yaml.Node {
	switch n.Kind {
	case schema.Map:
		out := &yaml.Node{Kind: yaml.MappingNode}
		for _, f := range n.Fields {
			out.Content = append(out.Content, scalar(f.Name), asWritten(f.Value))
		}
		return out
	case schema.List:
		out := &yaml.Node{Kind: yaml.SequenceNode}
		for _, item := range n.Items {
			out.Content = append(out.Content, asWritten(item))
		}
		return out
	case schema.String:
		return scalar(n.Str)
	case schema.Bool:
		return nodeOf(reflect.ValueOf(n.Bool))
	case schema.Int:
		return nodeOf(reflect.ValueOf(n.Int))
	case schema.Float:
		return nodeOf(reflect.ValueOf(n.Float))
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}
}

// scalar is text, quoted where it would be read as something else.
func scalar(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	if s == "" || ambiguous.MatchString(s) {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// ambiguous is text that some YAML parser takes for a number, a time or a truth value.
var ambiguous = regexp.MustCompile(`(?i)^([-+.]?[0-9][-+0-9_.:ex]*|y|n|yes|no|on|off|true|false|null|~)$`)

// mapping writes the fields of a struct that are set, as encoding/json would with omitempty.
func mapping(v reflect.Value) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for i := range v.NumField() {
		name, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		f := v.Field(i)
		empty := f.IsZero() || (f.Kind() == reflect.Slice || f.Kind() == reflect.Map) && f.Len() == 0
		if empty && (options == "omitempty" || f.Kind() == reflect.Slice) {
			continue
		}
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, nodeOf(f))
	}
	return n
}
