package kubernetes_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/suuupra/gateway/compiler/kubernetes"
	"github.com/suuupra/gateway/schema/diag"
)

const nginx = "nginx.ingress.kubernetes.io/"

// annotated is an Ingress with annotations of ingress-nginx, for everything under a path.
func annotated(path string, annotations map[string]string) *kubernetes.Objects {
	all := map[string]string{}
	for name, value := range annotations {
		all[nginx+name] = value
	}
	return &kubernetes.Objects{Ingresses: []*networkingv1.Ingress{{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Annotations: all},
		Spec: networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{{Host: "a.example.com", IngressRuleValue: networkingv1.IngressRuleValue{
			HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{{
				Path: path, PathType: new(networkingv1.PathTypeImplementationSpecific),
				Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: "web", Port: networkingv1.ServiceBackendPort{Name: "http"}}},
			}}},
		}}}},
	}}}
}

// body is what a translation says about routes and upstreams, without the lines that all of these tests share.
func body(t *testing.T, r *kubernetes.Result) string {
	t.Helper()
	var out []string
	for _, f := range r.Files {
		if f.Path == "gateway.yaml" {
			continue
		}
		data, err := f.Encode("")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			line = strings.TrimRight(line, "\n")
			switch strings.TrimSpace(line) {
			case "apiVersion: gateway.suuupra.dev/v1", "routes:", "upstreams:", "- id: shop.web.ingress-0-0", "matcher:", "host: a.example.com", "target:", "type: http",
				"discovery:", "kubernetes:", "namespace: shop", "service: web", "port: http", "policy:":
			default:
				if !strings.HasPrefix(line, "#") {
					out = append(out, strings.TrimPrefix(line, "    "))
				}
			}
		}
	}
	return strings.Join(out, "\n")
}

// TestAnnotations has each annotation that is translated do what the manual says, and compiles it.
func TestAnnotations(t *testing.T) {
	plain := "  path: /api/*\n  upstream: shop.web.http\n"
	own := "  path: /api/*\n  upstream: shop.web.http.web\n  - id: shop.web.http.web\n"
	for _, tt := range []struct {
		name, path string
		in         map[string]string
		want       string
	}{
		{"nothing", "/api", nil, plain + "  - id: shop.web.http"},
		{"allow", "/api", map[string]string{"whitelist-source-range": "10.0.0.0/8, 192.0.2.1,2001:db8::1/32"}, plain + "  ip:\n    allow: [10.0.0.0/8, \"192.0.2.1\", '2001:db8::/32']\n  - id: shop.web.http"},
		{"deny", "/api", map[string]string{"denylist-source-range": "10.1.2.3/8"}, plain + "  ip:\n    deny: [10.0.0.0/8]\n  - id: shop.web.http"},
		{"body", "/api", map[string]string{"proxy-body-size": "8m"}, plain + "  bodyLimit:\n    maxBytes: 8MiB\n  - id: shop.web.http"},
		{"any body", "/api", map[string]string{"proxy-body-size": "0"}, plain + "  bodyLimit:\n    maxBytes: 1024GiB\n  - id: shop.web.http"},
		{"read timeout", "/api", map[string]string{"proxy-read-timeout": "3600"}, plain + "  timeout: 0s\n  timeouts:\n    header: 1h\n    idle: 1h\n  - id: shop.web.http"},
		{"connect timeout", "/api", map[string]string{"proxy-connect-timeout": "5s"}, own + "  connectTimeout: 5s"},
		{"retries", "/api", map[string]string{"proxy-next-upstream": "error http_502 http_503 http_504 non_idempotent", "proxy-next-upstream-tries": "3"}, plain + "  retry:\n    attempts: 2\n    on: [connectFailure, gatewayError, refusedStream, reset]\n    methods: [GET, HEAD, OPTIONS, PUT, DELETE, TRACE, POST, PATCH]\n  - id: shop.web.http"},
		{"no retries", "/api", map[string]string{"proxy-next-upstream": "off", "proxy-next-upstream-tries": "3"}, plain + "  retry:\n    attempts: 0\n  - id: shop.web.http"},
		{"retries in time", "/api", map[string]string{"proxy-next-upstream": "timeout", "proxy-read-timeout": "10"}, plain + "  timeout: 0s\n  timeouts:\n    header: 10s\n    idle: 10s\n  retry:\n    on: [connectFailure, timeout]\n    perTryTimeout: 10s\n  - id: shop.web.http"},
		{"limits", "/api", map[string]string{"limit-rps": "10", "limit-rpm": "100", "limit-burst-multiplier": "2"}, plain + "  rateLimit:\n    limits:\n      - id: per-second\n        tokensPerInterval: 10\n        intervalMs: 1000\n        burst: 20\n        key: [ip]\n      - id: per-minute\n        tokensPerInterval: 100\n        intervalMs: 60000\n        burst: 200\n        key: [ip]\n  - id: shop.web.http"},
		{"cors", "/api", map[string]string{"enable-cors": "true", "cors-allow-origin": "https://app.example.com, https://*.example.org", "cors-allow-methods": "GET, POST", "cors-allow-headers": "X-One", "cors-expose-headers": "X-Two", "cors-max-age": "600"}, plain + "  cors:\n    allowOrigins: ['https://app.example.com', 'https://*.example.org']\n    allowMethods: [GET, POST]\n    allowHeaders: [X-One]\n    exposeHeaders: [X-Two]\n    allowCredentials: true\n    maxAge: 10m\n  - id: shop.web.http"},
		{"cors with its defaults", "/api", map[string]string{"enable-cors": "true"}, plain + "  cors:\n    allowOrigins: ['*']\n    allowMethods: [GET, PUT, POST, DELETE, PATCH, OPTIONS]\n    allowHeaders: [DNT, User-Agent, X-Requested-With, If-Modified-Since, Cache-Control, Content-Type, Range, Authorization]\n    maxAge: 24h\n  - id: shop.web.http"},
		{"cors that is off", "/api", map[string]string{"enable-cors": "false", "cors-allow-origin": "*"}, plain + "  - id: shop.web.http"},
		{"https", "/api", map[string]string{"backend-protocol": "HTTPS", "proxy-ssl-secret": "shop/client", "proxy-ssl-name": "web.internal"}, own + "  scheme: https\n  tls:\n    ca: file:/etc/gwrun/tls/shop/client/ca.crt\n    cert: file:/etc/gwrun/tls/shop/client/tls.crt\n    key: file:/etc/gwrun/tls/shop/client/tls.key\n    sni: web.internal"},
		{"grpc", "/api", map[string]string{"backend-protocol": "GRPC"}, own + "  scheme: http\n  protocol: http2"},
		{"vhost", "/api", map[string]string{"upstream-vhost": "web.internal:8080"}, own + "  host: web.internal:8080"},
		{"balance", "/api", map[string]string{"load-balance": "ewma"}, own + "  loadBalancing:\n    strategy: leastLatency"},
		{"hash", "/api", map[string]string{"load-balance": "ewma", "upstream-hash-by": "$http_x_user${cookie_sid}$arg_id$binary_remote_addr"}, own + "  loadBalancing:\n    strategy: ringHash\n    hashOn:\n      - header: x-user\n      - cookie: sid\n      - query: id\n      - ip: true"},
		{"expression", "/api(/|$)(.*)", map[string]string{"use-regex": "true", "rewrite-target": "/$2"}, plain + "  rewrite:\n    path: /${params.rest}\n  - id: shop.web.http"},
		{"expression with a target below", "/api/(.*)", map[string]string{"rewrite-target": "/v2/$1"}, plain + "  rewrite:\n    path: /v2/${params.rest}\n  - id: shop.web.http"},
		{"fixed target", "/api", map[string]string{"rewrite-target": "/index.html"}, plain + "  rewrite:\n    path: /index.html\n  - id: shop.web.http"},
		{"what is off says nothing", "/api", map[string]string{"canary": "false", "ssl-passthrough": "false", "satisfy": "all", "auth-tls-verify-client": "off", "enable-modsecurity": "false"}, plain + "  - id: shop.web.http"},
		{"alias", "/api", map[string]string{"server-alias": "b.example.com"}, plain + "- id: shop.web.ingress-0-0-alias-0\n    host: b.example.com\n" + "  path: /api/*\n  upstream: shop.web.http\n  - id: shop.web.http"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := kubernetes.Translate(annotated(tt.path, tt.in), kubernetes.Options{})
			for _, f := range r.Findings {
				if f.Grade != kubernetes.Note {
					t.Errorf("%s %s: %s", f.Grade, f.Reason, f.Message)
				}
			}
			got, want := squeeze(body(t, r)), squeeze(tt.want)
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			compile(t, r)
		})
	}
}

// squeeze leaves the order of lines, and takes away how deep they are.
func squeeze(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		b.WriteString(strings.TrimSpace(line) + "\n")
	}
	return strings.TrimSpace(b.String())
}

// TestBadValues has values that cannot be said. Each leaves the rules out, and the message says what is allowed.
func TestBadValues(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{"whitelist-source-range", "10.0.0.0/33", `whitelist-source-range is "10.0.0.0/33": "10.0.0.0/33" is not an address or a network such as 10.0.0.0/8`},
		{"whitelist-source-range", " , ", `whitelist-source-range is ",": must name at least one, with commas in between`},
		{"whitelist-source-range", "fe80::1%eth0", `whitelist-source-range is "fe80::1%eth0": "fe80::1%eth0" is not an address or a network such as 10.0.0.0/8`},
		{"proxy-body-size", "8x", `proxy-body-size is "8x": must be bytes, or a number with k, m or g, up to 1024g`},
		{"proxy-body-size", "99999999999g", `proxy-body-size is "99999999999g": must be bytes, or a number with k, m or g, up to 1024g`},
		{"proxy-body-size", "-1", `proxy-body-size is "-1": must be bytes, or a number with k, m or g, up to 1024g`},
		{"proxy-read-timeout", "0", `proxy-read-timeout is "0": must be seconds from 1 to 86400`},
		{"proxy-connect-timeout", "1h", `proxy-connect-timeout is "1h": must be seconds from 1 to 86400`},
		{"proxy-next-upstream", "error http_503", `proxy-next-upstream is "error http_503": must have all of http_502, http_503 and http_504, or none`},
		{"proxy-next-upstream", "http_404", `proxy-next-upstream is "http_404": "http_404" cannot be said; known are error, timeout, invalid_header, http_502 http_503 http_504 (together), http_429, non_idempotent and off`},
		{"proxy-next-upstream", "non_idempotent", `proxy-next-upstream is "non_idempotent": must say what is tried again`},
		{"proxy-next-upstream-tries", "12", `proxy-next-upstream-tries is "12": must be a whole number from 0 to 11`},
		{"limit-rps", "1.5", `limit-rps is "1.5": must be a whole number from 0 to 1000000`},
		{"enable-cors", "yes", `enable-cors is "yes": must be true or false`},
		{"cors-allow-origin", "https://a.example.com/x", `cors-allow-origin is "https://a.example.com/x": "https://a.example.com/x" is not an origin such as https://app.example.com, or "*"`},
		{"cors-allow-methods", "get", `cors-allow-methods is "get": "get" is not a method in capitals`},
		{"cors-allow-headers", "X One", `cors-allow-headers is "X One": "X One" is not a header name`},
		{"backend-protocol", "FCGI", `backend-protocol is "FCGI": must be HTTP, HTTPS, GRPC or GRPCS`},
		{"upstream-vhost", "$host", `upstream-vhost is "$host": must be a plain host name`},
		{"upstream-hash-by", "$request_uri", `upstream-hash-by is "$request_uri": $request_uri cannot be hashed on; known are $remote_addr, $http_<header>, $cookie_<name> and $arg_<parameter>`},
		{"upstream-hash-by", "$http_x-text", `upstream-hash-by is "$http_x-text": must be made of variables alone`},
		{"load-balance", "ip_hash", `load-balance is "ip_hash": must be round_robin or ewma`},
		{"server-alias", "*.example.com", `server-alias is "*.example.com": "*.example.com" is not a host name without wildcards`},
		{"proxy-ssl-secret", "../../etc/passwd", `proxy-ssl-secret is "../../etc/passwd": must be namespace/name of a secret`},
		{"rewrite-target", "https://elsewhere.example.com", `rewrite-target is "https://elsewhere.example.com": must begin with a slash`},
	} {
		t.Run(tt.name+" "+tt.value, func(t *testing.T) {
			r := kubernetes.Translate(annotated("/api", map[string]string{tt.name: tt.value}), kubernetes.Options{})
			if len(r.Routes) > 0 {
				t.Errorf("there is a route: %v", r.Routes)
			}
			if len(r.Findings) == 0 || r.Findings[0].Message != tt.want || r.Findings[0].Grade != kubernetes.Omitted {
				t.Errorf("found %v, want %s", r.Findings, tt.want)
			}
		})
	}
}

// TestPatterns has expressions and targets that cannot be said.
func TestPatterns(t *testing.T) {
	for _, tt := range []struct{ path, target, want string }{
		{"/api/v[0-9]+/(.*)", "", `"/api/v[0-9]+/(.*)" is a regular expression beyond the known forms of a prefix, and ingress-nginx ranks those by length among all paths, while here a pathRegex comes after every path`},
		{"/api(/|$)(.*)", "/$1", `the target "/$1" holds "$1", and only the rest of the path can be inserted, after a slash, at the end`},
		{"/api/(.*)", "/x$1", `the target "/x$1" holds "$1", and only the rest of the path can be inserted, after a slash, at the end`},
		{"/api/(.*)", "/$1/x", `the target "/$1/x" holds "$1", and only the rest of the path can be inserted, after a slash, at the end`},
		{"/api/(.*)", "/$host", `the target "/$host" holds "$h", and only the rest of the path can be inserted, after a slash, at the end`},
		{"/api/(.*)", "/a/../$1", `the target "/a/../$1" is no path in normalised form`},
		{"/api/$", "", `"/api/$" is a regular expression beyond the known forms of a prefix, and ingress-nginx ranks those by length among all paths, while here a pathRegex comes after every path`},
	} {
		t.Run(tt.path+" "+tt.target, func(t *testing.T) {
			in := map[string]string{"use-regex": "true"}
			if tt.target != "" {
				in["rewrite-target"] = tt.target
			}
			r := kubernetes.Translate(annotated(tt.path, in), kubernetes.Options{})
			if i := slices.IndexFunc(r.Findings, func(f kubernetes.Finding) bool { return f.Reason == "UnsupportedPath" }); i < 0 || r.Findings[i].Message != tt.want {
				t.Errorf("found %v, want %s", r.Findings, tt.want)
			}
			if len(r.Routes) > 0 {
				t.Errorf("there is a route: %v", r.Routes)
			}
		})
	}
}

// FuzzAnnotations reads any values, as anybody who may edit an Ingress may write them. Whatever is translated validates: no value leads
// out of the place it was meant for.
func FuzzAnnotations(f *testing.F) {
	for _, seed := range []map[string]string{
		{"whitelist-source-range": "10.0.0.0/8"},
		{"cors-allow-origin": "https://a.example.com", "enable-cors": "true"},
		{"rewrite-target": "/$2"},
		{"upstream-hash-by": "$http_x"},
		{"proxy-next-upstream": "error timeout"},
		{"server-alias": "b.example.com"},
		{"upstream-vhost": "x\n}"},
		{"proxy-ssl-secret": "a/b"},
		{"proxy-body-size": "1k"},
		{"limit-rps": "5"},
		{"backend-protocol": "GRPCS"},
	} {
		for _, name := range slices.Sorted(maps.Keys(seed)) {
			f.Add("/api(/|$)(.*)", "a.example.com", name, seed[name], "use-regex", "true")
			f.Add("/api", "*.example.com", name, seed[name], "enable-cors", "true")
		}
	}
	f.Fuzz(func(t *testing.T, path, host, name, value, other, otherValue string) {
		o := annotated(path, map[string]string{name: value, other: otherValue})
		o.Ingresses[0].Spec.Rules[0].Host = host
		r := kubernetes.Translate(o, kubernetes.Options{})
		if len(r.Routes) == 0 && r.IsComplete() {
			t.Error("there is no route, and nothing says why")
		}
		if len(r.Files) == 0 {
			return
		}
		validates(t, r)
		for _, file := range r.Files {
			data, err := file.Encode("")
			if err != nil || !kubernetes.IsOwn(data) {
				t.Error(fmt.Errorf("%s is not written as its own: %w", file.Path, err))
			}
		}
	})
}

// validates compiles a translation, which may warn.
func validates(t *testing.T, r *kubernetes.Result) {
	t.Helper()
	for _, d := range open(t, r).Validate("") {
		// Which domains are everybody's is known to the policy alone, and changes by the week.
		if d.Severity == diag.Error && !strings.Contains(d.Message, "anybody may have a name under") {
			t.Errorf("%s: %s: %s", d.Pos, d.Code, d.Message)
		}
	}
}
