package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// subject is one running server under measurement.
type subject struct {
	name     string
	addr     string
	requests [][]byte
	process  *process
}

// peers starts what gwrun is compared with. What is not installed comes back as a note.
func peers(ctx context.Context, dir, to string) (found []*subject, notes []string, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	for _, peer := range []struct {
		name, program string
		args          func(listen string) ([]string, error)
	}{
		{"nginx", "nginx", func(listen string) ([]string, error) { return nginxArgs(dir, listen, to) }},
		{"HAProxy", "haproxy", func(listen string) ([]string, error) { return haproxyArgs(dir, listen, to) }},
		{"bare Go relay", self, func(listen string) ([]string, error) {
			return []string{"-serve", "relay", "-listen", listen, "-to", to}, nil
		}},
		{"httputil.ReverseProxy", self, func(listen string) ([]string, error) {
			return []string{"-serve", "reverseproxy", "-listen", listen, "-to", to}, nil
		}},
	} {
		program, err := lookPath(peer.program)
		if err != nil {
			notes = append(notes, peer.name+" is not installed: left out.")
			continue
		}
		listen, err := freeAddress()
		if err != nil {
			return nil, nil, err
		}
		args, err := peer.args(listen)
		if err != nil {
			return nil, nil, err
		}
		p, err := start(ctx, peer.name, program, args...)
		if err != nil {
			return nil, nil, err
		}
		s := &subject{name: peer.name, addr: listen, requests: [][]byte{get("plain.example.com", "/")}, process: p}
		if err := p.wait(ctx, 10*time.Second, func() bool { return ask(s.addr, s.requests[0]) }); err != nil {
			return nil, nil, err
		}
		found = append(found, s)
	}
	return found, notes, nil
}

// lookPath also finds what Debian keeps for root.
func lookPath(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return exec.LookPath(filepath.Join("/usr/sbin", name))
}

// nginxArgs writes a configuration that does what gwrun is asked to: proxy with keep-alive on both sides, log nothing.
func nginxArgs(dir, listen, to string) ([]string, error) {
	user := ""
	if os.Getuid() == 0 {
		user = "user root;\n" // it must reach its temporary directory
	}
	conf := fmt.Sprintf(`daemon off;
%[1]sworker_processes 2;
pid %[2]s/nginx.pid;
error_log stderr error;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path %[2]s/nginx-body;
  proxy_temp_path %[2]s/nginx-proxy;
  fastcgi_temp_path %[2]s/nginx-fastcgi;
  uwsgi_temp_path %[2]s/nginx-uwsgi;
  scgi_temp_path %[2]s/nginx-scgi;
  keepalive_requests 1000000000;
  upstream backend { server %[4]s; keepalive 512; keepalive_requests 1000000000; }
  server {
    listen %[3]s;
    location / {
      proxy_pass http://backend;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
    }
  }
}
`, user, dir, listen, to)
	path := filepath.Join(dir, "nginx.conf")
	return []string{"-p", dir, "-c", path, "-e", "stderr"}, os.WriteFile(path, []byte(conf), 0o644)
}

func haproxyArgs(dir, listen, to string) ([]string, error) {
	if _, _, err := net.SplitHostPort(listen); err != nil {
		return nil, err
	}
	conf := fmt.Sprintf(`global
  nbthread 2
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
  http-reuse always
frontend in
  bind %s
  default_backend out
backend out
  server one %s
`, listen, to)
	path := filepath.Join(dir, "haproxy.cfg")
	return []string{"-db", "-f", path}, os.WriteFile(path, []byte(conf), 0o644)
}
