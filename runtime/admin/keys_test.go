package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/apikey"
	"github.com/suuupra/gateway/runtime/apikeys"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/state/keystore"
	"github.com/suuupra/gateway/runtime/state/memstate"
)

// keyHouse is a server that keeps keys in memory.
type keyHouse struct {
	*Server
	f     *fake
	store *memstate.State
	clock time.Time
}

func newKeyHouse(t *testing.T, store func(*memstate.State) keystore.Store) *keyHouse {
	t.Helper()
	h := &keyHouse{f: newFake(), store: memstate.New(memstate.Options{}), clock: now}
	o := apikeys.Options{
		Store: h.store, Pepper: []byte("a pepper that is long enough for it"), Environment: "test", Log: slog.New(slog.NewTextHandler(&h.f.log, nil)),
		Tenants: func() []string { return []string{"blue"} },
		Now:     func() time.Time { return h.clock }, Random: rand.NewChaCha8([32]byte{1}),
	}
	if store != nil {
		o.Store = store(h.store)
	}
	keys, err := apikeys.New(o)
	if err != nil {
		t.Fatal(err)
	}
	h.Server = newServer(h.f, func(o *Options) { o.Keys, o.Now = keys, func() time.Time { return h.clock } })
	return h
}

// ask sends a request with the token and, unless it is "", a body. It returns the status and the body of the answer.
func (h *keyHouse) ask(t *testing.T, method, target, text string) (int, string) {
	t.Helper()
	resp := h.do(withBody(request(method, target, bearer(token)...), "application/json", text))
	if resp == nil {
		return 404, ""
	}
	return resp.Status, body(t, resp)
}

func withBody(r *httpmsg.Request, media, text string) *httpmsg.Request {
	if text != "" {
		r.Header.Add("Content-Type", media)
		r.Body, r.ContentLength = strings.NewReader(text), int64(len(text))
	}
	return r
}

// one asks for what answers with a key.
func (h *keyHouse) one(t *testing.T, want int, method, target, text string) Key {
	t.Helper()
	status, answer := h.ask(t, method, target, text)
	var k Key
	if err := json.Unmarshal([]byte(answer), &k); err != nil || status != want {
		t.Fatalf("%s %s %s: %d %s", method, target, text, status, answer)
	}
	return k
}

// TestLifeOfAKey is a key as an operator meets it.
func TestLifeOfAKey(t *testing.T) {
	h := newKeyHouse(t, nil)
	status, answer := h.ask(t, "POST", "/admin/keys", `{"owner":"shop","tenant":"blue","scopes":["write","read"],"expiresIn":"90d"}`)
	m := regexp.MustCompile(`^\{"key":"(gw_test_([a-z2-7]{16})_[0-9A-Za-z]{38})","record":(.*)\}\n$`).FindStringSubmatch(answer)
	if status != 201 || m == nil {
		t.Fatalf("%d %s", status, answer)
	}
	text, id, record := m[1], m[2], m[3]
	want := `{"id":"` + id + `","state":"active","environment":"test","owner":"shop","tenant":"blue","scopes":["read","write"],` +
		`"created":"2026-11-23T12:00:00Z","expires":"2027-02-21T12:00:00Z","secrets":1}`
	if record != want {
		t.Errorf("record %s\nwant   %s", record, want)
	}
	if _, err := apikey.Parse(text); err != nil {
		t.Errorf("%s: %v", text, err)
	}
	if status, answer := h.ask(t, "GET", "/admin/keys/"+id, ""); status != 200 || answer != `{"record":`+want+"}\n" {
		t.Errorf("shown: %d %s", status, answer)
	}
	if status, answer := h.ask(t, "GET", "/admin/keys", ""); status != 200 || answer != `{"keys":[`+want+"],\"next\":null}\n" {
		t.Errorf("listed: %d %s", status, answer)
	}

	rotated := h.one(t, 200, "POST", "/admin/keys/"+id+"/rotate", "")
	if rotated.Key == "" || rotated.Key == text || rotated.Record.State != apikeys.Rotating || !rotated.Record.OldSecrets.Equal(now.Add(24*time.Hour)) {
		t.Errorf("rotated: %+v", rotated)
	}
	if status, answer := h.ask(t, "POST", "/admin/keys/"+id+"/rotate", `{"overlap":"1h"}`); status != 409 || !strings.Contains(answer, `"code":"rotation_under_way"`) {
		t.Errorf("rotated again: %d %s", status, answer)
	}
	if forced := h.one(t, 200, "POST", "/admin/keys/"+id+"/rotate", `{"overlap":"0s","force":true}`); forced.Record.State != apikeys.Active || forced.Record.Secrets != 1 || forced.Key == "" {
		t.Errorf("forced: %+v", forced)
	}
	h.one(t, 200, "POST", "/admin/keys/"+id+"/rotate", `{"overlap":"30d"}`)
	if finished := h.one(t, 200, "POST", "/admin/keys/"+id+"/finish-rotation", ""); finished.Record.State != apikeys.Active || finished.Key != "" {
		t.Errorf("finished: %+v", finished)
	}
	h.clock = now.Add(time.Minute)
	for range 2 {
		if revoked := h.one(t, 200, "DELETE", "/admin/keys/"+id, ""); revoked.Record.State != apikeys.Revoked || !revoked.Record.Revoked.Equal(now.Add(time.Minute)) {
			t.Errorf("revoked: %+v", revoked)
		}
		h.clock = now.Add(time.Hour)
	}
	if status, answer := h.ask(t, "POST", "/admin/keys/"+id+"/rotate", ""); status != 409 || !strings.Contains(answer, `"code":"key_revoked"`) {
		t.Errorf("rotated after all: %d %s", status, answer)
	}
}

func TestExpiry(t *testing.T) {
	h := newKeyHouse(t, nil)
	for body, want := range map[string]time.Time{
		`{"owner":"a"}`:                  {},
		`{"owner":"a","expiresIn":"1h"}`: now.Add(time.Hour),

		`{"owner":"a","expiresAt":"2027-01-01T01:00:00+01:00"}`: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		if got := h.one(t, 201, "POST", "/admin/keys", body).Record.Expires; !got.Equal(want) {
			t.Errorf("%s: %s", body, got)
		}
	}
}

func TestBadOrders(t *testing.T) {
	h := newKeyHouse(t, nil)
	id := h.one(t, 201, "POST", "/admin/keys", `{"owner":"a"}`).Record.ID
	const all = "/admin/keys"
	rotate := all + "/" + id + "/rotate"
	for _, tt := range []struct {
		name, method, target, body string
		status                     int
		code, detail               string
	}{
		{"no body", "POST", all, "", 415, "unsupported_media_type", "must have Content-Type: application/json"},
		{"no JSON", "POST", all, "owner=a", 400, "bad_body", "invalid character 'o'"},
		{"nothing", "POST", all, " ", 400, "bad_body", "EOF"},
		{"a list", "POST", all, "[]", 400, "bad_body", "it is of the wrong type: array"},
		{"null", "POST", all, "null", 400, "bad_body", "not a JSON object"},
		{"an unknown member", "POST", all, `{"owner":"a","admin":true}`, 400, "bad_body", `unknown field \"admin\"`},
		{"an id of one's own", "POST", all, `{"owner":"a","id":"abcdefgh234567yz"}`, 400, "bad_body", `unknown field \"id\"`},
		{"another type", "POST", all, `{"owner":1}`, 400, "bad_body", "owner is of the wrong type: number"},
		{"scopes as text", "POST", all, `{"owner":"a","scopes":"read"}`, 400, "bad_body", "scopes is of the wrong type: string"},
		{"two objects", "POST", all, `{"owner":"a"}{}`, 400, "bad_body", "trailing data"},
		{"too deep", "POST", all, strings.Repeat("[", 60_000), 400, "bad_body", "exceeded max depth"},
		{"just too large", "POST", all, `{"owner":"a"` + strings.Repeat(" ", 64<<10-12) + `}`, 413, "body_too_large", "larger than 64 KiB"},
		{"as large as may be", "POST", all, `{"owner":""` + strings.Repeat(" ", 64<<10-12) + `}`, 400, "invalid_request", "owner is missing"},
		{"an owner that breaks lines", "POST", all, `{"owner":"a\n{}"}`, 400, "invalid_request", "printable text"},
		{"both ends", "POST", all, `{"owner":"a","expiresIn":"1d","expiresAt":"2027-01-01T00:00:00Z"}`, 400, "invalid_request", "must be one of them"},
		{"a span that is none", "POST", all, `{"owner":"a","expiresIn":"soon"}`, 400, "invalid_request", "expiresIn must be a span of time such as 90d or 12h"},
		{"a span into the past", "POST", all, `{"owner":"a","expiresIn":"-1h"}`, 400, "invalid_request", "must be in the future"},
		{"a time that is none", "POST", all, `{"owner":"a","expiresAt":"tomorrow"}`, 400, "invalid_request", "expiresAt must be a time such as"},
		{"a time in the past", "POST", all, `{"owner":"a","expiresAt":"2020-01-01T00:00:00Z"}`, 400, "invalid_request", "must be in the future"},
		{"a tenant that nobody is", "POST", all, `{"owner":"a","tenant":"green"}`, 422, "no_such_tenant", `there is no tenant \"green\" in this environment; there are blue`},
		{"a page without end", "GET", all + "?limit=1001", "", 400, "bad_query", "limit must be a number from 1 to 1000"},
		{"an overlap that is none", "POST", rotate, `{"overlap":"x"}`, 400, "invalid_request", "overlap must be a span of time"},
		{"an empty overlap", "POST", rotate, `{"overlap":""}`, 400, "invalid_request", "overlap must be a span of time"},
		{"a long overlap", "POST", rotate, `{"overlap":"31d"}`, 400, "invalid_request", "overlap is 744h0m0s, must be from 0s to 720h0m0s"},
		{"an unknown member in a rotation", "POST", rotate, `{"secret":"x"}`, 400, "bad_body", `unknown field \"secret\"`},
		{"an id that nobody has", "GET", all + "/bbbbbbbbbbbbbbbb", "", 404, "no_such_key", "no API key with this id"},
		{"an id that is none", "DELETE", all + "/gw:*", "", 404, "no_such_key", "no API key with this id"},
		{"rotate what is not there", "POST", all + "/bbbbbbbbbbbbbbbb/rotate", "", 404, "no_such_key", "no API key with this id"},
		{"finish what is not there", "POST", all + "/bbbbbbbbbbbbbbbb/finish-rotation", "", 404, "no_such_key", "no API key with this id"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, answer := h.ask(t, tt.method, tt.target, tt.body)
			if status != tt.status || !strings.Contains(answer, `"code":"`+tt.code+`"`) || !strings.Contains(answer, tt.detail) {
				t.Errorf("%d %s", status, answer)
			}
		})
	}
	if records, _, err := h.o.Keys.List(t.Context(), "", 0); err != nil || len(records) != 1 || records[0].State != apikeys.Active {
		t.Errorf("a bad order was carried out: %+v, %v", records, err)
	}
}

func TestContentType(t *testing.T) {
	h := newKeyHouse(t, nil)
	for media, want := range map[string]int{
		"application/json": 201, "application/json; charset=utf-8": 201, "APPLICATION/JSON": 201, "text/plain": 415, "": 415,
		"application/x-www-form-urlencoded": 415, "multipart/form-data": 415, "application/json-seq": 415, "application/json, text/plain": 415,
	} {
		r := withBody(request("POST", "/admin/keys", bearer(token)...), media, `{"owner":"a"}`)
		if got := h.do(r).Status; got != want {
			t.Errorf("%q: %d, want %d", media, got, want)
		}
	}
	r := withBody(request("POST", "/admin/keys", bearer(token)...), "text/plain", `{"owner":"a"}`)
	r.Header.Add("Content-Type", "application/json") // the first of two counts, as for any other program
	if got := h.do(r).Status; got != 415 {
		t.Errorf("two types: %d", got)
	}
}

// TestBodies sends bodies that do not end as announced.
func TestBodies(t *testing.T) {
	h := newKeyHouse(t, nil)
	for _, tt := range []struct {
		name   string
		body   io.Reader
		length int64
		want   string
	}{
		{"announced as too large", strings.NewReader(`{"owner":"a"}`), 64<<10 + 1, `413 body_too_large`},
		{"of no announced length", strings.NewReader(`{"owner":"a"}`), -1, `201 `},
		{"of no length, and without end", io.MultiReader(strings.NewReader(`{"owner":"`), endless{}), -1, `413 body_too_large`},
		{"broken off", io.MultiReader(strings.NewReader(`{"owner":`), failing{errors.New("reset")}), -1, `400 bad_body`},
		{"too large for the listener", failing{&httpmsg.Error{Status: 413, Code: "body_too_large", Detail: "d"}}, -1, `413 body_too_large`},
		{"too slow", failing{fmt.Errorf("read: %w", &httpmsg.Error{Status: 408, Code: "body_timeout", Detail: "d"})}, -1, `408 body_timeout`},
		{"missing", nil, 0, `400 bad_body`},
	} {
		r := withBody(request("POST", "/admin/keys", bearer(token)...), "application/json", "x")
		r.Body, r.ContentLength = tt.body, tt.length
		resp := h.do(r)
		var problem struct{ Code string }
		if err := json.Unmarshal([]byte(body(t, resp)), &problem); err != nil || fmt.Sprint(resp.Status, " ", problem.Code) != tt.want {
			t.Errorf("%s: %d %s, %v", tt.name, resp.Status, problem.Code, err)
		}
	}
}

// endless is a body that goes on.
type endless struct{}

// Read implements io.Reader.
func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}
	return len(p), nil
}

// failing is a body that cannot be read.
type failing struct{ err error }

// Read implements io.Reader.
func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestKeyPages lists keys in pages, of which none has a hash in it.
func TestKeyPages(t *testing.T) {
	h := newKeyHouse(t, nil)
	for i := range 7 {
		h.one(t, 201, "POST", "/admin/keys", fmt.Sprintf(`{"owner":"owner %d"}`, i))
	}
	var owners []string
	for after, pages := "", 0; pages == 0 || after != ""; pages++ {
		status, answer := h.ask(t, "GET", "/admin/keys?limit=3&after="+after, "")
		var page KeyPage
		if err := json.Unmarshal([]byte(answer), &page); err != nil || status != 200 || len(page.Keys) > 3 || pages > 2 {
			t.Fatalf("page %d: %d %s", pages, status, answer)
		}
		if regexp.MustCompile(`[0-9a-f]{64}|(?i)hash`).MatchString(answer) {
			t.Errorf("a hash is shown: %s", answer)
		}
		for _, r := range page.Keys {
			owners = append(owners, r.Owner)
		}
		if after = ""; page.Next != nil {
			after = *page.Next
		}
	}
	slices.Sort(owners)
	if got := strings.Join(owners, ","); got != "owner 0,owner 1,owner 2,owner 3,owner 4,owner 5,owner 6" {
		t.Error(got)
	}
}

// TestKeyAccess sends each order with each kind of credentials: without the token nothing is done, and nothing told.
func TestKeyAccess(t *testing.T) {
	h := newKeyHouse(t, nil)
	id := h.one(t, 201, "POST", "/admin/keys", `{"owner":"a"}`).Record.ID
	h.f.log.Reset()
	orders := []struct{ method, target, body string }{
		{"POST", "/admin/keys", `{"owner":"evil"}`},
		{"GET", "/admin/keys", ""},
		{"GET", "/admin/keys/" + id, ""},
		{"POST", "/admin/keys/" + id + "/rotate", ""},
		{"POST", "/admin/keys/" + id + "/finish-rotation", ""},
		{"DELETE", "/admin/keys/" + id, ""},
	}
	for _, o := range orders {
		for name, fields := range map[string][]string{
			"nobody": nil, "a wrong token": bearer("wrong"), "two tokens": append(bearer(token), bearer(token)...), "a wrong password": basic("wrong"),
		} {
			resp := h.do(withBody(request(o.method, o.target, fields...), "application/json", o.body))
			if got := body(t, resp); resp.Status != 401 || strings.Contains(got, id) {
				t.Errorf("%s %s by %s: %d %s", o.method, o.target, name, resp.Status, got)
			}
		}
		// A browser sends a password that it knows by itself, also when somebody else's page makes the request.
		resp := h.do(withBody(request(o.method, o.target, basic(token)...), "application/json", o.body))
		if reads := o.method == "GET"; reads != (resp.Status == 200) || !reads && resp.Status != 401 {
			t.Errorf("%s %s by password: %d", o.method, o.target, resp.Status)
		}
		h.f.flags.APIEnabled = false
		if resp := h.do(withBody(request(o.method, o.target, bearer(token)...), "application/json", o.body)); resp != nil {
			t.Errorf("%s %s while admin is disabled: %d", o.method, o.target, resp.Status)
		}
		h.f.flags.APIEnabled = true
	}
	if records, _, err := h.o.Keys.List(t.Context(), "", 0); err != nil || len(records) != 1 || records[0].State != apikeys.Active || records[0].Secrets != 1 || h.f.log.Len() > 0 {
		t.Errorf("a refused order was carried out: %+v, %v\n%s", records, err, &h.f.log)
	}
}

// TestKeysFromAnotherPage is dev mode, where the admin API needs no token from its own machine.
func TestKeysFromAnotherPage(t *testing.T) {
	h := newKeyHouse(t, nil)
	h.o.Dev, h.hasToken = true, false
	for name, tt := range map[string]struct {
		fields []string
		media  string
		want   int
	}{
		"gwctl":                    {nil, "application/json", 201},
		"another page":             {[]string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}, "application/json", 403},
		"another page, as a form":  {[]string{"Origin", "https://evil.example"}, "text/plain", 403},
		"a browser that says less": {nil, "text/plain", 415},
	} {
		r := withBody(request("POST", "/admin/keys", tt.fields...), tt.media, `{"owner":"a"}`)
		r.Peer, r.Authority = netip.MustParseAddrPort("127.0.0.1:1"), "localhost:8080"
		if got := h.do(r).Status; got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

func TestKeyMethods(t *testing.T) {
	h := newKeyHouse(t, nil)
	id := h.one(t, 201, "POST", "/admin/keys", `{"owner":"a"}`).Record.ID
	for path, allow := range map[string]string{
		"/admin/keys": "GET, HEAD, POST", "/admin/keys/" + id: "GET, HEAD, DELETE",
		"/admin/keys/" + id + "/rotate": "POST", "/admin/keys/" + id + "/finish-rotation": "POST",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "get"} {
			if slices.Contains(strings.Split(allow, ", "), method) {
				continue
			}
			resp := h.do(request(method, path, bearer(token)...))
			if resp.Status != 405 || resp.Header.Get("Allow") != allow {
				t.Errorf("%s %s: %d, Allow %q", method, path, resp.Status, resp.Header.Get("Allow"))
			}
		}
	}
	get, head := h.do(request("GET", "/admin/keys", bearer(token)...)), h.do(request("HEAD", "/admin/keys", bearer(token)...))
	if head.Status != 200 || head.Body != nil || head.ContentLength != get.ContentLength || head.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("HEAD: %+v", head)
	}
	for _, path := range []string{"/admin/keys/", "/admin/keysx", "/admin/keys/" + id + "/", "/admin/keys/" + id + "/rotate/", "/admin/keys/" + id + "/hashes", "/admin/keys//rotate"} {
		if resp := h.do(request("GET", path, bearer(token)...)); resp != nil {
			t.Errorf("%s: %d", path, resp.Status)
		}
	}
}

func TestNoKeys(t *testing.T) {
	s := newServer(newFake())
	for _, r := range []*httpmsg.Request{
		request("GET", "/admin/keys", bearer(token)...), request("DELETE", "/admin/keys/abcdefgh234567yz", bearer(token)...),
		withBody(request("POST", "/admin/keys", bearer(token)...), "application/json", `{"owner":"a"}`),
	} {
		resp := s.do(r)
		if got := body(t, resp); resp.Status != 501 || !strings.Contains(got, `"code":"keys_not_configured"`) || !strings.Contains(got, "start gwrun with --redis and GWRUN_API_KEY_PEPPER") {
			t.Errorf("%s: %d %s", r.Method, resp.Status, got)
		}
	}
}

// away is a store that cannot be written.
type away struct {
	keystore.Store
	err error
}

func TestKeyStoreFails(t *testing.T) {
	for _, tt := range []struct {
		err    error
		status int
		code   string
		logs   bool
	}{
		{fmt.Errorf("ask: %w", policy.ErrStateAway), 503, "keys_unavailable", false},
		{errors.New("broken pipe to 10.1.2.3"), 500, "internal_error", true},
	} {
		h := newKeyHouse(t, func(s *memstate.State) keystore.Store { return &away{s, tt.err} })
		for _, o := range [][3]string{
			{"POST", "/admin/keys", `{"owner":"a"}`},
			{"GET", "/admin/keys", ""},
			{"GET", "/admin/keys/abcdefgh234567yz", ""},
			{"POST", "/admin/keys/abcdefgh234567yz/rotate", ""},
			{"DELETE", "/admin/keys/abcdefgh234567yz", ""},
		} {
			resp := h.do(withBody(request(o[0], o[1], bearer(token)...), "application/json", o[2]))
			got := body(t, resp)
			if resp.Status != tt.status || !strings.Contains(got, `"code":"`+tt.code+`"`) || strings.Contains(got, "10.1.2.3") || strings.Contains(got, "gw_test_") {
				t.Errorf("%s %s: %d %s", o[0], o[1], resp.Status, got)
			}
			if retry := resp.Header.Get("Retry-After"); (retry == "1") != (tt.status == 503) {
				t.Errorf("%s %s: Retry-After %q", o[0], o[1], retry)
			}
		}
		if logged := strings.Contains(h.f.log.String(), "10.1.2.3"); logged != tt.logs {
			t.Errorf("%v: logged %s", tt.err, &h.f.log)
		}
	}
}

// ComparePepper implements keystore.Store.
func (a *away) ComparePepper(context.Context) error { return nil }

// TestOtherPepper asks a gateway for a key that no other would know.
func TestOtherPepper(t *testing.T) {
	h := newKeyHouse(t, func(s *memstate.State) keystore.Store { return &otherPepper{s} })
	status, answer := h.ask(t, "POST", "/admin/keys", `{"owner":"a"}`)
	if status != 409 || !strings.Contains(answer, `"code":"pepper_differs"`) || !strings.Contains(answer, "GWRUN_API_KEY_PEPPER") {
		t.Errorf("%d %s", status, answer)
	}
}

// otherPepper is a store of gateways with another pepper.
type otherPepper struct{ keystore.Store }

// ComparePepper implements keystore.Store.
func (otherPepper) ComparePepper(context.Context) error { return keystore.ErrPepper }

// StoredKey implements keystore.Store.
func (a *away) StoredKey(context.Context, string) (*policy.KeyRecord, error) { return nil, a.err }

// PutKey implements keystore.Store.
func (a *away) PutKey(context.Context, *policy.KeyRecord) error { return a.err }

// UpdateKey implements keystore.Store.
func (a *away) UpdateKey(context.Context, string, func(*policy.KeyRecord) error) (*policy.KeyRecord, error) {
	return nil, a.err
}

// Keys implements keystore.Store.
func (a *away) Keys(context.Context, string, int) ([]policy.KeyRecord, string, error) {
	return nil, "", a.err
}
