package compiler_test

import (
	"path/filepath"
	"testing"
)

// What several routes share is said once in each environment, whichever of them are left there: a route that kept silent
// because another one had spoken must not be remembered as sound.
func TestSharedMistakeInEachEnvironment(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"gateway.yaml": "gateway: { defaults: { retry: { on: [timeout] } } }\n",
		"routes/a.yaml": "routes:\n" +
			"  - { id: a, matcher: { path: /a }, target: { type: http, url: \"http://users:8080\" } }\n" +
			"  - { id: b, matcher: { path: /b }, target: { type: http, url: \"http://users:8080\" } }\n",
		"environments/prod/a.yaml": "routes: [{ id: a, $delete: true }]\n",
	} {
		writeFile(t, filepath.Join(dir, filepath.FromSlash(name)), []byte("apiVersion: gateway.suuupra.dev/v1\n"+text))
	}
	u := open(t, newCompiler(nil), loadDir(t, dir))
	for _, env := range []string{"", "prod", ""} {
		o := u.Compile(env)
		if n := o.Diags.Len(); n != 1 || o.Program != nil || o.Diags.Sorted()[0].Code != "GW3042" {
			t.Errorf("environment %q: %d diagnostics, program %v: %v", env, n, o.Program != nil, o.Diags.Sorted())
		}
	}
}
