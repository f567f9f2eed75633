package diag

// GW3xxx: references, overlays and tenants.
var referenceCodes = []Explanation{}
