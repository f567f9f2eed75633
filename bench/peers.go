package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// subject is one running server under measurement.
type subject struct {
	name     string
	addr     string   // plain HTTP
	secure   string   // TLS, with HTTP/2 where it speaks it; empty: it has none
	http2    bool     // on secure
	plain    bool     // for plain requests alone: a model, and no proxy
	host     string   // to ask for
	prefix   string   // of every path
	requests [][]byte // of the plain load
	process  *process
}

// site is what a peer is configured for: to proxy everything from two addresses to one server, with keep-alive on both sides,
// without a log, and without keeping bodies.
type site struct {
	dir           string // of the peer's own
	plain, secure string // addresses to listen on
	to            string // host:port
	identity      identity
}

// peer is one server that gwrun is compared with.
type peer struct {
	name, program string
	module        string // of the tool in whose go.mod the program is; empty: it is in PATH
	plain         bool   // it is measured under plain requests alone
	secure, http2 bool
	args          func(s site) ([]string, error)
}

// peerList names the peers in the order of the table.
func peerList(self string) []peer {
	return []peer{
		{name: "nginx", program: "nginx", secure: true, http2: true, args: nginxArgs},
		{name: "HAProxy", program: "haproxy", secure: true, http2: true, args: haproxyArgs},
		{name: "Caddy", program: "caddy", secure: true, http2: true, args: caddyArgs},
		{name: "Traefik", program: "github.com/traefik/traefik/v3/cmd/traefik", module: "tools/traefik", secure: true, http2: true, args: traefikArgs},
		{name: "Fastify", program: "node", secure: true, args: fastifyArgs},
		{name: "bare Go relay", program: self, plain: true, args: func(s site) ([]string, error) {
			return []string{"-serve", "relay", "-listen", s.plain, "-to", s.to}, nil
		}},
		{name: "httputil.ReverseProxy", program: self, args: func(s site) ([]string, error) {
			return []string{"-serve", "reverseproxy", "-listen", s.plain, "-to", s.to}, nil
		}},
	}
}

// startPeers starts what gwrun is compared with. What cannot be is told by a note.
func startPeers(ctx context.Context, list []peer, dir, to string, id identity) (found []*subject, notes []string) {
	for _, p := range list {
		s, err := p.start(ctx, filepath.Join(dir, p.name), to, id)
		if err != nil {
			notes = append(notes, fmt.Sprintf("%s is left out: %s", p.name, err))
			continue
		}
		found = append(found, s)
	}
	return found, notes
}

func (p peer) start(ctx context.Context, dir, to string, id identity) (*subject, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	program, err := p.find(ctx, dir)
	if err != nil {
		return nil, err
	}
	st := site{dir: dir, to: to, identity: id}
	for _, address := range []*string{&st.plain, &st.secure} {
		if *address, err = freeAddress(); err != nil {
			return nil, err
		}
	}
	args, err := p.args(st)
	if err != nil {
		return nil, err
	}
	process, err := start(ctx, p.name, program, args...)
	if err != nil {
		return nil, err
	}
	s := &subject{name: p.name, addr: st.plain, host: "plain.example.com", http2: p.http2, plain: p.plain, process: process}
	if p.secure {
		s.secure = st.secure
	}
	s.requests = [][]byte{get(s.host, "/")}
	if err := process.wait(ctx, 10*time.Second, func() bool { return ask(s.addr, s.requests[0]) }); err != nil {
		process.stop()
		return nil, err
	}
	return s, nil
}

// find returns the path of the peer's program, which is built first if it is no package of the system's.
func (p peer) find(ctx context.Context, dir string) (string, error) {
	if p.module == "" {
		path, err := lookPath(p.program)
		if err != nil {
			return "", fmt.Errorf("%s is not installed", p.program)
		}
		return path, nil
	}
	path := filepath.Join(dir, "program")
	cmd := exec.CommandContext(ctx, "go", "build", "-C", p.module, "-o", path, p.program)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w: %s", err, out[:min(len(out), 200)])
	}
	return path, nil
}

// lookPath also finds what Debian keeps for root.
func lookPath(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return exec.LookPath(filepath.Join("/usr/sbin", name))
}
