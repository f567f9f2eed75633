package bundle

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestDocs holds docs/bundle-format.md to the code: reasons, media types, schemas, and the example of a trust file.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "bundle-format.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	for _, r := range reasons(t) {
		if !strings.Contains(text, "`"+r+"`") {
			t.Errorf("reason %s is not explained", r)
		}
	}
	for _, s := range []string{
		ManifestSchema, ChannelSchema, ApprovalSchema, TrustSchema, manifestType, channelType, approvalType, ArtifactType, ChannelArtifactType,
		ApprovalsArtifactType, manifestMediaType, channelMediaType, approvalMediaType,
		shardMediaType, MediaTypeImageManifest, mediaTypeEmpty, annotationTag, annotationTitle, annotationEnvironment, LayoutFile,
		pathPattern.String()[1 : len(pathPattern.String())-1], environmentPattern.String()[1 : len(environmentPattern.String())-1],
	} {
		if !strings.Contains(text, s) {
			t.Errorf("%s is not mentioned", s)
		}
	}
	_, example, _ := strings.Cut(text, "```json\n")
	example, _, _ = strings.Cut(example, "```")
	_, err = ParseTrust([]byte(example))
	if refusal(err) != TrustInvalid || !strings.Contains(err.Error(), "environments.prod: 2 release signatures are needed, 1 keys may give one") {
		t.Errorf("the example must lack only a second key for prod: %v", err)
	}
	if _, err := ParseTrust([]byte(strings.Replace(example, `"release": 2`, `"release": 1`, 1))); err != nil {
		t.Errorf("the example: %v", err)
	}
}

// reasons reads the constants of type Reason from the source.
func reasons(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if lit, ok := spec.Values[0].(*ast.BasicLit); ok {
			s, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, s)
		}
		return true
	})
	if len(out) < 20 {
		t.Fatalf("found %d reasons only", len(out))
	}
	return out
}
