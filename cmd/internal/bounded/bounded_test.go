package bounded

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("four"), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := ReadFile(path, 4); err != nil || string(data) != "four" {
		t.Errorf("at the limit: %q, %v", data, err)
	}
	if _, err := ReadFile(path, 3); err == nil || err.Error() != path+" is larger than 3 bytes" {
		t.Errorf("beyond the limit: %v", err)
	}
	if _, err := ReadFile(path+"x", 3); !os.IsNotExist(err) {
		t.Errorf("not there: %v", err)
	}
}
