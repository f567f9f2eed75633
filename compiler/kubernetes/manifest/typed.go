package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"

	"github.com/suuupra/gateway/compiler/kubernetes"
	"github.com/suuupra/gateway/schema/diag"
)

// versions are the API versions of the kinds that are read. Those of the Gateway API before v1 have the same fields.
var versions = map[string][]string{
	"Ingress":        {"networking.k8s.io/v1"},
	"IngressClass":   {"networking.k8s.io/v1"},
	"GatewayClass":   {"gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"},
	"Gateway":        {"gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"},
	"HTTPRoute":      {"gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"},
	"ReferenceGrant": {"gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1", "gateway.networking.k8s.io/v1alpha2"},
	"Route":          {"gateway.suuupra.dev/v1"},
	"Service":        {"v1"},
	"Namespace":      {"v1"},
	"Secret":         {"v1"},
}

// typed files an object under its kind.
func (r *reader) typed(n *yaml.Node, api string, ref kubernetes.Ref) {
	group := ""
	if g, _, ok := strings.Cut(api, "/"); ok {
		group = g
	}
	known := versions[ref.Kind]
	if !slices.Contains(known, api) {
		if (group == "extensions" || group == "networking.k8s.io") && known != nil {
			r.diags.Add(diag.Diagnostic{
				Code: codeShape, Pos: r.pos(at(n, "apiVersion")), Path: "apiVersion",
				Message: fmt.Sprintf("%s is %s, must be %s", ref, api, strings.Join(known, " or ")), Hint: "bring it to that version, such as with kubectl convert",
			})
			return
		}
		r.out.Unread = append(r.out.Unread, kubernetes.Unread{Ref: ref, Group: group})
		return
	}
	switch o := r.out; ref.Kind {
	case "Ingress":
		add(r, n, ref, &o.Ingresses, true)
	case "IngressClass":
		add(r, n, ref, &o.IngressClasses, true)
	case "GatewayClass":
		add(r, n, ref, &o.GatewayClasses, true)
	case "Gateway":
		add(r, n, ref, &o.Gateways, true)
	case "HTTPRoute":
		add(r, n, ref, &o.HTTPRoutes, true)
	case "ReferenceGrant":
		add(r, n, ref, &o.ReferenceGrants, true)
	case "Route":
		r.route(n, ref)
	case "Service":
		add[corev1.Service](r, n, ref, &o.Services, false)
	case "Namespace":
		add[corev1.Namespace](r, n, ref, &o.Namespaces, false)
	case "Secret":
		o.Secrets = append(o.Secrets, ref)
	}
}

// object is what all typed objects have.
type object[T any] interface {
	*T
	metav1.Object
}

// add decodes an object and files it. Objects that are only referred to may have fields of a newer API.
func add[T any, P object[T]](r *reader, n *yaml.Node, ref kubernetes.Ref, into *[]*T, strict bool) {
	if r.full() {
		return // reported after the document
	}
	c := &converter{r: r}
	ok := c.value(n, 0)
	r.bytes, r.nodes = r.bytes+len(c.json), r.nodes+c.nodes
	if !ok {
		return
	}
	out := new(T)
	var options []kjson.StrictOption
	if !strict {
		options = []kjson.StrictOption{kjson.DisallowDuplicateFields}
	}
	unknown, err := kjson.UnmarshalStrict(c.json, out, options...)
	if err != nil {
		r.mistyped(c, n, ref, err)
		return
	}
	for _, u := range unknown {
		r.unknown(n, ref, u)
	}
	if len(unknown) > 0 {
		return
	}
	P(out).SetName(ref.Name)
	P(out).SetNamespace(ref.Namespace)
	*into = append(*into, out)
}

// route files a Route, whose spec is a route of the config language.
func (r *reader) route(n *yaml.Node, ref kubernetes.Ref) {
	var list []*customObject
	add(r, n, ref, &list, true)
	if len(list) == 0 {
		return // reported
	}
	out, diags := kubernetes.ParseRoute(&list[0].ObjectMeta, list[0].Spec)
	if out != nil {
		r.out.Routes = append(r.out.Routes, out)
	}
	for _, d := range diags {
		d.Pos, d.Width, d.Notes = r.pos(find(n, d.Path)), 0, nil
		d.Message = fmt.Sprintf("%s: %s", ref, d.Message)
		r.diags.Add(d)
	}
}

// customObject is what the API server keeps of a Route.
type customObject struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              json.RawMessage `json:"spec"`
	Status            json.RawMessage `json:"status"` // read by nobody: it is made from the spec
}

// Decode reads an object that an API server sent. Fields that its type does not have are in unknown: they are of a newer API, and may
// be protections.
func Decode(data []byte, into any) (unknown []string, err error) {
	found, err := kjson.UnmarshalStrict(data, into)
	for _, u := range found {
		if field, ok := errors.AsType[kjson.FieldError](u); ok {
			unknown = append(unknown, field.FieldPath())
		} else {
			unknown = append(unknown, u.Error())
		}
	}
	return unknown, err
}

func (r *reader) mistyped(c *converter, n *yaml.Node, ref kubernetes.Ref, err error) {
	d := diag.Diagnostic{Code: codeShape, Pos: r.pos(n), Message: fmt.Sprintf("%s: %s", ref, err)}
	if bad := (*json.UnmarshalTypeError)(nil); errors.As(err, &bad) {
		d.Pos, d.Path = c.at(bad.Offset), bad.Field
		d.Message = fmt.Sprintf("%s: %s is a %s, must be %s", ref, bad.Field, bad.Value, plainType(bad.Type.Kind().String()))
		if bad.Value == "bool" || strings.HasPrefix(bad.Value, "number") {
			d.Hint = "put it in quotes"
		}
	}
	r.diags.Add(d)
}

// plainType names a type of Go as authors know it.
func plainType(kind string) string {
	switch {
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"):
		return "a whole number"
	case kind == "string":
		return "text"
	case kind == "slice":
		return "a list"
	case kind == "struct", kind == "map":
		return "a map"
	case kind == "bool":
		return "true or false"
	}
	return "a " + kind
}

// unknown reports a field that the API does not have, at its place.
func (r *reader) unknown(n *yaml.Node, ref kubernetes.Ref, err error) {
	d := diag.Diagnostic{Code: codeShape, Pos: r.pos(n), Message: fmt.Sprintf("%s: %s", ref, err)}
	if field, ok := errors.AsType[kjson.FieldError](err); ok {
		d.Path = field.FieldPath()
		d.Pos = r.pos(find(n, d.Path))
	}
	r.diags.Add(d)
}

// find follows a path such as spec.rules[0].http to the name of its last field, as far as it can be followed.
func find(n *yaml.Node, path string) *yaml.Node {
	place := n
	for path != "" {
		var step string
		end := strings.IndexAny(path[1:], ".[") + 1
		if end == 0 {
			end = len(path)
		}
		step, path = path[:end], path[end:]
		path = strings.TrimPrefix(path, ".")
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		if index, list := strings.CutPrefix(step, "["); list {
			i := 0
			if _, err := fmt.Sscanf(index, "%d]", &i); err != nil || n.Kind != yaml.SequenceNode || i < 0 || i >= len(n.Content) {
				return place
			}
			n = n.Content[i]
			place = n
			continue
		}
		next := (*yaml.Node)(nil)
		for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == step {
				place, next = n.Content[i], n.Content[i+1]
			}
		}
		if next == nil {
			return place
		}
		n = next
	}
	return place
}
