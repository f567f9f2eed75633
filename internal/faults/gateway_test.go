package faults_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
)

// times of the gateway under test: short, so that faults show quickly.
const (
	totalTimeout = "3s"
	policyAlone  = `{ timeout: ` + totalTimeout + `, timeouts: { header: 1s } }`
	policyPool   = `{ timeout: ` + totalTimeout + `, timeouts: { header: 1s },
      retry: { attempts: 2, on: [connectFailure, reset, timeout, gatewayError], perTryTimeout: 500ms, budget: { percent: 100, minConcurrency: 20 } } }`
	policyBreaker = `{ timeout: ` + totalTimeout + `, timeouts: { header: 1s },
      circuitBreaker: { window: 2s, minimumCalls: 20, errorPercent: 50, openFor: 1s, halfOpenFor: 1s } }`
)

// gateway is a gwrun that serves a repository of its own and reads it again when it changes.
type gateway struct {
	t       *testing.T
	process *testkit.Process
	dir     string
	url     string // of the data listener
	swaps   int
	text    string // of the route under test, with a place for its version
}

// startGateway serves /shaky/ from the upstream described by upstream, with a policy, and /steady/ from a healthy one.
func startGateway(t *testing.T, upstream, policy string) *gateway {
	t.Helper()
	steady := newOrigin(t)
	g := &gateway{t: t, dir: t.TempDir()}
	g.write("gateway.yaml", "gateway: { name: faults }\n")
	g.write("routes/steady.yaml", fmt.Sprintf(`routes:
  - id: steady
    matcher: { path: /steady/* }
    target: { type: http, url: "http://%s" }
`, steady.addr))
	g.write("upstreams/shaky.yaml", "upstreams:\n  - id: shaky\n    connectTimeout: 1s\n"+upstream)
	g.text = `routes:
  - id: shaky
    matcher: { path: /shaky/* }
    target: { type: http, upstream: shaky }
    policy: ` + policy + `
  - id: version-%d
    matcher: { path: /version/%d }
    target: { type: http, url: "http://` + steady.addr + `" }
`
	g.write("routes/shaky.yaml", fmt.Sprintf(g.text, 0, 0))
	return g
}

func (g *gateway) write(name, text string) {
	g.t.Helper()
	path := filepath.Join(g.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		g.t.Fatal(err)
	}
	// By rename: the watcher must not read half a file.
	if err := os.WriteFile(path+".new~", []byte("apiVersion: gateway.suuupra.dev/v1\n"+text), 0o600); err != nil {
		g.t.Fatal(err)
	}
	if err := os.Rename(path+".new~", path); err != nil {
		g.t.Fatal(err)
	}
}

// serve starts gwrun, under a limit of file descriptors if one is given.
func (g *gateway) serve(descriptors int) {
	g.t.Helper()
	bin := testkit.Binary(g.t, "gwrun")
	c := testkit.Command{Path: bin, Args: []string{"dev", g.dir, "--listen", "127.0.0.1:0"}}
	if descriptors > 0 {
		c = testkit.Command{Path: "/bin/bash", Args: append([]string{
			"-c", fmt.Sprintf("ulimit -n %d; exec \"$0\" \"$@\"", descriptors), bin,
		}, c.Args...)}
	}
	g.process = testkit.Start(g.t, c)
	g.url = "http://" + g.process.WaitLine(`serving \S+ on http://(\S+); edit`)[1]
	testkit.Eventually(g.t, "the first version is served", func() bool { return g.status("/version/0") == http.StatusOK })
}

func (g *gateway) status(path string) int {
	resp, err := http.Get(g.url + path) //nolint:noctx // bounded by the test
	if err != nil {
		return 0
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode
}

// swap brings a new version to life and waits until it serves.
func (g *gateway) swap() {
	g.t.Helper()
	g.swaps++
	g.write("routes/shaky.yaml", fmt.Sprintf(g.text, g.swaps, g.swaps))
	path := fmt.Sprintf("/version/%d", g.swaps)
	testkit.Eventually(g.t, fmt.Sprintf("version %d is served", g.swaps), func() bool { return g.status(path) == http.StatusOK })
}
