package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
)

// environment is the one every synthetic repository has.
const environment = "prod"

// gateway is the product as its users run it: built, given keys, and fed by gwctl.
type gateway struct {
	dir           string
	gwctl, gwrun  string
	upstream      string // host:port
	buildDuration time.Duration
}

func buildGateway(ctx context.Context, dir, upstream string) (*gateway, error) {
	g := &gateway{dir: dir, gwctl: filepath.Join(dir, "gwctl"), gwrun: filepath.Join(dir, "gwrun"), upstream: upstream}
	begin := time.Now()
	for _, name := range []string{"gwctl", "gwrun"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", filepath.Join(dir, name), "./cmd/"+name)
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	g.buildDuration = time.Since(begin)
	_, err := g.ctl(ctx, "keygen", "--out", g.path("keys"))
	return g, err
}

func (g *gateway) path(elements ...string) string {
	return filepath.Join(append([]string{g.dir}, elements...)...)
}

// ctl runs gwctl and returns the CPU it took, its children's included.
func (g *gateway) ctl(ctx context.Context, args ...string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, g.gwctl, args...)
	// Every cache lies in the bench's own directory, so that "cold" is cold.
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+g.path("cache"), "HOME="+g.path("home"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("gwctl %s: %w\n%s", strings.Join(args, " "), err, out[:min(len(out), 4096)])
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

// repository writes a synthetic repository and commits it, as gwctl wants it. The name is its directory.
func (g *gateway) repository(ctx context.Context, name string, s testkit.Synthetic) error {
	s.Target = "http://" + g.upstream
	if err := s.Write(g.path(name)); err != nil {
		return err
	}
	return g.git(ctx, name)
}

// git makes a directory a repository with one commit.
func (g *gateway) git(ctx context.Context, name string) error {
	for _, args := range [][]string{
		{"init", "--quiet"},
		{"add", "--all"},
		{"-c", "user.name=bench", "-c", "user.email=bench@example.com", "commit", "--quiet", "--message", name},
	} {
		cmd := exec.CommandContext(ctx, "git", args...)
		cmd.Dir = g.path(name)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w\n%s", args[0], err, out)
		}
	}
	return nil
}

// apply compiles and signs a repository into the channel in directory to.
func (g *gateway) apply(ctx context.Context, repository, to string) error {
	_, err := g.ctl(ctx, "apply", g.path(repository), "--env", environment,
		"--key", g.path("keys", "release.key"), "--channel-key", g.path("keys", "channel.key"), "--to", "file://"+g.path(to))
	return err
}

// everything starts gwrun with one route for all, on the listeners its bundle names: plain, and TLS with HTTP/2.
func (g *gateway) everything(ctx context.Context, id identity) (*subject, error) {
	const name = "everything"
	s := &subject{name: "gwrun", host: "plain.example.com", http2: true}
	for _, address := range []*string{&s.addr, &s.secure} {
		var err error
		if *address, err = freeAddress(); err != nil {
			return nil, err
		}
	}
	err := g.commit(ctx, name, map[string]string{
		"gateway.yaml": fmt.Sprintf(`apiVersion: gateway.suuupra.dev/v1
gateway:
  name: bench
  listeners:
    - { id: plain, address: %q }
    - { id: secure, address: %q, tls: { certificates: [{ cert: %q, key: %q }] } }
`, s.addr, s.secure, "file:"+id.cert, "file:"+id.key),
		"routes/all.yaml": `apiVersion: gateway.suuupra.dev/v1
routes:
  - id: all
    matcher: { path: /* }
    target: { type: http, upstream: all }
    policy: { timeout: 0 }
`,
		"upstreams/all.yaml": fmt.Sprintf(`apiVersion: gateway.suuupra.dev/v1
upstreams:
  - id: all
    targets: [{ url: "http://%s" }]
    maxConnections: 65536
`, g.upstream),
		"environments/prod/prod.yaml": "apiVersion: gateway.suuupra.dev/v1\n",
	})
	if err != nil {
		return nil, err
	}
	if err := g.apply(ctx, name, name+"-live"); err != nil {
		return nil, err
	}
	s.requests = [][]byte{get(s.host, "/")}
	return s, g.start(ctx, s, name+"-live")
}

// commit writes files into a new repository and commits them.
func (g *gateway) commit(ctx context.Context, name string, files map[string]string) error {
	for path, text := range files {
		path = g.path(name, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return g.git(ctx, name)
}

// run starts gwrun on the channel in a directory and waits until a route of s is served.
func (g *gateway) run(ctx context.Context, name, channel string, s testkit.Synthetic) (*subject, error) {
	listen, err := freeAddress()
	if err != nil {
		return nil, err
	}
	sub := &subject{name: name, addr: listen, host: s.Host(0), prefix: s.Path(0), requests: requests(s)}
	return sub, g.start(ctx, sub, channel, "--listen", listen)
}

// start starts gwrun on the channel in a directory and waits until the subject's first request is served.
func (g *gateway) start(ctx context.Context, s *subject, channel string, args ...string) error {
	admin, err := freeAddress()
	if err != nil {
		return err
	}
	if s.process, err = launch(s.name, g.command(ctx, channel, admin, args...)); err != nil {
		return err
	}
	return s.ready(ctx)
}

// command is gwrun on the channel in a directory.
func (g *gateway) command(ctx context.Context, channel, admin string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, g.gwrun, append([]string{
		"--bundle", "file://" + g.path(channel), "--trust", g.path("keys", "trust.json"),
		"--env", environment, "--admin", admin, "--state", g.path("state-" + channel),
	}, args...)...)
}

// ready waits until the subject's first request is served, and stops it if that never is.
func (s *subject) ready(ctx context.Context) error {
	if err := s.process.wait(ctx, time.Minute, func() bool { return ask(s.addr, s.requests[0]) }); err != nil {
		s.process.stop()
		return fmt.Errorf("%w; a request is answered: %s", err, answer(s.addr, s.requests[0]))
	}
	return nil
}

// requests picks up to 2,000 routes, spread over all of them, and a request for each.
func requests(s testkit.Synthetic) [][]byte {
	step := max(1, s.Routes/2000)
	var out [][]byte
	for n := 0; n < s.Routes; n += step {
		out = append(out, get(s.Host(n), s.Path(n)))
	}
	return out
}

// answer is what a server says to a request, for a message.
func answer(addr string, request []byte) string {
	c, err := dial(addr, nil, 0)
	if err != nil {
		return err.Error()
	}
	defer c.close()
	if _, err := c.do(request); err != nil {
		return err.Error()
	}
	return "200"
}

// publish copies a channel directory over another, the way a mirror would: content first, then the index that names it, by
// rename. What compiles and what activates are thus measured apart.
func publish(from, to string) error {
	var last []string
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		case !strings.HasPrefix(rel, "blobs"):
			last = append(last, rel) // the layout's marker and its index
			return nil
		}
		return copyFile(path, filepath.Join(to, rel))
	})
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	for _, rel := range last {
		if err := copyFile(filepath.Join(from, rel), filepath.Join(to, rel)); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
	return nil
}

// copyFile leaves an equal file alone, so that the watcher of a directory sees one change.
func copyFile(from, to string) error {
	in, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(to); err == nil && bytes.Equal(old, in) {
		return nil
	}
	tmp, err := os.CreateTemp(filepath.Dir(to), ".new-*")
	if err != nil {
		return err
	}
	_, err = io.Copy(tmp, bytes.NewReader(in))
	if err := errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), to)
}
