package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// shape is the part of a payload that is read: some fields of an object, the elements of an array, or, without either, a text.
// What has another type than the shape says reads as absent.
type shape struct {
	fields map[string]*shape
	items  *shape
}

var leaf = &shape{}

func object(fields map[string]*shape) *shape { return &shape{fields: fields} }

func array(items *shape) *shape { return &shape{items: items} }

// The bounds of a payload. What forges send is five or six levels deep.
const (
	maxDepth = 64
	maxKept  = 10_000 // values of a shape
)

// parse reads the shape out of a payload. It takes one JSON object, and passes over whatever is not of the shape; the same
// field twice is refused, because two readers would read two repositories. It does not panic, whatever it is given.
func parse(data []byte, s *shape) (any, error) {
	if !json.Valid(data) {
		return nil, errors.New("the payload is not JSON")
	}
	r := &reader{dec: json.NewDecoder(bytes.NewReader(data))}
	r.dec.UseNumber() // as a float64, 1e999 would be an error
	v, err := r.value(s, 0)
	if err != nil {
		return nil, err
	}
	if _, ok := v.(map[string]any); !ok {
		return nil, errors.New("the payload is not a JSON object")
	}
	return v, nil
}

type reader struct {
	dec  *json.Decoder
	kept int
}

func (r *reader) token() (json.Token, error) {
	t, err := r.dec.Token()
	if err != nil {
		return nil, errors.New("the payload is not JSON")
	}
	return t, nil
}

// value reads the next value: a map, a slice, a text, or nil for what is not of the shape.
func (r *reader) value(s *shape, depth int) (any, error) {
	t, err := r.token()
	if err != nil {
		return nil, err
	}
	if s != nil {
		if r.kept++; r.kept > maxKept {
			return nil, fmt.Errorf("the payload names more than %d refs and addresses", maxKept)
		}
	}
	switch t {
	case json.Delim('{'), json.Delim('['):
		if depth++; depth > maxDepth {
			return nil, fmt.Errorf("the payload is nested deeper than %d levels", maxDepth)
		}
	}
	switch {
	case t == json.Delim('{') && s != nil && s.fields != nil:
		return r.object(s, depth)
	case t == json.Delim('[') && s != nil && s.items != nil:
		return r.array(s, depth)
	case t == json.Delim('{'), t == json.Delim('['):
		return nil, r.skip(depth)
	}
	if word, ok := t.(string); ok && s == leaf {
		return word, nil
	}
	return nil, nil
}

func (r *reader) object(s *shape, depth int) (any, error) {
	out := map[string]any{}
	for r.dec.More() {
		t, err := r.token()
		if err != nil {
			return nil, err
		}
		name, _ := t.(string)
		field := s.fields[name]
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("the payload has %q twice in one object", name) // a name of the shape
		}
		v, err := r.value(field, depth)
		if err != nil {
			return nil, err
		}
		if field != nil {
			out[name] = v
		}
	}
	_, err := r.token() // the brace
	return out, err
}

func (r *reader) array(s *shape, depth int) (any, error) {
	out := []any{}
	for r.dec.More() {
		v, err := r.value(s.items, depth)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	_, err := r.token() // the bracket
	return out, err
}

// skip reads to the end of the object or array that has begun.
func (r *reader) skip(depth int) error {
	for open := 1; open > 0; {
		t, err := r.token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			open++
		case json.Delim('}'), json.Delim(']'):
			open--
		}
		if depth+open-1 > maxDepth {
			return fmt.Errorf("the payload is nested deeper than %d levels", maxDepth)
		}
	}
	return nil
}

// at goes down a path of fields; nil where it ends.
func at(v any, path ...string) any {
	for _, name := range path {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	return v
}

// word is the text at a path; empty if there is none.
func word(v any, path ...string) string {
	s, _ := at(v, path...).(string)
	return s
}

// list is the array at a path; nil if there is none.
func list(v any, path ...string) []any {
	l, _ := at(v, path...).([]any)
	return l
}
