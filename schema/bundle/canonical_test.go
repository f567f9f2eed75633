package bundle

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestCanonicalJSON(t *testing.T) {
	for _, c := range []struct{ name, in, want, err string }{
		{name: "sorted members", in: `{"b":1,"a":{"d":[],"c":{}}}`, want: `{"a":{"c":{},"d":[]},"b":1}`},
		{name: "white space", in: " [ 1 ,\t2,\r\n null , true , false ] ", want: `[1,2,null,true,false]`},
		{name: "escapes", in: `"\u0041\/\u00e9\u2028\"\\\b\f\n\r\t\u001f<>&"`, want: "\"A/é\u2028\\\"\\\\\\b\\f\\n\\r\\t\\u001f<>&\""},
		{name: "surrogate pair", in: `"\ud83d\ude00"`, want: `"😀"`},
		{name: "NFC", in: "\"e\u0301\"", want: "\"\u00e9\""},
		{name: "NFC by escape", in: `"e\u0301"`, want: "\"\u00e9\""},
		{name: "replacement character", in: `"\ufffd"`, want: "\"\ufffd\""},
		{name: "delete stands for itself", in: "\"\x7f\"", want: "\"\x7f\""},
		{name: "largest", in: `[9223372036854775807,-9223372036854775808,0]`, want: `[9223372036854775807,-9223372036854775808,0]`},
		{name: "members by bytes", in: `{"z":1,"é":2,"Z":3}`, want: `{"Z":3,"z":1,"é":2}`},

		{name: "repeated member", in: `{"a":1,"b":2,"a":3}`, err: `the member "a" stands twice`},
		{name: "repeated by escape", in: `{"a":1,"\u0061":3}`, err: `the member "a" stands twice`},
		{name: "repeated by NFC", in: "{\"\u00e9\":1,\"e\u0301\":3}", err: `stands twice`},
		{name: "float", in: `1.5`, err: "whole number"},
		{name: "float in disguise", in: `1.0`, err: "whole number"},
		{name: "exponent", in: `1e3`, err: "whole number"},
		{name: "huge exponent", in: `1e999`, err: "whole number"},
		{name: "minus zero", in: `-0`, err: "leading zero, or is -0"},
		{name: "leading zero", in: `01`, err: "leading zero"},
		{name: "too large", in: `9223372036854775808`, err: "whole number"},
		{name: "too small", in: `-9223372036854775809`, err: "whole number"},
		{name: "very long", in: `99999999999999999999999`, err: "whole number"},
		{name: "minus alone", in: `-`, err: "whole number"},
		{name: "NUL by escape", in: `"a\u0000"`, err: "NUL"},
		{name: "NUL", in: "\"a\x00\"", err: "control character"},
		{name: "NUL outside", in: "1\x00", err: "more than one value"},
		{name: "line break in a string", in: "\"a\nb\"", err: "control character"},
		{name: "lone surrogate", in: `"\ud83d"`, err: "half a surrogate pair"},
		{name: "lone low surrogate", in: `"\ude00x"`, err: "half a surrogate pair"},
		{name: "two high surrogates", in: `"\ud83d\ud83d"`, err: "half a surrogate pair"},
		{name: "invalid UTF-8", in: "\"\xff\"", err: "UTF-8"},
		{name: "encoded surrogate", in: "\"\xed\xa0\x80\"", err: "UTF-8"},
		{name: "byte order mark", in: "\ufeff1", err: "not a JSON value"},
		{name: "two values", in: `1 2`, err: "more than one value"},
		{name: "trailing comma", in: `[1,]`, err: "not a JSON value"},
		{name: "comment", in: `/**/1`, err: "not a JSON value"},
		{name: "single quotes", in: `{'a':1}`, err: "name of a member"},
		{name: "unknown escape", in: `"\x41"`, err: "unknown escape"},
		{name: "bad hex", in: `"\u00g0"`, err: "hexadecimal"},
		{name: "empty", in: ``, err: "too early"},
		{name: "open list", in: `[1`, err: "too early"},
		{name: "open object", in: `{"a"`, err: "colon"},
		{name: "open string", in: `"a`, err: "too early"},
		{name: "open escape", in: `"\`, err: "too early"},
		{name: "too deep", in: strings.Repeat("[", 10_001), err: "nested deeper than 128"},
		{name: "half a word", in: `tru`, err: "not a JSON value"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := CanonicalJSON([]byte(c.in))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got %q, %v; want an error with %q", got, err, c.err)
				}
				return
			}
			if err != nil || string(got) != c.want {
				t.Fatalf("got %q, %v; want %q", got, err, c.want)
			}
			if err := CheckCanonical(got); err != nil {
				t.Errorf("the result is not canonical: %v", err)
			}
			if err := CheckCanonical([]byte(c.in)); (err == nil) != (c.in == c.want) {
				t.Errorf("CheckCanonical of the input = %v", err)
			}
		})
	}
}

func TestCanonicalRefusesWhatMarshalLoses(t *testing.T) {
	if got, err := Canonical(map[string]string{"a": "\xff"}); err == nil {
		t.Errorf("invalid UTF-8 became %q", got)
	}
	if got, err := Canonical(map[string]any{"a": 1.5}); err == nil {
		t.Errorf("a float became %q", got)
	}
	if got, err := Canonical("\ufffd"); err != nil || string(got) != "\"\ufffd\"" {
		t.Errorf("a replacement character became %q, %v", got, err)
	}
	raw := json.RawMessage(`{ "b" : 1, "a" : "<" }`)
	if got, err := Canonical(struct{ Plan json.RawMessage }{raw}); err != nil || string(got) != `{"Plan":{"a":"<","b":1}}` {
		t.Errorf("a raw message became %s, %v", got, err)
	}
}

// FuzzCanonical: canonical form is a fixed point, means the same, and is accepted by encoding/json.
func FuzzCanonical(f *testing.F) {
	for _, s := range []string{`{"b":[1,-2,"\u00e9"],"a":null}`, `"\ud83d\ude00"`, `{"a":1,"a":2}`, `1.5`, "\"e\u0301\""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		out, err := CanonicalJSON(in)
		if err != nil {
			return
		}
		if !json.Valid(in) || !json.Valid(out) {
			t.Fatalf("accepted %q, which is not JSON (result %q)", in, out)
		}
		if again, err := CanonicalJSON(out); err != nil || string(again) != string(out) {
			t.Fatalf("%q is not a fixed point: %q, %v", out, again, err)
		}
	})
}

type benchRoute struct {
	ID       string            `json:"id"`
	Match    map[string]string `json:"match"`
	Target   json.RawMessage   `json:"target"`
	Policies []json.RawMessage `json:"policies"`
	Timeout  int64             `json:"timeout"`
}

func sampleRoute(i int) benchRoute {
	return benchRoute{
		ID:     fmt.Sprintf("service-%05d", i),
		Match:  map[string]string{"host": "api.example.com", "path": fmt.Sprintf("/api/service-%05d/*", i)},
		Target: json.RawMessage(fmt.Sprintf(`{"type":"http","upstream":"http://service-%05d:8080"}`, i)),
		Policies: []json.RawMessage{
			json.RawMessage(`{"kind":"auth.jwt","plan":{"audience":["api"],"clockSkew":60000,"issuer":"https://id.example.com","jwksUri":"https://id.example.com/jwks.json","requiredRoles":["user"],"requiredScopes":["user.read"]}}`),
			json.RawMessage(`{"kind":"rateLimit","plan":{"burst":60,"interval":60000,"key":"principal","onUnavailable":"local"}}`),
		},
		Timeout: 10_000,
	}
}

func BenchmarkCanonical10k(b *testing.B) {
	routes := make([]benchRoute, 10_000)
	for i := range routes {
		routes[i] = sampleRoute(i)
	}
	b.ReportAllocs()
	for b.Loop() {
		for i := range routes {
			data, err := Canonical(routes[i])
			if err != nil {
				b.Fatal(err)
			}
			DigestOf(data)
		}
	}
}

func BenchmarkCheckCanonical(b *testing.B) {
	data, err := Canonical(sampleRoute(1))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if err := CheckCanonical(data); err != nil {
			b.Fatal(err)
		}
	}
}
