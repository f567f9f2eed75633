package bodylimit

import (
	"strings"
	"testing"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
)

func TestDecide(t *testing.T) {
	for _, tc := range []struct {
		name   string
		length int64
		status int
	}{
		{"no body", 0, 0},
		{"exactly the limit", 1000, 0},
		{"one more", 1001, 413},
		{"unknown length is bounded while reading", -1, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, err := Kind.Build(t.Context(), &policy.Env{}, []byte(`{"maxBytes":1000}`))
			if err != nil {
				t.Fatal(err)
			}
			x := &policy.Exchange{Request: &httpmsg.Request{ContentLength: tc.length}}
			v := h.Decide(t.Context(), x)
			if got := status(v); got != tc.status {
				t.Errorf("status %d, want %d", got, tc.status)
			}
			if x.MaxBody != 1000 {
				t.Errorf("MaxBody = %d, want 1000", x.MaxBody)
			}
		})
	}
}

func TestBuildRefuses(t *testing.T) {
	for plan, want := range map[string]string{
		`{"maxBytes":-1}`:             "must not be negative",
		`{"maxBytes":1,"other":true}`: "unknown field",
		`{"maxBytes":"1"}`:            "cannot unmarshal",
	} {
		_, err := Kind.Build(t.Context(), &policy.Env{}, []byte(plan))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Build(%s) = %v, want an error with %q", plan, err, want)
		}
	}
}

func status(v policy.Verdict) int {
	if v.Reject == nil {
		return 0
	}
	return v.Reject.Status
}
