package diag

// GW7xxx: sources, publishing and drift.
var syncCodes = []Explanation{}
