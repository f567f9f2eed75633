// Package e2e holds the stories a user lives: gwctl and gwrun as they are shipped, real git remotes, registries and web
// servers, real signals. Each test tells one story from outside, through command lines, HTTP and files. It must not reach
// into the programs: what only an internal function can show belongs to that function's own package.
package e2e
