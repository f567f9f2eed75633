package kubernetes

import "time"

// Hasten lets tests wait less for a server that hangs, and after one that fails.
func Hasten(patience, backoff time.Duration) { listTimeout, backoffFirst = patience, backoff }
