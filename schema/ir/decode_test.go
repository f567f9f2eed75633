package ir

import (
	"strings"
	"testing"
)

func TestDecodeStrict(t *testing.T) {
	for doc, want := range map[string]string{
		`{"maxBytes":1}`:           "",
		`{"maxBytes":1} `:          "",
		`{"maxBytes":1,"other":2}`: "unknown field",
		`{"maxBytes":1}{}`:         "trailing data",
		`{"maxBytes":1}}`:          "trailing data",
		`{"maxBytes":1}]`:          "trailing data",
		`{"maxBytes":1}nonsense`:   "trailing data",
		`{"maxBytes":"1"}`:         "cannot unmarshal",
		``:                         "EOF",
	} {
		var into struct {
			MaxBytes int64 `json:"maxBytes"`
		}
		err := DecodeStrict([]byte(doc), &into)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", doc, err, want)
		}
	}
}
