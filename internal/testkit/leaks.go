package testkit

import (
	"testing"

	"go.uber.org/goleak"
)

// NoLeaks runs the tests of a package and fails it if a goroutine outlives them. Call it as the whole of TestMain.
func NoLeaks(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The in-process registry of this package starts these and offers no way to stop them.
		goleak.IgnoreAnyFunction("github.com/docker/go-events.(*Broadcaster).run"),
	)
}
