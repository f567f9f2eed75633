package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
)

// written puts a configuration into the peer's directory.
func (s site) written(name, text string) (string, error) {
	path := filepath.Join(s.dir, name)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

func nginxArgs(s site) ([]string, error) {
	user := ""
	if os.Getuid() == 0 {
		user = "user root;\n" // it must reach its temporary directory
	}
	path, err := s.written("nginx.conf", fmt.Sprintf(`daemon off;
%[1]sworker_processes 2;
worker_rlimit_nofile 65536;
pid %[2]s/nginx.pid;
error_log stderr error;
events { worker_connections 16384; }
http {
  access_log off;
  client_body_temp_path %[2]s/nginx-body;
  proxy_temp_path %[2]s/nginx-proxy;
  fastcgi_temp_path %[2]s/nginx-fastcgi;
  uwsgi_temp_path %[2]s/nginx-uwsgi;
  scgi_temp_path %[2]s/nginx-scgi;
  keepalive_requests 1000000000;
  client_max_body_size 0;
  proxy_max_temp_file_size 0;
  ssl_session_cache off;
  ssl_session_tickets off;
  map $http_upgrade $connection_out { default upgrade; "" ""; }
  upstream backend { server %[5]s; keepalive 512; keepalive_requests 1000000000; }
  server {
    listen %[3]s;
    listen %[4]s ssl http2;
    ssl_certificate %[6]s;
    ssl_certificate_key %[7]s;
    location / {
      proxy_pass http://backend;
      proxy_http_version 1.1;
      proxy_set_header Connection $connection_out;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Host $http_host;
      proxy_request_buffering off;
    }
    location ~ /events$ {
      proxy_pass http://backend;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }
  }
}
`, user, s.dir, s.plain, s.secure, s.to, s.identity.cert, s.identity.key))
	return []string{"-p", s.dir, "-c", path, "-e", "stderr"}, err
}

func haproxyArgs(s site) ([]string, error) {
	path, err := s.written("haproxy.cfg", fmt.Sprintf(`global
  nbthread 2
  maxconn 8000
  tune.ssl.lifetime 0
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout tunnel 60s
  http-reuse always
frontend in
  bind %[1]s
  bind %[2]s ssl crt %[3]s alpn h2,http/1.1 no-tls-tickets
  use_backend events if { path_end /events }
  default_backend out
backend out
  server one %[4]s
backend events
  option http-no-delay
  server one %[4]s
`, s.plain, s.secure, s.identity.both, s.to))
	return []string{"-db", "-f", path}, err
}

func caddyArgs(s site) ([]string, error) {
	_, plain, err := net.SplitHostPort(s.plain)
	if err != nil {
		return nil, err
	}
	_, secure, err := net.SplitHostPort(s.secure)
	if err != nil {
		return nil, err
	}
	path, err := s.written("Caddyfile", fmt.Sprintf(`{
	admin off
	auto_https off
	storage file_system %[1]s
	log {
		level ERROR
	}
}
(proxy) {
	bind 127.0.0.1
	reverse_proxy %[6]s {
		flush_interval -1
		transport http {
			keepalive_idle_conns_per_host 512
		}
	}
}
http://:%[2]s {
	import proxy
}
https://:%[3]s {
	tls %[4]s %[5]s
	import proxy
}
`, s.dir, plain, secure, s.identity.cert, s.identity.key, s.to))
	return []string{"run", "--adapter", "caddyfile", "--config", path}, err
}

// fastifyArgs installs the guide's own stack, Fastify with its proxy plugin, into the peer's directory.
func fastifyArgs(s site) ([]string, error) {
	if _, err := s.written("package.json", `{"private": true, "dependencies": {"fastify": "^5", "@fastify/http-proxy": "^11"}}`); err != nil {
		return nil, err
	}
	install := exec.Command("npm", "install", "--silent", "--no-audit", "--no-fund")
	install.Dir = s.dir
	if out, err := install.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("npm install: %w: %s", err, out[:min(len(out), 200)])
	}
	path, err := s.written("server.js", fmt.Sprintf(`const fs = require('fs'), cluster = require('cluster')
if (cluster.isPrimary) {
  const stop = () => process.exit(0)
  process.on('SIGINT', stop)
  for (let i = 0; i < 2; i++) cluster.fork()
} else {
  const serve = (address, https) => {
    const app = require('fastify')({ logger: false, https, bodyLimit: 1 << 30 })
    app.register(require('@fastify/http-proxy'), { upstream: 'http://%[1]s', websocket: true, undici: { connections: 512 } })
    const [host, port] = address.split(':')
    return app.listen({ host, port: Number(port) })
  }
  serve('%[2]s', null)
  serve('%[3]s', { cert: fs.readFileSync('%[4]s'), key: fs.readFileSync('%[5]s') })
}
`, s.to, s.plain, s.secure, s.identity.cert, s.identity.key))
	return []string{path}, err
}

func traefikArgs(s site) ([]string, error) {
	path, err := s.written("dynamic.yaml", fmt.Sprintf(`http:
  routers:
    plain: { rule: "PathPrefix(`+"`/`"+`)", entryPoints: [plain], service: up }
    secure: { rule: "PathPrefix(`+"`/`"+`)", entryPoints: [secure], service: up, tls: {} }
  services:
    up:
      loadBalancer:
        serversTransport: many
        responseForwarding: { flushInterval: "-1ms" }
        servers: [{ url: "http://%s" }]
  serversTransports:
    many: { maxIdleConnsPerHost: 512 }
tls:
  certificates: [{ certFile: %q, keyFile: %q }]
`, s.to, s.identity.cert, s.identity.key))
	return []string{
		"--entrypoints.plain.address=" + s.plain, "--entrypoints.secure.address=" + s.secure, "--providers.file.filename=" + path,
		"--log.level=ERROR", "--global.checknewversion=false", "--global.sendanonymoususage=false",
	}, err
}
