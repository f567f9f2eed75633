package corpus_test

import "fmt"

// guarded adds a test of a route that asks for a token.
func guarded(route, url string) edit {
	return add("tests/"+route+".yaml", fmt.Sprintf("tests:\n  - name: %[1]s\n    requests:\n      - send: { url: %[2]q, token: {} }\n        expect: { route: %[1]s }\n      - send: { url: %[2]q }\n        expect: { status: 401 }\n", route, url))
}

// public adds a test of a route that asks for nothing.
func public(route, url string) edit {
	return add("tests/"+route+".yaml", fmt.Sprintf("tests:\n  - name: %[1]s\n    requests:\n      - send: { url: %[2]q }\n        expect: { status: 200, route: %[1]s }\n", route, url))
}
