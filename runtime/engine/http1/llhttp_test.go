package http1_test

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/suuupra/gateway/runtime/engine/http1"
	"github.com/suuupra/gateway/runtime/engine/wire"
	"github.com/suuupra/gateway/runtime/httpmsg"
)

// message is what a parser makes of one request.
type message struct {
	method, target, body string
	complete             bool
}

// stricter lists the requests that llhttp takes in its strict mode and this package does not, with the reason.
var stricter = map[string]string{
	"Spaces in `Content-Length` (surrounding)":                         "bad_content_length", // one space before, none behind: see package comment
	"Tabs in `Content-Length` (surrounding)":                           "bad_content_length", // likewise
	"Chunk extensions":                                                 "bad_chunk_size",     // nobody uses them, parsers differ about them
	"Chunk extensions quoting":                                         "bad_chunk_size",     // likewise
	"Trailing headers":                                                 "forbidden_trailer",  // Vary and Content-Type belong in the header
	"POST with `chunked` as last transfer-encoding":                    "bad_target",         // a fragment in the target comes before the coding
	"POST with `chunked` as last transfer-encoding (multiple headers)": "bad_target",
}

// looser lists the requests that llhttp refuses and this package takes: llhttp has a list of methods, but methods are an open
// set (RFC 9110 section 9.1), and which ones a route takes is the router's to say.
var looser = map[string]bool{"HTTP protocol and ANNOUNCE method": true, "Invalid method": true}

func TestLlhttpVectors(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "..", "shared", "vectors", "llhttp")
	files, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no vectors in %s", dir)
		}
		t.Skipf("no vectors in %s", dir)
	}
	cases, refusedByUs := 0, map[string]bool{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range llhttpCases(string(raw)) {
			if !strings.Contains(c.meta, `"request"`) || strings.Contains(c.meta, "skipBody") {
				continue // lenient modes, and a driver that skips bodies
			}
			cases++
			t.Run(c.name, func(t *testing.T) {
				want, theirError := llhttpMessages(c.log)
				got, refusal := parseAll(withHost(c.input))
				if looser[c.name] {
					return
				}
				for i, m := range got {
					if i >= len(want) {
						t.Fatalf("we read a request %+v where llhttp reads none", m)
					}
					w := want[i]
					if m.method != w.method || m.target != w.target || m.body != w.body && (m.complete || !strings.HasPrefix(w.body, m.body)) {
						t.Errorf("request %d: we read %+v, llhttp %+v", i, m, w)
					}
					if m.complete && !w.complete {
						t.Errorf("request %d ends for us, not for llhttp: %+v", i, m)
					}
				}
				if refusal != nil && !theirError {
					refusedByUs[c.name] = true
					if stricter[c.name] != refusal.Code {
						t.Errorf("llhttp takes it, we refuse it with %s", refusal.Code)
					}
				}
				// A refusal of llhttp's that is none here is a head or body cut off by the end of the block: it was never accepted.
			})
		}
	}
	t.Logf("%d cases", cases)
	if cases < 50 {
		t.Errorf("only %d cases were found", cases)
	}
	for name := range stricter {
		if !refusedByUs[name] {
			t.Errorf("the table of differences names %q, which is none", name)
		}
	}
}

type llhttpCase struct{ name, meta, input, log string }

var (
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	block   = regexp.MustCompile("(?s)<!-- meta=(.*?) -->\\s*```http\n(.*?)```\\s*```log\n(.*?)```")
	escape  = strings.NewReplacer(`\r`, "\r", `\n`, "\n", `\t`, "\t", `\f`, "\f", `\\`, `\`)
)

// llhttpCases reads the cases of one file. In a block every line ends in CRLF, but for one that ends in a backslash; escapes
// stand for themselves.
func llhttpCases(text string) []llhttpCase {
	var out []llhttpCase
	names := heading.FindAllStringSubmatchIndex(text, -1)
	for _, m := range block.FindAllStringSubmatchIndex(text, -1) {
		c := llhttpCase{meta: text[m[2]:m[3]], input: text[m[4]:m[5]], log: text[m[6]:m[7]]}
		for _, n := range names {
			if n[0] < m[0] {
				c.name = text[n[2]:n[3]]
			}
		}
		c.input = strings.TrimSuffix(c.input, "\n")
		c.input = strings.ReplaceAll(c.input, "\\\n", "")
		c.input = escape.Replace(strings.ReplaceAll(c.input, "\n", "\r\n"))
		out = append(out, c)
	}
	return out
}

// withHost gives requests of HTTP/1.1 the Host without which they would be refused for another reason than theirs.
func withHost(input string) string {
	if strings.Contains(input, "Host:") {
		return input
	}
	return strings.ReplaceAll(input, " HTTP/1.1\r\n", " HTTP/1.1\r\nHost: h\r\n")
}

var span = regexp.MustCompile(`span\[(method|url|body)\]="(.*)"$`)

// llhttpMessages reads the expected result.
func llhttpMessages(log string) (out []message, failed bool) {
	for line := range strings.SplitSeq(log, "\n") {
		switch {
		case strings.HasSuffix(line, "message begin"):
			out = append(out, message{})
		case strings.Contains(line, "message complete"):
			out[len(out)-1].complete = true
		case strings.Contains(line, "error code=22"): // a pause after an upgrade, no error
		case strings.Contains(line, "error code="):
			failed = true
		default:
			m := span.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			last := &out[len(out)-1]
			switch m[1] {
			case "method":
				last.method += m[2]
			case "url":
				last.target += m[2]
			case "body":
				last.body += m[2]
			}
		}
	}
	return out, failed
}

// parseAll reads requests as the engine does, until the end or a refusal.
func parseAll(input string) (out []message, refusal *httpmsg.Error) {
	here, there := net.Pipe()
	go func() {
		_, _ = io.WriteString(there, input)
		_ = there.Close()
	}()
	defer here.Close() //nolint:errcheck // a pipe
	w := wire.New(here)
	lim := http1.Limits{Bytes: 32 << 10, Fields: 100, Target: 8 << 10}
	var s http1.Scanner
	var h http1.RequestHead
	for {
		s.Reset()
		n := 0
		for n == 0 {
			if n, refusal = s.ScanRequest(w.Buffered(), &lim); refusal != nil {
				return out, refusal
			}
			if n == 0 && w.Fill() != nil {
				return out, nil
			}
		}
		refusal = h.Parse(string(w.Buffered()[:n]), &s, &lim)
		w.Discard(n)
		if refusal != nil {
			return out, refusal
		}
		m := message{method: h.Method, target: h.Target}
		var b wire.Body
		b.Begin(w, h.Length, lim, true)
		for {
			p, err := b.Next(true)
			m.body += string(p)
			if err == nil {
				continue
			}
			m.complete = err == io.EOF
			out = append(out, m)
			if !m.complete {
				errors.As(err, &refusal)
				return out, refusal
			}
			break
		}
	}
}
