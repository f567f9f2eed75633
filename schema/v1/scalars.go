package v1

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a span of time in whole milliseconds. It is written as such a number, or as text made of h, m, s and ms.
type Duration int64

// Std returns the duration in the terms of package time.
func (d Duration) Std() time.Duration { return time.Duration(d) * time.Millisecond }

// String writes the duration as an author would: "1m30s", "500ms", "0s".
func (d Duration) String() string {
	if d == 0 {
		return "0s"
	}
	var b strings.Builder
	rest := int64(d)
	for _, u := range durationUnits() {
		if n := rest / u.ms; n != 0 {
			b.WriteString(strconv.FormatInt(n, 10) + u.name)
			rest %= u.ms
		}
	}
	return b.String()
}

type durationUnit struct {
	name string
	ms   int64
}

func durationUnits() [4]durationUnit {
	return [4]durationUnit{{"h", 3_600_000}, {"m", 60_000}, {"s", 1000}, {"ms", 1}}
}

var (
	errDuration = errors.New(`must be whole milliseconds, or text such as "10s", "500ms" or "1m30s"`)
	errSize     = errors.New(`must be whole bytes, or text such as "64KiB" or "10MiB"`)
)

// ParseDuration reads the textual form: whole numbers of h, m, s and ms, in this order, each at most once.
func ParseDuration(s string) (Duration, error) {
	if s == "" {
		return 0, errDuration
	}
	var total int64
	units := durationUnits()
	for next := 0; s != ""; {
		n, rest, ok := cutNumber(s)
		end := strings.IndexFunc(rest, func(r rune) bool { return r >= '0' && r <= '9' })
		if end < 0 {
			end = len(rest)
		}
		for next < len(units) && units[next].name != rest[:end] {
			next++
		}
		if !ok || next == len(units) || n > (math.MaxInt64-total)/units[next].ms {
			return 0, errDuration
		}
		total += n * units[next].ms
		s, next = rest[end:], next+1
	}
	return Duration(total), nil
}

// cutNumber reads the digits in front, no more than fit an int64 with room to spare.
func cutNumber(s string) (n int64, rest string, ok bool) {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		n = n*10 + int64(s[i]-'0')
		if i++; i > 13 {
			return 0, s, false
		}
	}
	return n, s[i:], i > 0
}

// Size is a number of bytes. It is written as such a number, or as text with one of the units B, KiB, MiB and GiB.
type Size int64

// String writes the size as an author would, with the largest unit that leaves a whole number.
func (s Size) String() string {
	units := [...]string{"GiB", "MiB", "KiB"}
	for i, u := range units {
		if unit := Size(1) << (10 * (len(units) - i)); s != 0 && s%unit == 0 {
			return strconv.FormatInt(int64(s/unit), 10) + u
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// ParseSize reads the textual form.
func ParseSize(text string) (Size, error) {
	n, unit, ok := cutNumber(text)
	shift := map[string]uint{"B": 0, "KiB": 10, "MiB": 20, "GiB": 30}
	by, known := shift[unit]
	if !ok || !known || n > math.MaxInt64>>by {
		return 0, errSize
	}
	return Size(n << by), nil
}

// StatusRange is a response status, or a range such as "200-299".
type StatusRange string

// Span returns the first and the last status of the range.
func (r StatusRange) Span() (from, to int64) {
	first, last, ok := strings.Cut(string(r), "-")
	if !ok {
		last = first
	}
	from, _ = strconv.ParseInt(first, 10, 64) // the pattern of the definition leaves digits alone
	to, _ = strconv.ParseInt(last, 10, 64)
	return from, to
}

// Port is the number or the name of a port.
type Port string

// Claim is the value of a claim in a test: a bool, an int64, a float64, a string, a []any or a map[string]any, as schema.Node.Any has it.
type Claim struct{ Value any }

// MarshalJSON implements json.Marshaler.
func (c Claim) MarshalJSON() ([]byte, error) { return json.Marshal(c.Value) }
