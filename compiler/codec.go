package compiler

import (
	"encoding/binary"
	"math"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

// The form of a node in the cache: kind, line, column and width, then the value; numbers as varints, text with its length.

func appendNode(b []byte, n *schema.Node) []byte {
	b = append(b, byte(n.Kind))
	b = appendPos(b, n.Pos)
	b = binary.AppendUvarint(b, uint64(n.Width))
	switch n.Kind {
	case schema.Bool:
		if n.Bool {
			return append(b, 1)
		}
		return append(b, 0)
	case schema.Int:
		return binary.AppendVarint(b, n.Int)
	case schema.Float:
		return binary.BigEndian.AppendUint64(b, math.Float64bits(n.Float))
	case schema.String:
		return appendText(b, n.Str)
	case schema.List:
		b = binary.AppendUvarint(b, uint64(len(n.Items)))
		for _, it := range n.Items {
			b = appendNode(b, it)
		}
	case schema.Map:
		b = binary.AppendUvarint(b, uint64(len(n.Fields)))
		for _, f := range n.Fields {
			b = appendText(b, f.Name)
			b = appendPos(b, f.Pos)
			b = appendNode(b, f.Value)
		}
	}
	return b
}

func appendPos(b []byte, p diag.Pos) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(b, uint64(p.Line)), uint64(p.Col))
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// The least bytes that an element of a list and a field of a map take: they bound what a length may claim.
const (
	minNode  = 4           // kind, line, column, width
	minField = 3 + minNode // length of the name, line, column
)

// decodeNode reads what appendNode wrote; false means that it was something else.
func decodeNode(file string, data []byte) (*schema.Node, bool) {
	r := nodeReader{file: file, rest: data, unclaimed: len(data)}
	n := r.node(0)
	return n, !r.bad && len(r.rest) == 0
}

// nodeReader trusts no length, although the checksum of the entry has held.
type nodeReader struct {
	file      string
	rest      []byte
	unclaimed int // bytes that no length has claimed yet: every element takes some, so all lengths together are bounded
	bad       bool
}

func (r *nodeReader) fail() { r.bad, r.rest, r.unclaimed = true, nil, 0 }

func (r *nodeReader) uint() int {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || v > math.MaxInt32 {
		r.fail()
		return 0
	}
	r.rest = r.rest[n:]
	return int(v)
}

// count is the length of something whose every element takes at least size bytes.
func (r *nodeReader) count(size int) int {
	n := r.uint()
	if n > r.unclaimed/size || n > len(r.rest)/size {
		r.fail()
		return 0
	}
	r.unclaimed -= n * size
	return n
}

func (r *nodeReader) bytes(n int) []byte {
	if n > len(r.rest) {
		r.fail()
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *nodeReader) text() string { return string(r.bytes(r.uint())) }

func (r *nodeReader) pos() diag.Pos { return diag.Pos{File: r.file, Line: r.uint(), Col: r.uint()} }

func (r *nodeReader) node(depth int) *schema.Node {
	n := &schema.Node{}
	if len(r.rest) == 0 || depth > 128 {
		r.fail()
		return n
	}
	n.Kind, r.rest = schema.Kind(r.rest[0]), r.rest[1:]
	n.Pos = r.pos()
	n.Width = r.uint()
	switch n.Kind {
	case schema.Null:
	case schema.Bool:
		n.Bool = r.uint() == 1
	case schema.Int:
		v, size := binary.Varint(r.rest)
		if size <= 0 {
			r.fail()
			return n
		}
		n.Int, r.rest = v, r.rest[size:]
	case schema.Float:
		if len(r.rest) < 8 {
			r.fail()
			return n
		}
		n.Float = math.Float64frombits(binary.BigEndian.Uint64(r.bytes(8)))
	case schema.String:
		n.Str = r.text()
	case schema.List:
		n.Items = make([]*schema.Node, r.count(minNode))
		for i := range n.Items {
			n.Items[i] = r.node(depth + 1)
		}
	case schema.Map:
		n.Fields = make([]schema.Field, r.count(minField))
		for i := range n.Fields {
			n.Fields[i].Name = r.text()
			n.Fields[i].Pos = r.pos()
			n.Fields[i].Value = r.node(depth + 1)
		}
	default:
		r.fail()
	}
	return n
}
