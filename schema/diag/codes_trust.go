package diag

// GW6xxx: signatures, bundles and secrets.
var trustCodes = []Explanation{}
