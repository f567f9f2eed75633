package manifest_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/suuupra/gateway/compiler/kubernetes"
	"github.com/suuupra/gateway/compiler/kubernetes/manifest"
	"github.com/suuupra/gateway/schema/diag"
)

func read(files ...string) (*kubernetes.Objects, []diag.Diagnostic) {
	var diags diag.List
	var list []manifest.File
	for i, data := range files {
		list = append(list, manifest.File{Path: fmt.Sprintf("%d.yaml", i), Data: []byte(data)})
	}
	out := manifest.Read(list, &diags)
	return out, diags.Sorted()
}

const web = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: { name: web, namespace: shop }\n"

// TestRead reads the forms in which people keep manifests.
func TestRead(t *testing.T) {
	json := `{"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "web", "namespace": "shop"}}`
	for _, tt := range []struct {
		name, data string
		want       []string
	}{
		{"one document", web, []string{"Ingress shop/web 1"}},
		{"with a byte order mark and CRLF", "\xef\xbb\xbf" + strings.ReplaceAll(web, "\n", "\r\n"), []string{"Ingress shop/web 1"}},
		{"JSON", json, []string{"Ingress shop/web 1"}},
		{"several, some empty", "---\n---\n# nothing\n---\n" + web + "---\n" + strings.Replace(web, "web", "two", 1), []string{"Ingress shop/web 5", "Ingress shop/two 9"}},
		{"a list", "apiVersion: v1\nkind: List\nitems:\n- " + strings.ReplaceAll(strings.TrimSpace(web), "\n", "\n  "), []string{"Ingress shop/web 4"}},
		{"a typed list", `{"apiVersion": "networking.k8s.io/v1", "kind": "IngressList", "items": [` + json + `]}`, []string{"Ingress shop/web 1"}},
		{"without a namespace", strings.Replace(web, ", namespace: shop", "", 1), []string{"Ingress default/web 1"}},
		{"without a name", strings.Replace(web, "name: web, ", "generateName: web-, ", 1), []string{"Ingress shop/unnamed-1 1"}},
		{"a time and an anchor", web + "x-unread: &a 1\n", nil},
		{"a time", strings.Replace(web, "name: web", "creationTimestamp: 2026-01-02T03:04:05Z, name: web", 1), []string{"Ingress shop/web 1"}},
		{"aliases", web + "spec:\n  rules:\n  - &r { host: a.example.com }\n  - *r\n", []string{"Ingress shop/web 1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, diags := read(tt.data)
			if tt.want == nil {
				if len(diags) != 1 || diags[0].Message != `Ingress shop/web: unknown field "x-unread"` {
					t.Errorf("found %v", diags)
				}
				return
			}
			if len(diags) > 0 {
				t.Fatalf("found %v", diags)
			}
			var got []string
			for _, i := range o.Ingresses {
				ref := kubernetes.Ref{Kind: "Ingress", Namespace: i.Namespace, Name: i.Name}
				got = append(got, fmt.Sprint(ref, " ", o.Places[ref].Line))
			}
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// TestMistakes has what is refused, with its place.
func TestMistakes(t *testing.T) {
	for _, tt := range []struct {
		name string
		data []string
		want string
	}{
		{"no YAML", []string{"x: 1\na: b: c\n"}, `0.yaml:2 GW1601: mapping values are not allowed in this context`},
		{"a template as a field", []string{web + "spec:\n  {{ .Values.x }}\n"}, `0.yaml:5:4 GW1601: a name of a field must be text; a template has to be rendered first, such as with helm template`},
		{"a template", []string{web + "spec:\n  rules:\n  {{- range .Values.x }}\n  - host: a\n  {{- end }}\n"}, `0.yaml:6 GW1601: could not find expected ':'; this is a template: render it first, such as with helm template or kustomize build`},
		{"no object", []string{"- 1\n"}, `0.yaml:1:1 GW1602: an object needs apiVersion and kind; is this a Kubernetes manifest?`},
		{"a misspelt field", []string{web + "spec:\n  ingresClassName: x\n"}, `0.yaml:5:3 GW1602: Ingress shop/web: unknown field "spec.ingresClassName"`},
		{"a misspelt field in a list", []string{web + "spec:\n  rules:\n  - host: a\n  - hots: b\n"}, `0.yaml:7:5 GW1602: Ingress shop/web: unknown field "spec.rules[1].hots"`},
		{"a wrong type", []string{web + "spec:\n  rules:\n  - host: 1\n"}, `0.yaml:6:11 GW1602: Ingress shop/web: spec.rules.host is a number, must be text; put it in quotes`},
		{"an annotation without quotes", []string{strings.Replace(web, "name: web", "annotations: { a: true }, name: web", 1)}, `0.yaml:3:31 GW1602: Ingress shop/web: metadata.annotations is a bool, must be text; put it in quotes`},
		{"a truth value of YAML 1.1", []string{strings.Replace(web, "name: web", "annotations: { a: on }, name: web", 1)}, `0.yaml:3:31 GW1601: on without quotes is a truth value to Kubernetes and text to YAML 1.2: write true or false, or put it in quotes`},
		{"a field twice", []string{web + "spec: {}\nspec: {}\n"}, `0.yaml:5:1 GW1601: the field "spec" is there twice`},
		{"a merge key", []string{web + "spec:\n  <<: {}\n"}, `0.yaml:5:3 GW1601: merge keys (<<) are not read: repeat the fields`},
		{"an object twice", []string{web, web}, `1.yaml:1:1 GW1603: Ingress shop/web is there twice`},
		{"an old API", []string{strings.Replace(web, "/v1", "/v1beta1", 1)}, `0.yaml:1:13 GW1602: Ingress shop/web is networking.k8s.io/v1beta1, must be networking.k8s.io/v1; bring it to that version, such as with kubectl convert`},
		{"a name that is a path", []string{strings.Replace(web, "name: web", "name: ../../etc/passwd", 1)}, `0.yaml:3:19 GW1602: "../../etc/passwd" is no name: small letters, digits, "-" and "."`},
		{"a namespace that is a path", []string{strings.Replace(web, "namespace: shop", "namespace: ..", 1)}, `0.yaml:3:35 GW1602: ".." is no namespace: up to 63 small letters, digits and "-"`},
		{"deep lists", []string{strings.Repeat(`{"apiVersion": "v1", "kind": "List", "items": [`, 6) + strings.Repeat("]}", 6)}, `0.yaml:1:189 GW1602: lists lie in lists more than 4 deep`},
		{"deep values", []string{web + "spec: " + strings.Repeat("[", 200) + strings.Repeat("]", 200) + "\n"}, `0.yaml:4:107 GW1601: values lie in values more than 100 deep`},
		{"an alias of itself", []string{web + "spec: &a { rules: [*a] }\n"}, `0.yaml:4:19 GW1601: values lie in values more than 100 deep`},
		{"aliases of a long text", []string{web + "spec:\n  a: &a " + strings.Repeat("x", 1<<20) + "\n  b: [*a, *a, *a, *a, *a]\n"}, `0.yaml:6:19 GW1601: an object holds more than 4 MiB`},
		{"an alias bomb", []string{bomb()}, `0.yaml:5:7 GW1601: an object holds more than 200000 values`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, diags := read(tt.data...)
			if len(diags) != 1 {
				t.Fatalf("found %v", diags)
			}
			d := diags[0]
			got := fmt.Sprintf("%s %s: %s", d.Pos, d.Code, d.Message)
			if d.Hint != "" {
				got += "; " + d.Hint
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// bomb is ten lines that stand for 10 to the power of 9 values.
func bomb() string {
	var b strings.Builder
	b.WriteString(web + "spec:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 9; i++ {
		fmt.Fprintf(&b, "  a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	return b.String()
}

// TestSecrets keeps the content of secrets out of what is read, and out of messages.
func TestSecrets(t *testing.T) {
	o, diags := read("apiVersion: v1\nkind: Secret\nmetadata: { name: cert, namespace: shop }\ndata: { tls.key: aHVudGVyMg==, n: 12345 }\nstringData: [hunter2]\n")
	if len(diags) > 0 || len(o.Secrets) != 1 {
		t.Fatalf("found %v, secrets %v", diags, o.Secrets)
	}
	if all := fmt.Sprintf("%+v", o); strings.Contains(all, "hunter2") || strings.Contains(all, "aHVudGVyMg") {
		t.Errorf("the content was kept: %s", all)
	}
}

// TestUnread keeps what is not translated by name.
func TestUnread(t *testing.T) {
	o, diags := read("apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: { name: a }\nspec: { anything: 1 }\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: { name: b }\nspec: { mode: 0644 }\n")
	if len(diags) > 0 {
		t.Fatalf("found %v", diags)
	}
	if got, want := fmt.Sprint(o.Unread), "[GRPCRoute default/a Deployment default/b]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// FuzzRead reads any bytes: nothing crashes, everything is bounded, and what was read without a mistake translates to the same each time.
func FuzzRead(f *testing.F) {
	for _, pattern := range []string{"../testdata/traefik/*.yml", "../testdata/conformance/httproute-*.yaml"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			f.Fatalf("%s: %d files, %v", pattern, len(paths), err)
		}
		for _, p := range paths {
			data, err := os.ReadFile(p)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var diags diag.List
		o := manifest.Read([]manifest.File{{Path: "f", Data: data}}, &diags)
		if diags.Len() > 0 {
			return
		}
		var reports [2]bytes.Buffer
		for i := range reports {
			r := kubernetes.Translate(o, kubernetes.Options{})
			if err := r.JSON(&reports[i]); err != nil {
				t.Fatal(err)
			}
			for _, file := range r.Files {
				if !filepath.IsLocal(file.Path) {
					t.Errorf("a file leads out of the folder: %s", file.Path)
				}
				if _, err := file.Encode(""); err != nil {
					t.Error(err)
				}
			}
		}
		if !bytes.Equal(reports[0].Bytes(), reports[1].Bytes()) {
			t.Error("the same objects gave two results")
		}
	})
}
