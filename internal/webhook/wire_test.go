package webhook

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
)

// TestManual holds the manual to the answers: each has its row with its status, in the order in which a delivery meets them.
func TestManual(t *testing.T) {
	manual, err := os.ReadFile(filepath.Join(testkit.Root(t), "docs", "webhooks.md"))
	if err != nil {
		t.Fatal(err)
	}
	var have, want []string
	for _, m := range regexp.MustCompile("(?m)^\\| (\\d{3}) \\| `([a-z_]+)` \\| [^|]+ \\| [^|]+ \\|$").FindAllStringSubmatch(string(manual), -1) {
		have = append(have, m[1]+" "+m[2])
	}
	for _, a := range answers {
		want = append(want, fmt.Sprint(a.Status, " ", a.Code))
	}
	if !slices.Equal(have, want) {
		t.Errorf("the manual has %q, the answers are %q", have, want)
	}
}

// TestOverHTTP sends what a server of net/http hands over, bodies without a length among them.
func TestOverHTTP(t *testing.T) {
	r := newRig(t, github())
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		from, err := netip.ParseAddrPort(req.RemoteAddr)
		if err != nil {
			t.Error(err)
		}
		a := r.Receive(req.Context(), &Request{
			Hook: strings.TrimPrefix(req.URL.Path, "/hooks/"), Method: req.Method, Header: req.Header,
			ContentLength: req.ContentLength, Body: req.Body, From: from.Addr(),
		})
		w.WriteHeader(a.Status)
		_, _ = io.WriteString(w, a.Code)
	}))
	t.Cleanup(func() { s.Close(); http.DefaultTransport.(*http.Transport).CloseIdleConnections() })
	send := func(d *delivery, body io.Reader, want string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), d.method, s.URL+"/hooks/"+d.hook, body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = d.header
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		code, err := io.ReadAll(resp.Body)
		if got := fmt.Sprintf("%d %s", resp.StatusCode, code); err != nil || got != want {
			t.Errorf("got %s, %v; want %s", got, err, want)
		}
	}
	d := push1(t, "a")
	send(d, strings.NewReader(string(d.body)), "202 webhook_accepted")
	d = push1(t, "b")
	send(d, io.LimitReader(strings.NewReader(string(d.body)), 1<<30), "202 webhook_accepted") // chunked
	z := &zeros{}
	send(push1(t, "c"), io.LimitReader(z, 100<<20), "413 webhook_too_large")
	if z.n.Load() > 2*maxBody+4<<20 {
		t.Errorf("the server took %d bytes", z.n.Load())
	}
	d = push1(t, "d")
	d.hook = "other"
	send(d, strings.NewReader("{}"), "404 webhook_unknown")
}

func FuzzReceive(f *testing.F) {
	for name, p := range map[string]Provider{
		"github-push.json": GitHub, "gitlab-push.json": GitLab, "gitea-push.json": Gitea, "forgejo-push.json": Forgejo,
		"bitbucket-cloud-push.json": Bitbucket, "bitbucket-datacenter-push.json": Bitbucket, "generic-push.json": Generic,
	} {
		f.Add(string(p), "push", "id", "signature", payload(f, name))
	}
	f.Add("gitlab", "System Hook", "a", "v1,aaaa", []byte(`{"event_name":"push","project":{"web_url":[]}}`))
	f.Add("bitbucket", "repo:push", "{}", "sha256=", []byte(`{"push":{"changes":[{"new":null},null,[]]}}`))
	f.Fuzz(func(t *testing.T, p, event, id, signature string, body []byte) {
		spec := Hook{ID: "config", Provider: Provider(p), Insecure: true, Repository: "https://github.com/a/b"}
		if providers[spec.Provider] == nil {
			return
		}
		var hints []Hint
		o := Options{Hooks: []Hook{spec}, Hint: func(h Hint) { hints = append(hints, h) }}
		open, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		spec.Insecure, spec.Secrets = false, fixed(secret, signingToken)
		o.Hooks = []Hook{spec}
		closed, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		h := http.Header{"Content-Type": {"application/json"}}
		for _, name := range append(append([]string{}, providers[spec.Provider].event...), providers[spec.Provider].deliveries...) {
			h.Set(name, id)
		}
		for _, name := range providers[spec.Provider].event {
			h.Set(name, event)
		}
		for _, name := range []string{"X-Hub-Signature-256", "X-Hub-Signature", "X-Gitea-Signature", "X-Forgejo-Signature", "X-Signature", "X-Gitlab-Token", "webhook-signature"} {
			h.Set(name, signature)
		}
		send := func(r *Receiver) Answer {
			return r.Receive(t.Context(), &Request{Hook: "config", Method: "POST", Header: h, ContentLength: -1, Body: strings.NewReader(string(body)), From: sender})
		}
		send(open)
		for _, hint := range hints {
			if !strings.HasPrefix(hint.Ref, "refs/") || strings.ContainsAny(hint.Ref, "\n ~^:\\") || strings.Contains(hint.Ref, "..") || strings.ContainsAny(hint.Commit+hint.Delivery, "\n ") {
				t.Errorf("hint %+v", hint)
			}
		}
		if signature == secret || strings.Contains(signature, mac(secret, body)) {
			return // unlikely
		}
		if a := send(closed); a.Status != http.StatusUnauthorized {
			t.Errorf("without the secret: %+v", a)
		}
	})
}
