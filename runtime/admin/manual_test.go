package admin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/schema/ir"
)

// TestManual holds the permissions of docs/admin.md to those there are.
func TestManual(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(testkit.Root(t), "docs", "admin.md"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]string{}
	for _, p := range ir.AdminPermissions() {
		resource, action, _ := strings.Cut(p, ":")
		known[resource] = strings.TrimPrefix(known[resource]+", `"+action+"`", ", ")
	}
	for resource, actions := range known {
		if !strings.Contains(string(raw), "\n| `"+resource+"` | "+actions+" | ") {
			t.Errorf("docs/admin.md has no line | `%s` | %s |", resource, actions)
		}
	}
	lines := 0
	for line := range strings.Lines(string(raw)) {
		if strings.HasPrefix(line, "| `") && strings.Contains(line, "` | `") && strings.Count(line, " | ") == 2 {
			lines++
		}
	}
	if lines != len(known) {
		t.Errorf("docs/admin.md lists %d resources, there are %d", lines, len(known))
	}
	for _, role := range ir.BuiltInRoles() {
		if !strings.Contains(string(raw), "\n| `"+role+"` | ") {
			t.Errorf("docs/admin.md does not say what %s permits", role)
		}
	}
}
