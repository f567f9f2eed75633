package main

import "testing"

func TestConnectionsFor(t *testing.T) {
	for files, want := range map[uint64]int{0: 0, 10: 8, 64: 8, 65: 16, 1024: 496, 1 << 20: 524272, 1 << 63: 0} {
		if got := connectionsFor(files); got != want {
			t.Errorf("connectionsFor(%d) = %d, want %d", files, got, want)
		}
	}
}
