// Package compilechild compiles a commit in a process of its own: the own program, started again with a hidden first
// argument. What people wrote can make a compiler slow or hungry, and a gateway that serves traffic must not pay for it
// with its own memory or its life. The child gets no environment, so it knows no secrets, and is bounded in time, memory
// and output. The package must not import the compiler: cmd injects it into Main.
package compilechild

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// Argument is what makes the program a child, as its first argument. It is not meant for people and is in no help text.
const Argument = "__compile"

// Bounds of a child.
const (
	DefaultTimeout = 60 * time.Second
	DefaultMemory  = 1 << 30 // bytes
	maxRequest     = 64 << 10
	maxResponse    = 1 << 20
	maxStderr      = 4 << 10
	checkMemory    = 10 * time.Millisecond
)

// exitMemory is the status of a child that ended itself over its memory.
const exitMemory = 73

// Request says what to compile.
type Request struct {
	GitDir       string `json:"gitDir"`
	Commit       string `json:"commit"`
	Subdirectory string `json:"subdirectory"`
	Environment  string `json:"environment"`
	Out          string `json:"out,omitempty"`  // file to leave the unsigned bundle in; empty: nobody wants more than the digest
	Test         bool   `json:"test,omitempty"` // also run the request tests of the commit
	// Every compiles the base and every environment, for their mistakes alone.
	Every bool `json:"every,omitempty"`
}

// Response says what came of it. An empty digest without Error is a commit that does not compile; diagnostics beside a digest are
// tests that fail.
type Response struct {
	ContentDigest string `json:"contentDigest"`
	Diagnostics   int    `json:"diagnostics"` // errors, or tests that fail
	Text          string `json:"text"`        // the first of them, for people
	Error         string `json:"error"`       // why it could not be tried
	// Mistakes are the first of the errors, where Every was asked for.
	Mistakes []Mistake `json:"mistakes,omitempty"`
}

// MaxMistakes is how many mistakes a response may list.
const MaxMistakes = 200

// Mistake is an error of a compiler with the files that take part in it, the one to mend first.
type Mistake struct {
	Files []string `json:"files"`
	Text  string   `json:"text"` // one line
}

// order is what travels to the child.
type order struct {
	Request Request       `json:"request"`
	Memory  int64         `json:"memory"`
	Timeout time.Duration `json:"timeout"`
}

// Errors of Run that a caller may want to tell apart.
var (
	ErrTimeout = errors.New("it took too long")
	ErrMemory  = errors.New("it took too much memory")
	ErrOutput  = errors.New("it answered with something else than a response")
)

// decode reads exactly one JSON value, with no unknown field and nothing behind it.
func decode(r io.Reader, limit int64, into any) error {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if int64(len(data)) > limit {
		return fmt.Errorf("more than %d bytes", limit)
	}
	return strict(data, into)
}
