package v1

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/v1/internal/shape"
)

// secretRef wants a path in its one spelling: a grant names a reference letter by letter, and "/a/../b" would slip past it.
func (w *walker) secretRef(n *schema.Node, where *loc) {
	if IsOwnSecret(n.Str) {
		d := at("GW2191", n, where, "%s is %s, but variables that begin with %s hold the gateway's own secrets, which nothing in the repository may use",
			where.short(), n.Str, ownVariables)
		d.Hint = "give the variable another name"
		w.diags.Add(d)
		return
	}
	file, ok := strings.CutPrefix(n.Str, "file:")
	if !ok || path.Clean(file) == file {
		return
	}
	d := at("GW2191", n, where, "%s names the file %s, whose path is not in its normal form", where.short(), quoted(file))
	d.Hint = fmt.Sprintf("write file:%s", path.Clean(file))
	w.diags.Add(d)
}

// notReference reports what is written in place of a reference to a secret. It may be the secret: neither message nor line
// may show it.
func (w *walker) notReference(s *shape.Shape, n *schema.Node, where *loc) {
	d := at("GW2191", n, where, "%s must be %s; what is written here is not shown", where.short(), s.Form)
	d.Redact = true
	scheme, rest, _ := strings.Cut(n.Str, ":")
	switch {
	case n.Kind == schema.Null:
		d.Redact = false
		d.Message = fmt.Sprintf("%s is empty, must be %s", where.short(), s.Form)
		d.Hint = "give it a value, or leave the field out"
	case n.Kind == schema.String && scheme == "file" && !strings.HasPrefix(rest, "/"):
		d.Hint = "the path must be absolute: file:/..."
	case n.Kind == schema.String && scheme == "env":
		d.Hint = "the name of an environment variable has letters, digits and \"_\", and does not begin with a digit"
	case n.Kind == schema.String && strings.HasPrefix(n.Str, "/"):
		d.Hint = "put file: in front of a path"
	default:
		d.Hint = "if it is the secret itself, withdraw it: whoever can read the repository has it, also from its history"
	}
	w.diags.Add(d)
}

func (w *walker) dnsName(n *schema.Node, where *loc) {
	if _, err := netip.ParseAddr(n.Str); err == nil {
		d := at("GW2125", n, where, "%s is %s, which is an address, must be a name", where.short(), shown(n))
		if where.short() == "name" {
			d.Hint = "an upstream names addresses under targets"
		}
		w.diags.Add(d)
		return
	}
	if !validHostname(n.Str) {
		w.diags.Add(at("GW2125", n, where, "%s is %s, must be %s", where.short(), shown(n), "a host name of labels of at most 63 characters"))
	}
}

// nameServer wants an address: a name would have to be looked up first.
func (w *walker) nameServer(n *schema.Node, where *loc) {
	if a, err := netip.ParseAddrPort(n.Str); err != nil || a.Port() == 0 || a.Addr().Zone() != "" {
		d := at("GW2122", n, where, "%s is %s, must be an IP address and a port from 1 to 65535", where.short(), shown(n))
		d.Hint = "write 10.0.0.10:53, or [fd00::10]:53"
		w.diags.Add(d)
	}
}

func (w *walker) statusRange(n *schema.Node, where *loc) {
	if from, to := StatusRange(n.Str).Span(); from > to {
		d := at("GW2104", n, where, "%s is %s, a range that ends before it begins", where.short(), shown(n))
		d.Hint = fmt.Sprintf("did you mean \"%d-%d\"?", to, from)
		w.diags.Add(d)
	}
}

// headerName refuses fields that requests do not keep on their way.
func (w *walker) headerName(n *schema.Node, where *loc) {
	lower := strings.ToLower(n.Str)
	if lower != "host" && !slices.Contains(hopByHop(), lower) {
		return
	}
	d := diag.Diagnostic{Code: "GW2127", Pos: n.Pos, Width: max(n.Width, 1), Path: where.String()}
	d.Message = fmt.Sprintf("%s names the header %s, which belongs to one connection", where.short(), quoted(n.Str))
	if lower == "host" {
		d.Message = where.short() + " names the header Host, of which the gateway decides"
		d.Hint = "give each host an upstream of its own"
	}
	w.diags.Add(d)
}
