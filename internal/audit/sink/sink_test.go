package sink

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/suuupra/gateway/internal/audit"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/schema/bundle"
)

func TestMain(m *testing.M) { testkit.NoLeaks(m) }

func entry(t testing.TB, seq int64, outcome audit.Outcome) (*audit.Entry, []byte) {
	t.Helper()
	e := &audit.Entry{
		Seq: seq, Time: audit.TimeOf(time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)), Environment: "prod", Instance: "gw-1", Prev: bundle.DigestOf(nil),
		Record: audit.Record{Actor: audit.Actor{Kind: audit.User, ID: "zoë"}, Action: audit.KeyRevoke, Object: "a]b\"c", Outcome: outcome},
	}
	line, err := bundle.Canonical(e)
	if err != nil {
		t.Fatal(err)
	}
	return e, line
}

func send(t testing.TB, s *Sink, from, to int64) (want []string) {
	t.Helper()
	for seq := from; seq <= to; seq++ {
		e, line := entry(t, seq, audit.Success)
		s.Send(e, line)
		want = append(want, string(line))
	}
	return want
}

func begin(t testing.TB, spec string, o Options) *Sink {
	t.Helper()
	s, err := Open(spec, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closed(t testing.TB, s *Sink) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// stuck is a destination that does not listen to its context, as a pipe that nobody reads.
type stuck struct{ release chan struct{} }

func (d *stuck) write(context.Context, *audit.Entry, []byte) error {
	<-d.release
	return nil
}
func (*stuck) close() {}

func TestCloseOfAStuckSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &stuck{release: make(chan struct{})}
		s := start("stuck", d, Options{})
		send(t, s, 1, 5)
		synctest.Wait()
		at := time.Now()
		err := s.Close()
		if err == nil || err.Error() != "audit sink stuck: it does not take what is written to it; 5 records were lost" {
			t.Error(err)
		}
		if took := time.Since(at); took != closeLimit+time.Second {
			t.Errorf("Close took %s", took)
		}
		e, line := entry(t, 6, audit.Success)
		s.Send(e, line) // to a closed sink: lost, and no panic
		close(d.release)
	})
}

// flaky fails some times before it works.
type flaky struct {
	failures int
	got      []int64
}

func (d *flaky) write(_ context.Context, e *audit.Entry, _ []byte) error {
	if d.failures--; d.failures >= 0 {
		return io.ErrUnexpectedEOF
	}
	d.got = append(d.got, e.Seq)
	return nil
}
func (*flaky) close() {}

// TestRetries: in order, without a gap, with waits that grow.
func TestRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &flaky{failures: 10}
		s := start("flaky", d, Options{})
		at := time.Now()
		send(t, s, 1, 3)
		time.Sleep(time.Minute)
		synctest.Wait()
		if fmt.Sprint(d.got) != "[1 2 3]" {
			t.Errorf("after %s: %v", time.Since(at), d.got)
		}
		closed(t, s)
	})
}

func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		lost := 0
		d := &flaky{failures: 3}
		s := start("flaky", d, Options{Lost: func(n int) { lost += n }, Log: slog.New(slog.NewTextHandler(&log, nil))})
		e, _ := entry(t, 1, audit.Success)
		for range maxQueue + 10 {
			s.Send(e, []byte("x"))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if lost < 9 || lost > 10 { // one may have left the queue
			t.Errorf("%d lost", lost)
		}
		if !strings.Contains(log.String(), fmt.Sprintf(`msg="audit records did not reach a sink" sink=flaky lost=%d`, lost)) {
			t.Errorf("log: %s", log.String())
		}
		if err := s.Close(); err == nil {
			t.Error("Close does not tell of what was lost")
		}
	})
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	if err := os.WriteFile(path, []byte(`{"half`), 0o600); err != nil {
		t.Fatal(err)
	}
	s := begin(t, "file://"+path, Options{})
	want := send(t, s, 1, 2)
	has := func(path string, want ...string) func() bool {
		return func() bool {
			data, err := os.ReadFile(path)
			return err == nil && string(data) == strings.Join(want, "\n")+"\n"
		}
	}
	testkit.Eventually(t, "the file holds the records", has(path, append([]string{`{"half`}, want...)...))
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	next := send(t, s, 3, 4)
	testkit.Eventually(t, "a new file holds the next", has(path, next...))
	closed(t, s)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestStream(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := start("stdout", &stream{w: w}, Options{})
	want := send(t, s, 1, 2)
	in := bufio.NewScanner(r)
	for _, line := range want {
		if !in.Scan() || in.Text() != line {
			t.Errorf("got %s, want %s", in.Text(), line)
		}
	}
	closed(t, s)
	_, _ = r.Close(), w.Close()
}

func TestSpecs(t *testing.T) {
	const usage = "write stdout, stderr, file:///PATH, syslog+udp://HOST:PORT, syslog+tcp://HOST:PORT or syslog+tls://HOST:PORT"
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk.pem")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ spec, want string }{
		{"", `audit sink "": ` + usage},
		{"stdin", `audit sink "stdin": ` + usage},
		{"http://x:1", `audit sink "http://x:1": ` + usage},
		{"syslog://x:1", `audit sink "syslog://x:1": ` + usage},
		{"%zz", "audit sink: not a URL; write stdout, stderr, file:///PATH or syslog+tls://HOST:6514"},
		{"file://relative", `audit sink "file://relative": write file:/// and an absolute path`},
		{"syslog+udp://logs", `audit sink "syslog+udp://logs": write a host and a port, such as syslog+udp://logs.example.com:6514, and no path`},
		{"syslog+udp://logs:514/x", `audit sink "syslog+udp://logs:514/x": write a host and a port, such as syslog+udp://logs.example.com:6514, and no path`},
		{"syslog+tcp://u:secret@logs:514", `audit sink "syslog+tcp://logs:514": it must have neither a user nor a fragment`},
		{"syslog+tcp://logs:514?ca=x", `audit sink "syslog+tcp://logs:514": unknown setting "ca"; syslog+tls takes ca, cert, key and serverName, each once`},
		{"syslog+tls://logs:6514?insecure=true", `audit sink "syslog+tls://logs:6514": unknown setting "insecure"; syslog+tls takes ca, cert, key and serverName, each once`},
		{"syslog+tls://logs:6514?ca=" + junk, `audit sink "syslog+tls://logs:6514": ca: ` + junk + " holds no certificate"},
		{"syslog+tls://logs:6514?ca=" + dir + "/none", `audit sink "syslog+tls://logs:6514": ca: open ` + dir + "/none: no such file or directory"},
		{"syslog+tls://logs:6514?cert=" + junk, `audit sink "syslog+tls://logs:6514": cert and key belong together`},
		{"syslog+tls://logs:6514?cert=" + junk + "&key=" + junk, `audit sink "syslog+tls://logs:6514": cert ` + junk + " and key " + junk + " are no pair of PEM files"},
		{"file://" + dir, `audit sink "file://` + dir + `": open ` + dir + ": is a directory"},
	} {
		t.Run(c.spec, func(t *testing.T) {
			s, err := Open(c.spec, Options{})
			if err == nil {
				_ = s.Close()
			}
			if err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}
