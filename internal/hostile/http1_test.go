package hostile_test

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
)

// TestRequests sends each request, and behind it one that has to be answered only if the first ended where it was meant to.
func TestRequests(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "", nil)
	for _, carrier := range carriers {
		for _, tt := range slices.Concat(framings, heads) {
			t.Run(tt.name+" "+carrier, func(t *testing.T) { g.send(t, carrier, &tt) })
		}
	}
	t.Run("TLS in the clear", func(t *testing.T) {
		g.send(t, "in the clear", &request{bytes: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", answers: badMethod})
	})
	t.Run("HTTP/1.1 where TLS is spoken", func(t *testing.T) {
		before := g.moment()
		c := (&gateway{plain: g.secure}).dial(t, "in the clear", "")
		_, _ = io.WriteString(c, get("X: y")+tail)
		if got, err := c.answers(); got != "400" || err != nil {
			t.Errorf("answered %q, %v", got, err)
		}
		g.judge(t, before, "", "")
	})
}

func (g *gateway) send(t *testing.T, carrier string, r *request) {
	t.Helper()
	before := g.moment()
	c := g.dial(t, carrier, "http/1.1")
	if r.late == "" {
		go func() { _, _ = io.WriteString(c, r.bytes+tail) }() // it may be refused before it is all sent
	} else {
		_, _ = io.WriteString(c, r.bytes)
		testkit.Eventually(t, "the upstream has the head", func() bool { return g.open.mark().requests > before.open.requests })
		_, _ = io.WriteString(c, r.late+tail)
	}
	if got, err := c.answers(); got != r.answers || err != nil {
		t.Errorf("answered %q, %v, want %q", got, err, r.answers)
	}
	for _, x := range g.judge(t, before, r.open, "") {
		for word := range strings.FieldsSeq(r.without) {
			if strings.Contains(strings.ToLower(x.head), strings.ToLower(word)) {
				t.Errorf("the upstream saw %q in\n%s", word, x.head)
			}
		}
	}
}
