package live

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/depot"
	"github.com/suuupra/gateway/internal/testkit/publisher"
	"github.com/suuupra/gateway/schema/bundle"
)

// TestDestination believes in what a gateway would believe in, and in nothing else.
func TestDestination(t *testing.T) {
	p, stranger := publisher.New(t, "prod"), publisher.New(t, "prod")
	file := filepath.Join(t.TempDir(), "site.gwb")
	put := func(raw *bundle.Raw) {
		t.Helper()
		data, err := bundle.EncodeArchive(raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	location, err := depot.ParseLocation(file)
	if err != nil {
		t.Fatal(err)
	}
	from, err := depot.Open(location, depot.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = from.Close() })
	now := time.Now()
	d := &Destination{From: from, Environment: "prod", Trust: func() (*bundle.Trust, error) { return p.Trust, nil }, Now: func() time.Time { return now }}
	looks := func(want string) {
		t.Helper()
		got, err := d.Look(t.Context())
		if err != nil || got.String() != want {
			t.Fatalf("%v %v, want %s", got, err, want)
		}
	}
	if got, err := d.Look(t.Context()); got != nil || err != nil {
		t.Errorf("before anything is published: %v %v", got, err)
	}
	program := p.Program("127.0.0.1:9", "a")
	first := p.Publish(program)
	put(first)
	looks("bundle 1.1 of commit 0123456")
	second := p.Publish(program)
	put(second)
	looks("bundle 1.2 of commit 0123456")
	now = now.Add(48 * time.Hour) // expired, and what gateways run all the same
	looks("bundle 1.2 of commit 0123456")
	for name, raw := range map[string]*bundle.Raw{"an older channel": first, "somebody else's": stranger.Publish(program)} {
		put(raw)
		var refused *bundle.Error
		if got, err := d.Look(t.Context()); !errors.As(err, &refused) {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
}
