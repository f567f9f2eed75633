package main

// reservedFiles are the file descriptors kept for what is not a client or its upstream: listeners, the admin API, logs, the
// state directory, sources.
const reservedFiles = 32

// connectionsFor is how many clients may connect when the process may have so many files open. Each takes a connection to
// an upstream too: if clients alone could use up the descriptors, none of them would get an answer. 0 is no bound.
func connectionsFor(files uint64) int {
	switch {
	case files == 0 || files > 1<<32:
		return 0
	case files <= 2*reservedFiles:
		return reservedFiles / 4
	}
	return int(files-reservedFiles) / 2
}
