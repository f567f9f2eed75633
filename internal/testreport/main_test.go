package main

import (
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	const pass = `{"Action":"pass","Package":"p","Test":"TestA"}` + "\n" + `{"Action":"pass","Package":"p","Elapsed":1.5}` + "\n"
	const skip = `{"Action":"output","Package":"p","Test":"TestB","Output":"=== RUN   TestB\n"}` + "\n" +
		`{"Action":"output","Package":"p","Test":"TestB","Output":"    x_test.go:5: redis-server is missing\n"}` + "\n" +
		`{"Action":"output","Package":"p","Test":"TestB","Output":"--- SKIP: TestB (0.00s)\n"}` + "\n" +
		`{"Action":"skip","Package":"p","Test":"TestB"}` + "\n"
	for name, c := range map[string]struct {
		in     string
		ci     bool
		status int
		want   []string
	}{
		"all passed": {
			in:   pass,
			want: []string{"ok  \tp\t1.500s", "1 tests executed: 1 passed, 0 failed; 0 skipped; 1 packages passed, 0 failed, 0 without tests"},
		},
		"a skip is shown": {in: skip + pass, want: []string{"p TestB: x_test.go:5: redis-server is missing", "1 skipped"}},
		"a skip fails in CI": {
			in: skip + pass, ci: true, status: 1, want: []string{"nothing may be skipped when CI=true"},
		},
		"a failure shows its output": {
			in: `{"Action":"output","Package":"p","Test":"TestA","Output":"    x_test.go:9: got 1\n"}` + "\n" +
				`{"Action":"fail","Package":"p","Test":"TestA"}` + "\n" + `{"Action":"fail","Package":"p"}` + "\n",
			status: 1, want: []string{"x_test.go:9: got 1", "FAIL\tp", "0 passed, 1 failed"},
		},
		"a build failure": {
			in: `{"ImportPath":"p [p.test]","Action":"build-output","Output":"x.go:3: undefined: y\n"}` + "\n" +
				`{"ImportPath":"p [p.test]","Action":"build-fail"}` + "\n" + pass + `{"Action":"fail","Package":"q"}` + "\n",
			status: 1, want: []string{"x.go:3: undefined: y", "1 packages passed, 1 failed"},
		},
		"a test that died with its process": {
			in: pass + `{"Action":"output","Package":"q","Test":"TestC","Output":"panic: boom\n"}` + "\n", status: 1,
			want: []string{"unfinished: q TestC\npanic: boom"},
		},
		"nothing executed": {in: "", status: 1, want: []string{"nothing was executed"}},
		"go itself complains": {
			in: "go: no such package\n", status: 1, want: []string{"go: no such package"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			if status := run(strings.NewReader(c.in), &out, c.ci); status != c.status {
				t.Errorf("status %d, want %d", status, c.status)
			}
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in\n%s", want, out.String())
				}
			}
		})
	}
}
