package e2e_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
)

// dev is gwrun dev on a copy of the example repository.
type dev struct {
	*gateway
	dir string
}

func (s *scene) dev() *dev {
	s.t.Helper()
	dir := filepath.Join(s.t.TempDir(), "config-repo")
	s.copy(filepath.Join(testkit.Root(s.t), "examples", "config-repo"), dir)
	demo := []string{testkit.FreePort(s.t), testkit.FreePort(s.t)} // the example's own ports may be taken
	s.edit(filepath.Join(dir, "upstreams", "demo.yaml"), func(data []byte) []byte {
		return []byte(strings.NewReplacer("127.0.0.1:18081", demo[0], "127.0.0.1:18082", demo[1]).Replace(string(data)))
	})
	g := s.gwrunAlone("dev", dir, "--listen", "127.0.0.1:0", "--demo", strings.Join(demo, ","))
	g.url = "http://" + g.WaitLine(`serving \S+ on http://(\S+); edit`)[1]
	g.admin = g.url
	g.WaitLine(`version 1 is live, environment dev`)
	return &dev{g, dir}
}

// answers wants a status and a part of the body.
func (g *gateway) answers(path string, status int, part string) {
	g.t.Helper()
	code, body, err := get(g.url + path)
	if err != nil || code != status || !strings.Contains(body, part) {
		g.t.Errorf("%s answers %d %q %v, want %d with %q", path, code, body, err, status, part)
	}
}

// In dev mode a save is live at once, a mistake is explained in the words of gwctl validate while the old configuration
// goes on serving, and the demo upstream answers what the example repository routes to it.
func TestDev(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	d := s.dev()
	d.answers("/hello", 200, "hello from the demo upstream")
	d.answers("/api/users/7", 200, `"id":"7"`)
	d.answers("/health", 200, `"success":true`)
	d.answers("/admin/status", 200, `"environment":"dev"`) // no token: it is this machine, and dev mode
	d.answers("/greetings", 404, "")

	routes := filepath.Join(d.dir, "routes", "demo.yaml")
	good, err := os.ReadFile(routes)
	if err != nil {
		t.Fatal(err)
	}
	s.write(routes, strings.Replace(string(good), "path: /hello,", "path: /greetings,", 1))
	d.WaitLine(`version 2 is live`)
	d.answers("/greetings", 404, "") // the demo upstream does not know it, but
	if code, body, err := get(d.url + "/greetings"); err != nil || strings.Contains(body, "problem") {
		t.Errorf("/greetings answers %d %q %v, want the answer of the upstream", code, body, err)
	}
	d.answers("/hello", 404, "")

	s.write(routes, strings.Replace(string(good), "methods: [GET]", "methodz: [GET]", 1))
	d.WaitLine(`not activated; the configuration from before goes on serving`)
	s.same(d, `did you mean "methods"?`)
	if code, body, err := get(d.url + "/greetings"); err != nil || strings.Contains(body, "problem") {
		t.Errorf("after a mistake /greetings answers %d %q %v, want the answer of the upstream", code, body, err)
	}

	s.write(routes, string(good))
	d.WaitLine(`version 3 is live`)
	patch := filepath.Join(d.dir, "environments", "dev", "gateway.yaml")
	s.edit(patch, func(data []byte) []byte { return append(data, "  acceslog: {}\n"...) })
	d.WaitLine(`environments/dev/gateway.yaml:5:3: error`)
	s.same(d, "[environment dev]")
	s.edit(patch, func(data []byte) []byte { return []byte(strings.TrimSuffix(string(data), "  acceslog: {}\n")) })
	d.answers("/hello", 200, "hello")
	s.write(filepath.Join(d.dir, "routes", "fresh.cue"),
		"apiVersion: \"gateway.suuupra.dev/v1\"\nroutes: [{id: \"fresh\", matcher: path: \"/echo/fresh\", target: {type: \"http\", upstream: \"demo\"}}]\n")
	d.WaitLine(`version 4 is live`)
	d.ends(0)
}

// same wants gwrun dev to have written exactly what gwctl validate prints, with a part in it.
func (s *scene) same(d *dev, part string) {
	s.t.Helper()
	said := s.exits(3, "validate", d.dir).out
	if !strings.Contains(said, part) {
		s.t.Errorf("gwctl validate says\n%swithout %q", said, part)
	}
	testkit.Eventually(s.t, "gwrun dev says the same as gwctl validate:\n"+said, func() bool { return strings.Contains(d.Output(), said) })
}

// SIGTERM ends dev mode at once and leaves no child, not even one that evaluates a file without end.
func TestDevEndsWithItsChildren(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	d := s.dev()
	s.write(filepath.Join(d.dir, "routes", "endless.cue"),
		"import \"list\"\napiVersion: \"gateway.suuupra.dev/v1\"\nroutes: [for i in list.Range(0, 1000000000, 1) {id: \"r\\(i)\"}]\n")
	var child string
	testkit.Eventually(t, "a child evaluates the file", func() bool { child = childOf(t, d.PID()); return child != "" })
	d.answers("/hello", 200, "hello")
	d.ends(0)
	testkit.Eventually(t, "no child is left", func() bool { _, err := os.Stat(child); return err != nil })
}

// ends sends SIGTERM and wants the process to end with a code, soon.
func (g *gateway) ends(code int) {
	g.t.Helper()
	asked := time.Now()
	g.Signal(syscall.SIGTERM)
	if got := g.Wait(); got != code {
		g.t.Errorf("exit code %d after SIGTERM, want %d", got, code)
	}
	took := time.Since(asked)
	g.t.Logf("ended %s after SIGTERM", took.Round(time.Millisecond))
	if took > 10*time.Second { // the promise is 2 s on a machine that has the time
		g.t.Errorf("ended only %s after SIGTERM", took)
	}
}

// childOf finds a child of a process, as its folder in /proc; "" if it has none.
func childOf(t *testing.T, pid int) string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(data), ") ") // proc(5): state and parent follow the name
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			return filepath.Dir(f)
		}
	}
	return ""
}
