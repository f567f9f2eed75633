package dns_test

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/discovery"
	"github.com/suuupra/gateway/schema/ir"
)

func TestMain(m *testing.M) { testkit.NoLeaks(m) }

// server is a real name server on UDP and TCP of one port, which answers what it is told.
type server struct {
	t       *testing.T
	addr    string
	mu      sync.Mutex
	records map[string][]string // "name type" to zone file lines
	extra   map[string][]string
	edit    func(q, m *dns.Msg, tcp bool)
	asked   map[string]int
	running []*dns.Server
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, records: map[string][]string{}, extra: map[string][]string{}, asked: map[string]int{}}
	s.start()
	t.Cleanup(s.stop)
	return s
}

func (s *server) start() {
	s.t.Helper()
	if s.addr == "" {
		s.addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.addr = l.Addr().String()
	pc, err := net.ListenPacket("udp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, d := range []*dns.Server{
		{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) { s.answer(w, q, false) })},
		{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) { s.answer(w, q, true) })},
	} {
		up := make(chan struct{})
		d.NotifyStartedFunc = func() { close(up) }
		go func() { _ = d.ActivateAndServe() }()
		<-up
		s.running = append(s.running, d)
	}
}

func (s *server) stop() {
	for _, d := range s.running {
		_ = d.Shutdown()
	}
	s.running = nil
}

// change changes what is answered.
func (s *server) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *server) set(name, kind string, lines ...string) {
	s.change(func() { s.records[name+" "+kind] = lines })
}

func (s *server) times(name, kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[name+" "+kind]
}

func (s *server) answer(w dns.ResponseWriter, q *dns.Msg, tcp bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := q.Question[0].Name + " " + dns.TypeToString[q.Question[0].Qtype]
	s.asked[key]++
	m := new(dns.Msg).SetReply(q)
	add := func(to *[]dns.RR, lines []string) {
		for _, line := range lines {
			rr, err := dns.NewRR(line)
			if err != nil {
				s.t.Errorf("%s: %v", line, err)
				continue
			}
			*to = append(*to, rr)
		}
	}
	lines, known := s.records[key]
	if !known {
		m.Rcode = dns.RcodeNameError
	}
	add(&m.Answer, lines)
	add(&m.Extra, s.extra[key])
	if s.edit != nil {
		s.edit(q, m, tcp)
	}
	_ = w.WriteMsg(m)
}

// follow opens a watch on a name.
func (s *server) follow(spec ir.DNS) *discovery.Watch {
	s.t.Helper()
	spec.Servers = []string{s.addr}
	if spec.MinTTL == 0 {
		spec.MinTTL, spec.MaxTTL = 20, 40
	}
	dialer := net.Dialer{}
	w, err := discovery.Open(&ir.Discovery{DNS: &spec}, discovery.Env{Dial: dialer.DialContext})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = w.Close() })
	return w
}

func text(list []discovery.Endpoint) string {
	var out []string
	for _, e := range list {
		out = append(out, fmt.Sprintf("%s/%d", e.Address, e.Weight))
	}
	return strings.Join(out, " ")
}

func becomes(t *testing.T, w *discovery.Watch, want string) {
	t.Helper()
	testkit.Eventually(t, fmt.Sprintf("%q, not %q", want, text(w.Endpoints())), func() bool { return text(w.Endpoints()) == want })
}

func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		name    string
		spec    ir.DNS
		records map[string][]string
		extra   map[string][]string
		want    string
	}{
		{"addresses", ir.DNS{Name: "a.test.", Type: "A", Port: 80}, map[string][]string{
			"a.test. A": {"a.test. 1 A 10.0.0.2", "a.test. 1 A 10.0.0.1", "a.test. 1 A 10.0.0.1"},
		}, nil, "10.0.0.1:80/0 10.0.0.2:80/0"},
		{"both families", ir.DNS{Name: "a.test.", Type: "ip", Port: 80}, map[string][]string{
			"a.test. A": {"a.test. 1 A 10.0.0.1"}, "a.test. AAAA": {"a.test. 1 AAAA fd00::1"},
		}, nil, "10.0.0.1:80/0 [fd00::1]:80/0"},
		{"one family", ir.DNS{Name: "a.test.", Type: "ip", Port: 80}, map[string][]string{
			"a.test. A": {"a.test. 1 A 10.0.0.1"}, "a.test. AAAA": {},
		}, nil, "10.0.0.1:80/0"},
		{"alias", ir.DNS{Name: "a.test.", Type: "A", Port: 80}, map[string][]string{
			"a.test. A": {"a.test. 1 CNAME b.test.", "b.test. 1 CNAME c.test.", "c.test. 1 A 10.0.0.3"},
		}, nil, "10.0.0.3:80/0"},
		{"records nobody asked for", ir.DNS{Name: "a.test.", Type: "A", Port: 80}, map[string][]string{
			"a.test. A": {"a.test. 1 A 10.0.0.1", "evil.test. 1 A 10.6.6.6"},
		}, nil, "10.0.0.1:80/0"},
		{"services", ir.DNS{Name: "_http._tcp.a.test.", Type: "SRV"}, map[string][]string{
			"_http._tcp.a.test. SRV": {
				"_http._tcp.a.test. 1 SRV 10 5 8080 one.test.", "_http._tcp.a.test. 1 SRV 10 0 8081 two.test.", "_http._tcp.a.test. 1 SRV 20 5 9 spare.test.",
			},
			"one.test. A": {"one.test. 1 A 10.0.0.1"}, "one.test. AAAA": {}, "two.test. A": {"two.test. 1 A 10.0.0.2"}, "two.test. AAAA": {},
		}, nil, "10.0.0.1:8080/5 10.0.0.2:8081/1"},
		{"services with their addresses", ir.DNS{Name: "_http._tcp.a.test.", Type: "SRV"}, map[string][]string{
			"_http._tcp.a.test. SRV": {"_http._tcp.a.test. 1 SRV 0 5 8080 one.test."},
		}, map[string][]string{"_http._tcp.a.test. SRV": {"one.test. 1 A 10.0.0.9"}}, "10.0.0.9:8080/5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t)
			s.change(func() { s.records, s.extra = tt.records, tt.extra })
			becomes(t, s.follow(tt.spec), tt.want)
		})
	}
}

// TestLastGoodAnswerStays has every kind of bad answer follow a good one.
func TestLastGoodAnswerStays(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(*server)
	}{
		{"the name is gone", func(s *server) { s.change(func() { delete(s.records, "a.test. A") }) }},
		{"no records", func(s *server) { s.set("a.test.", "A") }},
		{"server failure", func(s *server) {
			s.change(func() { s.edit = func(_, m *dns.Msg, _ bool) { m.Rcode = dns.RcodeServerFailure } })
		}},
		{"another id", func(s *server) { s.change(func() { s.edit = func(_, m *dns.Msg, _ bool) { m.Id++ } }) }},
		{"another question", func(s *server) {
			s.change(func() { s.edit = func(_, m *dns.Msg, _ bool) { m.Question[0].Name = "b.test." } })
		}},
		{"the server is gone", func(s *server) { s.stop() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t)
			s.set("a.test.", "A", "a.test. 0 A 10.0.0.1")
			w := s.follow(ir.DNS{Name: "a.test.", Type: "A", Port: 80})
			becomes(t, w, "10.0.0.1:80/0")
			tt.damage(s)
			testkit.Eventually(t, "it is noticed", func() bool { return w.Status().Failures > 0 })
			if got := text(w.Endpoints()); got != "10.0.0.1:80/0" || w.Status().LastError == "" {
				t.Errorf("left: %q, %+v", got, w.Status())
			}
			if len(s.running) == 0 {
				s.start() // the server comes back, on the same port
			}
			s.change(func() { s.edit = nil })
			s.set("a.test.", "A", "a.test. 0 A 10.0.0.2")
			becomes(t, w, "10.0.0.2:80/0")
			if st := w.Status(); st.Failures != 0 || st.LastError != "" || st.Changes != 2 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// TestTruncated has an answer that does not fit into a datagram come over TCP.
func TestTruncated(t *testing.T) {
	s := newServer(t)
	var lines []string
	for i := range 200 {
		lines = append(lines, fmt.Sprintf("a.test. 1 A 10.1.0.%d", i))
	}
	s.set("a.test.", "A", lines...)
	s.change(func() {
		s.edit = func(_, m *dns.Msg, tcp bool) {
			if !tcp {
				m.Truncate(512)
			}
		}
	})
	w := s.follow(ir.DNS{Name: "a.test.", Type: "A", Port: 80})
	testkit.Eventually(t, "all 200", func() bool { return len(w.Endpoints()) == 200 })
}

// TestTimeToLive holds the floor and the cap of the time between two questions.
func TestTimeToLive(t *testing.T) {
	s := newServer(t)
	s.set("short.test.", "A", "short.test. 0 A 10.0.0.1")
	s.set("long.test.", "A", "long.test. 86400 A 10.0.0.1")
	start := time.Now()
	s.follow(ir.DNS{Name: "short.test.", Type: "A", Port: 80, MinTTL: 200, MaxTTL: 10_000})
	s.follow(ir.DNS{Name: "long.test.", Type: "A", Port: 80, MinTTL: 10, MaxTTL: 100})
	testkit.Eventually(t, "asked five times", func() bool { return s.times("long.test.", "A") >= 5 })
	if most := int(time.Since(start)/(180*time.Millisecond)) + 2; s.times("short.test.", "A") > most {
		t.Errorf("the floor was undercut: asked %d times in %v", s.times("short.test.", "A"), time.Since(start))
	}
}

func TestBadName(t *testing.T) {
	if _, err := discovery.Open(&ir.Discovery{DNS: &ir.DNS{Name: strings.Repeat("a", 300), Type: "A"}}, discovery.Env{}); err == nil {
		t.Error("a name that is none was taken")
	}
}
