package contextinjection

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/suuupra/gateway/internal/facts"
)

// encodings are the ways in which lists, and all but the first in which objects, are written.
var encodings = map[string]func(claim any) (string, bool){
	"comma": facts.Text,
	"json": func(claim any) (string, bool) {
		if !composed(claim) {
			return facts.Text(claim)
		}
		raw, ok := appendASCII(nil, claim)
		return string(raw), ok
	},
	"base64": func(claim any) (string, bool) {
		if !composed(claim) {
			return facts.Text(claim)
		}
		raw, ok := appendASCII(nil, claim)
		return base64.RawURLEncoding.EncodeToString(raw), ok
	},
}

// composed reports whether a claim is a list or an object.
func composed(claim any) bool {
	switch claim.(type) {
	case []any, map[string]any:
		return true
	}
	return false
}

// appendASCII appends a claim as JSON in which everything outside ASCII is escaped, as a header field cannot hold it.
func appendASCII(dst []byte, claim any) ([]byte, bool) {
	raw, err := json.Marshal(claim)
	if err != nil {
		return dst, false
	}
	for len(raw) > 0 {
		r, n := utf8.DecodeRune(raw)
		switch {
		case r < utf8.RuneSelf:
			dst = append(dst, raw[0])
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			dst = fmt.Appendf(dst, `\u%04x\u%04x`, high, low)
		default:
			dst = fmt.Appendf(dst, `\u%04x`, r)
		}
		raw = raw[n:]
	}
	return dst, true
}
