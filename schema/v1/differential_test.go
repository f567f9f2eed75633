package v1

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/load"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/v1/internal/shape"
)

// judges holds the three verdicts that must agree on the shape of a value.
type judges struct {
	ctx  *cue.Context
	defs cue.Value
}

func newJudges(t *testing.T) judges {
	t.Helper()
	insts := load.Instances([]string{"."}, &load.Config{Dir: "."})
	ctx := cuecontext.New()
	v := ctx.BuildInstance(insts[0])
	if err := v.Err(); err != nil {
		t.Fatal(err)
	}
	return judges{ctx: ctx, defs: v}
}

// agree fails the test if the verdicts of CUE, of the JSON Schema and of the walker differ, and returns the walker's.
func (j judges) agree(t *testing.T, def string, n *schema.Node, what string) bool {
	t.Helper()
	value := j.ctx.Encode(n.Any())
	byCUE := j.defs.LookupPath(cue.MakePath(cue.Def(def))).Unify(value).Validate(cue.Concrete(true)) == nil
	bySchema := Verdict(def, n) == nil
	var l diag.List
	w := walker{diags: &l, shapeOnly: true}
	byWalker := w.value(shapes()[def], n, &loc{name: def, index: -1})
	if byCUE != byWalker || bySchema != byWalker && !hasWholeFloat(n) {
		t.Errorf("%s, %s: CUE says %v, JSON Schema %v, the walker %v\n%v\n%v", def, what, byCUE, bySchema, byWalker, n.Any(), lines(&l))
	}
	if byWalker != (l.Len() == 0) {
		t.Errorf("%s, %s: the verdict is %v with the diagnostics %q", def, what, byWalker, lines(&l))
	}
	return byWalker
}

// hasWholeFloat finds the one known difference: JSON Schema takes 1.0 for a whole number.
func hasWholeFloat(n *schema.Node) bool {
	if n.Kind == schema.Float && n.Float == math.Trunc(n.Float) {
		return true
	}
	for _, it := range n.Items {
		if hasWholeFloat(it) {
			return true
		}
	}
	for _, f := range n.Fields {
		if hasWholeFloat(f.Value) {
			return true
		}
	}
	return false
}

func readCorpus(t *testing.T) map[string]*schema.Node {
	t.Helper()
	files, err := filepath.Glob("testdata/accept/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no documents to accept: %v", err)
	}
	out := map[string]*schema.Node{}
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out[strings.TrimSuffix(filepath.Base(name), ".yaml")] = parse(t, string(src))
	}
	return out
}

// TestVerdictsAgree mutates every value of every document of the corpus. The name of a document begins with its definition.
func TestVerdictsAgree(t *testing.T) {
	j := newJudges(t)
	used := map[string]bool{}
	count, refused := 0, 0
	for name, root := range readCorpus(t) {
		def, _, _ := strings.Cut(name, "-")
		if !j.agree(t, def, root, name) {
			t.Errorf("%s is refused", name)
		}
		if def != "File" { // an envelope is judged less strictly than the whole
			var l diag.List
			if Validate(def, root, def, &l); l.Len() > 0 {
				t.Errorf("%s: %q", name, lines(&l))
			}
		}
		mutate(shapes()[def], root, used, func(what string) {
			count++
			if !j.agree(t, def, root, name+" with "+what) {
				refused++
			}
		})
	}
	if refused < count/2 || refused == count {
		t.Errorf("%d of %d mutations are refused: the mutations do not reach what they should", refused, count)
	}
	for name, s := range shapes() {
		if s.Map == nil {
			continue
		}
		for _, f := range s.Map.Fields {
			if !used[name+"."+f.Name] {
				t.Errorf("no document has the field %s of %s", f.Name, name)
			}
		}
	}
}

// mutate changes n in place in every way in turn, calls check after each change, and puts n back.
func mutate(s *shape.Shape, n *schema.Node, used map[string]bool, check func(what string)) {
	original := *n
	try := func(what string, m schema.Node) {
		*n = m
		check(what)
		*n = original
	}
	for _, m := range replacements(s) {
		try(fmt.Sprintf("%s for %s", m.Describe(), original.Describe()), m)
	}
	switch n.Kind {
	case schema.List:
		mutateList(s, n, used, try, check)
	case schema.Map:
		mutateMap(s, n, used, try, check)
	}
}

func replacements(s *shape.Shape) []schema.Node {
	out := []schema.Node{
		{Kind: schema.Null},
		{Kind: schema.Bool, Bool: true},
		{Kind: schema.Bool},
		{Kind: schema.Int},
		{Kind: schema.Int, Int: 7},
		{Kind: schema.Int, Int: -1},
		{Kind: schema.Int, Int: math.MaxInt64},
		{Kind: schema.Int, Int: math.MinInt64},
		{Kind: schema.Float, Float: 1.5},
		{Kind: schema.Float, Float: 0.25},
		{Kind: schema.Float, Float: 7},
		{Kind: schema.List},
		{Kind: schema.Map},
	}
	words := []string{
		"", " ", "x", "x y", "10s", "1m30s", "500ms", "10", "s10", "1s1h", "10MiB", "10MB", "GET", "get", "http", "https://a",
		"http://", "ftp://a", "true", "null", "a.b", "*.a", ":80", "127.0.0.1", "::1", "10.0.0.0/8", "/", "/a", "json", "JSON", "é", "\x00", "\n", "a\nb",
	}
	if n := s.Number; n != nil {
		for _, edge := range []float64{n.Min, n.Max} {
			for d := -1.0; d <= 1; d++ {
				out = append(out, schema.Node{Kind: schema.Int, Int: int64(edge + d)}, schema.Node{Kind: schema.Float, Float: edge + d/2})
			}
		}
	}
	if t := s.Text; t != nil {
		words = append(words, t.Enum...)
		for _, length := range []int{t.MinLen - 1, t.MinLen, t.MaxLen, t.MaxLen + 1} {
			for _, letter := range []string{"a", "é", "/"} {
				words = append(words, strings.Repeat(letter, max(length, 0)))
			}
		}
	}
	if s.Text == nil {
		words = words[:3]
	}
	for _, word := range words {
		out = append(out, schema.Node{Kind: schema.String, Str: word})
	}
	return out
}

func mutateList(s *shape.Shape, n *schema.Node, used map[string]bool, try func(string, schema.Node), check func(string)) {
	if len(n.Items) > 0 {
		twice := *n
		twice.Items = append(append([]*schema.Node{}, n.Items...), n.Items[0])
		try("its first element twice", twice)
		if most := s.List.Max; most > 0 && most <= 64 {
			many := *n
			many.Items = nil
			for i := range most + 1 {
				many.Items = append(many.Items, &schema.Node{Kind: schema.String, Str: "A" + fmt.Sprint(i)})
			}
			try("one element too many", many)
		}
	}
	for _, item := range n.Items {
		mutate(s.List.Elem, item, used, check)
	}
}

func mutateMap(s *shape.Shape, n *schema.Node, used map[string]bool, try func(string, schema.Node), check func(string)) {
	for _, key := range []string{"zzz", "", "x y", "ID", "$delete"} {
		more := *n
		more.Fields = append(append([]schema.Field{}, n.Fields...), schema.Field{Name: key, Value: &schema.Node{Kind: schema.String, Str: "v"}})
		try("the key "+key, more)
	}
	for i, f := range n.Fields {
		less := *n
		less.Fields = append(append([]schema.Field{}, n.Fields[:i]...), n.Fields[i+1:]...)
		try("no "+f.Name, less)
		child := s.Map.Value
		if child == nil {
			child = s.Map.Field(f.Name).Shape
			if structs := child.Map != nil || child.List != nil && child.List.Elem.Map != nil; used[s.Name+"."+f.Name] && !structs {
				continue // another document has been here
			}
			used[s.Name+"."+f.Name] = true
		}
		mutate(child, f.Value, used, check)
	}
}

// TestRefusedAlike has the three judge what people get wrong, too.
func TestRefusedAlike(t *testing.T) {
	j := newJudges(t)
	for _, tt := range mistakes() {
		if tt.def != "File" {
			j.agree(t, tt.def, parse(t, tt.doc), tt.name)
		}
	}
}
