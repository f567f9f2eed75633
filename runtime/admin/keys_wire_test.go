package admin

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/suuupra/gateway/runtime"
	"github.com/suuupra/gateway/runtime/engine"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/schema/ir"
)

// ownPaths serves a Server's paths, as gwrun does on the listener of --admin.
type ownPaths struct{ own *Server }

// Serve implements engine.Handler.
func (o ownPaths) Serve(ctx context.Context, w httpmsg.ResponseWriter, r *httpmsg.Request) {
	runtime.ServeOwn(ctx, o.own, w, r)
}

// TestKeysOverTheWire sends orders to a real listener, each over a connection of its own.
func TestKeysOverTheWire(t *testing.T) {
	h := newKeyHouse(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := engine.New(ownPaths{h.Server}, engine.Settings{
		Limits:   ir.Limits{HeaderBytes: 16 << 10, HeaderFields: 100, URLBytes: 4 << 10, BodyBytes: 64 << 10},
		Timeouts: ir.Timeouts{ReadHeader: 5_000, BodyIdle: 10_000, KeepAlive: 60_000},
	}, engine.Hooks{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(engine.Listener{Listener: l, ID: "admin"}) }()
	defer func() {
		server.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, tt := range []struct {
		name string
		body io.Reader
		want int
	}{
		{"with a length", strings.NewReader(`{"owner":"a"}`), 201},
		{"in chunks", io.MultiReader(strings.NewReader(`{"owner":`), strings.NewReader(`"b"}`)), 201},
		{"too large", strings.NewReader(`{"owner":"` + strings.Repeat("a", 64<<10)), 413},
		{"too large, in chunks", io.MultiReader(strings.NewReader(`{"owner":"`), strings.NewReader(strings.Repeat("a", 64<<10))), 413},
		{"none", nil, 415},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, fmt.Sprintf("http://%s/admin/keys", l.Addr()), tt.body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		if tt.body != nil {
			req.Header.Set("Content-Type", "application/json")
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		answer, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != tt.want {
			t.Errorf("%s: %d %s, %v", tt.name, resp.StatusCode, answer, err)
		}
	}
}
