package faults_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/suuupra/gateway/internal/testkit"
)

// nameServer answers one name with the loopback address.
type nameServer struct {
	t      *testing.T
	addr   string
	server *dns.Server
}

func (n *nameServer) start() {
	n.t.Helper()
	pc, err := (&net.ListenConfig{}).ListenPacket(n.t.Context(), "udp", n.addr)
	if err != nil {
		n.t.Fatal(err)
	}
	n.addr = pc.LocalAddr().String()
	started := make(chan struct{})
	n.server = &dns.Server{PacketConn: pc, NotifyStartedFunc: func() { close(started) }, Handler: dns.HandlerFunc(n.answer)}
	go func(s *dns.Server) { _ = s.ActivateAndServe() }(n.server)
	<-started
}

func (n *nameServer) answer(w dns.ResponseWriter, r *dns.Msg) {
	m := new(dns.Msg).SetReply(r)
	if r.Question[0].Qtype == dns.TypeA {
		m.Answer = []dns.RR{&dns.A{
			Hdr: dns.RR_Header{Name: r.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1},
			A:   net.IPv4(127, 0, 0, 1),
		}}
	}
	_ = w.WriteMsg(m)
}

func (n *nameServer) stop() {
	if err := n.server.Shutdown(); err != nil {
		n.t.Errorf("stop the name server: %v", err)
	}
}

// TestDNSGone takes the name server away from an upstream that is discovered through it: its last answer stays good.
func TestDNSGone(t *testing.T) {
	n := &nameServer{t: t, addr: "127.0.0.1:0"}
	n.start()
	t.Cleanup(n.stop)
	l := newLink(t)
	_, port, err := net.SplitHostPort(l.addr)
	if err != nil {
		t.Fatal(err)
	}
	g := startGateway(t, fmt.Sprintf("    discovery: { dns: { name: shaky.example.com., type: A, port: %s, servers: [%q], minTtl: 1s, maxTtl: 1s } }\n", port, n.addr), policyAlone)
	g.serve(0)
	testkit.Eventually(t, "the name is resolved", func() bool { return g.status("/shaky/x") == http.StatusOK })
	r := g.through("the name server is gone", n.stop, n.start)
	r.judge(t, 100, false)
	record(t, []row{r})
}

// TestNoDescriptorsLeft lets idle clients take every file descriptor of the gateway: those that are served already go on, and
// when the idle ones leave, new ones come in.
func TestNoDescriptorsLeft(t *testing.T) {
	l := newLink(t)
	g := startGateway(t, fmt.Sprintf("    targets: [{ url: \"http://%s\" }]\n", l.addr), policyAlone)
	g.serve(160)
	addr := strings.TrimPrefix(g.url, "http://")
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	in := bufio.NewReader(c)
	ask := func() error {
		if err := c.SetDeadline(time.Now().Add(clientPatience)); err != nil {
			return err
		}
		if _, err := io.WriteString(c, "GET /shaky/served HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
			return err
		}
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(resp.Body)
		if err == nil && (resp.StatusCode != http.StatusOK || string(body) != "served") {
			err = fmt.Errorf("answered %d %q", resp.StatusCode, body)
		}
		return err
	}
	if err := ask(); err != nil {
		t.Fatalf("before: %v", err)
	}
	var idle []net.Conn
	leave := sync.OnceFunc(func() {
		for _, c := range idle {
			_ = c.Close()
		}
	})
	defer leave()
	for range 400 {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			break // the backlog is full: there is nothing left to take
		}
		idle = append(idle, c)
	}
	if len(idle) < 100 {
		t.Fatalf("only %d idle clients came in", len(idle))
	}
	const more = 50
	for i := range more {
		if err := ask(); err != nil {
			t.Fatalf("request %d of a client that was served already, with no descriptor left: %v", i, err)
		}
	}
	leave()
	g.swap() // what had changed meanwhile, or now, is served as soon as files can be opened again
	testkit.Eventually(t, "new clients are served", func() bool { return g.status("/shaky/new") == http.StatusOK })
	record(t, nil, fmt.Sprintf("No file descriptors left: with a limit of 160, idle clients opened %d connections, until the gateway could accept no more. "+
		"A client that was served before got all of its next %d answers; when the idle ones had left, new clients were served.", len(idle), more))
	if out := g.process.Output(); strings.Contains(out, "panicked") || strings.Contains(out, "panic: ") {
		t.Errorf("the gateway panicked:\n%s", out)
	}
}

// TestStopUnderLoad ends the gateway with SIGTERM while requests come in over many connections: none that was sent on a
// connection which the gateway had accepted is lost.
func TestStopUnderLoad(t *testing.T) {
	l := newLink(t)
	l.toxic("latency", `{"latency": 20, "jitter": 10}`)
	g := startGateway(t, fmt.Sprintf("    targets: [{ url: \"http://%s\" }]\n", l.addr), policyAlone)
	g.serve(0)
	addr := strings.TrimPrefix(g.url, "http://")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var clients sync.WaitGroup
	var mu sync.Mutex
	served, lost := 0, []string{}
	for i := range 32 {
		clients.Go(func() {
			n, err := lastClient(ctx, addr, i)
			mu.Lock()
			defer mu.Unlock()
			served += n
			if err != nil {
				lost = append(lost, err.Error())
			}
		})
	}
	testkit.Eventually(t, "the clients are served", func() bool { return g.status("/shaky/x") == http.StatusOK })
	begin := time.Now()
	testkit.Eventually(t, "the load runs", func() bool { return time.Since(begin) > span()/2 })
	g.swap()
	if err := syscall.Kill(g.process.PID(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	clients.Wait()
	if len(lost) > 0 || served == 0 {
		t.Errorf("%d requests served, %d lost: %s", served, len(lost), strings.Join(lost, "; "))
	}
	record(t, nil, fmt.Sprintf("SIGTERM under load, right after a swap: 32 connections, %d requests answered, %d lost.", served, len(lost)))
}

// lastClient asks on one connection until the gateway says that an answer was the last, or closes between two requests.
func lastClient(ctx context.Context, addr string, number int) (served int, err error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }()
	in := bufio.NewReader(c)
	for n := 0; ; n++ {
		if err := c.SetDeadline(time.Now().Add(clientPatience)); err != nil {
			return served, err
		}
		id := fmt.Sprintf("%d-%d", number, n)
		if _, err := fmt.Fprintf(c, "GET /shaky/%s HTTP/1.1\r\nHost: h\r\n\r\n", id); err != nil {
			return served, fmt.Errorf("send %s: %w", id, err)
		}
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			return served, fmt.Errorf("answer to %s: %w", id, err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || string(body) != id {
			return served, fmt.Errorf("answer to %s is %d %q, %w", id, resp.StatusCode, body, err)
		}
		served++
		if resp.Close {
			return served, nil
		}
	}
}
