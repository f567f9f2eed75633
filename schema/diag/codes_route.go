package diag

// GW4xxx: semantics across routes.
var routeCodes = []Explanation{}
