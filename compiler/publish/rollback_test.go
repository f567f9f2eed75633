package publish

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/depot"
	"github.com/suuupra/gateway/schema/bundle"
)

func TestRollback(t *testing.T) {
	k := newKeys(t)
	at := filepath.Join(t.TempDir(), "bundles")
	s := k.settings()
	s.Hold = &bundle.Hold{Reason: "checkout is failing"}
	roll := func(to bundle.Digest, s Settings) (Result, error) {
		return Rollback(t.Context(), open(t, at), "prod", to, s)
	}
	if _, err := roll("", s); !errors.Is(err, depot.ErrNotFound) {
		t.Errorf("in an empty place: %v", err)
	}
	var all []*bundle.Bundle
	for i := range 3 {
		all = append(all, k.build(t, "prod", fmt.Sprint(i)))
		r, err := Publish(t.Context(), open(t, at), all[i], k.settings())
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if _, err := roll("", s); !errors.Is(err, depot.ErrNotFound) {
				t.Errorf("with nothing before: %v", err)
			}
		} else if r.Channel.Replaces != all[i-1].Digest() {
			t.Errorf("%d replaces %s", i, r.Channel.Replaces)
		}
	}
	for name, c := range map[string]struct {
		to   bundle.Digest
		edit func(*Settings)
		want string
	}{
		"to what is current": {all[2].Digest(), nil, "is current already"},
		"to nothing known":   {bundle.DigestOf(nil), nil, "not found"},
		"without trust":      {"", func(s *Settings) { s.Trust = nil }, "--trust"},
		"without a reason":   {"", func(s *Settings) { s.Hold = nil }, "--reason"},
		"with a stale plan":  {"", func(s *Settings) { s.Base = &bundle.Position{Epoch: 1, Version: 1} }, "the plan was made for 1.1"},
	} {
		bad := s
		if c.edit != nil {
			c.edit(&bad)
		}
		if r, err := roll(c.to, bad); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	r, err := roll(all[0].Digest(), s)
	if err != nil || r.Channel.Manifest.Digest != all[0].Digest() || r.Position.String() != "1.4" || r.Channel.Replaces != all[2].Digest() {
		t.Errorf("to a certain bundle: %+v, %v", r, err)
	}
	if r, err := roll("", s); !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "prod was rolled back already, to "+string(all[0].Digest())) {
		t.Errorf("the same again: %+v, %v", r, err)
	}
	r, err = roll(all[2].Digest(), s) // and forward again
	if err != nil || r.Channel.Manifest.Digest != all[2].Digest() {
		t.Errorf("back from the rollback: %+v, %v", r, err)
	}
	late := s
	late.Now = now.Add(6 * 24 * time.Hour)
	if r, err = Publish(t.Context(), open(t, at), all[2], late); err != nil || !r.Renewed || r.Channel.Replaces != all[0].Digest() {
		t.Errorf("a renewal forgets what was before: %+v, %v", r, err)
	}
}
