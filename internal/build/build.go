// Package build says which version of the gateway this is. It must not read the environment: the version is part of what
// makes a bundle reproducible, so it is the same for every build of one commit.
package build

// Version is the version of gwctl and gwrun, "major.minor.patch".
const Version = "0.1.0"
