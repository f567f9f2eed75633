package runtime_test

import (
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/schema/ir"
)

// interop builds the client and the server of gRPC's own interoperability suite.
func interop(t *testing.T) (client, server string) {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "go", "build", "-modfile=../tools/go.mod", "-o", dir+"/",
		"google.golang.org/grpc/interop/client", "google.golang.org/grpc/interop/server").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return filepath.Join(dir, "client"), filepath.Join(dir, "server")
}

// h2c is the address of a listener of the rig that takes HTTP/2 in the clear.
func (r *rig) h2c() string {
	r.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		served <- r.Listen(l, ir.Listener{ID: "clear", HTTP2: ir.HTTP2{Enabled: true, Cleartext: true}})
	}()
	r.t.Cleanup(func() {
		r.stop()
		if err := <-served; err != nil {
			r.t.Error(err)
		}
	})
	return l.Addr().String()
}

// TestGRPCInterop runs the cases of gRPC's interoperability suite (doc/interop-test-descriptions.md) that need no cloud, through the
// gateway, over HTTP/2 on both sides.
func TestGRPCInterop(t *testing.T) {
	client, server := interop(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	upstream := l.Addr().String()
	_ = l.Close()
	_, port, _ := net.SplitHostPort(upstream)
	testkit.Start(t, testkit.Command{Path: server, Args: []string{"--port", port}})
	testkit.Eventually(t, "the server listens", func() bool {
		c, err := net.Dial("tcp", upstream)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	r := newRig(t, options{})
	front := r.h2c()
	prog := r.pub.Program(upstream, "grpc")
	prog.Routes[0].Match.Path = "/grpc.testing.TestService/*"
	prog.Routes = append(prog.Routes, prog.Routes[0])
	prog.Routes[1].ID, prog.Routes[1].Match.Path = "unknown", "/grpc.testing.UnimplementedService/*"
	prog.Upstreams[0].Protocol = "http2"
	r.activate(prog)
	host, port, _ := net.SplitHostPort(front)
	for _, name := range []string{
		"empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream", "timeout_on_sleeping_server",
		"cancel_after_begin", "cancel_after_first_response", "status_code_and_message", "special_status_message", "custom_metadata",
		"unimplemented_method", "unimplemented_service",
	} {
		t.Run(name, func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), client, "--server_host", host, "--server_port", port, "--test_case", name).CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestGRPCRefusals has the gateway refuse calls in words that gRPC clients understand.
func TestGRPCRefusals(t *testing.T) {
	r := newRig(t, options{})
	front := r.h2c()
	prog := r.pub.Program("127.0.0.1:9", "away", "shut")
	with(t, prog, "shut", testPlan{Name: "door", Do: "refuse", Status: 403})
	r.activate(prog)
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: &protocols}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr, Timeout: 10 * time.Second}
	for _, tt := range []struct{ path, contentType, status, code, message string }{
		{"/away/x", "application/grpc", "14", "upstream_connect_failed", "the upstream could not be connected to"},
		{"/shut/x", "application/grpc+proto", "7", "test_refused", `because "door" says so`},
		{"/nobody", "application/grpc", "12", "no_route", "no route takes this request"},
		{"/nobody", "application/grpc-web", "", "", ""},
		{"/nobody", "application/json", "", "", ""},
	} {
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+front+tt.path, strings.NewReader("\x00\x00\x00\x00\x00"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", tt.contentType)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if tt.status == "" {
			if resp.StatusCode != 404 || resp.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s: %d %v", tt.contentType, resp.StatusCode, resp.Header)
			}
			continue
		}
		h := resp.Header
		if resp.StatusCode != 200 || h.Get("Content-Type") != "application/grpc" || h.Get("Grpc-Status") != tt.status ||
			h.Get("Grpc-Message") != tt.message || h.Get("X-Gateway-Code") != tt.code {
			t.Errorf("%s: %d %v", tt.path, resp.StatusCode, h)
		}
	}
}
