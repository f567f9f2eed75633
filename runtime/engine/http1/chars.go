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
