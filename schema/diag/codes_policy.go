package diag

// GW5xxx: policies.
var policyCodes = []Explanation{}
