package simulate

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	keytext "github.com/suuupra/gateway/internal/apikey"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/match"
	"github.com/suuupra/gateway/schema/v1"
)

// script is a case, ready to be played: every token is signed, every key drawn. It is made once for a configuration, and the same is
// played to each weakened one: what a client sends does not change with what the gateway believes.
type script struct {
	c       *Case
	steps   []scene
	records []*policy.KeyRecord // API keys that are known from the beginning
}

// scene is one request of a script.
type scene struct {
	message
	after time.Duration
	times int
	stub  *v1.TestUpstream
	line  string // the request in short, for people
	with  string // what was added to it
}

// writer turns the requests of a case into messages.
type writer struct {
	w      *world
	script *script
	hasher *keytext.Hasher
	random *rand.ChaCha8 // the same for the same test
	now    time.Time
}

// write makes the script of a case. Its error says what of the test does not go with the configuration, and where.
func (w *world) write(c *Case) (*script, error) {
	hasher, err := keytext.NewHasher(pepper)
	if err != nil {
		return nil, err
	}
	wr := &writer{
		w: w, script: &script{c: c}, hasher: hasher, now: c.at, random: rand.NewChaCha8(sha256.Sum256([]byte(c.File + "\x00" + c.Name))),
	}
	for i := range c.spec.Requests {
		s := &c.spec.Requests[i]
		if s.After != nil {
			wr.now = wr.now.Add(s.After.Std())
		}
		sc, err := wr.scene(s, i)
		if err != nil {
			return nil, &Misfit{c.place(fmt.Sprintf("requests[%d].send", i)), err}
		}
		wr.script.steps = append(wr.script.steps, *sc)
	}
	return wr.script, nil
}

// request is one on the way to becoming a message.
type request struct {
	method, scheme, authority, target string
	fields                            [][2]string
	with                              []string
	node                              *schema.Node // as its author wrote it
}

func (wr *writer) scene(s *v1.TestStep, index int) (*scene, error) {
	send := &s.Send
	r := &request{method: send.Method, node: wr.script.c.node.At(fmt.Sprintf("requests[%d].send", index))}
	r.scheme, r.authority, r.target = splitURL(send.URL)
	for _, name := range sortedKeys(send.Headers) {
		r.fields = append(r.fields, [2]string{name, send.Headers[name]})
	}
	if path, _ := match.NormalizePath(pathOf(r.target)); match.IsReserved(path) {
		return nil, fmt.Errorf("%s is a path that the gateway answers itself, before any route; it cannot be tested here", path)
	}
	if err := wr.credentials(r, send, index); err != nil {
		return nil, err
	}
	from, err := netip.ParseAddr(send.From)
	if err != nil {
		return nil, err
	}
	out := &scene{times: int(*s.Times), stub: s.Upstream, line: send.Method + " " + send.URL}
	if s.After != nil {
		out.after = s.After.Std()
	}
	if out.stub == nil {
		out.stub = wr.script.c.spec.Upstream
	}
	out.scheme, out.peer, out.body, out.size = r.scheme, netip.AddrPortFrom(from.Unmap(), 49152), send.Body, int64(len(send.Body))
	if send.BodySize != nil {
		out.size = int64(*send.BodySize)
	}
	if from.String() != "192.0.2.1" {
		r.with = append(r.with, "from "+from.String())
	}
	out.with = strings.Join(r.with, ", ")
	out.head = r.head(out.size)
	out.raw = []byte(out.head)
	return out, nil
}

// head writes the message down.
func (r *request) head(size int64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.method, r.target, r.authority)
	for _, f := range r.fields {
		b.WriteString(f[0] + ": " + f[1] + "\r\n")
	}
	if size > 0 {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", size)
	}
	b.WriteString("\r\n")
	return b.String()
}

// splitURL takes a URL apart without mending anything in it. A path alone is one of a host that no configuration has.
func splitURL(raw string) (scheme, authority, target string) {
	raw, _, _ = strings.Cut(raw, "#") // clients keep it to themselves
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok || strings.HasPrefix(raw, "/") {
		return "http", "localhost", raw
	}
	authority, target = rest, "/"
	if at := strings.IndexAny(rest, "/?"); at >= 0 {
		authority, target = rest[:at], rest[at:]
	}
	if target[0] == '?' {
		target = "/" + target
	}
	return strings.ToLower(scheme), authority, target
}

func pathOf(target string) string {
	path, _, _ := strings.Cut(target, "?")
	return path
}

// routeOf finds the route whose policies say what a good token, key or signature is; nil: none takes the request.
func (wr *writer) routeOf(r *request) *ir.Route {
	path, reason := match.NormalizePath(pathOf(r.target))
	host, ok := match.NormalizeHost(r.authority)
	if reason != "" || !ok {
		return nil
	}
	_, query, _ := strings.Cut(r.target, "?")
	pairs := make([]ir.Pair, len(r.fields))
	for i, f := range r.fields {
		pairs[i] = ir.Pair{Name: f[0], Value: f[1]}
	}
	route, _ := wr.w.gateway.Running().Lookup(r.method, host, path, query, headerOf(pairs), make([]policy.Param, 0, 16))
	if route == nil {
		return nil
	}
	return &route.Plan
}

func sortedKeys[V any](m map[string]V) []string {
	if len(m) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(m))
}

func base64url(p []byte) string { return base64.RawURLEncoding.EncodeToString(p) }
