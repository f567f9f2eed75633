package admin

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"

	"github.com/suuupra/gateway/internal/testkit"
)

func document(t *testing.T) []byte {
	t.Helper()
	text, err := json.MarshalIndent(describe(routes, "1.2.3"), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

// TestGoldenOpenAPI holds the description to what was reviewed: clients are made from it.
func TestGoldenOpenAPI(t *testing.T) {
	testkit.Golden(t, "testdata/openapi.json", document(t))
}

// TestOpenAPIIsValid has a library judge the description, and what the server answers by it.
func TestOpenAPIIsValid(t *testing.T) {
	o := newOffice(t, parts{})
	tokens := o.logIn(t, "super-admin-user")
	_, made := o.post(t, "/admin/keys", tokens.AccessToken, `{"owner":"shop","tenant":"blue","scopes":["read"],"expiresIn":"90d"}`)
	var key Key
	if err := json.Unmarshal([]byte(made), &key); err != nil {
		t.Fatal(made)
	}
	doc, err := libopenapi.NewDocument(document(t))
	if err != nil {
		t.Fatal(err)
	}
	v, errs := validator.NewValidator(doc)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if ok, errs := v.ValidateDocument(); !ok {
		for _, e := range errs {
			t.Errorf("%s: %s", e.Message, e.Reason)
		}
	}
	judge := func(method, path, body string, want int) {
		t.Helper()
		r := withBody(request(method, path, bearer(tokens.AccessToken)...), "application/json", body)
		resp := o.do(r)
		if resp.Status != want {
			t.Errorf("%s %s: %d", method, path, resp.Status)
		}
		req, err := http.NewRequest(method, "http://gateway.example.com"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		answer := &http.Response{StatusCode: resp.Status, Header: http.Header{}, Body: io.NopCloser(resp.Body), Request: req}
		for _, f := range resp.Header.Fields {
			answer.Header.Add(f.Name, f.Value)
		}
		if ok, errs := v.ValidateHttpResponse(req, answer); !ok {
			for _, e := range errs {
				t.Errorf("%s %s: %s: %s", method, path, e.Message, e.Reason)
				for _, s := range e.SchemaValidationErrors {
					t.Errorf("  %s: %s", s.FieldPath, s.Reason)
				}
			}
		}
	}
	id := key.Record.ID
	for i := range routes {
		if r := &routes[i]; r.method == "GET" && r.media == "" {
			judge("GET", strings.Replace(sample(r), "abcdefgh234567yz", id, 1), "", 200)
		}
	}
	judge("POST", "/admin/reload", "", 202)
	judge("POST", "/admin/keys", `{"owner":"a"}`, 201)
	judge("POST", "/admin/keys/"+id+"/rotate", `{"overlap":"1h"}`, 200)
	judge("POST", "/admin/keys/"+id+"/finish-rotation", "", 200)
	judge("DELETE", "/admin/keys/"+id, "", 200)
	judge("POST", "/admin/keys", `{"owner":""}`, 400)
	judge("POST", "/admin/login", `{"username":"viewer-user","password":"`+password+`"}`, 200)
	judge("POST", "/admin/login", `{"username":"viewer-user","password":"wrong"}`, 401)
	judge("POST", "/admin/logout", "", 200)
}

// TestOpenAPISaysWhatThereIs holds the description and the table together.
func TestOpenAPISaysWhatThereIs(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Permission  string `json:"x-permission"`
			Security    *[]any `json:"security"`
		}
	}
	status, answer := newOffice(t, parts{}).ask(t, "GET", "/admin/openapi.json", token)
	if err := json.Unmarshal([]byte(strings.ReplaceAll(answer, `"parameters":[{"in":"path"`, `"x":[{"in":"path"`)), &doc); status != 200 {
		t.Fatalf("%d %v", status, err)
	}
	names := map[string]bool{}
	for i := range routes {
		r := &routes[i]
		op := doc.Paths[strings.Replace(r.path, "{id...}", "{id}", 1)][strings.ToLower(r.method)]
		if op.OperationID == "" || names[op.OperationID] || op.Permission != r.permission || (op.Security != nil) != r.open {
			t.Errorf("%s %s: %+v", r.method, r.path, op)
		}
		names[op.OperationID] = true
	}
}
