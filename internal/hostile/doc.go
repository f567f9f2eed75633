// Package hostile holds tests that send a real gwrun, byte by byte and frame by frame, what clients and upstreams send to make two
// parsers disagree, to reach what is not theirs, or to cost more than they pay. Each input stands in a table with the answer it
// must get; whatever is refused leaves no byte at the upstream, and the gateway serves the next client. The table in
// docs/threats.md counts the inputs. The package has no code of its own.
package hostile
