package compiler

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

// cacheAge is how long an entry is kept that nobody asks for.
const cacheAge = 14 * 24 * time.Hour

// Cache keeps, between runs of the compiler, what depends on bytes alone: decoded files by the digest of their content,
// and what a whole repository had to say by the digest of all of it. An entry that is damaged, or was written by another
// compiler, is as good as none. It may be removed at any time.
type Cache struct {
	dir  string
	salt [sha256.Size]byte
}

// OpenCache uses a directory, which is made if need be. The salt is whatever decides how bytes are read: the version of
// the compiler and of the schema.
func OpenCache(dir string, salt []byte) (*Cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	return &Cache{dir: dir, salt: sha256.Sum256(salt)}, nil
}

// key names an entry. Every part is preceded by its length, so that no two lists of parts have one key.
func (c *Cache) key(parts ...[]byte) string {
	h := sha256.New()
	h.Write(c.salt[:])
	for _, p := range parts {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (c *Cache) path(key string) string { return filepath.Join(c.dir, key[:2], key[2:]) }

// read returns an entry whose checksum holds.
func (c *Cache) read(key string) ([]byte, bool) {
	raw, err := os.ReadFile(c.path(key))
	if err != nil || len(raw) < sha256.Size {
		return nil, false
	}
	sum, data := [sha256.Size]byte(raw[:sha256.Size]), raw[sha256.Size:]
	return data, sha256.Sum256(data) == sum
}

// write stores an entry. A cache that cannot be written is slow, not wrong: errors are dropped on purpose.
func (c *Cache) write(key string, data []byte) {
	path := c.path(key)
	if os.MkdirAll(filepath.Dir(path), 0o700) != nil {
		return
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return
	}
	sum := sha256.Sum256(data)
	_, err = f.Write(append(sum[:], data...))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
}

// Prune removes what was not written for a while, at most once a day.
func (c *Cache) Prune(now time.Time) {
	mark := filepath.Join(c.dir, "pruned")
	if info, err := os.Stat(mark); err == nil && now.Sub(info.ModTime()) < 24*time.Hour {
		return
	}
	if os.WriteFile(mark, nil, 0o600) != nil || os.Chtimes(mark, now, now) != nil {
		return
	}
	entries, err := filepath.Glob(filepath.Join(c.dir, "??", "*"))
	if err != nil {
		return
	}
	for _, e := range entries {
		if info, err := os.Lstat(e); err == nil && now.Sub(info.ModTime()) > cacheAge {
			_ = os.Remove(e)
		}
	}
}

// file returns a decoded file.
func (c *Cache) file(path string, digest [sha256.Size]byte) (*schema.Node, bool) {
	if c == nil {
		return nil, false
	}
	data, ok := c.read(c.key([]byte("file"), []byte(path), digest[:]))
	if !ok {
		return nil, false
	}
	r := nodeReader{file: path, rest: data}
	n := r.node(0)
	return n, r.err == nil && len(r.rest) == 0
}

// keepFile stores a file that decoded without a word to say.
func (c *Cache) keepFile(path string, digest [sha256.Size]byte, n *schema.Node) {
	if c != nil {
		c.write(c.key([]byte("file"), []byte(path), digest[:]), appendNode(nil, n))
	}
}

// verdict returns what a whole repository had to say.
func (c *Cache) verdict(digest []byte, environment string) ([]diag.Diagnostic, bool) {
	if c == nil {
		return nil, false
	}
	data, ok := c.read(c.key([]byte("verdict"), digest, []byte(environment)))
	if !ok {
		return nil, false
	}
	var out []diag.Diagnostic
	return out, json.Unmarshal(data, &out) == nil
}

func (c *Cache) keepVerdict(digest []byte, environment string, diags []diag.Diagnostic) {
	if c == nil {
		return
	}
	if data, err := json.Marshal(diags); err == nil {
		c.write(c.key([]byte("verdict"), digest, []byte(environment)), data)
	}
}

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

var errCacheEntry = errors.New("cache entry is damaged")

// nodeReader reads what appendNode wrote. It trusts no length, although the checksum has held.
type nodeReader struct {
	file string
	rest []byte
	err  error
}

func (r *nodeReader) fail() { r.err, r.rest = errCacheEntry, nil }

func (r *nodeReader) uint() int {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || v > math.MaxInt32 {
		r.fail()
		return 0
	}
	r.rest = r.rest[n:]
	return int(v)
}

// count is the length of something whose every element takes at least one byte.
func (r *nodeReader) count() int {
	n := r.uint()
	if n > len(r.rest) {
		r.fail()
		return 0
	}
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

func (r *nodeReader) text() string { return string(r.bytes(r.count())) }

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
		n.Items = make([]*schema.Node, r.count())
		for i := range n.Items {
			n.Items[i] = r.node(depth + 1)
		}
	case schema.Map:
		n.Fields = make([]schema.Field, r.count())
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
