package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/ir"
)

func fullRecord() *Record {
	return &Record{
		Time: time.Date(2026, 11, 23, 1, 2, 3, 4_567_000, time.UTC), ID: "01J", ClientIP: netip.MustParseAddr("192.0.2.7"),
		Method: "GET", Host: "api.example.com", Path: "/api/users/7", Proto: "HTTP/1.1", Status: 200, BytesIn: 1, BytesOut: 256,
		Duration: 12_345 * time.Microsecond, Upstream: "users", Endpoint: "10.0.0.1:8080", Header: 2 * time.Millisecond,
		Attempts: 2, Route: "users-api", Pattern: "/api/users/*", Tenant: "blue", Bundle: "sha256:0123456789abcdef",
		Code: "", UserAgent: `curl/8 "quoted"`, TraceID: "4bf92f3577b34da6a3ce929d0e0e4736",
	}
}

func TestJSONLine(t *testing.T) {
	want := `{"ts":"2026-11-23T01:02:03.004Z","id":"01J","client":"192.0.2.7","method":"GET","host":"api.example.com",` +
		`"path":"/api/users/7","proto":"HTTP/1.1","status":200,"bytes_in":1,"bytes_out":256,"duration_ms":12.345,` +
		`"upstream":"users","endpoint":"10.0.0.1:8080","upstream_ms":2.000,"attempts":2,"route":"users-api",` +
		`"pattern":"/api/users/*","tenant":"blue","bundle":"0123456789ab","user_agent":"curl/8 \"quoted\"",` +
		`"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"}` + "\n"
	if got := string(fullRecord().appendJSON(nil)); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	refused := &Record{Status: 400, Code: "bad_path", Time: time.Unix(0, 0)}
	want = `{"ts":"1970-01-01T00:00:00.000Z","status":400,"bytes_in":0,"bytes_out":0,"duration_ms":0.000,"code":"bad_path"}` + "\n"
	if got := string(refused.appendJSON(nil)); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

func TestTextLine(t *testing.T) {
	r := fullRecord()
	r.Status, r.Code = 503, "no_endpoint"
	want := "01:02:03.004 503 GET api.example.com/api/users/7 12.345ms no_endpoint route=users-api tenant=blue upstream=users " +
		"endpoint=10.0.0.1:8080 upstream_ms=2.000 attempts=2 in=1 out=256 client=192.0.2.7 id=01J\n"
	if got := string(r.appendText(nil, false)); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	if got := string(r.appendText(nil, true)); !strings.Contains(got, " \x1b[31m503\x1b[0m GET ") {
		t.Errorf("no colour: %q", got)
	}
}

func TestFill(t *testing.T) {
	start := time.Unix(100, 0)
	x := &policy.Exchange{
		Request: &httpmsg.Request{
			Method: "POST", Host: "h", Proto: "HTTP/1.1", Target: "/p?secret=1",
			Header: httpmsg.Header{Fields: []httpmsg.Field{{Name: "user-agent", Value: "ua"}}},
		},
		Path: "/p", RawQuery: "secret=1", ID: "id", ClientIP: netip.MustParseAddr("::1"), Attempt: 3, Upstream: "u", Endpoint: "e",
		Route: policy.Route{ID: "r", Pattern: "/*"}, Tenant: "t",
		Timings: policy.Timings{Start: start, UpstreamStart: start.Add(time.Millisecond), UpstreamHeader: start.Add(3 * time.Millisecond)},
	}
	var got Record
	got.Fill(x, start.Add(time.Second))
	want := Record{
		Time: start, ID: "id", ClientIP: x.ClientIP, Method: "POST", Host: "h", Path: "/p", Proto: "HTTP/1.1", Duration: time.Second,
		Upstream: "u", Endpoint: "e", Header: 2 * time.Millisecond, Attempts: 3, Route: "r", Pattern: "/*", Tenant: "t", UserAgent: "ua",
	}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if line := string(got.appendJSON(nil)); strings.Contains(line, "secret") {
		t.Errorf("the query is in the line: %s", line)
	}
}

// hostile puts s in every field that somebody outside may choose.
func hostile(s string) *Record {
	r := fullRecord()
	r.ID, r.Method, r.Host, r.Path, r.Proto, r.UserAgent, r.TraceID, r.Route, r.Code = s, s, s, s, s, s, s, s, s
	r.ClientIP = netip.MustParseAddr("fe80::1").WithZone("\n" + s)
	return r
}

func checkLines(t *testing.T, s string) {
	t.Helper()
	r := hostile(s)
	line := string(r.appendJSON(nil))
	var fields map[string]any
	if err := json.Unmarshal([]byte(line), &fields); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	if s != "" && len(s) < maxText {
		if want := strings.ToValidUTF8(s, "\uFFFD"); fields["path"] != want && !strings.Contains(s, "\xff") && want == s {
			t.Errorf("path is %q, want %q", fields["path"], want)
		}
	}
	if fields["client"] != "fe80::1" {
		t.Errorf("client is %q", fields["client"])
	}
	for _, l := range []string{line, string(r.appendText(nil, false))} {
		for i, c := range strings.TrimSuffix(l, "\n") {
			if !unicode.IsPrint(c) {
				t.Fatalf("%q has %U at %d", l, c, i)
			}
		}
	}
	plain := string(hostile("").appendText(nil, false))
	if got := strings.Count(string(r.appendText(nil, false)), " client="); got != strings.Count(plain, " client=") {
		t.Errorf("a field was forged: %q", r.appendText(nil, false))
	}
}

func TestNobodyWritesALineOfTheirOwn(t *testing.T) {
	for _, s := range []string{
		"a\n{\"status\":200}", "a\r\nb", "\x1b[2J\x1b[31m", "\u202egnp.exe", "\u2028", "\u0085", "\x9b31m", "\x00", "\x7f",
		`"},{"status":"`, `\`, "x client=1.1.1.1", "\xff\xfe", "\U000e0001", "é日本", "\ufeff",
	} {
		t.Run(s, func(t *testing.T) { checkLines(t, s) })
	}
}

func FuzzNobodyWritesALineOfTheirOwn(f *testing.F) {
	f.Add("a\n{}")
	f.Add("\u202e\xff\"\\")
	f.Fuzz(checkLines)
}

func TestLongFieldsAreCut(t *testing.T) {
	r := hostile(strings.Repeat("é", 1<<20))
	if n := len(r.appendJSON(nil)); n > 12<<10 {
		t.Errorf("a line of %d bytes", n)
	}
	var fields map[string]any
	if err := json.Unmarshal(r.appendJSON(nil), &fields); err != nil {
		t.Fatal(err)
	}
	if p := fields["path"].(string); !strings.HasSuffix(p, "é...") || len(p) != maxPath+3 {
		t.Errorf("path of %d bytes ends in %q", len(p), p[len(p)-6:])
	}
}

// gate is a writer whose writes wait until somebody lets them through.
type gate struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	block chan struct{}
	err   error
}

func (g *gate) Write(p []byte) (int, error) {
	if g.block != nil {
		<-g.block
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return 0, g.err
	}
	return g.buf.Write(p)
}

func (g *gate) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.buf.String()
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestAccessLogIsOffUntilAskedFor(t *testing.T) {
	out := &gate{}
	l := NewAccessLog(out, false, newMetrics(t), quiet())
	l.Log(fullRecord())
	if l.Enabled() {
		t.Error("enabled by itself")
	}
	l.Configure(ir.AccessLog{Enabled: true, Format: "text"})
	l.Log(fullRecord())
	l.Configure(ir.AccessLog{Enabled: true, Format: "json"})
	l.Log(fullRecord())
	l.Configure(ir.AccessLog{})
	l.Log(fullRecord())
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(got) != 2 || !strings.HasPrefix(got[0], "01:02:03.004 ") || !strings.HasPrefix(got[1], "{") {
		t.Errorf("%q", got)
	}
}

func TestRecordsAreWrittenSoonAndTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &gate{}
		l := NewAccessLog(out, false, newMetrics(t), quiet())
		l.Configure(ir.AccessLog{Enabled: true})
		l.Log(fullRecord())
		l.Log(fullRecord())
		time.Sleep(logDelay - 1)
		synctest.Wait()
		if out.String() != "" {
			t.Error("written before the others had time to come")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if n := strings.Count(out.String(), "\n"); n != 2 {
			t.Errorf("%d records after %s", n, logDelay)
		}
		for range 1 + logBatch/len(fullRecord().appendJSON(nil)) {
			l.Log(fullRecord())
		}
		synctest.Wait() // no time passes
		if n := len(out.String()); n < logBatch {
			t.Errorf("a full batch waits: %d bytes written", n)
		}
		if err := l.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAStuckWriterBlocksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &gate{block: make(chan struct{})}
		m := newMetrics(t)
		l := NewAccessLog(out, false, m, quiet())
		l.Configure(ir.AccessLog{Enabled: true})
		l.Log(fullRecord())
		time.Sleep(logDelay)
		synctest.Wait() // the writer is stuck with the first record
		size := len(fullRecord().appendJSON(nil))
		fits := logBuffer / size
		for range fits + 100 {
			l.Log(fullRecord())
		}
		wantLines(t, scrape(t, m), "gw_access_log_dropped_total", "gw_access_log_dropped_total 100")

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("closing a stuck log: %v", err)
		}
		close(out.block)
		if err := l.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(out.String(), "\n"); n != fits+1 {
			t.Errorf("%d records written, want %d", n, fits+1)
		}
		l.Log(fullRecord())
		wantLines(t, scrape(t, m), "gw_access_log_dropped_total", "gw_access_log_dropped_total 101")
	})
}

func TestAWriterThatFailsIsReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		out := &gate{err: io.ErrShortWrite}
		m := newMetrics(t)
		l := NewAccessLog(out, false, m, slog.New(slog.NewTextHandler(&log, nil)))
		l.Configure(ir.AccessLog{Enabled: true})
		for range 3 {
			l.Log(fullRecord())
			time.Sleep(logDelay)
			synctest.Wait()
		}
		out.mu.Lock()
		out.err = nil
		out.mu.Unlock()
		l.Log(fullRecord())
		if err := l.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantLines(t, scrape(t, m), "gw_access_log_dropped_total", "gw_access_log_dropped_total 3")
		for text, want := range map[string]int{"access log cannot be written": 1, "access log is written again": 1, "records were dropped": 1} {
			if n := strings.Count(log.String(), text); n != want {
				t.Errorf("%q logged %d times, want %d:\n%s", text, n, want, &log)
			}
		}
	})
}

func TestLinesOfManyWritersStayWhole(t *testing.T) {
	out := &gate{}
	m := newMetrics(t)
	l := NewAccessLog(out, false, m, quiet())
	l.Configure(ir.AccessLog{Enabled: true})
	var wg sync.WaitGroup
	const workers, each = 4, 1000
	for range workers {
		wg.Go(func() {
			for range each {
				l.Log(fullRecord())
			}
		})
	}
	wg.Wait()
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := string(fullRecord().appendJSON(nil))
	if got := out.String(); got != strings.Repeat(want, workers*each) {
		t.Errorf("%d records, %d whole", strings.Count(got, "\n"), strings.Count(got, want))
	}
}

func BenchmarkEncode(b *testing.B) {
	r := fullRecord()
	line := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		line = r.appendJSON(line[:0])
	}
}

func BenchmarkAccessLog(b *testing.B) {
	for _, format := range []string{"json", "text"} {
		b.Run(format, func(b *testing.B) {
			l := NewAccessLog(io.Discard, false, newMetrics(b), quiet())
			l.Configure(ir.AccessLog{Enabled: true, Format: format})
			r := fullRecord()
			b.ReportAllocs()
			for b.Loop() {
				l.Log(r)
			}
			if err := l.Close(context.Background()); err != nil {
				b.Fatal(err)
			}
		})
	}
}
