package v1

import (
	"math"
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]Duration{
		"10s": 10_000, "500ms": 500, "1m30s": 90_000, "2h": 7_200_000, "0s": 0, "1h2m3s4ms": 3_723_004, "090s": 90_000,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("%s is %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "10", "s", "1.5s", "-1s", "1s1h", "1s1s", "10 s", "1d", "10S", "99999999999999s", "9223372036854h", "1h30"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q is taken for %d", text, got)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]Size{"0B": 0, "1B": 1, "64KiB": 65536, "10MiB": 10 << 20, "1024GiB": 1 << 40} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%s is %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "10", "KiB", "10MB", "10Mi", "1.5MiB", "-1B", "10 MiB", "9999999999999GiB"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q is taken for %d", text, got)
		}
	}
}

// FuzzScalars wants what is written to be read again as the same, and what the schema takes to be read at all.
func FuzzScalars(f *testing.F) {
	for _, n := range []int64{0, 1, 999, 1000, 90_000, 86_400_000, 1 << 40} {
		f.Add(n, "1m30s")
	}
	f.Add(int64(5), "10MiB")
	f.Fuzz(func(t *testing.T, n int64, text string) {
		if n >= 0 && n <= math.MaxInt32 {
			if d, err := ParseDuration(Duration(n).String()); err != nil || d != Duration(n) {
				t.Errorf("duration %d is written %s, which is read as %d, %v", n, Duration(n), d, err)
			}
			if s, err := ParseSize(Size(n).String()); err != nil || s != Size(n) {
				t.Errorf("size %d is written %s, which is read as %d, %v", n, Size(n), s, err)
			}
		}
		defs := shapes()
		if s := defs["Duration"].Text; len(text) >= s.MinLen && s.Pattern.MatchString(text) {
			d, err := ParseDuration(text)
			if std, stdErr := time.ParseDuration(text); err != nil || stdErr == nil && std != d.Std() {
				t.Errorf("%q is %v, %v, and %v for package time", text, d, err, std)
			}
		} else if d, err := ParseDuration(text); err == nil && len(text) < 10 {
			t.Errorf("%q does not fit the schema and is taken for %v", text, d)
		}
		if defs["Size"].Text.Pattern.MatchString(text) {
			if _, err := ParseSize(text); err != nil && len(text) < 10 {
				t.Errorf("%q fits the schema and is no size: %v", text, err)
			}
		}
	})
}
