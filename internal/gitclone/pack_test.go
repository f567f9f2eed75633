package gitclone

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
)

// FuzzMeasure looks at packs that no git program wrote: it ends, and lets nothing pass that is over a bound.
func FuzzMeasure(f *testing.F) {
	for _, seed := range []string{
		"",
		"5041434b0000000200000000", // empty
		"5041434b0000000200000001", // cut off
		"5041434b00000002ffffffff", // more objects than there are atoms of it
		"5041434b0000000200000001" + "bf8f8f8f8f8f8f8f8f01",                            // an object of an odd size
		"5041434b0000000200000001" + "31789c030000000001",                              // a blob of one byte, empty in fact
		"5041434b0000000200000001" + "71" + "0000000000000000000000000000000000000000", // a delta on nothing
	} {
		data, err := hex.DecodeString(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	l := limits{pack: 1 << 20, unpacked: 1 << 20, object: 1 << 16, packs: 1}
	f.Fuzz(func(t *testing.T, data []byte) {
		var kept bytes.Buffer
		if err := l.copyPack(&kept, bytes.NewReader(data)); err != nil && int64(len(data)) <= l.pack {
			t.Errorf("%d bytes are too many: %v", len(data), err)
		}
		_ = l.measure(bytes.NewReader(data)) // any answer is one
		if size, err := deltaTarget(data); err == nil && size < -1 {
			t.Errorf("a delta makes %d bytes", size)
		}
	})
}

// TestMeasure takes a pack that git made.
func TestMeasure(t *testing.T) {
	repo := testkit.GitServer(t).Create("config", map[string]string{"a.yaml": "a: 1\n"})
	c := open(t, Options{Repository: repo.URL, Ref: "main"})
	fetches(t, c, repo.Head())
	found, err := filepath.Glob(filepath.Join(c.dir, "objects", "pack", "*.pack"))
	if err != nil || len(found) != 1 {
		t.Fatalf("packs %q, %v", found, err)
	}
	data, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := usualLimits().measure(bytes.NewReader(data)); err != nil {
		t.Error(err)
	}
	tight := usualLimits()
	tight.unpacked = 10
	if err := tight.measure(bytes.NewReader(data)); err == nil {
		t.Error("a pack over the bound is taken")
	}
}
