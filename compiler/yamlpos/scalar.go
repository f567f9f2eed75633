package yamlpos

import (
	"math"
	"strconv"
	"strings"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

// reading is what one plain scalar means, and what is wrong with it. Code is "" for a scalar all parsers agree on.
type reading struct {
	kind    schema.Kind
	b       bool
	i       int64
	f       float64
	code    diag.Code
	message string
	instead string // what to write, completed by "or quote it"
}

var text = reading{kind: schema.String}

// plain reads a scalar that stands without quotes.
func plain(s string) reading {
	if s == "" {
		return reading{kind: schema.Null}
	}
	switch c := s[0]; {
	case c >= '0' && c <= '9', c == '-', c == '+', c == '.':
		return number(s)
	case strings.IndexByte("yYnNtTfFoO~", c) >= 0 && len(s) <= len("false"):
		return word(s)
	}
	return text
}

// word reads the words that mean something without quotes.
func word(s string) reading {
	switch s {
	case "true", "True", "TRUE":
		return reading{kind: schema.Bool, b: true}
	case "false", "False", "FALSE":
		return reading{kind: schema.Bool}
	case "~", "null", "Null", "NULL":
		return reading{kind: schema.Null}
	case "yes", "Yes", "YES", "on", "On", "ON", "y", "Y":
		return ambiguousWord(s, true)
	case "no", "No", "NO", "off", "Off", "OFF", "n", "N":
		return ambiguousWord(s, false)
	}
	return text
}

func ambiguousWord(s string, b bool) reading {
	return reading{
		kind: schema.Bool, b: b, code: "GW1101",
		message: s + " is a truth value to some YAML parsers and a word to others",
		instead: strconv.FormatBool(b),
	}
}

// number reads a scalar that begins like a number; it may turn out to be text, such as a date or an address.
func number(s string) reading {
	sign, rest := "", s
	if rest[0] == '-' || rest[0] == '+' {
		sign, rest = strings.TrimPrefix(rest[:1], "+"), rest[1:]
	}
	switch rest {
	case ".inf", ".Inf", ".INF":
		return notANumber(s)
	case ".nan", ".NaN", ".NAN":
		if len(rest) == len(s) {
			return notANumber(s)
		}
	}
	if based := based(sign, rest); based.code != "" {
		return based
	}
	digits := strings.ReplaceAll(rest, "_", "")
	whole, decimal, exponent, ok := shape(digits)
	switch {
	case !ok:
		return text
	case len(digits) != len(rest):
		r := decimalReading(s, sign, digits, whole, decimal, exponent)
		return ambiguousNumber(r, s+" is a number to some YAML parsers and a string to others", sign+digits)
	}
	return decimalReading(s, sign, digits, whole, decimal, exponent)
}

func notANumber(s string) reading {
	return reading{
		kind: schema.Float, code: "GW1105",
		message: s + " is not a number that can be compared or written as JSON",
	}
}

// based reads whole numbers that name their base: 0x1f, 0o17, 0b11.
func based(sign, rest string) reading {
	if len(rest) < 3 || rest[0] != '0' {
		return reading{}
	}
	base, alphabet := 0, ""
	switch rest[1] {
	case 'x', 'X':
		base, alphabet = 16, "0123456789abcdefABCDEF_"
	case 'o', 'O':
		base, alphabet = 8, "01234567_"
	case 'b', 'B':
		base, alphabet = 2, "01_"
	default:
		return reading{}
	}
	if strings.Trim(rest[2:], alphabet) != "" || strings.Trim(rest[2:], "_") == "" {
		return reading{}
	}
	r := reading{kind: schema.Int}
	instead := ""
	if v, err := strconv.ParseInt(sign+strings.ReplaceAll(rest[2:], "_", ""), base, 64); err == nil {
		r.i, instead = v, strconv.FormatInt(v, 10)
	}
	return ambiguousNumber(r, sign+rest+" is a number to some YAML parsers and a string to others", instead)
}

func ambiguousNumber(r reading, message, instead string) reading {
	if r.code == "" {
		r.code, r.message, r.instead = "GW1102", message, instead
	}
	return r
}

// shape reports which parts a decimal number without sign has: [digits][.digits][e[sign]digits].
func shape(s string) (whole, decimal, exponent, ok bool) {
	i := digitsAt(s, 0)
	whole = i > 0
	if i < len(s) && s[i] == '.' {
		end := digitsAt(s, i+1)
		if !whole && end == i+1 {
			return
		}
		decimal, i = true, end
	}
	if !whole && !decimal {
		return
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		end := digitsAt(s, i)
		if end == i {
			return
		}
		exponent, i = true, end
	}
	return whole, decimal, exponent, i == len(s)
}

func digitsAt(s string, i int) int {
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return i
}

// decimalReading reads a number whose shape is known.
func decimalReading(s, sign, digits string, whole, decimal, exponent bool) reading {
	if whole && !decimal && !exponent {
		return wholeReading(s, sign, digits)
	}
	f, err := strconv.ParseFloat(sign+digits, 64)
	if err != nil || exponent && math.Abs(f) >= 1<<63 && f == math.Trunc(f) {
		return outOfRange(s, "64 bits")
	}
	if exponent && f == math.Trunc(f) {
		return reading{
			kind: schema.Int, i: int64(f), code: "GW1103",
			message: s + " is a whole number to some YAML parsers, a decimal one or a string to others",
			instead: strconv.FormatInt(int64(f), 10),
		}
	}
	return reading{kind: schema.Float, f: f}
}

func wholeReading(s, sign, digits string) reading {
	if len(digits) > 1 && digits[0] == '0' {
		r := reading{kind: schema.Int}
		instead := ""
		trimmed := strings.TrimLeft(digits, "0")
		if v, err := strconv.ParseInt(sign+"0"+trimmed, 10, 64); err == nil {
			r.i, instead = v, strconv.FormatInt(v, 10)
		}
		message := s + " has a leading zero, which makes it octal to some YAML parsers and decimal to others"
		if v, err := strconv.ParseInt(sign+digits, 8, 64); err == nil && v != r.i {
			instead += " or " + strconv.FormatInt(v, 10)
		}
		return ambiguousNumber(r, message, instead)
	}
	v, err := strconv.ParseInt(sign+digits, 10, 64)
	if err != nil {
		return outOfRange(s, "-9223372036854775808 to 9223372036854775807")
	}
	return reading{kind: schema.Int, i: v}
}

func outOfRange(s, limit string) reading {
	return reading{kind: schema.Int, code: "GW1104", message: s + " is out of range, numbers must fit " + limit}
}

// hint completes what to write instead of s with the way to keep the text.
func (r reading) hint(s string) string {
	quoted := `quote it to mean the text: "` + s + `"`
	if r.instead == "" {
		return quoted
	}
	return "write " + r.instead + ", or " + quoted
}
