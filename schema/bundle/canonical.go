package bundle

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// maxDepth bounds the nesting of canonical JSON; authored files end at 64, and compiled plans nest a little deeper.
const maxDepth = 128

// Canonical returns the one encoding of v that counts: its JSON with sorted members, whole numbers only, strings in
// Unicode NFC, no optional escapes and no white space. It refuses floats, NUL, invalid UTF-8 and member names that
// become equal, so that equal meaning has equal bytes and nothing is lost on the way. Grammar: docs/bundle-format.md.
func Canonical(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode canonical JSON: %w", err)
	}
	// encoding/json turns invalid UTF-8 into the escape \ufffd and passes a genuine U+FFFD through as it is, so the
	// escape is how a lost byte is told from a character.
	out, err := canonicalise(buf.Bytes(), true)
	if err != nil {
		return nil, fmt.Errorf("encode canonical JSON: %w", err)
	}
	return out, nil
}

// CanonicalJSON brings one JSON value into canonical form. Duplicate members are an error, not a choice.
func CanonicalJSON(raw []byte) ([]byte, error) {
	out, err := canonicalise(raw, false)
	if err != nil {
		return nil, fmt.Errorf("canonical JSON: %w", err)
	}
	return out, nil
}

// CheckCanonical reports why raw is not canonical JSON, or nil.
func CheckCanonical(raw []byte) error {
	out, err := canonicalise(raw, false)
	if err != nil {
		return fmt.Errorf("canonical JSON: %w", err)
	}
	if !bytes.Equal(out, raw) {
		at := 0
		for at < len(out) && at < len(raw) && out[at] == raw[at] {
			at++
		}
		return fmt.Errorf("canonical JSON: byte %d is not in canonical form (white space, order of members, escapes or NFC)", at)
	}
	return nil
}

func canonicalise(raw []byte, refuseReplacement bool) ([]byte, error) {
	c := canoniser{src: raw, out: make([]byte, 0, len(raw)), refuseReplacement: refuseReplacement}
	c.space()
	if err := c.value(0); err != nil {
		return nil, fmt.Errorf("byte %d: %w", c.pos, err)
	}
	c.space()
	if c.pos != len(c.src) {
		return nil, fmt.Errorf("byte %d: more than one value", c.pos)
	}
	return c.out, nil
}

// canoniser reads JSON and writes canonical JSON in one pass; only objects whose members are out of order are copied.
type canoniser struct {
	src               []byte
	pos               int
	out               []byte
	members           []member // of the objects being read, innermost last
	scratch           []byte
	refuseReplacement bool
}

// member is one member of an object as it stands in out.
type member struct{ start, nameEnd, end int }

var (
	errEnd   = errors.New("the value ends too early")
	errFloat = errors.New("not a whole number between -2^63 and 2^63-1")
	errNUL   = errors.New("a string holds a NUL character")
	errUTF8  = errors.New("a string is not valid UTF-8")
)

func (c *canoniser) space() {
	for c.pos < len(c.src) {
		switch c.src[c.pos] {
		case ' ', '\t', '\n', '\r':
			c.pos++
		default:
			return
		}
	}
}

func (c *canoniser) value(depth int) error {
	if c.pos >= len(c.src) {
		return errEnd
	}
	if depth > maxDepth {
		return fmt.Errorf("nested deeper than %d", maxDepth)
	}
	switch b := c.src[c.pos]; b {
	case '{':
		return c.object(depth)
	case '[':
		return c.list(depth)
	case '"':
		return c.text()
	case 't':
		return c.word("true")
	case 'f':
		return c.word("false")
	case 'n':
		return c.word("null")
	default:
		return c.number()
	}
}

func (c *canoniser) word(w string) error {
	if !bytes.HasPrefix(c.src[c.pos:], []byte(w)) {
		return errors.New("not a JSON value")
	}
	c.pos += len(w)
	c.out = append(c.out, w...)
	return nil
}

// number takes whole numbers of 64 bits in their only spelling.
func (c *canoniser) number() error {
	start := c.pos
	negative := c.src[c.pos] == '-'
	if negative {
		c.pos++
	}
	digits := c.pos
	var n uint64
	for c.pos < len(c.src) && c.src[c.pos] >= '0' && c.src[c.pos] <= '9' {
		if c.pos-digits >= 19 {
			return errFloat
		}
		n = n*10 + uint64(c.src[c.pos]-'0')
		c.pos++
	}
	switch {
	case c.pos == digits && !negative:
		return errors.New("not a JSON value")
	case c.pos == digits:
		return errFloat
	case c.src[digits] == '0' && (c.pos > digits+1 || negative):
		return errors.New("a number has a leading zero, or is -0")
	case n > 1<<63 || n == 1<<63 && !negative:
		return errFloat
	case c.pos < len(c.src) && (c.src[c.pos] == '.' || c.src[c.pos] == 'e' || c.src[c.pos] == 'E'):
		return errFloat
	}
	c.out = append(c.out, c.src[start:c.pos]...)
	return nil
}

func (c *canoniser) list(depth int) error {
	c.pos++
	c.out = append(c.out, '[')
	c.space()
	if c.pos < len(c.src) && c.src[c.pos] == ']' {
		c.pos++
		c.out = append(c.out, ']')
		return nil
	}
	for {
		c.space()
		if err := c.value(depth + 1); err != nil {
			return err
		}
		done, err := c.next(']')
		if err != nil || done {
			return err
		}
	}
}

// next reads what follows an element: a comma, or the closing byte.
func (c *canoniser) next(closing byte) (done bool, err error) {
	c.space()
	if c.pos >= len(c.src) {
		return false, errEnd
	}
	b := c.src[c.pos]
	if b != ',' && b != closing {
		return false, fmt.Errorf("expected a comma or %q", closing)
	}
	c.pos++
	c.out = append(c.out, b)
	return b == closing, nil
}

func (c *canoniser) object(depth int) error {
	c.pos++
	c.out = append(c.out, '{')
	base := len(c.members)
	defer func() { c.members = c.members[:base] }()
	c.space()
	if c.pos < len(c.src) && c.src[c.pos] == '}' {
		c.pos++
		c.out = append(c.out, '}')
		return nil
	}
	sorted := true
	for {
		c.space()
		m := member{start: len(c.out)}
		if c.pos >= len(c.src) || c.src[c.pos] != '"' {
			return errors.New("expected the name of a member")
		}
		if err := c.text(); err != nil {
			return err
		}
		m.nameEnd = len(c.out)
		if c.space(); c.pos >= len(c.src) || c.src[c.pos] != ':' {
			return errors.New("expected a colon")
		}
		c.pos++
		c.out = append(c.out, ':')
		c.space()
		if err := c.value(depth + 1); err != nil {
			return err
		}
		m.end = len(c.out)
		if n := len(c.members); n > base && c.compare(c.members[n-1], m) >= 0 {
			sorted = false
		}
		c.members = append(c.members, m)
		if done, err := c.next('}'); err != nil {
			return err
		} else if done {
			break
		}
	}
	if sorted {
		return nil
	}
	return c.reorder(c.members[base:])
}

// name returns the encoded name of a member without its quotes. Members are sorted by these bytes.
func (c *canoniser) name(m member) []byte { return c.out[m.start+1 : m.nameEnd-1] }

func (c *canoniser) compare(a, b member) int { return bytes.Compare(c.name(a), c.name(b)) }

func (c *canoniser) reorder(ms []member) error {
	first := ms[0].start
	slices.SortFunc(ms, func(a, b member) int { return cmp.Or(c.compare(a, b), cmp.Compare(a.start, b.start)) })
	for i := 1; i < len(ms); i++ {
		if c.compare(ms[i-1], ms[i]) == 0 {
			return fmt.Errorf("the member %q stands twice in one object", c.name(ms[i]))
		}
	}
	c.scratch = c.scratch[:0]
	for i, m := range ms {
		if i > 0 {
			c.scratch = append(c.scratch, ',')
		}
		c.scratch = append(c.scratch, c.out[m.start:m.end]...)
	}
	copy(c.out[first:], c.scratch) // the same bytes in another order: the closing brace stays where it is
	return nil
}

// plain says which bytes stand for themselves in a string and need no look at Unicode.
var plain = func() (t [256]bool) {
	for b := 0x20; b < utf8.RuneSelf; b++ {
		t[b] = b != '"' && b != '\\'
	}
	return t
}()

// text reads a string. Printable ASCII without escapes, which is nearly all there is, is copied as it stands.
func (c *canoniser) text() error {
	start := c.pos
	i := start + 1
	for i < len(c.src) && plain[c.src[i]] {
		i++
	}
	if i < len(c.src) && c.src[i] == '"' {
		c.pos = i + 1
		c.out = append(c.out, c.src[start:c.pos]...)
		return nil
	}
	c.pos++
	s, err := c.unescape()
	if err != nil {
		return err
	}
	if !utf8.Valid(s) {
		return errUTF8
	}
	c.quote(norm.NFC.Bytes(s))
	return nil
}

// unescape returns the characters of the string whose opening quote was just read.
func (c *canoniser) unescape() ([]byte, error) {
	var s []byte
	for c.pos < len(c.src) {
		b := c.src[c.pos]
		c.pos++
		switch {
		case b == '"':
			return s, nil
		case b < 0x20:
			return nil, errors.New("a string holds a control character that is not escaped")
		case b != '\\':
			s = append(s, b)
		default:
			r, err := c.escape()
			if err != nil {
				return nil, err
			}
			s = utf8.AppendRune(s, r)
		}
	}
	return nil, errEnd
}

func (c *canoniser) escape() (rune, error) {
	if c.pos >= len(c.src) {
		return 0, errEnd
	}
	b := c.src[c.pos]
	c.pos++
	if at := bytes.IndexByte([]byte(`"\/bfnrt`), b); at >= 0 {
		return rune("\"\\/\b\f\n\r\t"[at]), nil
	}
	if b != 'u' {
		return 0, errors.New("unknown escape in a string")
	}
	r, err := c.hex4()
	switch {
	case err != nil:
		return 0, err
	case r == 0:
		return 0, errNUL
	case r == utf8.RuneError && c.refuseReplacement:
		return 0, errUTF8
	case !utf16.IsSurrogate(r):
		return r, nil
	}
	if !bytes.HasPrefix(c.src[c.pos:], []byte(`\u`)) {
		return 0, errors.New("a string holds half a surrogate pair")
	}
	c.pos += 2
	low, err := c.hex4()
	if err != nil {
		return 0, err
	}
	if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
		return 0, errors.New("a string holds half a surrogate pair")
	}
	return r, nil
}

func (c *canoniser) hex4() (rune, error) {
	if len(c.src)-c.pos < 4 {
		return 0, errEnd
	}
	var r rune
	for _, b := range c.src[c.pos : c.pos+4] {
		at := bytes.IndexByte([]byte("0123456789abcdef"), b|0x20)
		if at < 0 || b < '0' || (b > '9' && b < 'A') {
			return 0, errors.New("not four hexadecimal digits after \\u")
		}
		r = r<<4 | rune(at)
	}
	c.pos += 4
	return r, nil
}

// quote writes a string with the fewest escapes JSON allows.
func (c *canoniser) quote(s []byte) {
	c.out = append(c.out, '"')
	for _, b := range s {
		switch {
		case b == '"' || b == '\\':
			c.out = append(c.out, '\\', b)
		case b >= 0x20:
			c.out = append(c.out, b)
		default:
			if at := bytes.IndexByte([]byte("\b\f\n\r\t"), b); at >= 0 {
				c.out = append(c.out, '\\', "bfnrt"[at])
			} else {
				c.out = fmt.Appendf(c.out, `\u%04x`, b)
			}
		}
	}
	c.out = append(c.out, '"')
}
