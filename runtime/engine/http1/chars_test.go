package http1

import "testing"

// TestValidValue holds the fast check to the table, for every byte at every place.
func TestValidValue(t *testing.T) {
	for n := range 20 {
		for at := range n {
			for c := range 256 {
				b := make([]byte, n)
				for i := range b {
					b[i] = "a\xff ~"[i%4]
				}
				b[at] = byte(c)
				if got, want := validValue(string(b)), all(string(b), classValue); got != want {
					t.Fatalf("%q: %v", b, got)
				}
			}
		}
	}
}
