package diag

// GW1xxx: reading files.
var syntaxCodes = []Explanation{}
