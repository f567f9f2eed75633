package diag

// GW2xxx: shapes and values.
var schemaCodes = []Explanation{}
