// Package http1 is the HTTP/1.1 message syntax of RFC 9112, read strictly: heads, body framing, chunks and trailers, as
// pure functions on bytes. It does no I/O and keeps no buffer: what it returns are ordinary strings.
//
// A gateway and the server behind it must agree where a request ends. So whatever two parsers could read in two ways is
// refused, not repaired; errors.go lists every reason. Stricter than the RFC's grammar are: bare LF, obs-fold, chunk
// extensions, white space beyond one space around framing values, repeated Content-Length even if equal, and Host outside
// letters, digits, "-", "." and "_". Taken as they are: field names with underscores, and bytes from 0x80 in field values
// (obs-text); the request target must be visible ASCII.
package http1
