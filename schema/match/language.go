package match

// anyPath is the set of normalised paths, exactly.
type anyPath struct{}

// The states of anyPath. An escape of an ASCII character needs to know its first digit; one of any other, how many bytes
// follow the first and, for the next of them, which first digits are neither overlong, nor a surrogate, nor a C1 control.
const (
	pathStart    uint16 = iota
	segmentStart        // after "/"
	segmentDot          // "/."
	segmentDots         // "/.."
	segmentInner
	escapeFirst                                 // after "%"
	escape2                                     // "%2", and so on up to "%7"
	lead2       = escape2 + 6                   // "%C", and so on up to "%F"
	percents    = lead2 + 4                     // expects "%"; plus 5 x (bytes left - 1) and the digits allowed
	firstDigits = percents + 3*digitSets        // expects the first digit; likewise
	lastDigits  = firstDigits + 3*digitSets     // expects the second digit; plus bytes left - 1
	pathStates  = lastDigits + 3                //
	digitSets   = uint16(len(continuationBits)) //
)

// continuationBits are the sets of first digits of a continuation byte, as bits: any, A-B, 8-9, 9-B, 8.
var continuationBits = [5]uint16{0xF00, 0xC00, 0x300, 0xE00, 0x100}

func (anyPath) accepts(s uint16) bool { return s == segmentStart || s == segmentInner }

func (anyPath) next(s uint16, c byte) (uint16, bool) {
	switch s {
	case pathStart:
		return segmentStart, c == '/'
	case segmentStart, segmentDot, segmentDots, segmentInner:
		return nextInSegment(s, c)
	}
	if percents <= s && s < firstDigits {
		return s - percents + firstDigits, c == '%'
	}
	d := unhex(c)
	if d > 15 || isLowerHex(c) {
		return 0, false
	}
	switch {
	case s == escapeFirst:
		return nextAfterPercent(d)
	case s < lead2:
		v := byte(s-escape2+2)<<4 | d
		return segmentInner, escapeRefusal(v) == pathAccepted && byteClasses[v] != classUnreserved
	case s < percents:
		return nextAfterLead(byte(s-lead2+12)<<4 | d)
	case s < lastDigits:
		left, digits := (s-firstDigits)/digitSets, (s-firstDigits)%digitSets
		return lastDigits + left, continuationBits[digits]>>d&1 == 1
	case s == lastDigits:
		return segmentInner, true
	}
	return percents + (s-lastDigits-1)*digitSets, true
}

// nextAfterLead says what may follow the first byte of a character outside ASCII (RFC 3629 section 4).
func nextAfterLead(lead byte) (uint16, bool) {
	expect := func(left, digits uint16) (uint16, bool) { return percents + (left-1)*digitSets + digits, true }
	switch {
	case lead < 0xC2 || lead > 0xF4:
		return 0, false
	case lead == 0xC2:
		return expect(1, 1)
	case lead < 0xE0:
		return expect(1, 0)
	case lead == 0xE0:
		return expect(2, 1)
	case lead == 0xED:
		return expect(2, 2)
	case lead < 0xF0:
		return expect(2, 0)
	case lead == 0xF0:
		return expect(3, 3)
	case lead == 0xF4:
		return expect(3, 4)
	}
	return expect(3, 0)
}

func nextInSegment(s uint16, c byte) (uint16, bool) {
	switch {
	case c == '/':
		return segmentStart, s == segmentInner
	case c == '%':
		return escapeFirst, true
	case c == '.' && s == segmentStart:
		return segmentDot, true
	case c == '.' && s == segmentDot:
		return segmentDots, true
	}
	return segmentInner, true
}

func nextAfterPercent(d byte) (uint16, bool) {
	switch {
	case 2 <= d && d <= 7:
		return escape2 + uint16(d-2), true
	case d >= 12:
		return lead2 + uint16(d-12), true
	}
	return 0, false
}

// unreservedPaths is anyPath without what the gateway answers itself.
type unreservedPaths struct{ words []string }

// The state counts pathStates in the low part and, above it, one more than the number of the position within the words, or
// 0 once the path has left them all.
func (u unreservedPaths) next(s uint16, c byte) (uint16, bool) {
	low, ok := anyPath{}.next(s%pathStates, c)
	if !ok {
		return 0, false
	}
	prefix, inside := u.prefix(s)
	if inside {
		for i, w := range u.words {
			if len(w) > len(prefix) && w[:len(prefix)] == prefix && w[len(prefix)] == c {
				return low + pathStates*u.position(i, len(prefix)+1), true
			}
		}
		if prefix == adminRoot+"/" {
			return 0, false // everything under it is reserved
		}
	}
	return low + pathStates*outsideWords, true
}

const outsideWords = 1

// position numbers the prefix of n bytes of word i; 0 is the empty prefix, 1 is outsideWords.
func (u unreservedPaths) position(i, n int) uint16 {
	pos := 2
	for j := range i {
		pos += len(u.words[j])
	}
	return uint16(pos + n - 1)
}

func (u unreservedPaths) prefix(s uint16) (string, bool) {
	pos := int(s / pathStates)
	if pos == 0 {
		return "", true
	}
	pos -= 2
	for _, w := range u.words {
		if 0 <= pos && pos < len(w) {
			return w[:pos+1], true
		}
		pos -= len(w)
	}
	return "", false
}

func (u unreservedPaths) accepts(s uint16) bool {
	if !(anyPath{}).accepts(s % pathStates) {
		return false
	}
	prefix, inside := u.prefix(s)
	return !inside || !IsReserved(prefix)
}
