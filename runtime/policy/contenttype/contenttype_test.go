package contenttype

import (
	"mime"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/policy"
)

func TestCompile(t *testing.T) {
	for _, tt := range []struct {
		name, spec, plan string
		said             []string
	}{
		{name: "sorted", spec: "[text/plain, application/json]", plan: `{"allow":["application/json","text/plain"]}`},
		{name: "a family", spec: "[image/*, application/json]", plan: `{"allow":["application/json","image/*"]}`},
		{
			name: "one of a family beside it", spec: "[image/png, image/*]", plan: `{"allow":["image/*"]}`,
			said: []string{"warning GW3041 policy.contentType.allow[0]: allow[0] is image/png, which image/* already takes (remove one of the two)"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan, said := policytest.Compile(t, Kind, policytest.Route{Policy: "contentType: { allow: " + tt.spec + " }"})
			if string(plan) != tt.plan {
				t.Errorf("plan %s, want %s", plan, tt.plan)
			}
			if !slices.Equal(said, tt.said) {
				t.Errorf("said %q, want %q", said, tt.said)
			}
		})
	}
}

const (
	other = "415 unsupported_media_type"
	bad   = "400 bad_content_type"
)

func newHandler(tb testing.TB) (*policytest.World, policy.Handler) {
	tb.Helper()
	w := policytest.NewWorld()
	return w, w.Build(tb, Kind, policytest.MustCompile(tb, Kind, policytest.Route{Policy: "contentType: { allow: [application/json, text/*] }"}))
}

func TestDecide(t *testing.T) {
	const json = "Content-Type: application/json"
	for _, tt := range []struct {
		name   string
		length int64
		lines  []string
		want   string
	}{
		{"no body", 0, nil, "pass"},
		{"no body, another type", 0, []string{"Content-Type: image/png"}, "pass"},
		{"no body, two types", 0, []string{json, json}, "pass"},
		{"listed", 10, []string{json}, "pass"},
		{"unknown length", -1, []string{json}, "pass"},
		{"unknown length, another type", -1, []string{"Content-Type: image/png"}, other},
		{"of a family", 10, []string{"Content-Type: text/csv"}, "pass"},
		{"spelled otherwise", 10, []string{"content-TYPE: Application/JSON"}, "pass"},
		{"with a parameter", 10, []string{json + "; charset=utf-8"}, "pass"},
		{"with a quoted parameter", 10, []string{json + `;charset="utf-8, \"x\"" ; a=b`}, "pass"},
		{"with empty parameters", 10, []string{json + " ; ;; a=b;"}, "pass"},
		{"spaces around", 10, []string{"Content-Type:  \t application/json \t"}, "pass"},
		{"no type", 10, nil, other},
		{"an empty type", 10, []string{"Content-Type: "}, other},
		{"two types", 10, []string{json, "Content-Type: text/plain"}, bad},
		{"the same type twice", 10, []string{json, "content-type: application/json"}, bad},
		{"two in a list", 10, []string{json + ", text/plain"}, other},
		{"another one", 10, []string{"Content-Type: application/xml"}, other},
		{"begins like it", 10, []string{"Content-Type: application/json-patch"}, other},
		{"begins like a family", 10, []string{"Content-Type: textual/plain"}, other},
		{"the family alone", 10, []string{"Content-Type: text"}, other},
		{"no subtype", 10, []string{"Content-Type: text/"}, other},
		{"no kind", 10, []string{"Content-Type: /json"}, other},
		{"a star", 10, []string{"Content-Type: */*"}, other},
		{"three parts", 10, []string{"Content-Type: text/x/y"}, other},
		{"space inside", 10, []string{"Content-Type: text /plain"}, other},
		{"parameter without value", 10, []string{json + "; charset"}, other},
		{"parameter with an empty value", 10, []string{json + "; charset="}, other},
		{"space around the sign", 10, []string{json + "; charset = utf-8"}, other},
		{"open quote", 10, []string{json + `; a="b`}, other},
		{"escaped end", 10, []string{json + `; a="b\"`}, other},
		{"something after the quote", 10, []string{json + `; a="b"c`}, other},
		{"something after the type", 10, []string{json + " text/plain"}, other},
		{"control character", 10, []string{json + "; a=\"b\x01\""}, other},
		{"escaped control character", 10, []string{json + "; a=\"\\\x7f\""}, other},
		{"NUL", 10, []string{"Content-Type: application/json\x00"}, other},
		{"not ASCII", 10, []string{"Content-Type: text/plain\u00e9"}, other},
		{"longer than any listed", 10, []string{"Content-Type: text/" + strings.Repeat("a", maxType)}, other},
		{"as long as one can be", 10, []string{"Content-Type: text/" + strings.Repeat("a", maxType-len("text/"))}, "pass"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, h := newHandler(t)
			x := w.Exchange("POST", "/", tt.lines...)
			x.Request.ContentLength = tt.length
			v := h.Decide(t.Context(), x)
			if got := policytest.Said(v); got != tt.want {
				t.Fatalf("%s, want %s", got, tt.want)
			}
			if tt.want != other {
				return
			}
			if f := v.Reject.Header; len(f) != 1 || f[0].Name != "Accept" || f[0].Value != "application/json, text/*" {
				t.Errorf("header %v, want Accept with what is taken", f)
			}
		})
	}
}

func TestBuildRefuses(t *testing.T) {
	for plan, want := range map[string]string{
		`{}`:                               "allow is empty",
		`{"allow":[]}`:                     "allow is empty",
		`{"allow":["*/*"]}`:                `allow[0]: "*/*" is no media type`,
		`{"allow":["text/*x"]}`:            `allow[0]: "text/*x" is no media type`,
		`{"allow":["/*"]}`:                 `allow[0]: "/*" is no media type`,
		`{"allow":["text/x","json"]}`:      `allow[1]: "json" is no media type`,
		`{"allow":["Text/plain"]}`:         `allow[0]: "Text/plain" is no media type`,
		`{"allow":["text/plain;a=b"]}`:     `allow[0]: "text/plain;a=b" is no media type`,
		`{"allow":["text/a\r\nX: y"]}`:     `allow[0]: "text/a\r\nX: y" is no media type`,
		`{"allow":["text/plain, a/*"]}`:    `is no media type`,
		`{"allow":["text/*"],"deny":null}`: "unknown field",
	} {
		_, err := Kind.Build(t.Context(), &policy.Env{}, []byte(plan))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Build(%s) = %v, want an error with %q", plan, err, want)
		}
	}
}

// FuzzMediaType holds that what is read is what package mime reads, and that it is a part of the value. Package mime is more lenient.
func FuzzMediaType(f *testing.F) {
	for _, s := range []string{"application/json", "TEXT/html; charset=\"utf-8\"", "a/b;;c=d", `a/b; c="\"`, "a/b, c/d", "/", ";", "a/\x00", "a/b;c=\"\u00e9\""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		var buf [maxType]byte
		got, ok := mediaType(buf[:0], value)
		if !ok {
			return
		}
		if &got[0] != &buf[0] {
			t.Error("it did not fit")
		}
		bare, _, _ := strings.Cut(strings.Trim(value, " \t"), ";")
		if want := strings.ToLower(strings.TrimRight(bare, " \t")); string(got) != want {
			t.Errorf("%q reads as %q, want %q", value, got, want)
		}
		if want, _, err := mime.ParseMediaType(bare); err == nil && want != string(got) {
			t.Errorf("%q reads as %q, package mime says %q", value, got, want)
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	w, h := newHandler(b)
	for name, line := range map[string]string{
		"listed": "Content-Type: application/json; charset=utf-8", "family": "Content-Type: text/csv", "refused": "Content-Type: image/png",
	} {
		b.Run(name, func(b *testing.B) {
			x := w.Exchange("POST", "/", "Accept: */*", "User-Agent: test", line)
			x.Request.ContentLength = 100
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				h.Decide(ctx, x)
			}
		})
	}
}
