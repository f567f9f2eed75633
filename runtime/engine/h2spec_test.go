package engine_test

import (
	"context"
	"encoding/xml"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/runtime/engine"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/schema/ir"
)

// deviations are the cases of h2spec that are answered otherwise, each with its reason. One that is answered as asked has to leave
// the list.
var deviations = map[string]string{
	"http2/6.5.3: Sends multiple values of SETTINGS_INITIAL_WINDOW_SIZE":                                            "the standard library takes a setting that is repeated in one frame for an error",
	"http2/8.1.2.2: Sends a HEADERS frame that contains the connection-specific header field":                       "the standard library refuses the request with 400 rather than by a reset; it is not forwarded",
	"http2/8.1.2.2: Sends a HEADERS frame that contains the TE header field with any value other than \"trailers\"": "as above",
}

// inClear are those of a port that speaks HTTP/1.1 as well.
var inClear = map[string]string{
	"http2/3.5: Sends invalid connection preface": "what is not the preface is HTTP/1.1, and refused as such",
}

// pages answers everything with a body, whatever was asked, as the suite expects of a server.
func pages(_ context.Context, w httpmsg.ResponseWriter, r *httpmsg.Request) {
	if r.Body != nil {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			w.Abort()
			return
		}
	}
	const page = "a page that is long enough to be sent in several frames where windows are small"
	_ = w.Header(200, nil, int64(len(page)))
	_, _ = io.WriteString(w, page)
}

// TestH2Spec runs the conformance suite of HTTP/2 and HPACK (github.com/summerwind/h2spec) against the engine.
func TestH2Spec(t *testing.T) {
	tlsListener, _ := secured(t)
	tlsListener.HTTP2 = ir.HTTP2{Enabled: true}
	tlsListener.TLS.NextProtos = []string{"h2", "http/1.1"}
	for _, at := range []struct {
		name string
		l    engine.Listener
		args []string
	}{
		{"h2c", cleartext(t), nil},
		{"TLS", tlsListener, []string{"--tls", "--insecure"}},
	} {
		t.Run(at.name, func(t *testing.T) {
			_, addr := serve(t, at.l, pages, settings, engine.Hooks{})
			host, port, err := net.SplitHostPort(addr)
			if err != nil {
				t.Fatal(err)
			}
			report := filepath.Join(t.TempDir(), "report.xml")
			args := append([]string{"tool", "-modfile=../../tools/go.mod", "h2spec", "--strict", "--host", host, "--port", port, "--timeout", "5", "--junit-report", report}, at.args...)
			out, _ := exec.CommandContext(t.Context(), "go", args...).CombinedOutput() // failed cases make it fail; the report tells which
			raw, err := os.ReadFile(report)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			var suites struct {
				Suite []struct {
					Case []struct {
						Package string    `xml:"package,attr"`
						Class   string    `xml:"classname,attr"`
						Failure string    `xml:"failure"`
						Error   string    `xml:"error"`
						Skipped *struct{} `xml:"skipped"`
					} `xml:"testcase"`
				} `xml:"testsuite"`
			}
			if err := xml.Unmarshal(raw, &suites); err != nil {
				t.Fatal(err)
			}
			cases, passed := 0, 0
			var failed []string
			for _, s := range suites.Suite {
				for _, c := range s.Case {
					cases++
					id := c.Package + ": " + c.Class
					if c.Failure == "" && c.Error == "" && c.Skipped == nil {
						passed++
						continue
					}
					failed = append(failed, id)
					if deviations[id] == "" && (at.args != nil || inClear[id] == "") {
						t.Errorf("%s\n%s%s", id, c.Failure, c.Error)
					}
				}
			}
			for id := range deviations {
				if !slices.Contains(failed, id) {
					t.Errorf("answered as asked by now: %s", id)
				}
			}
			if cases < 140 {
				t.Fatalf("only %d cases ran:\n%s", cases, out)
			}
			t.Logf("h2spec: %d of %d cases pass%s", passed, cases, strings.Join(append([]string{""}, failed...), "; not: "))
		})
	}
}
