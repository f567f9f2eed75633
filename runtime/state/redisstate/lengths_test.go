package redisstate

import (
	"fmt"
	"strings"
	"testing"
)

func TestLengths(t *testing.T) {
	text := strings.Repeat("*9\r\n", 200)
	for _, tt := range []struct {
		name, stream string
		bad          bool
	}{
		{"replies", "+OK\r\n:1\r\n-ERR no\r\n$5\r\nhello\r\n*2\r\n:1\r\n$-1\r\n*-1\r\n*0\r\n$0\r\n\r\n", false},
		{"lengths inside a text mean nothing", "$14\r\n*999999999999\n\r\n+OK\r\n", false},
		{"lengths inside a line mean nothing", "+*999999999999\r\n-$99999999999\r\n:99999999999999\r\n", false},
		{"the longest text", fmt.Sprintf("$%d\r\n%s\r\n+OK\r\n", mostText, strings.Repeat("*", mostText)), false},
		{"a byte more", fmt.Sprintf("$%d\r\n", mostText+1), true},
		{"the longest list", fmt.Sprintf("*%d\r\n", mostElements), false},
		{"an element more", fmt.Sprintf("*%d\r\n", mostElements+1), true},
		{"longer than memory", "*2147483647\r\n", true},
		{"longer than a number", "*" + strings.Repeat("9", 40), true},
		{"lists in lists", text, false},
		{"lists in lists that are too much together", strings.Repeat("*60000\r\n", 2), true},
		{"lists one after the other", strings.Repeat("*60000\r\n"+strings.Repeat(":1\r\n", 60000), 3), false},
		{"a push of RESP 3", ">2147483647\r\n", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range []int{1, 7, 1 << 20} { // the pieces in which it comes
				var l lengths
				var err error
				for rest := tt.stream; rest != "" && err == nil; {
					n := min(size, len(rest))
					err = l.follow([]byte(rest[:n]))
					rest = rest[n:]
				}
				if (err != nil) != tt.bad {
					t.Errorf("in pieces of %d: %v", size, err)
				}
			}
		})
	}
}

func FuzzLengths(f *testing.F) {
	f.Add([]byte("$5\r\nhello\r\n*2\r\n:1\r\n$-1\r\n"), 3)
	f.Add([]byte("*99999999999999999999\r\n"), 1)
	f.Fuzz(func(t *testing.T, stream []byte, at int) {
		var whole, parts lengths
		want := whole.follow(stream)
		if at = max(0, min(at, len(stream))); parts.follow(stream[:at]) == nil {
			if got := parts.follow(stream[at:]); (got == nil) != (want == nil) || want == nil && whole != parts {
				t.Errorf("%q in one piece: %v, in two: %v", stream, want, got)
			}
		} else if want == nil {
			t.Errorf("%q fails in two pieces only", stream)
		}
		if whole.skip < 0 || whole.skip > mostText+2 || whole.open < 0 {
			t.Errorf("%+v", whole)
		}
	})
}
