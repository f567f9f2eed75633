package drift

import (
	"context"
	"strings"
	"testing"
)

func TestFolders(t *testing.T) {
	for _, dir := range []string{"/etc", "..", "a/../b", "a//b", "./a", "a/", "-x", "a\\b", "a\nb", "a/.."} {
		if got, err := parseSubdirectory(dir); err == nil {
			t.Errorf("subdirectory %q is taken as %q", dir, got)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	compile := func(context.Context, string, string, string, string) (Compiled, error) { return Compiled{}, nil }
	running := func() Running { return Running{} }
	for text, o := range map[string]Options{
		"Compile and Running":            {Repository: "/srv"},
		"drift repository: file://":      {Repository: "file:///etc", Compile: compile, Running: running},
		`drift ref "--output=x"`:         {Repository: "/srv", Ref: "--output=x", Compile: compile, Running: running},
		`drift subdirectory "../secret"`: {Repository: "/srv", Subdirectory: "../secret", Compile: compile, Running: running},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, want %q", err, text)
		}
	}
}
