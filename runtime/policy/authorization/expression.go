package authorization

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"

	"github.com/suuupra/gateway/runtime/policy"
)

// known says what expressions may use.
const known = "claims, params, principal.subject, principal.issuer, principal.tenant, principal.roles, principal.scopes, principal.permissions, " +
	"key.id, key.owner, key.tenant, key.scopes, request.method, request.path, request.host, request.query, request.headers, request.time, client.ip, tenant"

// maxCost bounds what one expression may cost for one request, in the units of CEL: a comparison is about one, a list of a thousand
// roles that is searched about a thousand.
const maxCost = 20_000

var (
	texts = cel.ListType(cel.StringType)
	words = cel.MapType(cel.StringType, cel.StringType)
)

// environment is what expressions may use, by type. It is made once: that takes a millisecond.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.CustomTypeAdapter(adapter{}),
		cel.Variable("claims", cel.MapType(cel.StringType, cel.DynType)), cel.Variable("params", words),
		cel.Variable("principal.subject", cel.StringType), cel.Variable("principal.issuer", cel.StringType), cel.Variable("principal.tenant", cel.StringType),
		cel.Variable("principal.roles", texts), cel.Variable("principal.scopes", texts), cel.Variable("principal.permissions", texts),
		cel.Variable("key.id", cel.StringType), cel.Variable("key.owner", cel.StringType), cel.Variable("key.tenant", cel.StringType), cel.Variable("key.scopes", texts),
		cel.Variable("request.method", cel.StringType), cel.Variable("request.path", cel.StringType), cel.Variable("request.host", cel.StringType),
		cel.Variable("request.query", cel.StringType), cel.Variable(headersName, words), cel.Variable("request.time", cel.TimestampType),
		cel.Variable("client.ip", cel.StringType), cel.Variable("tenant", cel.StringType),
		cel.CrossTypeNumericComparisons(true),
	)
})

// parse checks an expression, and makes it ready to be asked.
func parse(text string) (cel.Program, error) {
	env, err := environment()
	if err != nil {
		return nil, err
	}
	tree, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, errors.New(firstIssue(issues))
	}
	if t := tree.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("it is a %s, must be true or false", t)
	}
	if err := checkHeaderNames(tree.NativeRep()); err != nil {
		return nil, err
	}
	return env.Program(tree, cel.CostLimit(maxCost), cel.EvalOptions(cel.OptOptimize))
}

// headersName is the variable with the fields of the request.
const headersName = "request.headers"

// hinted is an error with what to write instead.
type hinted struct{ problem, hint string }

// Error implements error.
func (e *hinted) Error() string { return e.problem }

// checkHeaderNames refuses names of header fields with capitals: no request ever has one, so that a condition which denies by it would
// let everybody pass.
func checkHeaderNames(tree *ast.AST) (err error) {
	ast.PreOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		name, ok := headerName(e)
		if lower := strings.ToLower(name); ok && name != lower && err == nil {
			err = &hinted{fmt.Sprintf("request.headers has names in small letters alone, and never %q", name), fmt.Sprintf("write %q", lower)}
		}
	}))
	return err
}

// headerName returns the name by which an expression asks for a field: request.headers[name], name in request.headers, and
// request.headers.name, alone or in has().
func headerName(e ast.Expr) (string, bool) {
	switch e.Kind() {
	case ast.SelectKind:
		return e.AsSelect().FieldName(), isHeaders(e.AsSelect().Operand())
	case ast.CallKind:
		args := e.AsCall().Args()
		switch e.AsCall().FunctionName() {
		case operators.Index:
			return text(args[1]), isHeaders(args[0])
		case operators.In:
			return text(args[0]), isHeaders(args[1])
		}
	}
	return "", false
}

func isHeaders(e ast.Expr) bool { return e.Kind() == ast.IdentKind && e.AsIdent() == headersName }

// text is that of a literal, "" for any other expression.
func text(e ast.Expr) string {
	if e.Kind() != ast.LiteralKind {
		return ""
	}
	s, _ := e.AsLiteral().Value().(string)
	return s
}

// firstIssue is the first thing that is wrong, with its place in the expression.
func firstIssue(issues *cel.Issues) string {
	e := issues.Errors()[0]
	where := fmt.Sprintf("column %d", e.Location.Column()+1)
	if e.Location.Line() > 1 {
		where = fmt.Sprintf("line %d, %s", e.Location.Line(), where)
	}
	return strings.ReplaceAll(e.Message, " (in container '')", "") + " (" + where + ")"
}

// adapter hands claims to expressions: their numbers are json.Number, which is a text to CEL.
type adapter struct{}

// NativeToValue implements types.Adapter.
func (a adapter) NativeToValue(v any) ref.Val {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return types.Int(n)
		}
		f, err := v.Float64()
		if err != nil {
			return types.NewErr("a number that is too large")
		}
		return types.Double(f)
	case map[string]any:
		return types.NewStringInterfaceMap(a, v)
	case []any:
		return types.NewDynamicList(a, v)
	}
	return types.DefaultTypeAdapter.NativeToValue(v)
}

// facts are what an expression asks for, made when it does.
type facts struct {
	x   *policy.Exchange
	now time.Time
}

// Parent implements cel.Activation.
func (facts) Parent() cel.Activation { return nil }

// ResolveName implements cel.Activation.
func (f facts) ResolveName(name string) (any, bool) {
	x := f.x
	switch {
	case strings.HasPrefix(name, "principal."):
		return f.principal(name)
	case strings.HasPrefix(name, "key."):
		return f.key(name)
	}
	switch name {
	case "claims":
		if x.Principal == nil {
			return map[string]any{}, true
		}
		return x.Principal.Claims, true
	case "params":
		m := make(map[string]string, len(x.Params))
		for _, p := range x.Params {
			m[p.Name] = p.Value
		}
		return m, true
	case "request.method":
		return x.Request.Method, true
	case "request.path":
		return x.Path, true
	case "request.host":
		return x.Request.Host, true
	case "request.query":
		return x.RawQuery, true
	case headersName:
		return headers(x), true
	case "request.time":
		return f.now, true
	case "client.ip":
		return x.ClientIP.String(), true
	case "tenant":
		return x.Tenant, true
	}
	return nil, false
}

func (f facts) principal(name string) (any, bool) {
	p := f.x.Principal
	if p == nil {
		p = &policy.Principal{}
	}
	switch name {
	case "principal.subject":
		return p.Subject, true
	case "principal.issuer":
		return p.Issuer, true
	case "principal.tenant":
		return p.Tenant, true
	case "principal.roles":
		return p.Roles, true
	case "principal.scopes":
		return p.Scopes, true
	case "principal.permissions":
		return p.Permissions, true
	}
	return nil, false
}

func (f facts) key(name string) (any, bool) {
	k := f.x.Key
	if k == nil {
		k = &policy.Key{}
	}
	switch name {
	case "key.id":
		return k.ID, true
	case "key.owner":
		return k.Owner, true
	case "key.tenant":
		return k.Tenant, true
	case "key.scopes":
		return k.Scopes, true
	}
	return nil, false
}

// headers are the fields of the request by their name in small letters; several of one name are joined (RFC 9110, section 5.3), so that
// no condition looks at one and the upstream at another.
func headers(x *policy.Exchange) map[string]string {
	m := make(map[string]string, len(x.Request.Header.Fields))
	for _, field := range x.Request.Header.Fields {
		name := strings.ToLower(field.Name)
		if before, there := m[name]; there {
			m[name] = before + ", " + field.Value
		} else {
			m[name] = field.Value
		}
	}
	return m
}
