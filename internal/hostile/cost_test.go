package hostile_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
)

// refusals is what the gateway's metrics say of a reason.
func (g *gateway) refusals(t *testing.T, reason string) int {
	t.Helper()
	resp, err := http.Get("http://" + g.plain + "/metrics") //nolint:noctx // bounded by the test
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), fmt.Sprintf("gw_refused_total{reason=%q} ", reason))
	line, _, _ := strings.Cut(after, "\n")
	n, _ := strconv.Atoi(line)
	return n
}

// cost is what the gateway and the clients had used when something began.
type cost struct {
	g               *gateway
	gateway, client time.Duration // of processor time
	began           time.Time
	resident        int // KiB
}

func (g *gateway) measure(t *testing.T) *cost {
	t.Helper()
	// The peak of what is resident begins anew.
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", g.process.PID()), []byte("5"), 0); err != nil {
		t.Logf("the peak is that of the whole test: %v", err)
	}
	return &cost{g, g.processorTime(t), ownTime(t), time.Now(), g.status(t, "VmRSS")}
}

// mostGrowth is how much more may be resident at a peak, in KiB. What one connection may hold is 1 MiB of bodies, 100 streams, and
// its buffers; the rest is the collector's slack.
const mostGrowth = 64 << 10

// judge holds the cost to its bounds: a hundred times what the client has used, and memory that does not grow with what is sent.
func (c *cost) judge(t *testing.T, sent int) {
	t.Helper()
	gateway, client := c.g.processorTime(t)-c.gateway, ownTime(t)-c.client
	growth := c.g.status(t, "VmHWM") - c.resident
	t.Logf("%d bytes in %v: processor time %v here, %v there; %d KiB more resident at the peak", sent, time.Since(c.began).Round(time.Millisecond), client.Round(time.Millisecond), gateway, growth)
	if gateway > 100*max(client, 10*time.Millisecond) {
		t.Errorf("it costs the gateway %v, and its clients %v", gateway, client)
	}
	if growth > mostGrowth {
		t.Errorf("the gateway grew by %d KiB", growth)
	}
}

// processorTime is what the gateway's process has used. The kernel counts in hundredths of a second.
func (g *gateway) processorTime(t *testing.T) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", g.process.PID()))
	if err != nil {
		testkit.Missing(t, "/proc")
	}
	words := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, _ := strconv.Atoi(words[11])
	system, _ := strconv.Atoi(words[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// status is a number of the gateway's process, in KiB.
func (g *gateway) status(t *testing.T, name string) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.process.PID()))
	if err != nil {
		testkit.Missing(t, "/proc")
	}
	_, after, _ := strings.Cut(string(text), name+":")
	n, _ := strconv.Atoi(strings.Fields(after)[0])
	return n
}

func ownTime(t *testing.T) time.Duration {
	t.Helper()
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		t.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// TestIdle has thousands of connections that ask for nothing: each may hold a few KiB, and none keeps the next client out.
func TestIdle(t *testing.T) {
	const clients = 2000 // more would need more file descriptors than many machines give
	g := startGateway(t, "", nil)
	before := g.measure(t)
	conns := make([]*client, 0, clients)
	for len(conns) < clients {
		c := g.dial(t, "in the clear", "")
		_, _ = io.WriteString(c, get("X: y"))
		if status, _, err := c.response(http.MethodGet); status != "200" {
			t.Fatalf("connection %d got %q, %v", len(conns), status, err)
		}
		conns = append(conns, c)
	}
	g.serves(t)
	growth := g.status(t, "VmHWM") - before.resident
	t.Logf("%d idle connections: %d KiB more resident, %d bytes each", clients, growth, growth*1024/clients)
	if growth > clients*16 {
		t.Errorf("an idle connection takes %d bytes", growth*1024/clients)
	}
}
