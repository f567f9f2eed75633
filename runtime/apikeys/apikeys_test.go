package apikeys

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/apikey"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/policy"
	kind "github.com/suuupra/gateway/runtime/policy/apikey"
	"github.com/suuupra/gateway/runtime/state/keystore"
	"github.com/suuupra/gateway/runtime/state/memstate"
)

var pepper = []byte("a pepper that is long enough for it")

// house is a Service with its store, its clock and its log.
type house struct {
	*Service
	store *memstate.State
	clock *testkit.Clock
	log   bytes.Buffer
}

func newHouse(tb testing.TB, change ...func(*Options)) *house {
	tb.Helper()
	h := &house{clock: testkit.NewClock(time.Time{}), store: memstate.New(memstate.Options{})}
	o := Options{
		Store: h.store, Pepper: pepper, Environment: "test", Tenants: func() []string { return []string{"blue"} }, Now: h.clock.Now, Random: rand.NewChaCha8([32]byte{1}),
		Log: slog.New(slog.NewJSONHandler(&h.log, nil)),
	}
	for _, c := range change {
		c(&o)
	}
	var err error
	if h.Service, err = New(o); err != nil {
		tb.Fatal(err)
	}
	return h
}

// create makes a key that there is nothing wrong with.
func (h *house) create(tb testing.TB, o Order) (Record, string) {
	tb.Helper()
	r, text, err := h.Create(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	return r, text
}

// judge is what the policy says of keys, in their order.
func (h *house) judge(tb testing.TB, texts ...string) string {
	tb.Helper()
	w := policytest.NewWorld()
	w.State, w.Pepper, w.Clock = h.store, pepper, h.clock.Now()
	handler := w.Build(tb, kind.Kind, policytest.MustCompile(tb, kind.Kind, policytest.Route{Policy: "auth: { apiKey: {} }"}))
	var said []string
	for _, text := range texts {
		said = append(said, policytest.Said(handler.Decide(tb.Context(), w.Exchange("GET", "/", "X-API-Key: "+text))))
	}
	return strings.Join(said, ", ")
}

// code is the code of an error.
func code(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return fmt.Sprint(err)
}

func TestCreate(t *testing.T) {
	h := newHouse(t)
	expires := h.clock.Now().Add(time.Hour + 999*time.Millisecond)
	r, text := h.create(t, Order{Owner: "Müller & Söhne", Tenant: "blue", Scopes: []string{"write", "read"}, Expires: expires})
	if got := h.judge(t, text); got != "pass" {
		t.Errorf("the key: %s", got)
	}
	k, err := apikey.Parse(text)
	if err != nil || k.ID != r.ID || k.Env != "test" {
		t.Errorf("%v, %v", k, err)
	}
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"` + r.ID + `","state":"active","environment":"test","owner":"Müller \u0026 Söhne","tenant":"blue","scopes":["read","write"],` +
		`"created":"2026-01-01T00:00:00Z","expires":"2026-01-01T01:00:00Z","secrets":1}`
	if string(raw) != want {
		t.Errorf("record %s\nwant   %s", raw, want)
	}
	r.LastUsed = h.clock.Now()
	got, err := h.Get(t.Context(), r.ID)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(r) {
		t.Errorf("read again: %+v, %v", got, err)
	}
	h.clock.Advance(time.Hour)
	if got := h.judge(t, text); got != "401 key_expired" {
		t.Errorf("an hour later: %s", got)
	}
}

func TestOrders(t *testing.T) {
	h := newHouse(t)
	many := make([]string, 65)
	for i := range many {
		many[i] = fmt.Sprint("s", i)
	}
	for _, tt := range []struct {
		name  string
		order Order
		want  string // of the error; "": there is none
	}{
		{"plain", Order{Owner: "a"}, ""},
		{"the longest owner", Order{Owner: strings.Repeat("a", 128)}, ""},
		{"sixty-four scopes", Order{Owner: "a", Scopes: many[:64]}, ""},
		{"the longest scope", Order{Owner: "a", Scopes: []string{strings.Repeat("s", 256)}}, ""},
		{"one second", Order{Owner: "a", Expires: h.clock.Now().Add(time.Second)}, ""},
		{"no owner", Order{}, "owner is missing: whom the key is for"},
		{"a longer owner", Order{Owner: strings.Repeat("a", 129)}, `owner is "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...", must be up to 128 bytes of printable text without spaces around it`},
		{"an owner with a line break", Order{Owner: "a\nb"}, `owner is "a\nb", must be up to 128 bytes of printable text without spaces around it`},
		{"an owner with an escape", Order{Owner: "a\x1b[31m"}, `owner is "a\x1b[31m", must be up to 128 bytes of printable text without spaces around it`},
		{"an owner that reads backwards", Order{Owner: "a\u202eb"}, `owner is "a\u202eb", must be up to 128 bytes of printable text without spaces around it`},
		{"an owner in no encoding", Order{Owner: "a\xff"}, `owner is "a\xff", must be up to 128 bytes of printable text without spaces around it`},
		{"an owner of space", Order{Owner: " "}, `owner is " ", must be up to 128 bytes of printable text without spaces around it`},
		{"a tenant that is none", Order{Owner: "a", Tenant: "Blue"}, `tenant is "Blue", must be up to 63 lower-case letters, digits, "-" and "_"`},
		{"a tenant like a path", Order{Owner: "a", Tenant: "../x"}, `tenant is "../x", must be up to 63 lower-case letters, digits, "-" and "_"`},
		{"sixty-five scopes", Order{Owner: "a", Scopes: many}, "there are 65 scopes, must be at most 64"},
		{"a scope twice", Order{Owner: "a", Scopes: []string{"x", "y", "x"}}, `the scope "x" is there twice`},
		{"an empty scope", Order{Owner: "a", Scopes: []string{""}}, `the scope "" is none: up to 256 bytes of printable text without spaces and quotes are`},
		{"two scopes in one", Order{Owner: "a", Scopes: []string{"x y"}}, `the scope "x y" is none: up to 256 bytes of printable text without spaces and quotes are`},
		{"a scope with a quote", Order{Owner: "a", Scopes: []string{`x"y`}}, `the scope "x\"y" is none: up to 256 bytes of printable text without spaces and quotes are`},
		{"a longer scope", Order{Owner: "a", Scopes: []string{strings.Repeat("s", 257)}}, `the scope "ssssssssssssssssssssssssssssssssssssssss..." is none: up to 256 bytes of printable text without spaces and quotes are`},
		{"expired now", Order{Owner: "a", Expires: h.clock.Now()}, "expires is 2026-01-01T00:00:00Z, must be in the future"},
		{"expired in less than a second", Order{Owner: "a", Expires: h.clock.Now().Add(time.Second - 1)}, "expires is 2026-01-01T00:00:00Z, must be in the future"},
		{"expired long ago", Order{Owner: "a", Expires: time.Unix(1, 0)}, "expires is 1970-01-01T00:00:01Z, must be in the future"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, text, err := h.Create(t.Context(), tt.order)
			if got := fmt.Sprint(err); tt.want != "" && (got != tt.want || code(err) != "invalid_request" || text != "") || tt.want == "" && err != nil {
				t.Errorf("%s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestOrderIsNotChanged holds that the caller's list of scopes stays as it is.
func TestOrderIsNotChanged(t *testing.T) {
	scopes := []string{"write", "read"}
	newHouse(t).create(t, Order{Owner: "a", Scopes: scopes})
	if scopes[0] != "write" {
		t.Errorf("%q", scopes)
	}
}

func TestTakenIDs(t *testing.T) {
	h := newHouse(t)
	first := bytes.Repeat([]byte{1}, 16+32)
	h.o.Random = io.MultiReader(bytes.NewReader(first), bytes.NewReader(first), rand.NewChaCha8([32]byte{2}))
	a, _ := h.create(t, Order{Owner: "a"})
	b, _ := h.create(t, Order{Owner: "b"}) // draws the same id, and then another
	if a.ID != "bbbbbbbbbbbbbbbb" || b.ID == a.ID {
		t.Errorf("ids %s and %s", a.ID, b.ID)
	}
	h.o.Random = bytes.NewReader(bytes.Repeat(first, 5))
	if _, text, err := h.Create(t.Context(), Order{Owner: "c"}); !errors.Is(err, keystore.ErrKeyExists) || text != "" {
		t.Errorf("a source that draws the same again and again: %v", err)
	}
	h.o.Random = bytes.NewReader(nil)
	if _, text, err := h.Create(t.Context(), Order{Owner: "c"}); !errors.Is(err, io.EOF) || text != "" {
		t.Errorf("a source that has nothing: %v", err)
	}
	if got, _ := h.Get(t.Context(), a.ID); got.Owner != "a" {
		t.Errorf("the first key belongs to %q", got.Owner)
	}
}

func TestList(t *testing.T) {
	h := newHouse(t)
	if records, next, err := h.List(t.Context(), "", 10); records == nil || len(records) != 0 || next != "" || err != nil {
		t.Errorf("nothing: %v, %q, %v", records, next, err)
	}
	var want []string
	for i := range 25 {
		r, _ := h.create(t, Order{Owner: fmt.Sprint("owner ", i)})
		want = append(want, r.ID)
	}
	slices.Sort(want)
	if err := h.store.PutKey(t.Context(), &policy.KeyRecord{ID: "aaaaaaaaaaaaaaaa", Environment: "prod", Hashes: []string{"x"}}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for after, pages := "", 0; ; pages++ {
		records, next, err := h.List(t.Context(), after, 10)
		if err != nil || pages > 3 {
			t.Fatalf("page %d: %v", pages, err)
		}
		for _, r := range records {
			got = append(got, r.ID)
		}
		if after = next; next == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed %q\nwant   %q", got, want)
	}
}

func TestRevoke(t *testing.T) {
	h := newHouse(t)
	r, text := h.create(t, Order{Owner: "a"})
	h.clock.Advance(time.Minute)
	at := h.clock.Now()
	for range 2 { // the second changes nothing
		got, err := h.Revoke(t.Context(), r.ID)
		if err != nil || got.State != Revoked || !got.Revoked.Equal(at) {
			t.Errorf("%+v, %v", got, err)
		}
		h.clock.Advance(time.Minute)
	}
	if got := h.judge(t, text); got != "401 key_revoked" {
		t.Errorf("the key: %s", got)
	}
	for name, do := range map[string]func() error{
		"rotate": func() error { _, _, err := h.Rotate(t.Context(), r.ID, time.Hour, true); return err },
		"finish": func() error { _, err := h.Finish(t.Context(), r.ID); return err },
	} {
		if err := do(); code(err) != "key_revoked" || err.Error() != "the key was revoked at 2026-01-01T00:01:00Z; make a new one" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestStrangers asks each operation for keys that are not there, and for one of another environment in the same store.
func TestStrangers(t *testing.T) {
	h := newHouse(t)
	foreign := &policy.KeyRecord{ID: "abcdefgh234567yz", Environment: "prod", Owner: "a", Hashes: []string{strings.Repeat("0", 64)}}
	if err := h.store.PutKey(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{foreign.ID, "bbbbbbbbbbbbbbbb", "", "*", "../x", "gw:*", "\r\nDEL x", strings.Repeat("a", 1<<20)} {
		for name, do := range map[string]func(context.Context) error{
			"get":    func(ctx context.Context) error { _, err := h.Get(ctx, id); return err },
			"rotate": func(ctx context.Context) error { _, _, err := h.Rotate(ctx, id, time.Hour, true); return err },
			"finish": func(ctx context.Context) error { _, err := h.Finish(ctx, id); return err },
			"revoke": func(ctx context.Context) error { _, err := h.Revoke(ctx, id); return err },
		} {
			if err := do(t.Context()); code(err) != "no_such_key" {
				t.Errorf("%s %.20q: %v", name, id, err)
			}
		}
	}
	if got, err := h.store.StoredKey(t.Context(), foreign.ID); err != nil || !got.Revoked.IsZero() || len(got.Hashes) != 1 {
		t.Errorf("the other environment's key was changed: %+v, %v", got, err)
	}
}

// away is a store that fails.
type away struct {
	keystore.Store
	err error
}

func (a away) ComparePepper(context.Context) error                          { return nil }
func (a away) StoredKey(context.Context, string) (*policy.KeyRecord, error) { return nil, a.err }
func (a away) PutKey(context.Context, *policy.KeyRecord) error              { return a.err }
func (a away) UpdateKey(context.Context, string, func(*policy.KeyRecord) error) (*policy.KeyRecord, error) {
	return nil, a.err
}

func (a away) Keys(context.Context, string, int) ([]policy.KeyRecord, string, error) {
	return nil, "", a.err
}

func TestStoreFails(t *testing.T) {
	const id = "abcdefgh234567yz"
	for _, cause := range []error{policy.ErrStateAway, keystore.ErrContended} {
		h := newHouse(t, func(o *Options) { o.Store = away{err: cause} })
		ctx := t.Context()
		_, created, e1 := h.Create(ctx, Order{Owner: "a"})
		_, rotated, e2 := h.Rotate(ctx, id, 0, false)
		_, e3 := h.Get(ctx, id)
		_, _, e4 := h.List(ctx, "", 1)
		_, e5 := h.Finish(ctx, id)
		_, e6 := h.Revoke(ctx, id)
		for i, err := range []error{e1, e2, e3, e4, e5, e6} {
			if contended := cause == keystore.ErrContended && (i == 1 || i > 3); contended != (code(err) == "key_contended") || !contended && !errors.Is(err, cause) {
				t.Errorf("operation %d: %v", i+1, err)
			}
		}
		if created != "" || rotated != "" || h.log.Len() > 0 {
			t.Errorf("a key is handed out that is not stored: %q, %q; logged %s", created, rotated, &h.log)
		}
	}
}

// TestTenants asks for keys of tenants as they come and go.
func TestTenants(t *testing.T) {
	var there []string
	h := newHouse(t, func(o *Options) { o.Tenants = func() []string { return there } })
	for _, tt := range []struct {
		there, want string
	}{
		{"", `there is no tenant "blue" in this environment; the running configuration has routes of none`},
		{"green red", `there is no tenant "blue" in this environment; there are green, red`},
		{"a b c d e f g h i j", `there is no tenant "blue" in this environment; there are a, b, c, d, e, f, g, h, i, j`},
		{"a b c d e f g h i j k l", `there is no tenant "blue" in this environment; there are a, b, c, d, e, f, g, h, i, j and 2 more`},
		{"blue green", ""},
	} {
		there = strings.Fields(tt.there)
		_, text, err := h.Create(t.Context(), Order{Owner: "a", Tenant: "blue"})
		if tt.want == "" && err != nil || tt.want != "" && (code(err) != "no_such_tenant" || err.Error() != tt.want || text != "") {
			t.Errorf("%s: %q, %v", tt.there, text, err)
		}
	}
	there = nil
	h.create(t, Order{Owner: "the operator"})
}

// pepperOf is a store that says this about the pepper.
type pepperOf struct {
	keystore.Store
	err error
}

func (p pepperOf) ComparePepper(context.Context) error { return p.err }

// TestOtherPepper makes no secrets that only this gateway would know again, and ends those there are.
func TestOtherPepper(t *testing.T) {
	h := newHouse(t)
	r, old := h.create(t, Order{Owner: "a"})
	h.o.Store = pepperOf{h.store, keystore.ErrPepper}
	if _, text, err := h.Create(t.Context(), Order{Owner: "b"}); code(err) != "pepper_differs" || text != "" {
		t.Errorf("create: %q, %v", text, err)
	}
	if _, text, err := h.Rotate(t.Context(), r.ID, time.Hour, true); code(err) != "pepper_differs" || text != "" {
		t.Errorf("rotate: %q, %v", text, err)
	}
	if got := h.judge(t, old); got != "pass" {
		t.Errorf("the key there was: %s", got)
	}
	if _, err := h.Revoke(t.Context(), r.ID); err != nil {
		t.Errorf("revoke: %v", err)
	}
	h.o.Store = pepperOf{h.store, policy.ErrStateAway}
	if _, text, err := h.Create(t.Context(), Order{Owner: "b"}); !errors.Is(err, policy.ErrStateAway) || text != "" {
		t.Errorf("while nobody can be asked: %q, %v", text, err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, tt := range []struct{ env, pepper, want string }{
		{"", string(pepper), `the environment is "", which no API key can be for`},
		{"Prod", string(pepper), `the environment is "Prod", which no API key can be for`},
		{"prod", "hunter2", "the pepper has 7 bytes, must have at least 32"},
	} {
		if _, err := New(Options{Environment: tt.env, Pepper: []byte(tt.pepper)}); err == nil || err.Error() != tt.want {
			t.Errorf("%v, want %s", err, tt.want)
		}
	}
	if h := newHouse(t); h.o.Pepper != nil {
		t.Error("the pepper is kept")
	}
}

// TestAudit holds that each change is in the log, one line each, whatever its texts; and that no secret and no hash is anywhere.
func TestAudit(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	r, text := h.create(t, Order{Owner: `a","key":"forged`, Tenant: "blue", Scopes: []string{"read"}})
	_, second, err1 := h.Rotate(ctx, r.ID, time.Hour, false)
	_, err2 := h.Finish(ctx, r.ID)
	_, err3 := h.Revoke(ctx, r.ID)
	_, _, refused := h.Rotate(ctx, r.ID, time.Hour, false)
	if err := errors.Join(err1, err2, err3); err != nil || refused == nil {
		t.Fatal(err, refused)
	}
	want := []string{
		`"msg":"API key created","who":"admin","key":"ID","environment":"test","owner":"a\",\"key\":\"forged","tenant":"blue","scopes":["read"],"expires":"never"}`,
		`"msg":"API key rotated","who":"admin","key":"ID","environment":"test","overlap":3600000000000,"force":false}`,
		`"msg":"rotation of an API key finished","who":"admin","key":"ID","environment":"test"}`,
		`"msg":"API key revoked","who":"admin","key":"ID","environment":"test"}`,
	}
	lines := strings.Split(strings.TrimSpace(strings.ReplaceAll(h.log.String(), r.ID, "ID")), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d lines:\n%s", len(lines), &h.log)
	}
	for i := range want {
		if !strings.HasSuffix(lines[i], want[i]) || !strings.Contains(lines[i], `"level":"INFO"`) {
			t.Errorf("line %d: %s\nwant %s", i+1, lines[i], want[i])
		}
	}
	told := h.log.String() + fmt.Sprintf("%+v %v", r, refused)
	for _, key := range []string{text, second} {
		if k, err := apikey.Parse(key); err != nil || strings.Contains(told, k.Secret) {
			t.Errorf("a secret is told, or is none: %v", err)
		}
	}
	if regexp.MustCompile("[0-9a-f]{64}").MatchString(told) {
		t.Error("a hash is told")
	}
}

func TestParseSpan(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90d": 90 * 24 * time.Hour, "0d": 0, "1h30m": 90 * time.Minute, "0s": 0, "-5m": -5 * time.Minute, "65535d": 65535 * 24 * time.Hour,
	} {
		if got, err := ParseSpan(text); err != nil || got != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "d", "90", "-1d", "1.5d", "65536d", "99999999999999999999d", "1d12h", "1e3d", "٩d", "soon", "9999999h"} {
		if got, err := ParseSpan(text); err == nil || err.Error() != "must be a span of time such as 90d or 12h" || got != 0 {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
}

// FuzzParseSpan holds that no span overflows, and that what is taken is read the same again.
func FuzzParseSpan(f *testing.F) {
	for _, s := range []string{"90d", "12h", "-1d", "65535d", "1h1m1s1ms", "9223372036s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseSpan(text)
		if err != nil {
			return
		}
		if again, err := ParseSpan(d.String()); err != nil || again != d || strings.HasSuffix(text, "d") && d < 0 {
			t.Errorf("%q is %s, then %s: %v", text, d, again, err)
		}
	})
}
