package e2e_test

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
)

// place is somewhere bundles are kept.
type place struct {
	location string
	publish  func(version int) // what the clone holds
	away     func()
	back     func()
}

// places are all the kinds of places.
var places = map[string]func(s *scene) place{
	"folder": func(s *scene) place {
		path, location := s.folder()
		return place{location, func(int) { s.apply(location) }, func() { s.move(path, path+".away") }, func() { s.move(path+".away", path) }}
	},
	"archive": func(s *scene) place {
		path := filepath.Join(s.t.TempDir(), "site.gwb")
		return place{path, func(v int) { s.archive(path, v) }, func() { s.move(path, path+".away") }, func() { s.move(path+".away", path) }}
	},
	"web server": func(s *scene) place { return s.behind(testkit.BundleServer(s.t).URL, "%s/") },
	"web server with TLS": func(s *scene) place {
		host := testkit.BundleServer(s.t)
		gate := newGate(s.t, host.URL)
		return place{s.tls(gate) + "/", nil, func() { gate.shut.Store(true) }, func() { gate.shut.Store(false) }}
	},
	"git branch": func(s *scene) place {
		s.host.Create("bundles", map[string]string{"README.md": "What gwctl publishes is on the branch bundles.\n"})
		return s.behind(s.host.URL, "git+%s/bundles.git#bundles")
	},
	"registry": func(s *scene) place { return s.behind(testkit.Registry(s.t).URL, "oci://%s/team/shop") },
}

// behind puts a gate before a server.
func (s *scene) behind(url, location string) place {
	gate := newGate(s.t, url)
	at := gate.URL
	if strings.HasPrefix(location, "oci:") {
		at = strings.TrimPrefix(at, "http://")
	}
	return place{fmt.Sprintf(location, at), nil, func() { gate.shut.Store(true) }, func() { gate.shut.Store(false) }}
}

// tls puts TLS before a gate, with a certificate that every command trusts.
func (s *scene) tls(g *gate) string {
	front := httptest.NewTLSServer(newProxy(s.t, g.URL))
	s.t.Cleanup(func() { front.CloseClientConnections(); front.Close() })
	file := filepath.Join(s.t.TempDir(), "ca.pem")
	s.write(file, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw})))
	s.extra = append(s.extra, "SSL_CERT_FILE="+file)
	return front.URL
}

func (s *scene) write(path, content string) {
	s.t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) move(from, to string) {
	s.t.Helper()
	if err := os.Rename(from, to); err != nil {
		s.t.Fatal(err)
	}
}

// archive makes a .gwb file of what the clone holds, and moves it into place.
func (s *scene) archive(path string, version int) {
	s.t.Helper()
	fresh := path + ".new.gwb"
	s.ok("build", "--env", "prod", "--key", filepath.Join(s.keys, "release.key"), "--out", fresh)
	s.ok("sign", fresh, "--channel-key", filepath.Join(s.keys, "channel.key"), "--channel-version", fmt.Sprint(version),
		"--trust", filepath.Join(s.keys, "trust.json"))
	s.move(fresh, path)
}

// Every place takes what is published and hands it to the gateway; when it is away, the gateway serves on and says so, and
// starts from what it kept.
func TestPlaces(t *testing.T) {
	t.Parallel()
	for name, make := range places {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			p := make(s)
			if p.publish == nil {
				p.publish = func(int) { s.apply(p.location) }
			}
			state := t.TempDir()
			start := func() *gateway { return s.gwrun("--bundle", p.location, "--state", state) }

			p.publish(1)
			g := start()
			g.serves(1)
			s.version(2)
			p.publish(2)
			g.serves(2)

			p.away()
			g.complains("source_fetch")
			if v := g.served(); v != 2 {
				t.Errorf("version %d is served while the source is away, want 2", v)
			}
			p.back()
			g.reload()
			g.recovers()

			p.away()
			if code := g.Stop(); code != 0 {
				t.Errorf("exit code %d after SIGTERM", code)
			}
			g = start()
			g.serves(2)
			g.complains("source_fetch")
			if st := g.status(); st.Running == nil || st.Running.Version != 2 {
				t.Errorf("after a restart without its source it runs %+v, want version 2", st.Running)
			}
			p.back()
			s.version(3)
			p.publish(3)
			g.reload()
			g.serves(3)
			g.recovers()
		})
	}
}

// complains waits until the status names a reason.
func (g *gateway) complains(code string) {
	g.t.Helper()
	testkit.Eventually(g.t, "the status says "+code, func() bool {
		e := g.status().Source.LastError
		return e != nil && e.Code == code && e.Message != ""
	})
}

// reload asks for a poll now: a gateway waits ever longer for a source that is away.
func (g *gateway) reload() {
	g.t.Helper()
	req, err := http.NewRequest(http.MethodPost, g.admin+"/admin/reload", http.NoBody)
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := client.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	if _ = resp.Body.Close(); resp.StatusCode != http.StatusAccepted {
		g.t.Fatalf("reload: %s", resp.Status)
	}
}

// recovers waits until the status has nothing to complain about.
func (g *gateway) recovers() {
	g.t.Helper()
	testkit.Eventually(g.t, "the status shows no error", func() bool { return g.status().Source.LastError == nil })
}
