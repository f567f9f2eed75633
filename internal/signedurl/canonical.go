package signedurl

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"slices"
	"strings"
	"sync"
)

// version is the first line of what is signed.
const version = "gw-signed-url-v1"

// signatureSize is the length of a signature in base64url without padding.
const signatureSize = (sha256.Size*8 + 5) / 6

// Key makes and checks signatures. It may be used by many goroutines at once.
type Key struct {
	benches sync.Pool // of *bench
}

// bench is what making a signature takes. It is used again, so that a request costs no memory.
type bench struct {
	mac     hash.Hash
	sum     []byte
	message []byte
	escaped []byte // the other parameters of the query, one after the other
	params  []param
}

// param is where a parameter lies in escaped.
type param struct{ start, name, end int }

func newKey(secret []byte) *Key {
	k := &Key{}
	k.benches.New = func() any { return &bench{mac: hmac.New(sha256.New, secret)} }
	return k
}

// sign returns the signature of what p permits, for a host and, if p has no prefix, a path.
func (k *Key) sign(p *Parameters, host, path string) (text [signatureSize]byte) {
	b := k.benches.Get().(*bench)
	defer k.benches.Put(b)
	b.compose(p, host, path)
	b.mac.Reset()
	b.mac.Write(b.message)
	b.sum = b.mac.Sum(b.sum[:0])
	base64.RawURLEncoding.Encode(text[:], b.sum)
	return text
}

// compose writes the message that is signed; the package comment has its form.
func (b *bench) compose(p *Parameters, host, path string) {
	m := append(b.message[:0], version...)
	for _, line := range [...]string{p.KeyID, p.exp, p.methods, p.ip, host} {
		m = append(append(m, '\n'), line...)
	}
	if p.prefix != "" {
		m = append(append(m, "\nprefix:"...), p.prefix...)
		b.message = append(m, '\n')
		return
	}
	m = append(append(m, "\npath:"...), path...)
	b.message = b.appendQuery(append(m, '\n'), p.query)
}

// appendQuery appends the parameters that are not reserved, in their one form.
func (b *bench) appendQuery(m []byte, query string) []byte {
	b.escaped, b.params = b.escaped[:0], b.params[:0]
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if pair == "" || reserved(decode(name)) {
			continue
		}
		at := param{start: len(b.escaped)}
		b.escaped = appendEscaped(b.escaped, name)
		at.name = len(b.escaped)
		b.escaped = appendEscaped(append(b.escaped, '='), value)
		at.end = len(b.escaped)
		b.params = append(b.params, at)
	}
	escaped := b.escaped
	slices.SortStableFunc(b.params, func(x, y param) int {
		return bytes.Compare(escaped[x.start:x.name], escaped[y.start:y.name])
	})
	for i, at := range b.params {
		if i > 0 {
			m = append(m, '&')
		}
		m = append(m, escaped[at.start:at.end]...)
	}
	return m
}

const upperHex = "0123456789ABCDEF"

// appendEscaped appends form-encoded text in its one form: everything is escaped but what RFC 3986 section 2.3 calls unreserved.
// The text is decodable.
func appendEscaped(to []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch c {
		case '+':
			c = ' '
		case '%':
			c = unhex(s[i+1])<<4 | unhex(s[i+2])
			i += 2
		}
		to = appendByte(to, c, "-._~")
	}
	return to
}

// appendByte appends a byte, escaped unless it is a letter, a digit or one of plain.
func appendByte(to []byte, c byte, plain string) []byte {
	if isAlnum(c) || strings.IndexByte(plain, c) >= 0 {
		return append(to, c)
	}
	return append(to, '%', upperHex[c>>4], upperHex[c&15])
}

// unhex is the value of a hex digit, more than 15 if it is none.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 0xFF
}
