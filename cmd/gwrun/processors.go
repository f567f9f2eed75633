package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"sync"
)

// garbage is how much of it may come together while a snapshot is built, in percent of what lives: a quarter of the collections, each
// of which takes its share of every core, for some tens of MiB that go back when swapping has paused.
const garbage = 400

var room sync.Mutex

// withRoom runs f, which takes much processor time at once, so that requests wait for it as little as can be.
//
// Go gets twice as many of its processors. One that is busy looks for arriving bytes only now and then; with as many of them as
// cores, building a snapshot and the garbage collection it causes can keep all of them busy, and requests wait although the machine
// has time. Among more of them the kernel shares out the cores, fairly and at once; and it prefers every other thread to the one f
// runs on. Changing the number stops the world for some microseconds, twice.
// Only one f runs at a time: each leaves the settings of the process as it has found them.
func withRoom(f func() error) error {
	room.Lock()
	defer room.Unlock()
	n := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(2 * n)
	usual := debug.SetGCPercent(garbage)
	defer func() {
		debug.SetGCPercent(usual)
		if os.Getenv("GOMAXPROCS") != "" {
			runtime.GOMAXPROCS(n)
		} else {
			runtime.SetDefaultGOMAXPROCS() // and follows the limits of the container again
		}
	}()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine, as its priority cannot be raised again
		yieldToOthers()
		done <- f()
	}()
	return <-done
}
