//go:build unix

package secret_test

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
)

// TestHold follows a secret that comes, changes and goes.
func TestHold(t *testing.T) {
	s := open(t)
	path := filepath.Join(t.TempDir(), "key")
	h, err := s.Hold("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.Hold("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.Value(); err == nil || err.Error() != "secret file:"+path+": no such file or directory" {
		t.Errorf("before it is there: %v", err)
	}
	if got := s.Missing(); !slices.Equal(got, []string{"file:" + path}) {
		t.Errorf("missing %q", got)
	}
	seen := map[uint64]bool{}
	for _, content := range []string{"one\n", "two\r\n", "three\n\n", "four"} {
		want := map[string]string{"one\n": "one", "two\r\n": "two", "three\n\n": "three\n", "four": "four"}[content]
		write(t, path, content)
		testkit.Eventually(t, "the change is read", func() bool { v, _, _ := h.Value(); return string(v) == want })
		_, version, err := h.Value()
		if err != nil || seen[version] {
			t.Errorf("%q: version %d again, or %v", content, version, err)
		}
		seen[version] = true
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if v, _, err := again.Value(); string(v) != "four" || err != nil || len(s.Missing()) > 0 {
		t.Errorf("the other holder has %q, %v; missing %q", v, err, s.Missing())
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"", "plain", "env:A=B", "file:relative", "vault:x"} {
		if _, err := s.Hold(ref); err == nil {
			t.Errorf("%q is held", ref)
		}
	}
}
