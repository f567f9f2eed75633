package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	definitions = "../.."
	manual      = "../../../../docs/reference.md"
)

// TestGenerated wants the committed files to be what the definitions say. `make golden` brings them up to date.
func TestGenerated(t *testing.T) {
	out, err := generate(definitions)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]byte{
		filepath.Join(definitions, schemaFile): out.schema, filepath.Join(definitions, typesFile): out.types, manual: out.reference,
	} {
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the definitions say", path)
		}
	}
}

// TestLint refuses each construct that the export to JSON Schema drops, widens or closes wrongly.
func TestLint(t *testing.T) {
	tests := []struct{ name, src, want string }{
		{"a default beside a bound", "// A.\n#A: {\n// N.\nn?: int & >=0 & <=300 | *60\n}", "outside the subset"},
		{"a condition", "// A.\n#A: {\n// N.\nn?: int\nif n > 3 { m: 1 }\n}", "no if, no for"},
		{"a comprehension", "// A.\n#A: {\nfor k in [\"a\"] { (k): int }\n}", "no if, no for"},
		{"an open struct", "// A.\n#A: {\n// N.\nn?: int\n...\n}", "no if, no for"},
		{"a validator the export does not know", "import \"net\"\n// A.\n#A: {\n// N.\nn?: net.IP\n}", "an expression the export does not keep"},
		{"a call the export does not know", "import \"strings\"\n// A.\n#A: {\n// N.\nn?: strings.HasPrefix(\"a\")\n}", "a call outside the subset"},
		{"a time", "import \"time\"\n// A.\n#A: {\n// N.\nn?: time.Duration()\n}", "a call outside the subset"},
		{"a reference between fields", "// A.\n#A: {\n// Lo.\nlo?: int\n// Hi.\nhi?: int & >=lo\n}", "a bound that is not a literal"},
		{"an exclusive bound", "// A.\n#A: {\n// N.\nn?: int & >0\n}", "only >=, <= and =~"},
		{"bounds that contradict each other", "// A.\n#A: {\n// N.\nn?: int & >=3 & <=2\n}", "no value lies"},
		{"unique elements without end", "import \"list\"\n// A.\n#A: {\n// N.\nn?: [...int] & list.UniqueItems()\n}", "no list.MaxItems"},
		{"a negated pattern", "// A.\n#A: {\n// N.\nn?: !~\"a\"\n}", "only >=, <= and =~"},
		{"two patterns", "// A.\n#A: {\n// N.\nn?: =~\"a\" & =~\"b\" @form(x)\n}", "a conjunction outside the subset"},
		{"a pattern without words", "// A.\n#A: {\n// N.\nn?: =~\"a\"\n}", "no @form"},
		{"a union of one kind", "// A.\n#A: {\n// N.\nn?: =~\"a\" | =~\"b\" @form(x)\n}", "a union outside the subset"},
		{"a union of structs", "// A.\n#A: {\n// N.\nn?: #B | #C\n}\n// B.\n#B: {}\n// C.\n#C: {}", "a union outside the subset"},
		{"an embedded definition", "// A.\n#A: {\n#B\n}\n// B.\n#B: {}", "only hidden structs may be embedded"},
		{"an embedded struct that does not exist", "// A.\n#A: {\n_b\n}", "does not exist"},
		{"a struct in place", "// A.\n#A: {\n// N.\nn?: { m?: int }\n}", "a struct in place"},
		{"a field neither optional nor required", "// A.\n#A: {\n// N.\nn: int\n}", "neither optional"},
		{"a required field with a default", "// A.\n#A: {\n// N.\nn!: int @default(1)\n}", "required and has a default"},
		{"no comment on a field", "// A.\n#A: {\nn?: int\n}", "n has no comment"},
		{"no comment on a definition", "#A: {\n// N.\nn?: int\n}", "#A has no comment"},
		{"a definition that does not exist", "// A.\n#A: {\n// N.\nn?: #B\n}", "#B does not exist"},
		{"absence of what is no struct", "// A.\n#A: {\n// N.\nn?: int @absent(off)\n}", "@absent belongs to an optional struct"},
		{"absence of what is required", "// A.\n#A: {\n// N.\nn!: #B @absent(off)\n}\n// B.\n#B: {}", "@absent belongs to an optional struct"},
		{"an attribute nobody reads", "// A.\n#A: {\n// N.\nn?: int @defualt(1)\n}", "unknown attribute @defualt"},
		{"the form of a definition at its use", "// A.\n#A: {\n// N.\nn?: #B @form(x)\n}\n// B.\n#B: string", "belong to the definition"},
		{"anything", "// A.\n#A: {\n// N.\nn?: _\n}", "not a type of the subset"},
		{"null", "// A.\n#A: {\n// N.\nn?: null | string\n}", "an expression the export does not keep"},
		{"a closed list", "// A.\n#A: {\n// N.\nn?: [int, int]\n}", "an expression the export does not keep"},
		{"a value at the top", "a: 1", "only definitions and hidden structs"},
		{"a let at the top", "let a = 1", "at the top"},
		{"a planned name that is built", "// A.\n#A: {\n// N.\nn?: int\n}\n_planned: {\"#A\": {n: \"x\"}}", "is built"},
		{"a planned name nowhere", "_planned: {\"#A\": {n: \"x\"}}", "does not exist"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := readModel([]string{define(t, tt.src)})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// define writes a file of definitions and returns its path.
func define(t *testing.T, src string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.cue")
	if err := os.WriteFile(path, []byte("package v1\n"+src), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestAbsent keeps a struct nil that the author left out, and fills in the others: those in lists, too.
func TestAbsent(t *testing.T) {
	out, err := generate(filepath.Dir(define(t, `// F.
#File: {
// A.
a?: #A
}
// A.
#A: {
// Off.
off?: #B @absent(off)
// On.
on?: #B
// List.
list?: [...#B]
}
// B.
#B: {
// Words.
words?: [...#W] @default("[x, y]")
// Version.
version?: "1.2" | "1.3" @default("1.2")
}
// W.
#W: "x" | "y"
`)))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\tif t.Off != nil {\n\t\tt.Off.ApplyDefaults()\n\t}\n",
		"\tif t.On == nil {\n\t\tt.On = &B{}\n\t}\n\tt.On.ApplyDefaults()\n",
		"\tfor i := range t.List {\n\t\tt.List[i].ApplyDefaults()\n\t}\n",
		"\tif t.Words == nil {\n\t\tt.Words = []string{\"x\", \"y\"}\n\t}\n",
		`{Def: "B", Field: "version", Value: "\"1.2\""},`, // without quotes it would be a number
	} {
		if !strings.Contains(string(out.types), want) {
			t.Errorf("the Go types lack\n%s", want)
		}
	}
	for _, want := range []string{"| `off` | [B](#b) | off |", "| `words` | list of [W](#w) | `[x, y]` |", "| `version` | text | `\"1.2\"` |"} {
		if !strings.Contains(string(out.reference), want) {
			t.Errorf("the manual lacks %s\n%s", want, out.reference)
		}
	}
}

// TestGenerateRefuses covers what only the later steps can see.
func TestGenerateRefuses(t *testing.T) {
	tests := []struct{ name, src, want string }{
		{"a definition out of reach", "// F.\n#File: {\n// N.\nn?: int @default(1)\n}\n// B.\n#B: {\n// N.\nn?: int\n}", "not reachable"},
		{"an optional string that may be empty", "// F.\n#File: {\n// N.\nn?: string\n}", "may be empty"},
		{"a default that is no duration", "// F.\n#File: {\n// B.\nb?: #B\n}\n// B.\n#B: {\n// N.\nn?: #D @default(soon)\n}\n" +
			"// D.\n#D: (int & >=0 & <=9) | =~\"s$\" @go(Duration) @type(duration)", "default of #B.n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := generate(filepath.Dir(define(t, tt.src)))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// TestCompareFindsWhatIsLost takes each constraint out of the exported document in turn: none may go missing unnoticed.
func TestCompareFindsWhatIsLost(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(definitions, "*.cue"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := readModel(files)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exportSchema(definitions, m)
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := json.Unmarshal(out, &doc); err != nil {
		t.Fatal(err)
	}
	count := 0
	eachConstraint(doc, "", func(where string) {
		count++
		changed, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		if compare(changed, m) == nil {
			t.Errorf("nobody misses %s", where)
		}
	})
	if count < 100 {
		t.Errorf("only %d constraints were taken out", count)
	}
}

// eachConstraint removes every keyword that constrains in turn, calls missing, and puts it back.
func eachConstraint(v any, at string, missing func(where string)) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			eachConstraint(e, at+"[]", missing)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			val, where := v[key], at+"/"+key
			switch key {
			case "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "required",
				"additionalProperties", "enum", "const", "items", "type", "$ref":
				if _, isSchema := val.(map[string]any); key == "type" && isSchema {
					break // a field of that name
				}
				delete(v, key)
				missing(where)
				v[key] = val
			}
			eachConstraint(val, where, missing)
		}
	}
}
