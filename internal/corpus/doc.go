// Package corpus holds changes of a config repository that must not reach traffic, each with the station that stops it and the code or
// the rule it gives as its reason, and harmless changes beside them that must pass. Every change goes through the code of gwctl and
// gwrun, station by station, as docs/gitops.md tells it. The tables end up in docs/safety.md. The package has no code of its own.
package corpus
