package httpmsg

import "math/rand/v2"

// maxRequestID bounds an id taken over from a trusted proxy, in bytes.
const maxRequestID = 128

// RequestID is the id of a request: the one a trusted proxy sent if it is well formed, else a new one of 128 random bits.
// The id names a request in records; it is not a secret, and nothing may be authorised by it.
func (p *Proxies) RequestID(r *Request) string {
	if p.Trusts(r.Peer.Addr()) {
		if id := r.Header.Get("X-Request-Id"); wellFormedID(id) && r.Header.Count("X-Request-Id") == 1 {
			return id
		}
	}
	return NewRequestID()
}

// NewRequestID makes an id of 128 random bits, 32 hexadecimal digits. The source is ChaCha8 seeded by the system.
func NewRequestID() string {
	const hex = "0123456789abcdef"
	var b [32]byte
	for i := 0; i < len(b); i += 16 {
		for v, j := rand.Uint64(), i; j < i+16; j++ {
			b[j] = hex[v&15]
			v >>= 4
		}
	}
	return string(b[:])
}

// wellFormedID accepts what can stand in a log, a header and a URL without quoting.
func wellFormedID(id string) bool {
	if id == "" || len(id) > maxRequestID {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.', c == ':', c == '=', c == '+', c == '/':
		default:
			return false
		}
	}
	return true
}
