package httptarget_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/suuupra/gateway/runtime/policy"
)

// journal is what the streams of one response were asked, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) note(s string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, s)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines, " ")
}

// tap is a Stream that holds back what it takes until it is flushed, puts its name around it, and keeps a journal.
type tap struct {
	name    string
	journal *journal
	trouble string // "chunk", "flush", "end": where
	panics  bool   // or fails
	held    []byte
}

func (s *tap) did(what string) error {
	if s.journal.note(s.name + "." + what); what != s.trouble {
		return nil
	}
	if s.panics {
		panic(what)
	}
	return errors.New(what)
}

func (s *tap) Chunk(p []byte) ([]byte, error) {
	err := s.did("chunk")
	s.held = append(s.held, p...)
	return nil, err
}

func (s *tap) Flush() ([]byte, error) { return s.out("flush") }

func (s *tap) End() ([]byte, error) { return s.out("end") }

func (s *tap) Close() { s.journal.note(s.name + ".close") }

func (s *tap) out(what string) ([]byte, error) {
	if len(s.held) == 0 && what == "flush" {
		return nil, nil
	}
	if err := s.did(what); err != nil {
		return nil, err
	}
	p := fmt.Appendf(nil, "%s(%s)", s.name, s.held)
	s.held = nil
	return p, nil
}

// paced is a server that sends a piece whenever it is told to, up to one that is empty.
func paced(next <-chan string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.Flush()
		for {
			select {
			case s := <-next:
				if s == "" {
					return
				}
				_, _ = io.WriteString(w, s)
				_ = rc.Flush()
			case <-r.Context().Done():
				return
			}
		}
	}
}

// upstreams are servers of both protocols.
func upstreams(t *testing.T, h http.HandlerFunc) map[string]options {
	t.Helper()
	return map[string]options{
		"http1": defaults(serve(t, &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second})),
		"http2": origin2(t, h),
	}
}

// TestStreamsInOrder takes pieces through two policies: what the first gives out at a pause goes through the second before that is
// asked for its own, and so at the end.
func TestStreamsInOrder(t *testing.T) {
	next := make(chan string)
	for name, o := range upstreams(t, paced(next)) {
		t.Run(name, func(t *testing.T) {
			j := &journal{}
			o.hooks = func(p *proxy) { p.streams = []policy.Stream{&tap{name: "a", journal: j}, &tap{name: "b", journal: j}} }
			p := startProxy(t, o)
			resp, err := speaker(t, false).Get("http://" + p.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			for _, s := range []string{"one", "two", "three"} {
				next <- s // the next one is not sent before this one has come
				want := "b(a(" + s + "))"
				got := make([]byte, len(want))
				if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != want {
					t.Fatalf("got %q, %v; want %q", got, err, want)
				}
			}
			next <- ""
			if got, err := io.ReadAll(resp.Body); err != nil || string(got) != "b(a())" {
				t.Errorf("at the end %q, %v", got, err)
			}
			eventually(t, "the end of the exchange", func() bool { return p.count() == 1 })
			want := strings.Repeat("a.chunk a.flush b.chunk b.flush ", 3) + "a.end b.chunk b.end a.close b.close"
			if got := j.String(); got != want {
				t.Errorf("the policies were asked for\n%s, want\n%s", got, want)
			}
		})
	}
}

// TestStreamsThatFail has a policy refuse a piece, or panic: the client sees that the response is cut, and every stream is closed once.
func TestStreamsThatFail(t *testing.T) {
	for _, protocol := range []string{"http1", "http2"} {
		for _, panics := range []bool{false, true} {
			for _, trouble := range []string{"a.chunk", "b.chunk", "a.flush", "b.flush", "a.end", "b.end"} {
				t.Run(fmt.Sprint(protocol, " ", trouble, " panics ", panics), func(t *testing.T) {
					next := make(chan string) // of this server alone: one whose response was cut may still wait for a piece
					o := upstreams(t, paced(next))[protocol]
					j := &journal{}
					who, where, _ := strings.Cut(trouble, ".")
					o.hooks = func(p *proxy) {
						p.recovers = true
						for _, name := range []string{"a", "b"} {
							s := &tap{name: name, journal: j, panics: panics}
							if name == who {
								s.trouble = where
							}
							p.streams = append(p.streams, s)
						}
					}
					p := startProxy(t, o)
					c := dial(t, p.addr)
					c.send(get)
					contains(t, c.head(), "200 OK")
					next <- "one"
					if where == "end" {
						c.exactly(len("9\r\nb(a(one))\r\n"))
						next <- ""
					}
					if got, _ := c.rest(); strings.Contains(got, "0\r\n\r\n") {
						t.Errorf("the response looks complete: %q", got)
					}
					eventually(t, "nothing is under way", func() bool { return p.pool.Gauges(nil).Requests == 0 })
					eventually(t, "the streams are closed", func() bool { return strings.HasSuffix(j.String(), "a.close b.close") })
					if n := strings.Count(j.String(), "close"); n != 2 {
						t.Errorf("%d times: %s", n, j)
					}
					if code := p.codes(); !panics && code != "policy_cut" {
						t.Errorf("code %s", code)
					}
				})
			}
		}
	}
}

// TestStreamsOfAClientThatLeaves closes what policies hold when nobody reads any more.
func TestStreamsOfAClientThatLeaves(t *testing.T) {
	next := make(chan string)
	for name, o := range upstreams(t, paced(next)) {
		t.Run(name, func(t *testing.T) {
			j := &journal{}
			o.hooks = func(p *proxy) { p.streams = []policy.Stream{&tap{name: "a", journal: j}} }
			p := startProxy(t, o)
			c := dial(t, p.addr)
			c.send(get)
			c.head()
			next <- "one"
			c.exactly(len("6\r\na(one)\r\n"))
			_ = c.Close()
			eventually(t, "client_closed", func() bool { return p.codes() == "client_closed" })
			if got := j.String(); got != "a.chunk a.flush a.close" {
				t.Errorf("asked for %s", got)
			}
		})
	}
}
