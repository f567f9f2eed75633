package template_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/suuupra/gateway/internal/template"
)

// allow knows the names a, b.c and long.
func allow(name string) (problem, hint string) {
	if slices.Contains([]string{"a", "b.c", "long"}, name) {
		return "", ""
	}
	return "there is no " + name, `write "a"`
}

func resolve(name string) (string, bool) {
	return map[string]string{"a": "1", "b.c": "zwei", "long": strings.Repeat("x", 1000)}[name], true
}

func TestExpand(t *testing.T) {
	for _, tc := range []struct {
		text, want string
		names      string
	}{
		{"", "", ""},
		{"plain", "plain", ""},
		{"${a}", "1", "a"},
		{"<${a}>", "<1>", "a"},
		{"${a}${b.c}", "1zwei", "a b.c"},
		{"${a}-${b.c}-${a}", "1-zwei-1", "a b.c"},
		{"$", "$", ""},
		{"$a {b} }", "$a {b} }", ""},
		{"$$", "$$", ""},
		{"$${a}", "${a}", ""},
		{"$${", "${", ""},
		{"$$${a}", "$${a}", ""},
		{"$${a}${a}", "${a}1", "a"},
		{"100$ ${a}$", "100$ 1$", "a"},
		{"${a}}", "1}", "a"},
		{"Grüße, ${a}", "Grüße, 1", "a"},
		{"-${long}", "-" + strings.Repeat("x", 1000), "long"},
	} {
		p, err := template.Parse(tc.text, allow)
		if err != nil {
			t.Errorf("%q: %v", tc.text, err)
			continue
		}
		if got, ok := p.Expand(resolve); got != tc.want || !ok {
			t.Errorf("%q becomes %q, %t, want %q", tc.text, got, ok, tc.want)
		}
		if got, ok := p.Append([]byte("before "), resolve); string(got) != "before "+tc.want || !ok {
			t.Errorf("%q is appended as %q, %t", tc.text, got, ok)
		}
		if got := strings.Join(p.Names(), " "); got != tc.names {
			t.Errorf("%q has the names %q, want %q", tc.text, got, tc.names)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	const literal = `for a literal "${" write "$${"`
	for _, tc := range []struct{ text, want, hint string }{
		{"${x}", "column 1: there is no x", `write "a"`},
		{"ab${x}", "column 3: there is no x", `write "a"`},
		{"äö${x}", "column 3: there is no x", `write "a"`},
		{"${a}${A}", "column 5: there is no A", `write "a"`},
		{"${ a}", "column 1: there is no  a", `write "a"`},
		{"${", `column 1: "${" is not closed by "}"`, literal},
		{"a ${a", `column 3: "${" is not closed by "}"`, literal},
		{"${}", `column 1: "${}" names nothing`, literal},
		{"${a${b.c}}", `column 1: "${" stands within another "${", and templates do not nest`, literal},
		{"${a${", `column 1: "${" stands within another "${", and templates do not nest`, literal},
	} {
		_, err := template.Parse(tc.text, allow)
		bad, ok := errors.AsType[*template.Error](err)
		if !ok || bad.Error() != tc.want || bad.Hint != tc.hint {
			t.Errorf("%q: %v (%v), want %s (%s)", tc.text, err, bad, tc.want, tc.hint)
		}
	}
}

func TestNoValue(t *testing.T) {
	for _, text := range []string{"${a}", "x${a}y", "${b.c}${a}"} {
		p, err := template.Parse(text, allow)
		if err != nil {
			t.Fatal(err)
		}
		none := func(name string) (string, bool) { return "", name != "a" }
		if got, ok := p.Expand(none); ok {
			t.Errorf("%q becomes %q, though a name in it has no value", text, got)
		}
	}
}

// FuzzParse holds every text against the rule: it is refused at a place that is in it, or it comes out as it went in when each name
// stands for its own spelling, but for the escapes.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "${a}", "$${a}", "$$${a}", "a${b.c}c", "${", "${a${a}}", "$$$$", "\xff${a}", "}${a}{"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := template.Parse(text, func(name string) (string, string) {
			if strings.Contains(name, "!") {
				return "a name holds no !", ""
			}
			return "", ""
		})
		if err != nil {
			bad, ok := errors.AsType[*template.Error](err)
			if !ok || bad.Column < 1 || bad.Column > utf8.RuneCountInString(text) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		got, ok := p.Expand(func(name string) (string, bool) { return "${" + name + "}", true })
		if want := strings.ReplaceAll(text, "$${", "${"); got != want || !ok {
			t.Errorf("%q comes out as %q, want %q", text, got, want)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	p, err := template.Parse("user=${a}; of=${b.c}", allow)
	if err != nil {
		b.Fatal(err)
	}
	short := func(name string) (string, bool) { return name, true }
	var buf [64]byte
	b.ReportAllocs()
	for b.Loop() {
		if out, ok := p.Append(buf[:0], short); !ok || len(out) != len("user=a; of=b.c") {
			b.Fatalf("%q", out)
		}
	}
}
