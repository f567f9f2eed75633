package sink

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leodido/go-syslog/v4"
	"github.com/leodido/go-syslog/v4/octetcounting"
	"github.com/leodido/go-syslog/v4/rfc5424"

	"github.com/suuupra/gateway/internal/audit"
	"github.com/suuupra/gateway/internal/testkit"
)

// received is what a server got: messages as an independent parser reads them.
type received chan *rfc5424.SyslogMessage

func (r received) take(t testing.TB, want ...string) {
	t.Helper()
	for _, w := range want {
		select {
		case m := <-r:
			if m == nil || m.Message == nil || *m.Message != w {
				t.Fatalf("got %+v, want the message %s", m, w)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s did not arrive", w)
		}
	}
}

func (r received) parse(t testing.TB) func(*syslog.Result) {
	return func(result *syslog.Result) {
		if result.Error != nil {
			if !strings.Contains(result.Error.Error(), "EOF") {
				t.Logf("server: %v", result.Error)
			}
			return
		}
		r <- result.Message.(*rfc5424.SyslogMessage)
	}
}

// server takes connections, one after another, and reads octet-counted messages.
func server(t testing.TB, l net.Listener) (got received, conns chan net.Conn, ended chan struct{}) {
	t.Helper()
	got, conns, ended = make(received, 100), make(chan net.Conn, 100), make(chan struct{}, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns <- conn
			octetcounting.NewParser(syslog.WithListener(got.parse(t))).Parse(conn)
			_ = conn.Close()
			ended <- struct{}{}
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		for {
			select {
			case c := <-conns:
				_ = c.Close()
			case <-done:
				return
			}
		}
	})
	return got, conns, ended
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestMessage holds a message to RFC 5424.
func TestMessage(t *testing.T) {
	for _, c := range []struct {
		outcome  audit.Outcome
		instance string
		want     string
	}{
		{audit.Success, "gw-1", "<109>1 2026-01-02T03:04:05.006Z gw-1 gwrun - key.revoke - "},
		{audit.Refused, "", "<108>1 2026-01-02T03:04:05.006Z - gwrun - key.revoke - "},
		{audit.Failed, "gw 1\n" + strings.Repeat("ü", 300), "<107>1 2026-01-02T03:04:05.006Z gw_1_" + strings.Repeat("_", 250) + " gwrun - key.revoke - "},
	} {
		s := &remote{network: "udp", app: header("", "gwrun", 48), host: header(c.instance, "-", 255)}
		e, line := entry(t, 1, c.outcome)
		got := s.message(e, line)
		if string(got) != c.want+string(line) {
			t.Errorf("got  %s\nwant %s...", got, c.want)
		}
		m, err := rfc5424.NewParser().Parse(got)
		if err != nil {
			t.Errorf("a parser of RFC 5424 says: %v", err)
			continue
		}
		if p := m.(*rfc5424.SyslogMessage); *p.MsgID != "key.revoke" || *p.Facility != 13 || *p.Message != string(line) {
			t.Errorf("read as %+v", p)
		}
	}
}

func TestUDP(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	s := begin(t, "syslog+udp://"+conn.LocalAddr().String(), Options{Instance: "gw-1"})
	want := send(t, s, 1, 2)
	b := make([]byte, 64<<10)
	for _, w := range want {
		if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, _, err := conn.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		m, err := rfc5424.NewParser().Parse(b[:n])
		if err != nil || *m.(*rfc5424.SyslogMessage).Message != w {
			t.Errorf("%s: %v", b[:n], err)
		}
	}
	closed(t, s)
}

// TestUDPThatDoesNotFit: a record that no datagram holds is lost and counted, and the next one comes.
func TestUDPThatDoesNotFit(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	var lost atomic.Int64
	s := begin(t, "syslog+udp://"+conn.LocalAddr().String(), Options{Lost: func(n int) { lost.Add(int64(n)) }})
	e, _ := entry(t, 1, audit.Success)
	s.Send(e, bytes.Repeat([]byte("x"), 70_000))
	want := send(t, s, 2, 2)
	b := make([]byte, 64<<10)
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, _, err := conn.ReadFrom(b)
	if err != nil || !strings.HasSuffix(string(b[:n]), want[0]) {
		t.Errorf("%s: %v", b[:n], err)
	}
	if err := s.Close(); err == nil || !strings.HasSuffix(err.Error(), ": 1 records were lost") || lost.Load() != 1 {
		t.Errorf("Close: %v, lost %d", err, lost.Load())
	}
}

// TestTCP: records reach a server that is away at first, and one that closes the connection in between.
func TestTCP(t *testing.T) {
	l := listen(t)
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s := begin(t, "syslog+tcp://"+address, Options{Instance: "gw-1"})
	want := send(t, s, 1, 3)
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	got, conns, ended := server(t, l)
	got.take(t, want...)
	if err := (<-conns).(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	<-ended // our side has noticed, and closed
	got.take(t, send(t, s, 4, 6)...)
	closed(t, s)
}

func TestTLS(t *testing.T) {
	ca := testkit.NewAuthority(t)
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	certPEM, keyPEM := ca.Issue(t, testkit.Leaf{Names: []string{"logs.example.com"}})
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	clientCert, clientKey := ca.Issue(t, testkit.Leaf{Names: []string{"gw-1"}, Client: true})
	caFile := write("ca.pem", ca.PEM)
	client := "&cert=" + write("client.pem", clientCert) + "&key=" + write("client.key", clientKey)
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(ca.PEM)
	l := tls.NewListener(listen(t), &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients})
	got, _, _ := server(t, l)
	base := "syslog+tls://" + l.Addr().String() + "?ca=" + caFile

	s := begin(t, base+"&serverName=logs.example.com"+client, Options{})
	got.take(t, send(t, s, 1, 3)...)
	closed(t, s)

	for name, spec := range map[string]string{
		"a server with another name":  base + client,
		"a server nobody vouches for": "syslog+tls://" + l.Addr().String() + "?serverName=logs.example.com" + client,
	} {
		t.Run(name, func(t *testing.T) {
			log := make(chan string, 10)
			s := begin(t, spec, Options{Log: slog.New(slog.NewTextHandler(lines(log), nil))})
			send(t, s, 1, 1)
			if got := <-log; !strings.Contains(got, "x509: ") {
				t.Error(got)
			}
			s.stop() // do not wait for what cannot come
			if err := s.Close(); err == nil || !strings.Contains(err.Error(), "1 records were lost") {
				t.Error(err)
			}
		})
	}
}

// lines is a writer of log lines.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	select {
	case l <- string(p):
	default:
	}
	return len(p), nil
}

// TestHungServer: a server that takes connections and never reads. Nobody waits for it; what it does not take is counted and told; and
// Close comes to an end.
func TestHungServer(t *testing.T) {
	l := listen(t)
	conns := make(chan net.Conn, 10)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				close(conns)
				return
			}
			conns <- conn
		}
	}()
	defer func() {
		_ = l.Close()
		for c := range conns {
			_ = c.Close()
		}
	}()
	var lost atomic.Int64
	s := begin(t, "syslog+tcp://"+l.Addr().String(), Options{Lost: func(n int) { lost.Add(int64(n)) }})
	e, _ := entry(t, 1, audit.Success)
	line := bytes.Repeat([]byte("x"), 32<<10)
	const records = 2000 // four times as much as waits
	longest := time.Duration(0)
	for range records {
		at := time.Now()
		s.Send(e, line)
		longest = max(longest, time.Since(at))
	}
	if longest > 2*time.Second { // a busy machine, but not a wait for the server
		t.Errorf("Send took %s", longest)
	}
	if lost.Load() == 0 || s.bytes.Load() > maxQueueBytes {
		t.Errorf("%d lost, %d bytes wait", lost.Load(), s.bytes.Load())
	}
	s.stop()
	if err := s.Close(); err == nil || lost.Load() < records/2 {
		t.Errorf("Close: %v, %d lost", err, lost.Load())
	}
}
