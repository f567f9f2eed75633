package compiler

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"testing"

	"github.com/suuupra/gateway/compiler/yamlpos"
	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

// FuzzNodeCodec holds the two halves of the codec together: whatever decodes is encoded to bytes that decode to the same,
// and bytes that nobody encoded neither panic nor claim memory out of proportion.
func FuzzNodeCodec(f *testing.F) {
	for _, text := range []string{
		"", "a: 1", "a: [1, -2, 3.5, true, null, x, [], {}]", "routes:\n  - id: a\n    matcher: { path: /a }",
		"x: &a {b: c}\ny: *a", "a: -9223372036854775808\nb: \"ünï\"",
	} {
		var diags diag.List
		f.Add(appendNode(nil, yamlpos.Decode("f.yaml", []byte(text), &diags)))
	}
	f.Add(nested(200))
	f.Add([]byte{byte(schema.List), 1, 1, 1, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, data []byte) {
		n, ok := decodeNode("f.yaml", data)
		if !ok {
			return
		}
		again, ok := decodeNode("f.yaml", appendNode(nil, n))
		if !ok || !equalNodes(n, again) {
			t.Fatalf("decoded %+v, encoded and decoded again %+v (%t)", n, again, ok)
		}
	})
}

func nested(depth int) []byte {
	n := &schema.Node{Kind: schema.Null}
	for range depth {
		n = &schema.Node{Kind: schema.List, Items: []*schema.Node{n}}
	}
	return appendNode(nil, n)
}

// equalNodes is reflect.DeepEqual, but that NaN equals itself and no item equals an empty list of them.
func equalNodes(a, b *schema.Node) bool {
	if a.Kind != b.Kind || a.Pos != b.Pos || a.Width != b.Width || a.Bool != b.Bool || a.Int != b.Int || a.Str != b.Str ||
		math.Float64bits(a.Float) != math.Float64bits(b.Float) || len(a.Items) != len(b.Items) || len(a.Fields) != len(b.Fields) {
		return false
	}
	for i := range a.Items {
		if !equalNodes(a.Items[i], b.Items[i]) {
			return false
		}
	}
	for i := range a.Fields {
		if a.Fields[i].Name != b.Fields[i].Name || a.Fields[i].Pos != b.Fields[i].Pos || !equalNodes(a.Fields[i].Value, b.Fields[i].Value) {
			return false
		}
	}
	return true
}

func TestNodeCodecKeepsStories(t *testing.T) {
	files, err := filepath.Glob("../examples/config-repo/*/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no example files: %v", err)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var diags diag.List
		want := yamlpos.Decode(path, data, &diags)
		if got, ok := decodeNode(path, appendNode(nil, want)); !ok || !reflect.DeepEqual(got.Any(), want.Any()) || !equalNodes(got, want) {
			t.Errorf("%s: the codec loses something", path)
		}
	}
}

// TestNodeCodecClaims feeds lengths that lie. Nested lists that each claim all the bytes that follow used to cost the
// product of depth and size.
func TestNodeCodecClaims(t *testing.T) {
	const size = 1 << 20
	data := make([]byte, 0, size)
	for len(data) < size-16 {
		data = append(data, byte(schema.List), 1, 1, 1)
		data = binary.AppendUvarint(data, uint64((size-len(data)-8)/minNode))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, ok := decodeNode("f.yaml", data); ok {
		t.Fatal("lengths that lie were believed")
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 20*size {
		t.Errorf("decoding %d bytes allocated %d", size, got)
	}
}
