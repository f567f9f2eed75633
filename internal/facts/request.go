package facts

import (
	"net/netip"
	"strings"
)

// Request is one request of a route.
type Request struct {
	Names  *Names // of the route
	Route  string // its id
	ID     string
	Method string
	Host   string // without the port
	Path   string // as it was matched
	Client netip.Addr
	Tenant string         // whose request it is; "": nobody's
	Claims map[string]any // of the caller; nil: none are known
	Captures
}

// Captures are the captures of a path.
type Captures interface {
	// Param returns a capture as it was matched: escapes are not decoded. False: there is none of that name.
	Param(name string) (string, bool)
}

// Value returns what a name stands for; what is absent is "". False: a claim that is no text (see Text), or a name that is none of the
// route's.
func (r *Request) Value(name string) (string, bool) {
	switch name {
	case "client.ip":
		if !r.Client.IsValid() {
			return "", true
		}
		return r.Client.WithZone("").Unmap().String(), true
	case "request.host":
		return r.Host, true
	case "request.id":
		return r.ID, true
	case "request.method":
		return r.Method, true
	case "request.path":
		return r.Path, true
	case "route.id":
		return r.Route, true
	case "tenant":
		return r.Tenant, true
	case rest:
		if r.Names.subtree {
			return r.Names.under(r.Path), true
		}
	}
	if path, ok := ClaimPath(name); ok {
		return Text(Claim(r.Claims, path))
	}
	if capture, ok := strings.CutPrefix(name, param); ok {
		return r.Param(capture)
	}
	return "", false
}
