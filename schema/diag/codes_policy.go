package diag

// GW5xxx: policies and targets.
var policyCodes = []Explanation{
	{
		Code: "GW5001", Title: "target url cannot be used",
		Why: "the path of a target's url is put before the normalised path of the request; dot segments or escapes in it would undo the normalisation",
		Fix: "write the path in its normal form: no dot segments, no double slashes, no needless escapes",
		Bad: "target: { type: http, url: \"http://users:8080/v1/../admin\" }", Good: "target: { type: http, url: \"http://users:8080/admin\" }",
	},
}
