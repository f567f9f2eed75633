package yamlpos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

// FuzzDecode holds the two promises of the package: no input makes it panic, and whatever it accepts it reads as yaml.v3
// does, but for the differences the package comment names.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		"a: 1\nb: [x, {y: 2}]\n", "k: &a {x: *a}\n", "a: 2024-01-15\n", "a: |\n  x\nb: >-\n y\n", "? a\n: b\n", "a: !!str 1\n",
		"\xef\xbb\xbfa: 'é'\r\n", "{\"a\": \"\\ud83d\\ude00\"}", "a: 0x1f\nb: 1_0\nc: .5\n", "<<: {a: 1}\n", "a: ! 1\n", "a: \"x\n  y\"\n",
		"%TAG ! tag:x,2000:\n---\na: !b c\n", "a: -_1\nb: +.5\nc: 1e-2\n", "a:\n- b:\n  - c: {d: [}\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var l diag.List
		n := Decode("f.yaml", in, &l)
		if n == nil && !l.HasErrors() {
			t.Fatal("no root and no error")
		}
		for _, d := range l.Sorted() {
			if d.Code == "" || d.Message == "" || d.Pos.File == "" {
				t.Fatalf("incomplete diagnostic %+v", d)
			}
		}
		if l.HasErrors() {
			return
		}
		var want any
		if err := yaml.Unmarshal(in, &want); err != nil {
			t.Fatalf("yaml.v3 refuses what was accepted: %v", err)
		}
		if want == nil {
			want = map[string]any{}
		}
		if err := same(n, want); err != nil {
			t.Fatal(err)
		}
	})
}

// same compares with what yaml.v3 decoded; a date is a string to us.
func same(n *schema.Node, want any) error {
	switch w := want.(type) {
	case map[string]any:
		if n.Kind != schema.Map || len(n.Fields) != len(w) {
			return fmt.Errorf("%s: %v, want %v", n.Pos, n.Any(), want)
		}
		for k, v := range w {
			c := n.Get(k)
			if c == nil {
				return fmt.Errorf("%s: no field %q", n.Pos, k)
			}
			if err := same(c, v); err != nil {
				return err
			}
		}
		return nil
	case []any:
		if n.Kind != schema.List || len(n.Items) != len(w) {
			return fmt.Errorf("%s: %v, want %v", n.Pos, n.Any(), want)
		}
		for i, v := range w {
			if err := same(n.Items[i], v); err != nil {
				return err
			}
		}
		return nil
	case time.Time:
		if n.Kind == schema.String {
			return nil
		}
	case int:
		if n.Kind == schema.Int && n.Int == int64(w) {
			return nil
		}
	default:
		if reflect.DeepEqual(n.Any(), want) {
			return nil
		}
	}
	return fmt.Errorf("%s: %#v, want %#v", n.Pos, n.Any(), want)
}

// FuzzJSON holds the same for JSON, against encoding/json: whatever both accept they read alike.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{
		`{"a": [1, true, null, "x\/y\u00e9"]}`, `{"a": "\ud83d\ude00\ud83d"}`, "{\n\t\"a\": {\"b\": -0.5e-3}\n}", `{"a": "\\/", "a": 1}`, `{"é": "\u0000"}`,
		`{"a": 1E400, "b": 1.0, "c": 9007199254740993}`, `{"a": "tab	in"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var l diag.List
		n := Decode("f.json", in, &l)
		if n == nil && !l.HasErrors() {
			t.Fatal("no root and no error")
		}
		dec := json.NewDecoder(bytes.NewReader(in))
		dec.UseNumber()
		var want any
		if l.HasErrors() || !json.Valid(in) || dec.Decode(&want) != nil {
			return
		}
		if err := sameJSON(n, want); err != nil {
			t.Fatal(err)
		}
	})
}

func sameJSON(n *schema.Node, want any) error {
	switch w := want.(type) {
	case map[string]any:
		if n.Kind != schema.Map || len(n.Fields) != len(w) {
			return fmt.Errorf("%s: %v, want %v", n.Pos, n.Any(), want)
		}
		for k, v := range w {
			c := n.Get(k)
			if c == nil {
				return fmt.Errorf("%s: no field %q", n.Pos, k)
			}
			if err := sameJSON(c, v); err != nil {
				return err
			}
		}
		return nil
	case []any:
		if n.Kind != schema.List || len(n.Items) != len(w) {
			return fmt.Errorf("%s: %v, want %v", n.Pos, n.Any(), want)
		}
		for i, v := range w {
			if err := sameJSON(n.Items[i], v); err != nil {
				return err
			}
		}
		return nil
	case json.Number:
		f, err := w.Float64()
		switch {
		case n.Kind == schema.Int && (strconv.FormatInt(n.Int, 10) == string(w) || n.Int == 0 && f == 0):
			return nil
		case n.Kind == schema.Float && err == nil && n.Float == f:
			return nil
		}
	default:
		if reflect.DeepEqual(n.Any(), want) {
			return nil
		}
	}
	return fmt.Errorf("%s: %#v, want %#v", n.Pos, n.Any(), want)
}
