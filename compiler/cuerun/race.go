//go:build race

package cuerun

// instrumented says that the race detector takes several times the memory of the program for its own: the kernel's limit
// would hit that.
const instrumented = true
