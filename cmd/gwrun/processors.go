package main

import (
	"os"
	"runtime"
)

// withRoom runs f, which takes much processor time at once, with twice as many of Go's processors. A Go processor that is
// busy looks for arriving bytes only now and then; with as many of them as cores, building a snapshot and the garbage
// collection it causes can keep all of them busy, and requests wait although the machine has time. Among more of them the
// kernel shares out the cores, fairly and at once. Changing the number stops the world for some microseconds, twice.
func withRoom(f func() error) error {
	n := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(2 * n)
	defer func() {
		if os.Getenv("GOMAXPROCS") != "" {
			runtime.GOMAXPROCS(n)
		} else {
			runtime.SetDefaultGOMAXPROCS() // and follows the limits of the container again
		}
	}()
	return f()
}
