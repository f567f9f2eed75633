package hostile_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
)

// attempt is a request that wants something of the gateway, and what becomes of it.
type attempt struct {
	line    string   // "GET /x"
	host    string   // "": h
	from    string   // address of the client; "": 127.0.0.1
	fields  []string // "Name: value"
	body    string
	trailer []string // fields behind the body, which then has no length
	before  string   // bytes in front of it; over HTTP/1.1 alone

	want    string   // the answer: "200", "401 token_invalid"
	http2   string   // the answer over HTTP/2, if it differs; unsaid: HTTP/2 cannot say it
	to      string   // what the guarded upstream gets: "GET /x"
	open    string   // what the open one gets
	sees    []string // fields that the upstream gets, each once: "X-User-Id: ann"
	without []string // what stands nowhere in what the upstream gets
	says    []string // fields of the answer, each once
	mute    []string // names of fields that the answer does not have
}

const unsaid = "-"

// way is how a request comes to the gateway.
type way struct {
	carrier string
	http2   bool
}

// ways are all of them.
var ways = []way{{"in the clear", false}, {"over TLS", false}, {"in the clear", true}, {"over TLS", true}}

func (w way) String() string {
	if w.http2 {
		return "by HTTP/2 " + w.carrier
	}
	return "by HTTP/1.1 " + w.carrier
}

// try sends an attempt, made anew for each way.
func (s *site) try(t *testing.T, name string, attempt func() *attempt) {
	t.Helper()
	for _, w := range ways {
		a := attempt()
		if w.http2 && (a.http2 == unsaid || a.before != "") {
			continue
		}
		t.Run(name+" "+w.String(), func(t *testing.T) { s.send(t, w, a) })
	}
}

// send sends one, and compares.
func (s *site) send(t *testing.T, w way, a *attempt) {
	t.Helper()
	before := s.moment()
	want := a.want
	if w.http2 && a.http2 != "" {
		want = a.http2
	}
	got := s.patiently(t, w, a, want)
	if got.status != want {
		t.Errorf("answered %q, want %q: %.300s", got.status, want, got.body)
	}
	for _, field := range a.says {
		if name, _, _ := strings.Cut(field, ":"); strings.Count(got.header, "\n"+strings.ToLower(name)+": ") != 1 || !strings.Contains(got.header, "\n"+lower(field)+"\n") {
			t.Errorf("the answer does not say %q once:%s", field, got.header)
		}
	}
	for _, name := range a.mute {
		if strings.Contains(got.header, "\n"+strings.ToLower(name)+": ") {
			t.Errorf("the answer has %s:%s", name, got.header)
		}
	}
	open, to := a.open, a.to
	if !strings.HasPrefix(want, "2") {
		open, to = "", ""
	}
	for _, x := range s.judge(t, before, open, to) {
		x.check(t, a)
	}
}

// check compares what the upstream got.
func (x *exchange) check(t *testing.T, a *attempt) {
	t.Helper()
	head := "\n"
	for field := range strings.SplitSeq(strings.TrimSuffix(x.head, "\r\n\r\n"), "\r\n") {
		head += lower(field) + "\n"
	}
	for _, field := range a.sees {
		if name, _, _ := strings.Cut(field, ":"); strings.Count(head, "\n"+strings.ToLower(name)+": ") != 1 || !strings.Contains(head, "\n"+lower(field)+"\n") {
			t.Errorf("the upstream does not see %q once:\n%s", field, x.head)
		}
	}
	for _, word := range a.without {
		if strings.Contains(head, strings.ToLower(word)) || strings.Contains(x.head, word) || strings.Contains(strings.ToLower(x.trailer), strings.ToLower(word)) {
			t.Errorf("the upstream sees %q:\n%s%s", word, x.head, x.trailer)
		}
	}
	if len(a.trailer) == 0 && x.body != len(a.body) {
		t.Errorf("the upstream got %d bytes of body, want %d", x.body, len(a.body))
	}
}

// lower is a field with its name in small letters.
func lower(field string) string {
	name, value, found := strings.Cut(field, ":")
	if !found {
		return field
	}
	return strings.ToLower(name) + ":" + value
}

// reply is an answer as tables write it.
type reply struct {
	status string // "401 token_invalid"
	header string // "\nname: value\n...", the names in small letters
	body   string
}

// patiently asks again where a busy machine has kept Redis from answering within its 20 ms. Such a request is refused, and the upstream
// sees nothing of it; what is refused for anything else stays refused.
func (s *site) patiently(t *testing.T, w way, a *attempt, want string) (r *reply) {
	t.Helper()
	testkit.Eventually(t, "Redis answers in time", func() bool {
		r = s.ask(t, w, a)
		return r.status == want || r.status != keysAway && r.status != limitAway && r.status != unchecked
	})
	return r
}

func (s *site) ask(t *testing.T, w way, a *attempt) *reply {
	t.Helper()
	var r *reply
	if w.http2 {
		r = s.ask2(t, w.carrier, a)
	} else {
		r = s.ask1(t, w.carrier, a)
	}
	s.heard(r.body)
	return r
}

// ask1 asks over HTTP/1.1, on a connection that ends with the answer.
func (s *site) ask1(t *testing.T, carrier string, a *attempt) *reply {
	t.Helper()
	c := s.dialFrom(t, carrier, "http/1.1", a.from)
	defer func() { _ = c.Close() }()
	go func() { _, _ = io.WriteString(c, a.http1()) }() // it may be refused before it is all sent
	method, _, _ := strings.Cut(a.line, " ")
	resp, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	r := &reply{header: "\n"}
	for name, values := range resp.Header {
		for _, v := range values {
			r.header += strings.ToLower(name) + ": " + v + "\n"
		}
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("the answer broke off: %v", err)
	}
	r.body = string(text)
	r.status = strings.TrimSpace(fmt.Sprint(resp.StatusCode, " ", code(r.body)))
	if rest, err := c.answers(); rest != "" || err != nil {
		t.Errorf("behind the answer came %q, %v", rest, err)
	}
	return r
}

// http1 is the request as HTTP/1.1 writes it.
func (a *attempt) http1() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s HTTP/1.1\r\nHost: %s\r\n", a.before, a.line, a.authority())
	ends := false
	for _, f := range a.fields {
		b.WriteString(f + "\r\n")
		ends = ends || strings.HasPrefix(f, "Connection:")
	}
	if !ends {
		b.WriteString("Connection: close\r\n")
	}
	switch {
	case a.trailer != nil:
		fmt.Fprintf(&b, "Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n%s\r\n\r\n", len(a.body), a.body, strings.Join(a.trailer, "\r\n"))
	case a.body != "":
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(a.body), a.body)
	default:
		b.WriteString("\r\n")
	}
	return b.String()
}

func (a *attempt) authority() string {
	if a.host == "" {
		return "h"
	}
	return a.host
}

// ask2 asks over HTTP/2.
func (s *site) ask2(t *testing.T, carrier string, a *attempt) *reply {
	t.Helper()
	f := s.speakFrom(t, carrier, a.from)
	defer func() { _ = f.Conn.Close() }()
	method, path, _ := strings.Cut(a.line, " ")
	h := fields{":method", method, ":scheme", "http", ":authority", a.authority(), ":path", path}
	for _, field := range a.fields {
		name, value, _ := strings.Cut(field, ":")
		h = append(h, strings.ToLower(name), strings.TrimPrefix(value, " "))
	}
	_ = f.headers(1, h, a.body == "" && a.trailer == nil) // it may be ended while we write
	if a.body != "" || a.trailer != nil {
		_ = f.WriteData(1, a.trailer == nil, []byte(a.body))
	}
	if a.trailer != nil {
		h = h[:0]
		for _, field := range a.trailer {
			name, value, _ := strings.Cut(field, ": ")
			h = append(h, strings.ToLower(name), value)
		}
		_ = f.headers(1, h, true)
	}
	for f.goaway == "" && (f.streams[1] == nil || !f.streams[1].ended) && f.next() == nil {
	}
	r := &reply{status: f.result(1)}
	if got := f.streams[1]; got != nil {
		r.header, r.body = "\n"+strings.Join(append(got.header, ""), "\n"), got.body.String()
	}
	return r
}
