package compression

import (
	"bytes"
	stdgzip "compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
)

func newHandler(t testing.TB, edit func(*Plan)) policy.StreamHandler {
	t.Helper()
	p := Plan{Algorithms: []string{"zstd", "gzip"}, MinBytes: 100, Types: []string{"text/*", "application/json", "text/event-stream"}}
	if edit != nil {
		edit(&p)
	}
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	h, err := Kind.Build(t.Context(), &policy.Env{}, raw)
	if err != nil {
		t.Fatal(err)
	}
	return h.(policy.StreamHandler)
}

func fields(lines ...string) []httpmsg.Field {
	var out []httpmsg.Field
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		out = append(out, httpmsg.Field{Name: name, Value: value})
	}
	return out
}

func TestChoice(t *testing.T) {
	for _, tt := range []struct{ accept, want string }{
		{"gzip", "gzip"},
		{"zstd", "zstd"},
		{"gzip, deflate, br, zstd", "zstd"},
		{"gzip;q=1.0, zstd;q=0.5", "gzip"},
		{"GZIP", "gzip"},
		{"x-gzip", "gzip"},
		{"*", "zstd"},
		{"*;q=0.1, zstd;q=0", "gzip"},
		{"identity", ""},
		{"identity;q=1, gzip;q=0.5", ""},
		{"identity;q=0.5, gzip;q=0.5", "gzip"},
		{"identity;q=0", ""},
		{"*;q=0", ""},
		{"gzip;q=0", ""},
		{"gzip;q=0.000", ""},
		{"gzip;q=0.001", "gzip"},
		{"gzip;q=2", ""},
		{"gzip;q=1.5", ""},
		{"gzip;q=0.1234", ""},
		{"gzip;q=", ""},
		{"gzip;level=9", ""},
		{"gzip ; q = 0.8", "gzip"},
		{"", ""},
		{"br, deflate", ""},
		{strings.Repeat("br,", 100) + "gzip", ""},
	} {
		got := ""
		if a := choose(fields("Accept-Encoding: "+tt.accept), []*algorithm{algorithms["zstd"], algorithms["gzip"]}); a != nil {
			got = a.name
		}
		if got != tt.want {
			t.Errorf("%q chooses %q, want %q", tt.accept, got, tt.want)
		}
	}
	if a := choose(fields("Accept: */*"), []*algorithm{algorithms["gzip"]}); a != nil {
		t.Error("who says nothing gets it compressed")
	}
	if a := choose(fields("Accept-Encoding: br", "accept-encoding: gzip"), []*algorithm{algorithms["gzip"]}); a == nil {
		t.Error("the second line was not read")
	}
}

func TestEligible(t *testing.T) {
	html := "Content-Type: text/html; charset=utf-8"
	for _, tt := range []struct {
		name   string
		status int
		method string
		length int64
		fields []httpmsg.Field
		want   bool
		vary   string
	}{
		{name: "page", fields: fields(html), length: 1000, want: true, vary: "Accept-Encoding"},
		{name: "unknown length", fields: fields(html), length: -1, want: true, vary: "Accept-Encoding"},
		{name: "spelled otherwise", fields: fields("content-type: TEXT/HTML"), length: -1, want: true, vary: "Accept-Encoding"},
		{name: "error page", status: 500, fields: fields(html), length: 1000, want: true, vary: "Accept-Encoding"},
		{name: "at the bound", fields: fields(html), length: 100, want: true, vary: "Accept-Encoding"},
		{name: "below it", fields: fields(html), length: 99, vary: "Accept-Encoding"},
		{name: "head", method: "HEAD", fields: fields(html), length: 1000, vary: "Accept-Encoding"},
		{name: "varies already", fields: fields(html, "Vary: Origin, accept-encoding"), length: -1, want: true, vary: "Origin, accept-encoding"},
		{name: "varies on all", fields: fields(html, "Vary: *"), length: -1, want: true, vary: "*"},
		{name: "another type", fields: fields("Content-Type: image/png"), length: 1000},
		{name: "no type", length: 1000},
		{name: "events, though listed", fields: fields("Content-Type: text/event-stream"), length: -1},
		{name: "gRPC", fields: fields("Content-Type: application/grpc+proto"), length: -1},
		{name: "compressed", fields: fields(html, "Content-Encoding: br"), length: 1000},
		{name: "no-transform", fields: fields(html, "Cache-Control: public, No-Transform"), length: 1000},
		{name: "part", status: 206, fields: fields(html, "Content-Range: bytes 0-9/100"), length: 1000, vary: "Accept-Encoding"},
		{name: "part of a picture", status: 206, fields: fields("Content-Type: image/png", "Content-Range: bytes 0-9/100"), length: 1000},
		{name: "no content", status: 204, fields: fields(html)},
		{name: "not modified", status: 304, length: 1000, vary: "Accept-Encoding"},
		{name: "empty", fields: fields(html), length: 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.status == 0 {
				tt.status = 200
			}
			if tt.method == "" {
				tt.method = "GET"
			}
			r := &httpmsg.Response{Status: tt.status, ContentLength: tt.length, Header: httpmsg.Header{Fields: tt.fields}}
			x := &policy.Exchange{Request: &httpmsg.Request{Method: tt.method, Header: httpmsg.Header{Fields: fields("Accept-Encoding: gzip")}}}
			s := newHandler(t, nil).Stream(t.Context(), x, r)
			if (s != nil) != tt.want {
				t.Errorf("compressed: %t", s != nil)
			}
			if s != nil {
				s.Close()
			}
			if got := r.Header.Get("Vary"); got != tt.vary {
				t.Errorf("Vary: %q, want %q", got, tt.vary)
			}
			if tt.want != (r.ContentLength == -1 && r.Header.Get("Content-Encoding") == "gzip") {
				t.Errorf("length %d, header %v", r.ContentLength, r.Header)
			}
		})
	}
}

func TestHeader(t *testing.T) {
	r := &httpmsg.Response{Status: 200, ContentLength: 500, Header: httpmsg.Header{Fields: fields("Content-Type: text/css",
		`ETag: "a"`, "Accept-Ranges: bytes", "Content-MD5: x", "Content-Digest: y", "Content-Length: 500", "Trailer: X-Sum")}}
	x := &policy.Exchange{Request: &httpmsg.Request{Method: "GET", Header: httpmsg.Header{Fields: fields("Accept-Encoding: zstd")}}}
	newHandler(t, nil).Stream(t.Context(), x, r).Close()
	want := `[{Content-Type text/css} {ETag W/"a"} {Trailer X-Sum} {Vary Accept-Encoding} {Content-Encoding zstd}]`
	if got := fmt.Sprint(r.Header.Fields); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// decoders read what was compressed, without waiting for what has not been.
var decoders = map[string]func(io.Reader) (io.Reader, error){
	"gzip": func(r io.Reader) (io.Reader, error) { return stdgzip.NewReader(r) },
	"zstd": func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r, zstd.WithDecoderConcurrency(1)) },
}

// TestRoundTrip compresses pieces with pauses between them: after each pause the client can read all that was sent.
func TestRoundTrip(t *testing.T) {
	for name, open := range decoders {
		t.Run(name, func(t *testing.T) {
			var clients sync.WaitGroup
			for seed := range uint64(8) {
				clients.Go(func() { roundTrip(t, algorithms[name], open, rand.New(rand.NewPCG(seed, 1))) })
			}
			clients.Wait()
		})
	}
}

func roundTrip(t *testing.T, a *algorithm, open func(io.Reader) (io.Reader, error), r *rand.Rand) {
	for range 20 {
		s := a.stream()
		var sent, all bytes.Buffer
		keep := func(p []byte, err error) {
			if err != nil {
				t.Error(err)
			}
			sent.Write(p)
		}
		for range r.IntN(20) {
			piece := []byte(strings.Repeat(fmt.Sprintf("%x ", r.Uint32N(1000)), r.IntN(3000)))
			all.Write(piece)
			keep(s.Chunk(piece))
			if r.IntN(2) == 0 {
				keep(s.Flush())
				if all.Len() == 0 {
					continue
				}
				d, err := open(bytes.NewReader(sent.Bytes()))
				if err != nil {
					t.Errorf("%s: after a pause: %v", a.name, err)
					return
				}
				got := make([]byte, all.Len())
				if _, err := io.ReadFull(d, got); err != nil || !bytes.Equal(got, all.Bytes()) {
					t.Errorf("%s: after a pause the client cannot read all: %v", a.name, err)
					return
				}
			}
		}
		keep(s.End())
		d, err := open(&sent)
		if err != nil {
			t.Errorf("%s: %v", a.name, err)
			return
		}
		if got, err := io.ReadAll(d); err != nil || !bytes.Equal(got, all.Bytes()) {
			t.Errorf("%s: %d bytes of %d, %v", a.name, len(got), all.Len(), err)
		}
		s.Close()
		s.Close() // it is given back once
	}
}

func TestBuildRefuses(t *testing.T) {
	for plan, want := range map[string]string{
		`{"algorithms":["br"],"minBytes":1,"types":[]}`: `"br" is not known`,
		`{"algorithms":[],"minBytes":1,"types":[]}`:     "no algorithm",
	} {
		if _, err := Kind.Build(t.Context(), &policy.Env{}, []byte(plan)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", plan, err)
		}
	}
}

// FuzzAcceptEncoding holds that nothing is chosen which the client did not name, or allow by "*".
func FuzzAcceptEncoding(f *testing.F) {
	for _, s := range []string{"gzip", "zstd;q=0.5, *;q=0", "identity;q=1,gzip;q=0.001", ";;;,,,=", "gzip;q=1.0000", "*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, accept string) {
		a := choose([]httpmsg.Field{{Name: "Accept-Encoding", Value: accept}}, []*algorithm{algorithms["zstd"], algorithms["gzip"]})
		if a == nil {
			return
		}
		if low := strings.ToLower(accept); !strings.Contains(low, a.name) && !strings.Contains(low, "*") {
			t.Errorf("%q chooses %s", accept, a.name)
		}
	})
}

func BenchmarkStream(b *testing.B) {
	piece := []byte(strings.Repeat(`{"id": 12345, "name": "something", "tags": ["a", "b"]}`+"\n", 600)) // 32 KB
	for name, a := range algorithms {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(piece)))
			b.ReportAllocs()
			for b.Loop() {
				s := a.stream()
				_, _ = s.Chunk(piece)
				_, _ = s.End()
				s.Close()
			}
		})
	}
}
