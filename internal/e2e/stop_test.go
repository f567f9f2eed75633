package e2e_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
)

// SIGTERM under load: not one request fails that was sent on a connection the gateway had taken; new connections are
// refused.
func TestStopUnderLoad(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	_, to := s.folder()
	s.apply(to)
	for range 5 { // the moment is another one each time
		g := s.gwrun("--bundle", to)
		g.serves(1)
		clients := startTraffic(t, g.url+"/app/x", 8)
		testkit.Eventually(t, "the clients are at work", func() bool { return clients.answers.Load() > 200 })
		clients.stopping.Store(true)
		g.ends(0)
		n := clients.wait()
		if refused := clients.refused.Load(); refused != 8 {
			t.Errorf("%d of 8 clients were refused in the end", refused)
		}
		t.Logf("%d requests, none failed", n)
	}
}

// stream is an event stream through the gateway.
type stream struct {
	t    *testing.T
	resp *http.Response
	read *bufio.Reader
}

// events starts a service that sends what comes from the channel, behind a gateway, and a client who listens.
func (s *scene) events(args ...string) (*gateway, chan<- string, *stream) {
	s.t.Helper()
	source := make(chan string)
	upstream := httptest.NewServer(testkit.Events(source, nil))
	s.t.Cleanup(func() { upstream.CloseClientConnections(); upstream.Close() })
	_, to := s.folder()
	s.commit("events", map[string]string{
		"routes/events.yaml": apiVersion + "routes:\n  - id: events\n    matcher: { path: /events }\n    target: { type: http, url: \"" + upstream.URL + "\" }\n    policy: { timeout: 0 }\n",
	})
	s.apply(to)
	g := s.gwrun(append([]string{"--bundle", to}, args...)...)
	g.serves(1)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	s.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.url+"/events", http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = resp.Body.Close() })
	return g, source, &stream{s.t, resp, bufio.NewReader(resp.Body)}
}

// next wants an event.
func (s *stream) next(want string) {
	s.t.Helper()
	line, err := s.read.ReadString('\n')
	blank, err2 := s.read.ReadString('\n')
	if err := errors.Join(err, err2); err != nil || line != "data: "+want+"\n" || blank != "\n" {
		s.t.Fatalf("the stream brought %q %v, want the event %q", line+blank, err, want)
	}
}

// A stream that is running when SIGTERM comes goes on until its service ends it, within the drain timeout; meanwhile the
// gateway says that it drains, and takes no new connection.
func TestStopLetsStreamsEnd(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	g, events, stream := s.events("--drain-timeout", "60s")
	events <- "one"
	stream.next("one")
	g.Signal(syscall.SIGTERM)
	testkit.Eventually(t, "/readyz says that it drains", func() bool {
		code, body, err := get(g.admin + "/readyz")
		return err == nil && code == 503 && strings.Contains(body, "draining")
	})
	testkit.Eventually(t, "new connections are refused", func() bool {
		_, _, err := get(g.url + "/app/x")
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	events <- "two"
	stream.next("two")
	close(events)
	if rest, err := io.ReadAll(stream.read); err != nil || len(rest) > 0 {
		t.Errorf("the stream ended with %q %v, want its proper end", rest, err)
	}
	if code := g.Wait(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// A stream that does not end is cut when the drain timeout is over.
func TestStopCutsEndlessStreams(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	g, events, stream := s.events("--drain-timeout", "1s")
	events <- "one"
	stream.next("one")
	asked := time.Now()
	g.ends(0)
	if took := time.Since(asked); took < time.Second {
		t.Errorf("the stream was cut after %s, before the drain timeout", took)
	}
	if rest, err := io.ReadAll(stream.read); err == nil {
		t.Errorf("the stream ended properly after %q: the client cannot tell that it was cut", rest)
	}
	if !strings.Contains(g.Output(), "exchanges were cut at the end of the drain timeout") {
		t.Error("nothing in the log says that an exchange was cut")
	}
}

// A swap that changes nothing about a stream's route leaves it alone, however long it lasts. One that does cuts it, but not before the
// drain timeout.
func TestSwapsAndStreams(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	g, events, stream := s.events("--drain-timeout", "1s", "--drain-jitter", "100ms")
	events <- "one"
	stream.next("one")
	to := strings.TrimSuffix(g.status().Source.Kind, "/")
	s.version(2)
	s.apply(to)
	g.serves(2)
	for n, swapped := 0, time.Now(); time.Since(swapped) < 2*time.Second; n++ {
		event := strconv.Itoa(n)
		events <- event
		stream.next(event)
	}
	route, err := os.ReadFile(filepath.Join(s.dir, "routes", "events.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.commit("another timeout", map[string]string{"routes/events.yaml": strings.Replace(string(route), "timeout: 0", "timeout: 1h", 1)})
	swapped := time.Now()
	s.apply(to)
	if rest, err := io.ReadAll(stream.read); err == nil {
		t.Errorf("the stream ended properly after %q: the client cannot tell that it was cut", rest)
	}
	if took := time.Since(swapped); took < time.Second {
		t.Errorf("the stream was cut after %s, before the drain timeout", took)
	}
	g.WaitLine("cutting exchanges that outlived the drain timeout")
	g.serves(2)
}
