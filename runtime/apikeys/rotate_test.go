package apikeys

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// rotate makes a rotation that there is nothing wrong with.
func (h *house) rotate(tb testing.TB, id string, overlap time.Duration, force bool) (Record, string) {
	tb.Helper()
	r, text, err := h.Rotate(tb.Context(), id, overlap, force)
	if err != nil {
		tb.Fatal(err)
	}
	return r, text
}

// TestRotation is the life of a key as its holder meets it.
func TestRotation(t *testing.T) {
	h := newHouse(t)
	r, first := h.create(t, Order{Owner: "a", Scopes: []string{"read"}})
	got, second := h.rotate(t, r.ID, time.Hour, false)
	if got.ID != r.ID || got.State != Rotating || got.Secrets != 2 || !got.OldSecrets.Equal(h.clock.Now().Add(time.Hour)) || second == first {
		t.Errorf("%+v", got)
	}
	if said := h.judge(t, first, second); said != "pass, pass" {
		t.Errorf("both: %s", said)
	}

	_, third, err := h.Rotate(t.Context(), r.ID, time.Hour, false)
	want := "an older secret is good until 2026-01-01T01:00:00Z: finish that rotation first, or force this one"
	if code(err) != "rotation_under_way" || err.Error() != want || third != "" {
		t.Errorf("a third: %v", err)
	}

	got, err = h.Finish(t.Context(), r.ID)
	if err != nil || got.State != Active || got.Secrets != 1 || !got.OldSecrets.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
	if said := h.judge(t, first, second); said != "401 key_invalid, pass" {
		t.Errorf("finished: %s", said)
	}
	if _, err := h.Finish(t.Context(), r.ID); err != nil {
		t.Errorf("finished once more: %v", err)
	}
	if said := h.judge(t, second); said != "pass" {
		t.Errorf("finished once more: %s", said)
	}
}

// TestOverlapEnds has the old secret end by itself, after which the next rotation needs no force.
func TestOverlapEnds(t *testing.T) {
	h := newHouse(t)
	r, first := h.create(t, Order{Owner: "a"})
	_, second := h.rotate(t, r.ID, time.Hour, false)
	h.clock.Advance(time.Hour - time.Second)
	if said := h.judge(t, first, second); said != "pass, pass" {
		t.Errorf("a second before: %s", said)
	}
	h.clock.Advance(time.Second)
	if said := h.judge(t, first, second); said != "401 key_invalid, pass" {
		t.Errorf("at the end: %s", said)
	}
	if got, err := h.Get(t.Context(), r.ID); err != nil || got.State != Active || got.Secrets != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	_, third := h.rotate(t, r.ID, time.Hour, false)
	if said := h.judge(t, first, second, third); said != "401 key_invalid, pass, pass" {
		t.Errorf("rotated again: %s", said)
	}
}

func TestLeakedSecret(t *testing.T) {
	h := newHouse(t)
	r, first := h.create(t, Order{Owner: "a"})
	got, second := h.rotate(t, r.ID, 0, false)
	if said := h.judge(t, first, second); said != "401 key_invalid, pass" || got.State != Active {
		t.Errorf("%s, %+v", said, got)
	}
	_, third := h.rotate(t, r.ID, time.Hour, false)
	_, fourth := h.rotate(t, r.ID, 0, true)
	if said := h.judge(t, second, third, fourth); said != "401 key_invalid, 401 key_invalid, pass" {
		t.Errorf("during a rotation: %s", said)
	}
}

// TestForce cuts nobody off but the holders of the fourth secret from the end.
func TestForce(t *testing.T) {
	h := newHouse(t)
	r, first := h.create(t, Order{Owner: "a"})
	_, second := h.rotate(t, r.ID, 2*time.Hour, false)
	got, third := h.rotate(t, r.ID, time.Hour, true)
	if got.Secrets != 3 || got.State != Rotating || !got.OldSecrets.Equal(h.clock.Now().Add(2*time.Hour)) {
		t.Errorf("%+v", got)
	}
	if said := h.judge(t, first, second, third); said != "pass, pass, pass" {
		t.Errorf("three: %s", said)
	}
	got, fourth := h.rotate(t, r.ID, time.Hour, true)
	if said := h.judge(t, first, second, third, fourth); said != "401 key_invalid, pass, pass, pass" || got.Secrets != 3 {
		t.Errorf("four: %s, %+v", said, got)
	}
	h.clock.Advance(time.Hour)
	if said := h.judge(t, second, third, fourth); said != "401 key_invalid, 401 key_invalid, pass" {
		t.Errorf("an hour later: %s", said)
	}
}

func TestRotationRefused(t *testing.T) {
	h := newHouse(t)
	r, text := h.create(t, Order{Owner: "a", Expires: h.clock.Now().Add(time.Minute)})
	for _, overlap := range []time.Duration{-1, MaxOverlap + 1, 1 << 62} {
		_, _, err := h.Rotate(t.Context(), r.ID, overlap, true)
		if want := fmt.Sprintf("overlap is %s, must be from 0s to 720h0m0s", overlap); code(err) != "invalid_request" || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	h.o.Random = strings.NewReader("")
	if _, fresh, err := h.Rotate(t.Context(), r.ID, 0, true); err == nil || err.Error() != "rotate API key: draw random bytes: EOF" || fresh != "" {
		t.Errorf("without random bytes: %v", err)
	}
	if said := h.judge(t, text); said != "pass" {
		t.Errorf("a rotation that failed has changed the key: %s", said)
	}
	h = newHouse(t)
	r, _ = h.create(t, Order{Owner: "a", Expires: h.clock.Now().Add(time.Minute)})
	h.clock.Advance(time.Minute)
	if _, _, err := h.Rotate(t.Context(), r.ID, 0, true); code(err) != "key_expired" || err.Error() != "the key expired at 2026-01-01T00:01:00Z; make a new one" {
		t.Errorf("expired: %v", err)
	}
	if got, err := h.Get(t.Context(), r.ID); err != nil || got.State != Expired {
		t.Errorf("%+v, %v", got, err)
	}
}
