package v1

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

func TestDecode(t *testing.T) {
	var got Route
	var l diag.List
	Decode(parse(t, usersRoute), "routes[0]", &got, &l)
	want := Route{
		ID: "users-api",
		Matcher: Matcher{
			Host: "api.example.com", Path: "/api/users/*", Methods: []string{"GET", "POST"},
			Headers: map[string]string{"X-Tenant": "*", "x-version": "v2"}, Query: map[string]string{"verbose": "*"},
		},
		Target: Target{Type: "http", URL: "http://users:8080"},
		Use:    []string{"standard", "patient"},
		Policy: &RoutePolicy{
			Timeout:   new(Duration(10_000)),
			Timeouts:  &ForwardTimeouts{Header: new(Duration(5_000)), Idle: new(Duration(90_000))},
			BodyLimit: &BodyLimit{MaxBytes: 1 << 20},
		},
	}
	if l.Len() > 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("got %s, %q\nwant %s", asJSON(t, got), lines(&l), asJSON(t, want))
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestDecodeAbsentIsNotZero(t *testing.T) {
	var l diag.List
	var absent, zero RoutePolicy
	Decode(parse(t, "{}"), "policy", &absent, &l)
	Decode(parse(t, "timeout: 0"), "policy", &zero, &l)
	if l.Len() > 0 || absent.Timeout != nil || zero.Timeout == nil || *zero.Timeout != 0 {
		t.Errorf("absent %v, zero %v, %q", absent.Timeout, zero.Timeout, lines(&l))
	}
	zero.ApplyDefaults()
	absent.ApplyDefaults()
	if *zero.Timeout != 0 || *absent.Timeout != 60_000 {
		t.Errorf("with defaults: absent %v, zero %v", *absent.Timeout, *zero.Timeout)
	}
}

// TestDecodeNumberOrName: ports and statuses are written as numbers or as text, and mean the same.
func TestDecodeNumberOrName(t *testing.T) {
	var l diag.List
	var k KubernetesDiscovery
	var h HTTPCheck
	Decode(parse(t, "{ namespace: shop, service: users, port: 8080 }"), "kubernetes", &k, &l)
	Decode(parse(t, `{ status: [200, "301", 500-599] }`), "http", &h, &l)
	if l.Len() > 0 || *k.Port != "8080" || !slices.Equal(h.Status, []StatusRange{"200", "301", "500-599"}) {
		t.Fatalf("port %v, status %v, %q", *k.Port, h.Status, lines(&l))
	}
	for i, want := range [][2]int64{{200, 200}, {301, 301}, {500, 599}} {
		if from, to := h.Status[i].Span(); from != want[0] || to != want[1] {
			t.Errorf("%s is from %d to %d", h.Status[i], from, to)
		}
	}
	Decode(parse(t, "port: true"), "kubernetes", &k, &l)
	if got := lines(&l); len(got) != 1 || !strings.HasPrefix(got[0], "1:7 GW2101 port is true") {
		t.Errorf("got %q", got)
	}
}

// TestDecodeAgrees decodes each document of the corpus and encodes it again: nothing may be lost or added.
func TestDecodeAgrees(t *testing.T) {
	for name, root := range readCorpus(t) {
		def, _, _ := strings.Cut(name, "-")
		into := newOf(def)
		var l diag.List
		Decode(root, name, into, &l)
		if l.Len() > 0 {
			t.Errorf("%s: %q", name, lines(&l))
		}
		if got, want := names(t, asJSON(t, into)), fieldPaths(root, ""); !slices.Equal(got, withoutZero(root, want)) {
			t.Errorf("%s: decoded\n%q\nwrote\n%q", name, got, want)
		}
	}
}

// names lists the paths of all fields in a JSON document.
func names(t *testing.T, doc string) []string {
	t.Helper()
	n := tryParse(doc)
	if n == nil {
		t.Fatal(doc)
	}
	return fieldPaths(n, "")
}

func fieldPaths(n *schema.Node, at string) []string {
	var out []string
	for _, it := range n.Items {
		out = append(out, fieldPaths(it, at+"[]")...)
	}
	for _, f := range n.Fields {
		out = append(out, at+"."+f.Name)
		out = append(out, fieldPaths(f.Value, at+"."+f.Name)...)
	}
	slices.Sort(out)
	return out
}

// withoutZero drops the switches that are off, which encode as absent.
func withoutZero(root *schema.Node, paths []string) []string {
	return slices.DeleteFunc(slices.Clone(paths), func(p string) bool {
		n := root
		for _, name := range strings.Split(strings.TrimPrefix(p, "."), ".") {
			if n = n.Get(name); n == nil {
				return false
			}
		}
		return n.Kind == schema.Bool && !n.Bool
	})
}

// foreign stands for the Spec of a policy outside this package.
type foreign struct {
	Common
	Count   int8              `json:"count"`
	Share   float64           `json:"share,omitempty"`
	Nested  *foreign          `json:"nested,omitempty"`
	Options map[string][]bool `json:"options"`
	//lint:ignore U1000 it is here to not be decoded
	hidden  string
	Skipped string `json:"-"`
}

// Common is embedded, and its fields are fields of the whole.
type Common struct {
	Enabled bool `json:"enabled"`
}

func TestDecodeForeignStruct(t *testing.T) {
	var got foreign
	var l diag.List
	Decode(parse(t, "enabled: true\ncount: 3\nshare: 1\nnested: { count: -128, share: 0.5 }\noptions: { a: [true, false] }"), "p", &got, &l)
	want := foreign{Common: Common{true}, Count: 3, Share: 1, Nested: &foreign{Count: -128, Share: 0.5}, Options: map[string][]bool{"a": {true, false}}}
	if l.Len() > 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %q", got, lines(&l))
	}
}

func TestDecodeRefuses(t *testing.T) {
	tests := []struct {
		doc  string
		into any
		want string
	}{
		{"count: 300", &foreign{}, `1:8 GW2103 count is 300, must be from -128 to 127`},
		{"count: 1.5", &foreign{}, `1:8 GW2101 count is 1.5, must be a whole number from -128 to 127 (write a whole number)`},
		{"enabled: 1", &foreign{}, `1:10 GW2101 enabled is 1, must be true or false`},
		{"share: a", &foreign{}, `1:8 GW2101 share is "a", must be a number`},
		{"hidden: a", &foreign{}, `1:1 GW2031 unknown field "hidden" in p (known fields: enabled, count, share, nested, options)`},
		{"Skipped: a", &foreign{}, `1:1 GW2031 unknown field "Skipped" in p (known fields: enabled, count, share, nested, options)`},
		{"cuont: 1", &foreign{}, `1:1 GW2031 unknown field "cuont" in p (did you mean "count"?)`},
		{"options: []", &foreign{}, `1:10 GW2101 options is a list, must be a map`},
		{"options: { a: true }", &foreign{}, `1:15 GW2101 a is true, must be a list (write [true])`},
		{"[]", &foreign{}, `1:1 GW2101 p is a list, must be a map`},
		{"timeout: soon", &RoutePolicy{}, `1:10 GW2111 timeout is "soon", must be a duration: whole milliseconds, or text such as "10s", "500ms" or "1m30s"`},
		{"timeout: null", &RoutePolicy{}, `1:10 GW2101 timeout is empty, must be a duration: whole milliseconds, or text such as "10s", "500ms" or "1m30s" (give it a value, or leave the field out)`},
		{"bodyLimit: { maxBytes: 1MB }", &RoutePolicy{}, `1:24 GW2112 maxBytes is "1MB", must be a size: whole bytes, or text such as "64KiB" or "10MiB" (did you mean "1MiB"?)`},
		{"waf: {}", &RoutePolicy{}, `1:1 GW2033 waf is known, but not available in this version (the web application firewall)`},
		{"id: 1", &Route{}, `1:5 GW2101 id is 1, must be a string (put it in quotes: "1")`},
	}
	for _, tt := range tests {
		var l diag.List
		Decode(parse(t, tt.doc), "p", tt.into, &l)
		if got := strings.Join(lines(&l), "\n"); got != tt.want {
			t.Errorf("%s: got\n%s\nwant\n%s", tt.doc, got, tt.want)
		}
	}
}

// TestDefaults holds the table, the values that ApplyDefaults fills in, and the schema together.
func TestDefaults(t *testing.T) {
	if len(Defaults()) == 0 {
		t.Fatal("no defaults")
	}
	for _, d := range Defaults() {
		doc := d.Field + ": " + d.Value
		n := parse(t, doc)
		s := shapes()[d.Def].Map.Field(d.Field)
		var l diag.List
		w := walker{diags: &l}
		if !w.value(s.Shape, n.Get(d.Field), &loc{name: d.Field, index: -1}) {
			t.Errorf("the default of %s.%s is refused: %q", d.Def, d.Field, lines(&l))
		}
		written, filled := newOf(d.Def), newOf(d.Def)
		Decode(n, "x", written, &l)
		filled.(interface{ ApplyDefaults() }).ApplyDefaults()
		a, b := fieldByTag(written, d.Field), fieldByTag(filled, d.Field)
		if !reflect.DeepEqual(a.Interface(), b.Interface()) {
			t.Errorf("%s.%s: the table says %v, ApplyDefaults %v", d.Def, d.Field, reflect.Indirect(a), reflect.Indirect(b))
		}
	}
}

func fieldByTag(v any, name string) reflect.Value {
	s := reflect.ValueOf(v).Elem()
	for f, value := range s.Fields() {
		if tag, _, _ := strings.Cut(f.Tag.Get("json"), ","); tag == name {
			return value
		}
	}
	return reflect.Value{}
}

// TestPlannedNames refuses a name that is planned and built at the same time.
func TestPlannedNames(t *testing.T) {
	for _, p := range Planned() {
		def, field, isValue := strings.Cut(p.Where, ".")
		s := shapes()[def]
		switch {
		case s == nil:
			t.Errorf("%s.%s: no such definition", p.Where, p.Name)
		case isValue && slices.Contains(s.Map.Field(field).Shape.Text.Enum, p.Name), !isValue && s.Map.Field(p.Name) != nil:
			t.Errorf("%s.%s is built", p.Where, p.Name)
		}
	}
}
