package admin

import (
	"cmp"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/suuupra/gateway/runtime/httpmsg"
)

// openAPI describes the orders that the API takes, all of them, whether or not this gateway has what is behind each.
func (s *Server) openAPI(*call) *httpmsg.Response {
	return respondJSON(http.StatusOK, s.described())
}

// describe makes the OpenAPI document (version 3.1) of a table of orders.
func describe(orders []route, version string) map[string]any {
	d := &describer{schemas: map[string]any{}}
	paths := map[string]any{}
	for i := range orders {
		r := &orders[i]
		at := strings.Replace(r.path, "{id...}", "{id}", 1)
		item, _ := paths[at].(map[string]any)
		if item == nil {
			item = map[string]any{}
			if strings.Contains(at, "{id}") {
				item["parameters"] = []any{parameter("id", "path", true, map[string]any{"type": "string", "minLength": 1})}
			}
			paths[at] = item
		}
		item[strings.ToLower(r.method)] = d.operation(r)
	}
	d.schemas["Problem"] = problemSchema
	return map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{
			"title": "Admin API of the gateway", "version": cmp.Or(version, "0"),
			"description": "What each permission means, and which roles have it, is in docs/admin.md. An order that a path does not take is answered 405.",
		},
		"paths":    paths,
		"security": []any{map[string]any{"bearer": []any{}}},
		"components": map[string]any{
			"schemas": d.schemas,
			"securitySchemes": map[string]any{"bearer": map[string]any{
				"type": "http", "scheme": "bearer", "description": "the accessToken of a login, a token of the identity provider, or GWRUN_ADMIN_TOKEN",
			}},
		},
	}
}

// problemSchema is what every refusal is (RFC 9457).
var problemSchema = map[string]any{
	"type": "object", "required": []any{"type", "title", "status", "code", "detail"},
	"properties": map[string]any{
		"type": text("string"), "title": text("string"), "status": text("integer"), "detail": text("string"),
		"code": map[string]any{"type": "string", "description": "the stable reason; docs/refusals.md explains each"},
	},
}

func text(kind string) map[string]any { return map[string]any{"type": kind} }

func parameter(name, in string, required bool, schema map[string]any) map[string]any {
	return map[string]any{"name": name, "in": in, "required": required, "schema": schema}
}

func content(media string, schema any) map[string]any {
	return map[string]any{media: map[string]any{"schema": schema}}
}

// describer gathers the schemas that operations refer to.
type describer struct{ schemas map[string]any }

func (d *describer) operation(r *route) map[string]any {
	ok := map[string]any{"description": "done"}
	switch {
	case r.out != nil:
		ok["content"] = content("application/json", d.schema(reflect.TypeOf(r.out)))
	case r.media != "":
		ok["content"] = content(r.media, map[string]any{})
	}
	op := map[string]any{
		"operationId": operationID(r), "summary": r.summary,
		"responses": map[string]any{
			strconv.Itoa(r.status): ok,
			"default":              map[string]any{"description": "refused", "content": content(httpmsg.ProblemType, map[string]any{"$ref": "#/components/schemas/Problem"})},
		},
	}
	if r.in != nil {
		op["requestBody"] = map[string]any{"required": !r.spare, "content": content("application/json", d.schema(reflect.TypeOf(r.in)))}
	}
	if r.paged {
		op["parameters"] = []any{
			parameter("limit", "query", false, map[string]any{"type": "integer", "minimum": 1, "maximum": maxPage, "default": defaultPage}),
			parameter("after", "query", false, map[string]any{"type": "string", "description": "the value of next in the page before"}),
		}
	}
	switch {
	case r.open:
		op["security"] = []any{}
	case r.permission != "":
		op["x-permission"] = r.permission
	}
	return op
}

// operationID names an order by its method and path, such as postKeysRotate.
func operationID(r *route) string {
	var b strings.Builder
	b.WriteString(strings.ToLower(r.method))
	for part := range strings.FieldsFuncSeq(strings.TrimPrefix(r.path, "/admin"), func(c rune) bool { return c == '/' || c == '-' || c == '.' }) {
		if strings.HasPrefix(part, "{") {
			part = "one"
		}
		if part != "}" {
			b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return b.String()
}
