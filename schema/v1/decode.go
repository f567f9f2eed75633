package v1

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/v1/internal/shape"
)

// Decode fills into, a pointer to a generated type, from n. Path is how the author would spell n, for diagnostics. It is
// strict: unknown fields and wrong kinds are diagnostics with positions and suggestions. Other structs with json tags
// work too. What is required, bounds and patterns are the business of Validate. Decoding into a type that no authored
// value can have, such as a channel, panics: it is a defect of the program.
func Decode(n *schema.Node, path string, into any, diags *diag.List) {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		panic(fmt.Sprintf("v1: decode into %T, which is no pointer", into))
	}
	d := decoder{walker{diags: diags}}
	d.value(n, v.Elem(), &loc{name: path, index: -1})
}

type decoder struct{ walker }

// plans remembers how each struct type is filled: types are few and fixed, so it never grows beyond the program.
var plans sync.Map // reflect.Type -> *plan

type plan struct {
	fields []planField
	shape  *shape.Shape // for messages: the fields by name
}

type planField struct {
	name  string
	index []int
}

func (d *decoder) value(n *schema.Node, v reflect.Value, where *loc) {
	switch v.Type() {
	case reflect.TypeFor[Duration]():
		decodeScaled(d, n, v, where, "duration", ParseDuration)
		return
	case reflect.TypeFor[Size]():
		decodeScaled(d, n, v, where, "size", ParseSize)
		return
	case reflect.TypeFor[StatusRange](), reflect.TypeFor[Port]():
		if n.Kind == schema.Int {
			v.SetString(strconv.FormatInt(n.Int, 10))
			return
		}
	case reflect.TypeFor[Claim]():
		v.Set(reflect.ValueOf(Claim{n.Any()}))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		d.value(n, p.Elem(), where)
		v.Set(p)
	case reflect.Struct:
		d.structure(n, v, where)
	case reflect.Slice:
		if n.Kind != schema.List {
			d.wrongKind(&shape.Shape{List: &shape.List{}}, n, where)
			return
		}
		out := reflect.MakeSlice(v.Type(), len(n.Items), len(n.Items))
		for i, item := range n.Items {
			d.value(item, out.Index(i), &loc{up: where, index: i})
		}
		v.Set(out)
	case reflect.Map:
		d.mapping(n, v, where)
	default:
		d.scalar(n, v, where)
	}
}

// decodeScaled reads a number that may be written with a unit.
func decodeScaled[T Duration | Size](d *decoder, n *schema.Node, v reflect.Value, where *loc, typ string, parse func(string) (T, error)) {
	s := &shape.Shape{Type: typ, Text: &shape.Text{}, Number: &shape.Number{Integer: true}}
	switch n.Kind {
	case schema.Int:
		v.SetInt(n.Int)
	case schema.String:
		parsed, err := parse(n.Str)
		if err != nil {
			d.malformed(s, n, where)
			return
		}
		v.SetInt(int64(parsed))
	default:
		d.wrongKind(s, n, where)
	}
}

func (d *decoder) scalar(n *schema.Node, v reflect.Value, where *loc) {
	want := &shape.Shape{}
	switch v.Kind() {
	case reflect.String:
		if n.Kind == schema.String {
			v.SetString(n.Str)
			return
		}
		want.Text = &shape.Text{}
	case reflect.Bool:
		if n.Kind == schema.Bool {
			v.SetBool(n.Bool)
			return
		}
		want.Bool = true
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		bits := v.Type().Bits()
		most := float64(uint64(1) << (bits - 1))
		want.Number = &shape.Number{Integer: true, Min: -most, Max: most - 1}
		if n.Kind == schema.Int {
			if v.OverflowInt(n.Int) {
				d.outOfRange(want, n, where)
				return
			}
			v.SetInt(n.Int)
			return
		}
	case reflect.Float64, reflect.Float32:
		if n.Kind == schema.Float || n.Kind == schema.Int {
			v.SetFloat(n.Float + float64(n.Int)) // the one that does not apply is zero
			return
		}
		want.Number = &shape.Number{Min: math.Inf(-1), Max: math.Inf(1)}
	default:
		panic("v1: cannot decode into " + v.Type().String())
	}
	d.wrongKind(want, n, where)
}

func (d *decoder) mapping(n *schema.Node, v reflect.Value, where *loc) {
	t := v.Type()
	if t.Key().Kind() != reflect.String {
		panic("v1: cannot decode into " + t.String())
	}
	if n.Kind != schema.Map {
		d.wrongKind(&shape.Shape{Map: &shape.Map{Value: &shape.Shape{}}}, n, where)
		return
	}
	out := reflect.MakeMapWithSize(t, len(n.Fields))
	for i := range n.Fields {
		f := &n.Fields[i]
		elem := reflect.New(t.Elem()).Elem()
		d.value(f.Value, elem, &loc{up: where, name: f.Name, index: -1})
		out.SetMapIndex(reflect.ValueOf(f.Name).Convert(t.Key()), elem)
	}
	v.Set(out)
}

func (d *decoder) structure(n *schema.Node, v reflect.Value, where *loc) {
	p := planOf(v.Type())
	if n.Kind != schema.Map {
		d.wrongKind(p.shape, n, where)
		return
	}
	for i := range n.Fields {
		f := &n.Fields[i]
		j := slices.IndexFunc(p.fields, func(pf planField) bool { return pf.name == f.Name })
		if j < 0 {
			d.unknownField(p.shape, n, f, where)
			continue
		}
		d.value(f.Value, v.FieldByIndex(p.fields[j].index), &loc{up: where, name: f.Name, index: -1})
	}
}

// planOf reads the json tags of a struct, those of embedded structs included.
func planOf(t reflect.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	p := &plan{shape: &shape.Shape{Name: t.Name(), Map: &shape.Map{}}}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || f.Anonymous || name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		p.fields = append(p.fields, planField{name: name, index: f.Index})
		p.shape.Map.Fields = append(p.shape.Map.Fields, shape.Field{Name: name, Shape: &shape.Shape{}})
	}
	actual, _ := plans.LoadOrStore(t, p)
	return actual.(*plan)
}
