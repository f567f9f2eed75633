package diag

// GW16xx: Kubernetes manifests, which gwctl translate reads.
var kubernetesCodes = []Explanation{
	{
		Code: "GW1601", Title: "manifest cannot be read",
		Why: "half of a manifest would be half of a translation",
		Fix: "mend the YAML, render templates before they are translated, and split files that are too large",
	},
	{
		Code: "GW1602", Title: "manifest does not fit its API",
		Why: "a field that the API server would refuse or drop may be a protection that somebody misspelt",
		Fix: "compare with kubectl explain, or let the API server check it: kubectl apply --dry-run=server",
		Bad: "spec:\n  ingresClassName: nginx", Good: "spec:\n  ingressClassName: nginx",
	},
	{
		Code: "GW1603", Title: "object in two manifests",
		Why: "a cluster has one object of a kind and name; which of two is meant, nobody can tell",
		Fix: "remove one of them, or translate overlays one at a time",
	},
}
