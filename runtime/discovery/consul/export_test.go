package consul

import "time"

// Hasten lets tests wait less for an agent that hangs, and after one that fails.
func Hasten(patience, backoff time.Duration) { grace, backoffFirst = patience, backoff }
