package admin

import (
	"encoding"
	"encoding/json"
	"path"
	"reflect"
	"strings"
	"time"
)

var (
	timeType = reflect.TypeFor[time.Time]()
	rawType  = reflect.TypeFor[json.RawMessage]()
	textType = reflect.TypeFor[encoding.TextMarshaler]()
)

// schema describes what encoding/json makes of a type, in JSON Schema 2020-12. A struct with a name becomes a component.
func (d *describer) schema(t reflect.Type) map[string]any {
	switch {
	case t == timeType:
		return map[string]any{"type": "string", "format": "date-time"}
	case t == rawType:
		return map[string]any{}
	case t.Kind() != reflect.Pointer && t.Implements(textType):
		return text("string")
	}
	switch t.Kind() {
	case reflect.Bool:
		return text("boolean")
	case reflect.String:
		return text("string")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return text("integer")
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return map[string]any{"type": "integer", "minimum": 0}
	case reflect.Float32, reflect.Float64:
		return text("number")
	case reflect.Slice, reflect.Array:
		return map[string]any{"type": "array", "items": d.schema(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": d.schema(t.Elem())}
	case reflect.Pointer:
		return d.schema(t.Elem())
	case reflect.Struct:
		return d.component(t)
	}
	return map[string]any{} // any
}

// component describes a struct under its name, and returns the reference. The name is there before the fields are looked at, as one of
// them may be of the same type.
func (d *describer) component(t reflect.Type) map[string]any {
	name := t.Name()
	if name == "" {
		return d.object(t)
	}
	if pkg := path.Base(t.PkgPath()); pkg != "admin" {
		name = pkg + "." + name
	}
	if _, known := d.schemas[name]; !known {
		d.schemas[name] = nil
		d.schemas[name] = d.object(t)
	}
	return map[string]any{"$ref": "#/components/schemas/" + name}
}

func (d *describer) object(t reflect.Type) map[string]any {
	properties, required := map[string]any{}, []any{}
	d.fields(t, properties, &required)
	out := map[string]any{"type": "object", "properties": properties}
	if len(required) > 0 {
		out["required"] = required
	}
	return out
}

// fields adds those of a struct, then those of the structs in it that have no name of their own: what is nearer hides what is deeper.
func (d *describer) fields(t reflect.Type, properties map[string]any, required *[]any) {
	var inner []reflect.Type
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-", !f.IsExported() && !f.Anonymous:
			continue
		case f.Anonymous && name == "":
			inner = append(inner, f.Type)
			continue
		case name == "":
			name = f.Name
		}
		if _, hidden := properties[name]; hidden {
			continue
		}
		spare := strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
		properties[name] = d.schema(f.Type)
		if f.Type.Kind() == reflect.Pointer && !spare {
			properties[name] = map[string]any{"anyOf": []any{properties[name], text("null")}}
		}
		if !spare {
			*required = append(*required, name)
		}
	}
	for _, e := range inner {
		d.fields(e, properties, required)
	}
}
