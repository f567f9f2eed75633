// Package faults holds tests that break what stands behind a real gwrun while it is under load: upstreams killed, hung, slow,
// resetting, answering garbage, half a pool or the DNS gone, no file descriptors left, a stop and swaps in the middle of it. They
// judge what clients see, never how fast; `make faults RECORD=1` runs them longer and puts the figures into
// docs/reliability.md. The package has no code of its own.
package faults
