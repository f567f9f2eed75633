package archtest

import "strings"

// library is a third-party dependency and the rooms its types may show in.
type library struct {
	path   string   // import path prefix
	in     []string // directories; nil is anywhere in production code
	single bool     // and in one package only
	why    string   // what it does for the user that our own code would do worse
}

// libraries is every third-party dependency of production code. Adding one adds a line here, with its reason. cmd and tests
// may use each of them.
var libraries = []library{
	{path: "cuelang.org/go", in: []string{"compiler/cuerun/...", "schema/v1/internal/..."}, why: "evaluates CUE; it cannot bound its own cost, so it runs in a child process only"},
	{path: "github.com/go-git/go-git/v5", in: []string{"compiler/load/...", "internal/depot", "internal/gitclone", "internal/gitcommit", "internal/gitsend", "internal/gitwatch", "runtime/drift/..."}, why: "reads git repositories without a work tree or a git program"},
	{path: "github.com/go-git/go-billy/v5", in: []string{"compiler/load/...", "internal/gitclone", "runtime/drift/..."}, why: "the file system go-git looks for borrowed objects in"},
	{path: "oras.land/oras-go/v2", in: []string{"internal/depot"}, single: true, why: "speaks to OCI registries, with their many kinds of login"},
	{path: "github.com/opencontainers", in: []string{"internal/depot"}, why: "the types of the OCI image specification, which oras speaks"},
	{path: "github.com/fsnotify/fsnotify", why: "hears of changed files at once; polling stays, where it hears nothing"},
	{path: "gopkg.in/yaml.v3", in: []string{"compiler/..."}, why: "the YAML parser; everything behind the loader sees schema.Node"},
	{path: "github.com/santhosh-tekuri/jsonschema/v5", in: []string{"compiler/...", "schema/v1/..."}, single: true, why: "validates JSON Schema; in its last release, so one package keeps the way out open"},
	{path: "github.com/lestrrat-go/jwx/v2", in: []string{"internal/..."}, single: true, why: "parses JOSE; in its last release, so a move to v3 must touch one folder"},
	{path: "github.com/redis/go-redis/v9", in: []string{"runtime/state/..."}, why: "the Redis client"},
	{path: "github.com/prometheus/client_golang", in: []string{"runtime/telemetry/..."}, why: "one process-wide registry of metrics"},
	{path: "github.com/prometheus/client_model", in: []string{"runtime/telemetry/..."}, why: "the series as the registry hands them out"},
	{path: "github.com/prometheus/common", in: []string{"runtime/telemetry/..."}, why: "writes the Prometheus and OpenMetrics text formats"},
	{path: "go.opentelemetry.io", in: []string{"runtime/telemetry/..."}, why: "exports traces"},
	{path: "github.com/pires/go-proxyproto", in: []string{"runtime/engine"}, why: "parses the PROXY protocol, with the corners of both versions"},
	{path: "github.com/cespare/xxhash/v2", in: []string{"runtime/upstream/balance"}, single: true, why: "a fast hash that is the same on every gateway and after every upgrade"},
	{path: "github.com/miekg/dns", in: []string{"runtime/discovery/dns"}, single: true, why: "asks name servers with the TTL of the answer, which the standard library's resolver keeps to itself"},
	{path: "github.com/hashicorp/consul/api", in: []string{"runtime/discovery/consul"}, single: true, why: "Consul's own client"},
	{path: "k8s.io/api", in: []string{"compiler/kubernetes/...", "internal/testkit/apiserver", "runtime/discovery/kubernetes"}, why: "the types of Kubernetes"},
	{path: "k8s.io/apimachinery", in: []string{"compiler/kubernetes/...", "internal/kubeclient", "internal/testkit/apiserver", "runtime/discovery/kubernetes"}, why: "what its types are made of"},
	{path: "k8s.io/client-go", in: []string{"compiler/kubernetes/live", "internal/kubeclient", "internal/testkit/apiserver", "runtime/discovery/kubernetes"}, why: "Kubernetes' own client: credentials, lists, watches"},
	{path: "sigs.k8s.io/gateway-api", in: []string{"compiler/kubernetes/..."}, why: "the types of the Gateway API"},
	{path: "sigs.k8s.io/json", in: []string{"compiler/kubernetes/manifest"}, single: true, why: "decodes JSON as the API server does, and says where a field is unknown"},
	{path: "github.com/hashicorp/golang-lru/v2", in: []string{"internal/webhook"}, single: true, why: "a map that forgets what was used least recently, for what strangers may fill"},
	{path: "github.com/klauspost/compress", in: []string{"runtime/policy/compression"}, single: true, why: "zstd, and a gzip that costs half"},
	{path: "github.com/google/cel-go", in: []string{"runtime/policy/authorization"}, single: true, why: "conditions in a language that is typed, bounded in cost, and known from Kubernetes and Envoy"},
	{path: "google.golang.org/grpc", in: []string{}, why: "gRPC clients and servers, for tests"},
	{path: "golang.org/x/net/http/httpguts", in: []string{"runtime/upstream"}, single: true, why: "which names HTTP/2 may announce as trailers, as net/http's transport has it"},
	{path: "golang.org/x/net/http2", in: []string{"runtime/engine/...", "runtime/upstream/..."}, why: "HTTP/2 framing"},
	{path: "golang.org/x/net/publicsuffix", in: []string{"runtime/policy/cors"}, single: true, why: "the domains under which anybody may have a name, as browsers know them"},
	{path: "golang.org/x/text/unicode/norm", why: "Unicode normalisation tables"},
	{path: "golang.org/x/sync", why: "groups of goroutines with one error"},
	{path: "golang.org/x/sys", why: "system calls the standard library leaves out"},
	{path: "golang.org/x/crypto", why: "signature formats the standard library leaves out"},
	{path: "github.com/spf13/cobra", in: []string{}, why: "the command line: flags, help, completion, man pages; for cmd alone"},
	{path: "github.com/gofrs/flock", in: []string{}, why: "locks a file on every system; for cmd alone"},
	{path: "github.com/spf13/pflag", in: []string{}, why: "the flags of cobra; for cmd alone"},
	{path: "github.com/valyala/fasthttp", in: []string{}, why: "the HTTP/1.1 path is our own; kept for tests that compare"},
	{path: "github.com/distribution/distribution/v3", in: []string{"internal/testkit"}, why: "the reference registry, for tests"},
	{path: "github.com/leodido/go-syslog/v4", in: []string{}, why: "reads syslog as servers do, for tests"},
	{path: "github.com/pb33f/libopenapi", in: []string{}, why: "reads OpenAPI 3.1, for tests"},
	{path: "github.com/pb33f/libopenapi-validator", in: []string{}, why: "validates OpenAPI 3.1 and messages against it, for tests"},
	{path: "github.com/sirupsen/logrus", in: []string{"internal/testkit"}, why: "quietens the registry of the tests"},
	{path: "go.uber.org/goleak", in: []string{"internal/testkit"}, why: "finds goroutines that outlive the tests"},
}

func checkLibrary(dir, imported, pos string) []Violation {
	if host, _, _ := strings.Cut(imported, "/"); !strings.Contains(host, ".") || strings.HasPrefix(dir, "cmd/") {
		return nil // the standard library, or the wiring
	}
	for _, lib := range libraries {
		if !match(lib.path+"/...", imported) {
			continue
		}
		if lib.in == nil || matchAny(lib.in, dir) {
			return nil
		}
		return []Violation{{
			Rule: lib.path + " stays in " + place(lib.in), Pos: pos, What: dir + " imports " + imported, Why: lib.why,
		}}
	}
	return []Violation{{
		Rule: "every dependency is listed with its reason", Pos: pos, What: dir + " imports " + imported,
		Why: "a library's types stay in the room that uses them: add it to internal/archtest/libraries.go, with its place and a sentence",
	}}
}

func place(in []string) string {
	if len(in) == 0 {
		return "cmd and tests"
	}
	return strings.Join(in, ", ")
}
