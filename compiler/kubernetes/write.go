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

	v1 "github.com/suuupra/gateway/schema/v1"
)

// marker is the first line of every file that Encode writes: it tells files that may be written again from those of people, and
// those that people have changed since by the digest of all that follows.
const marker = "# Written by gwctl translate (sha256 %x). Change the Kubernetes objects, or remove this line and keep the file.\n"

var markerForm = regexp.MustCompile(`^# Written by gwctl translate \(sha256 ([0-9a-f]{64})\)\.[^\n]*\n`)

// Encode writes a file as YAML: fields in the order of the schema, maps sorted, so that the same content gives the same bytes.
func (f *File) Encode() ([]byte, error) {
	var body bytes.Buffer
	e := yaml.NewEncoder(&body)
	e.SetIndent(2)
	if err := e.Encode(nodeOf(reflect.ValueOf(f.Content))); err != nil {
		return nil, fmt.Errorf("encode %s: %w", f.Path, err)
	}
	if err := e.Close(); err != nil {
		return nil, fmt.Errorf("encode %s: %w", f.Path, err)
	}
	return append(fmt.Appendf(nil, marker, sha256.Sum256(body.Bytes())), body.Bytes()...), nil
}

// IsOwn reports whether Encode wrote these bytes, and nobody changed them since.
func IsOwn(data []byte) bool {
	m := markerForm.FindSubmatch(data)
	return m != nil && string(m[1]) == fmt.Sprintf("%x", sha256.Sum256(data[len(m[0]):]))
}

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
	}
	return scalar(v.String())
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
