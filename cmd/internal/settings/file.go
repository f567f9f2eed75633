package settings

import (
	"fmt"
	"strings"

	"github.com/suuupra/gateway/cmd/internal/bounded"
	"github.com/suuupra/gateway/compiler/yamlpos"
	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

// MaxFile is more than any file of settings needs, in bytes.
const MaxFile = 1 << 20

// Reader reads a field of the file that is no setting.
type Reader[C any] func(c *C, f schema.Field, diags *diag.List)

// FileError is a file of settings that is none: the diagnostics, as text.
type FileError struct{ text string }

func (e *FileError) Error() string { return e.text }

// read reads the file in the dialect of the config repository: the same mistakes get the same messages.
func (t *Table[C]) read(path string, c *C) (map[string]string, error) {
	raw, err := bounded.ReadFile(path, MaxFile)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	var diags diag.List
	out := map[string]string{}
	if root := yamlpos.Decode(path, raw, &diags); root != nil {
		for _, f := range root.Fields {
			if other := t.Other[f.Name]; other != nil {
				other(c, f, &diags)
			} else if s := t.find(f, &diags); s != nil {
				out[f.Name] = s.value(f, &diags)
			}
		}
	}
	if !diags.HasErrors() {
		return out, nil
	}
	report := diag.Report{Diagnostics: diags.Sorted(), Source: func(string) []byte { return raw }, Files: 1}
	t.redact(report.Diagnostics, raw)
	var b strings.Builder
	if err := diag.Text(&b, report); err != nil {
		return nil, err
	}
	return nil, &FileError{strings.TrimSuffix(b.String(), "\n")}
}

// redact keeps the lines of a file from being quoted that may hold a secret: the one that names it and all below, because the value may
// go on there.
func (t *Table[C]) redact(diags []diag.Diagnostic, raw []byte) {
	first := 0
	for i, line := range strings.Split(string(raw), "\n") {
		for j := range t.All {
			if s := &t.All[j]; first == 0 && (s.Secret || s.Key) && strings.Contains(line, s.Field()) {
				first = i + 1
			}
		}
	}
	for i := range diags {
		if d := &diags[i]; first > 0 && d.Pos.Line >= first {
			d.Redact = true
		}
	}
}

// find finds the setting of a field.
func (t *Table[C]) find(f schema.Field, diags *diag.List) *Setting[C] {
	var known []string
	for i := range t.All {
		if t.All[i].Field() == f.Name {
			return &t.All[i]
		}
		known = append(known, t.All[i].Field())
	}
	for name := range t.Other {
		known = append(known, name)
	}
	Unknown(f, f.Name, known, diags)
	return nil
}

// Unknown reports a field that there is not.
func Unknown(f schema.Field, path string, known []string, diags *diag.List) {
	d := diag.Diagnostic{Code: "GW2031", Pos: f.Pos, Width: len(f.Name), Path: path, Message: fmt.Sprintf("unknown field %q", f.Name)}
	if near := diag.Suggest(f.Name, known); near != "" {
		d.Hint = fmt.Sprintf("did you mean %q", near)
	}
	diags.Add(d)
}

// value reads a field as the text that a flag would have.
func (s *Setting[C]) value(f schema.Field, diags *diag.List) string {
	switch f.Value.Kind {
	case schema.String:
		return f.Value.Str
	case schema.Int, schema.Bool:
		return f.Value.Describe()
	case schema.List:
		if s.List {
			return strings.Join(Texts(f, f.Name, diags), ",")
		}
	}
	diags.Errorf("GW2101", f.Value.Pos, f.Name, "%s is %s, must be text", f.Name, f.Value.Kind)
	return ""
}

// Texts reads a list of texts.
func Texts(f schema.Field, path string, diags *diag.List) []string {
	if f.Value.Kind != schema.List {
		diags.Errorf("GW2101", f.Value.Pos, path, "%s is %s, must be a list of texts", path, f.Value.Kind)
		return nil
	}
	var out []string
	for i, item := range f.Value.Items {
		if item.Kind != schema.String || item.Str == "" {
			diags.Errorf("GW2101", item.Pos, fmt.Sprintf("%s[%d]", path, i), "%s[%d] is %s, must be text", path, i, item.Kind)
			continue
		}
		out = append(out, item.Str)
	}
	return out
}
