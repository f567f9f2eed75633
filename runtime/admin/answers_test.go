package admin

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/suuupra/gateway/schema/ir"
)

func TestStatus(t *testing.T) {
	s := newServer(newFake())
	s.started = now.Add(-time.Hour)
	got := body(t, s.do(request("GET", "/admin/status", bearer(token)...)))
	want := `{"running":{"version":42,"epoch":1,"digest":"sha256:0123456789abcdef","contentDigest":"sha256:fedcba9876543210",` +
		`"commit":"c0ffee","environment":"prod","activatedAt":"2026-11-23T11:58:30Z","expiresAt":"2026-11-26T12:00:00Z","routes":2},` +
		`"source":{"kind":"oci","mode":"gated","lastRequest":"2026-11-23T11:58:30Z","lastDownload":"2026-11-23T11:58:30Z",` +
		`"lastActivation":"2026-11-23T11:58:30Z","lastError":{"code":"GW6001","message":"no valid signature \u003cscript\u003e",` +
		`"since":"2026-11-23T11:58:30Z"},"pending":{"version":43,"digest":"sha256:aaaaaaaaaaaaaaaa","reason":"waits for approval"}},` +
		`"drift":{"checkedAt":"2026-11-23T11:58:30Z","commitsBehind":3,"classes":[{"class":"source","detected":true,` +
		`"detail":"main has moved"},{"class":"live","detected":false}],"source":null},"listeners":[{"id":"web","address":"0.0.0.0:8080"}],` +
		`"loadShedding":{"state":"idle","delayMs":0,"targetDelayMs":0,"inFlight":3,"maxInFlight":0,"priorities":[]},"sharedState":null,` +
		`"startedAt":"2026-11-23T11:00:00Z","uptimeSeconds":3600,"build":{"version":"1.2.3","commit":"abc","go":"go1.26"}}` + "\n"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	empty := body(t, newServer(&fake{flags: ir.Admin{APIEnabled: true}}).do(request("GET", "/admin/status", bearer(token)...)))
	if !strings.HasPrefix(empty, `{"running":null,"source":{"kind":"","mode":"","lastRequest":null,`) || !strings.Contains(empty, `"drift":null,"listeners":[],`) {
		t.Error(empty)
	}
}

func TestReload(t *testing.T) {
	f := newFake()
	s := newServer(f)
	if got := status(s.do(request("POST", "/admin/reload", bearer(token)...))); got != 202 || f.reloads != 1 {
		t.Errorf("%d, %d reloads", got, f.reloads)
	}
}

func TestSecretsAreReferences(t *testing.T) {
	got := body(t, newServer(newFake()).do(request("GET", "/admin/secrets", bearer(token)...)))
	if want := `{"secrets":[{"name":"jwt-key","backend":"vault","usedBy":["routes/users-api"]}]}` + "\n"; got != want {
		t.Error(got)
	}
	none := newServer(newFake(), func(o *Options) { o.Secrets = nil })
	if got := body(t, none.do(request("GET", "/admin/secrets", bearer(token)...))); got != `{"secrets":[]}`+"\n" {
		t.Error(got)
	}
}

func TestRoutes(t *testing.T) {
	f := newFake()
	s := newServer(f)
	get := func(target string) (int, string) {
		resp := s.do(request("GET", target, bearer(token)...))
		return resp.Status, body(t, resp)
	}
	_, got := get("/admin/config/routes")
	want := `{"routes":[{"id":"orders","match":{"pathRegex":"/orders/[0-9]+"},"target":"http","upstream":"http://orders:8080","policies":[]},` +
		`{"id":"users-api","tenant":"blue","match":{"host":"api.example.com","path":"/api/users/*","methods":["GET","POST"]},` +
		`"target":"http","upstream":"users","policies":["bodyLimit"]}],"next":null}` + "\n"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if _, got := get("/admin/config/routes/users-api"); !strings.Contains(got, `"policies":[{"kind":"bodyLimit","plan":{"bytes":1024}}]`) {
		t.Error(got)
	}
	for _, query := range []string{"limit=0", "limit=1001", "limit=-1", "limit=x", "limit=99999999999999999999", "%zz"} {
		if code, got := get("/admin/config/routes?" + query); code != 400 || !strings.Contains(got, "bad_query") {
			t.Errorf("%s: %d %s", query, code, got)
		}
	}

	f.routes = nil
	for i := range 250 {
		f.routes = append(f.routes, ir.Route{ID: "route-" + strconv.Itoa(1000+i)})
	}
	var ids []string
	for after := ""; ; {
		_, text := get("/admin/config/routes?limit=100&after=" + after)
		var page struct {
			Routes []struct{ ID string }
			Next   *string
		}
		if err := json.Unmarshal([]byte(text), &page); err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Routes {
			ids = append(ids, r.ID)
		}
		if page.Next == nil {
			break
		}
		after = *page.Next
	}
	if len(ids) != 250 || !slices.IsSorted(ids) || len(slices.Compact(ids)) != 250 {
		t.Errorf("%d routes by pages", len(ids))
	}
}

func TestMetricsEndpoint(t *testing.T) {
	f := newFake()
	s := newServer(f)
	resp := s.do(request("GET", "/metrics", "Accept", "application/openmetrics-text"))
	if got := body(t, resp); got != "gw_up 1\n" || resp.Header.Get("Content-Type") != "text/plain; version=0.0.4" || f.accept != "application/openmetrics-text" {
		t.Errorf("%q as %s for %s", got, resp.Header.Get("Content-Type"), f.accept)
	}
	for accept, zipped := range map[string]bool{"gzip": true, "br, GZIP;q=0.5": true, "gzip;q=0": false, "gzip; q=0.000": false, "br": false, "": false} {
		resp := s.do(request("GET", "/metrics", "Accept-Encoding", accept))
		if got := resp.Header.Get("Content-Encoding") == "gzip"; got != zipped {
			t.Errorf("%q: zipped %v", accept, got)
		} else if zipped {
			z, err := gzip.NewReader(strings.NewReader(body(t, resp)))
			if err != nil {
				t.Fatal(err)
			}
			if text, err := io.ReadAll(z); err != nil || string(text) != "gw_up 1\n" {
				t.Errorf("%q: %q %v", accept, text, err)
			}
		}
	}
	f.scrape = errors.New("secret inside")
	if resp := s.do(request("GET", "/metrics")); resp.Status != 500 || strings.Contains(body(t, resp), "secret") {
		t.Errorf("a failed scrape: %d", resp.Status)
	}
}

func TestOneScrapeAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.blocked = make(chan struct{})
		s := newServer(f)
		first := make(chan int)
		go func() { first <- s.do(request("GET", "/metrics")).Status }()
		synctest.Wait()
		began := time.Now()
		if resp := s.do(request("GET", "/metrics")); resp.Status != 503 || resp.Header.Get("Retry-After") == "" || time.Since(began) != scrapeWait {
			t.Errorf("%d after %s", resp.Status, time.Since(began))
		}
		close(f.blocked)
		if got := <-first; got != 200 {
			t.Errorf("the first: %d", got)
		}
		if got := s.do(request("GET", "/metrics")).Status; got != 200 {
			t.Errorf("the next: %d", got)
		}
	})
}

func TestPage(t *testing.T) {
	f := newFake()
	f.notReady = []string{"draining"}
	s := newServer(f)
	resp := s.do(request("GET", "/admin/ui", basic(token)...))
	text := body(t, resp)
	for _, want := range []string{
		"0123456789ab", "c0ffee", "prod", "not ready", "draining", "GW6001", "no valid signature &lt;script&gt;", "waits for approval",
		"main has moved", "3 commits", "users-api", "/api/users/*", "GET, POST", "0.0.0.0:8080", "1m ago", "3 days from now", "1.2.3",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(text, "<script") || strings.Contains(text, "ZgotmplZ") || regexp.MustCompile(`(src|href)="(https?:)?//`).MatchString(text) {
		t.Error("the page runs a script, or loads something from elsewhere")
	}
	csp := resp.Header.Get("Content-Security-Policy")
	nonce := regexp.MustCompile(`style-src 'nonce-([A-Z2-7]{26})'`).FindStringSubmatch(csp)
	if !strings.HasPrefix(csp, "default-src 'none'; ") || nonce == nil || !strings.Contains(text, `<style nonce="`+nonce[1]+`">`) {
		t.Errorf("policy %q", csp)
	}
	again := s.do(request("GET", "/admin/ui", basic(token)...)).Header.Get("Content-Security-Policy")
	if again == csp {
		t.Error("the nonce was used twice")
	}
	if got := s.do(request("GET", "/admin/ui")).Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Basic ") {
		t.Errorf("a browser is asked for %q", got)
	}

	bare := newServer(&fake{flags: ir.Admin{APIEnabled: true, DashboardUIEnabled: true}}, func(o *Options) { o.Routes = nil })
	if resp := bare.do(request("GET", "/admin/ui", bearer(token)...)); resp.Status != 200 || !strings.Contains(body(t, resp), "none has been activated yet") {
		t.Errorf("before the first bundle: %d", resp.Status)
	}
}

func TestAgo(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"now": 500 * time.Millisecond, "59s ago": 59 * time.Second, "59m ago": time.Hour - 1, "47h ago": 48*time.Hour - 1,
		"2 days ago": 48 * time.Hour, "1m from now": -time.Minute, "1h from now": -time.Hour, "365 days from now": -365 * 24 * time.Hour,
		"10m ago": 10 * time.Minute, "20h ago": 20 * time.Hour,
	} {
		if got := ago(now, now.Add(-d)); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}

func TestUpstreams(t *testing.T) {
	s := newServer(newFake())
	for _, tt := range []struct {
		target string
		status int
		want   []string
	}{
		{"/admin/upstreams", 200, []string{`"id":"http://127.0.0.1:80"`, `"id":"users"`, `"next":null`}},
		{"/admin/upstreams?limit=1", 200, []string{`"id":"http://127.0.0.1:80"`, `"next":"http://127.0.0.1:80"`}},
		{"/admin/upstreams?limit=1&after=http://127.0.0.1:80", 200, []string{`"id":"users"`, `"next":null`}},
		{"/admin/upstreams?limit=0", 400, []string{"limit must be a number"}},
		{"/admin/upstreams/users", 200, []string{`"id":"users"`, `"breakers":[{"route":"a","state":"open"`}},
		{"/admin/upstreams/nobody", 404, []string{`"code":"no_such_upstream"`}},
		{"/admin/upstreams/http:/127.0.0.1:80", 200, []string{`"id":"http://127.0.0.1:80"`}},
	} {
		resp := s.do(request("GET", tt.target, bearer(token)...))
		got := body(t, resp)
		for _, want := range tt.want {
			if status(resp) != tt.status || !strings.Contains(got, want) {
				t.Errorf("%s: %d, %s", tt.target, status(resp), got)
			}
		}
	}
}
