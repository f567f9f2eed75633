//go:build !unix

package secret

// nonBlocking: there are no named pipes in the file system here.
const nonBlocking = 0
