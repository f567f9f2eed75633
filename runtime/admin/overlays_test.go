package admin

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/overlay"
	"github.com/suuupra/gateway/runtime/overlays"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/bundle"
)

// shelf is overlays that a test puts there, and what it is asked for.
type shelf struct {
	entries map[string]*overlays.Entry
	version bundle.Digest // of the last order
	err     error
}

func newShelf() *shelf {
	return &shelf{entries: map[string]*overlays.Entry{"inc-42": {
		Overlay: &bundle.Overlay{
			ID: "inc-42", Strategy: bundle.GitWins, Reason: "ticket 42", Base: bundle.DigestOf([]byte("base")), Patch: "routes: []\n",
			IssuedAt: bundle.TimeOf(now), ExpiresAt: bundle.TimeOf(now.Add(time.Hour)), Changes: []bundle.Change{{Kind: bundle.KindRoutes, ID: "users"}},
		}, Key: "key-of-ann", Digest: bundle.DigestOf([]byte("envelope")),
	}}}
}

func (s *shelf) List() (out []*overlays.Entry) {
	for _, e := range s.entries {
		out = append(out, e)
	}
	return out
}

func (s *shelf) Get(id string) *overlays.Entry { return s.entries[id] }

func (s *shelf) Put(_ context.Context, envelope []byte, version bundle.Digest) (*overlays.Entry, error) {
	if s.version = version; s.err != nil {
		return nil, s.err
	}
	o, err := bundle.PeekOverlay(envelope)
	if err != nil {
		return nil, err
	}
	return &overlays.Entry{Overlay: &bundle.Overlay{ID: o.ID, Reason: "why"}, Digest: bundle.DigestOf(envelope)}, nil
}

func (s *shelf) Remove(_ context.Context, id string, version bundle.Digest) (*overlays.Entry, error) {
	s.version = version
	return s.entries[id], s.err
}

// signedOverlay is an envelope by a key that nobody knows.
func signedOverlay(t *testing.T, id string) string {
	t.Helper()
	key, err := bundle.GenerateKey(bundle.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	out, err := bundle.SignOverlay(bundle.Overlay{
		ID: id, Name: "shop", Environment: "prod", Base: bundle.DigestOf([]byte("base")), Strategy: bundle.GitWins, Reason: "ticket 42",
		IssuedAt: bundle.TimeOf(now), ExpiresAt: bundle.TimeOf(now.Add(time.Hour)), Patch: "routes: []\n",
		Changes: []bundle.Change{{Kind: bundle.KindRoutes, ID: "users", After: json.RawMessage(`{}`)}},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	return `{"envelope":"` + base64.StdEncoding.EncodeToString(out) + `"}`
}

func TestOverlays(t *testing.T) {
	f, s := newFake(), newShelf()
	server := newServer(f, func(o *Options) {
		o.Overlays = s
		o.OverlaysLaid = func() []overlay.Outcome {
			return []overlay.Outcome{{ID: "inc-42", State: overlay.Aside, Why: "git has won"}}
		}
	})
	const path = "/admin/overlays/inc-42"
	tag := `"` + string(s.entries["inc-42"].Digest) + `"`
	good, other := signedOverlay(t, "inc-42"), signedOverlay(t, "other")
	for _, c := range []struct {
		name, method, path, ifMatch, body string
		err                               error
		status                            int
		want                              string
	}{
		{"list", "GET", "/admin/overlays", "", "", nil, 200, `"state":"aside","why":"git has won"`},
		{"show", "GET", path, "", "", nil, 200, `"objects":["routes/users"]`},
		{"show none", "GET", "/admin/overlays/none", "", "", nil, 404, "no_such_overlay"},
		{"create", "POST", "/admin/overlays", "", other, nil, 201, `"id":"other"`},
		{"create what is none", "POST", "/admin/overlays", "", `{"envelope":"e30="}`, nil, 422, "payload_type"},
		{"create without base64", "POST", "/admin/overlays", "", `{"envelope":"?"}`, nil, 400, "bad_body"},
		{"create too large", "POST", "/admin/overlays", "", `{"envelope":"` + strings.Repeat("A", maxOverlayBody) + `"}`, nil, 413, "345 KiB"},
		{"create one there is", "POST", "/admin/overlays", "", other, &overlays.Error{Code: "overlay_exists", Message: "there is"}, 409, "overlay_exists"},
		{"create without effect", "POST", "/admin/overlays", "", other, &overlays.Error{Code: "overlay_without_effect", Message: "gate"}, 409, "overlay_without_effect"},
		{"create for another bundle", "POST", "/admin/overlays", "", other, &overlays.Error{Code: "base_differs", Message: "other"}, 409, "base_differs"},
		{"create while Redis is away", "POST", "/admin/overlays", "", other, policy.ErrStateAway, 503, "overlays_unavailable"},
		{"create, and the disk is full", "POST", "/admin/overlays", "", other, errors.New("/var/lib is full"), 500, "internal_error"},
		{"replace", "PUT", path, tag, good, nil, 200, `"version":"sha256:`},
		{"replace without If-Match", "PUT", path, "", good, nil, 428, "precondition_required"},
		{"replace another version", "PUT", path, `"sha256:1"`, good, nil, 412, "precondition_failed"},
		{"replace any version", "PUT", path, "*", good, nil, 412, "precondition_failed"},
		{"replace by another one", "PUT", path, tag, other, nil, 422, "overlay_malformed"},
		{"replace none", "PUT", "/admin/overlays/none", tag, other, nil, 404, "no_such_overlay"},
		{"remove", "DELETE", path, tag, "", nil, 200, `"id":"inc-42"`},
		{"remove without If-Match", "DELETE", path, "", "", nil, 428, "precondition_required"},
		{"remove none", "DELETE", "/admin/overlays/none", tag, "", nil, 404, "no_such_overlay"},
	} {
		s.err = c.err
		header := bearer(token)
		if c.ifMatch != "" {
			header = append(header, "If-Match", c.ifMatch)
		}
		r := request(c.method, c.path, header...)
		if c.body != "" {
			r = withBody(r, "application/json", c.body)
		}
		resp := server.Answer(r, c.path)
		if text := body(t, resp); resp.Status != c.status || !strings.Contains(text, c.want) || strings.Contains(text, "/var/lib") {
			t.Errorf("%s: %d %s, want %d %s", c.name, resp.Status, text, c.status, c.want)
		}
		if c.name == "show" && resp.Header.Get("ETag") != tag {
			t.Errorf("the tag is %s", resp.Header.Get("ETag"))
		}
		if (c.name == "replace" || c.name == "remove") && string(s.version) != strings.Trim(tag, `"`) {
			t.Errorf("%s: asked about %s", c.name, s.version)
		}
	}
	// Without a key there are none.
	server = newServer(f)
	if resp := server.Answer(withBody(request("POST", "/admin/overlays", bearer(token)...), "application/json", good), "/admin/overlays"); resp.Status != 501 {
		t.Errorf("without a key: %d", resp.Status)
	}
	if resp := server.Answer(request("GET", "/admin/overlays", bearer(token)...), "/admin/overlays"); resp.Status != 200 || !strings.Contains(body(t, resp), `"overlays":[]`) {
		t.Errorf("without a key: %d", resp.Status)
	}
}
