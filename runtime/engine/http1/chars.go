package http1

// Character classes, one bit each, looked up by byte.
const (
	classToken  = 1 << iota // tchar, RFC 9110 section 5.6.2
	classValue              // HTAB, SP, VCHAR, obs-text: what may stand in a field value
	classTarget             // VCHAR without "#": what may stand in a request target
	classHost               // what may stand in a reg-name or IPv4 address
	classMethod             // what may stand in a method: registered ones are capitals, digits and "-"
)

var classes = func() (t [256]uint8) {
	for c := range 256 {
		b := byte(c)
		digit := '0' <= b && b <= '9'
		upper := 'A' <= b && b <= 'Z'
		lower := 'a' <= b && b <= 'z'
		if digit || upper || lower {
			t[c] |= classToken | classHost
		}
		switch b {
		case '!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~':
			t[c] |= classToken
		}
		switch b {
		case '-', '.', '_':
			t[c] |= classHost
		}
		if upper || digit || b == '-' || b == '_' {
			t[c] |= classMethod
		}
		if b == '\t' || b >= 0x20 && b != 0x7f {
			t[c] |= classValue
		}
		if b > 0x20 && b < 0x7f && b != '#' {
			t[c] |= classTarget
		}
	}
	return t
}()

// all reports whether every byte of s is of the class.
func all(s string, class uint8) bool {
	for i := range len(s) {
		if classes[s[i]]&class == 0 {
			return false
		}
	}
	return true
}

// validValue reports whether s may stand as a field value. It looks at eight bytes at a time, as values are most of a head.
func validValue(s string) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for len(s) >= 8 {
		x := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		del := x ^ 0x7f*ones
		// A high bit remains where a byte is below 0x20, or is DEL.
		if ((x-0x20*ones)&^x|(del-ones)&^del)&highs != 0 && !all(s[:8], classValue) { // a tab is fine
			return false
		}
		s = s[8:]
	}
	return all(s, classValue)
}

// SafeTarget reports whether s can be sent as a request target.
func SafeTarget(s string) bool { return s != "" && all(s, classTarget) }

// fold reports whether s equals the lower-case word, ASCII case aside. The lengths must be equal.
func fold(s, lower string) bool {
	if len(s) != len(lower) {
		return false
	}
	for i := range len(lower) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
