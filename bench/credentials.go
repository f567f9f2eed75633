package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
)

// callerFields tell callers apart.
func callerFields(_ context.Context, _ *guarded, n int) ([]string, error) {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("X-Caller: caller-%04d", i)
	}
	return out, nil
}

// keyFields ask the admin API for keys.
func keyFields(ctx context.Context, g *guarded, n int) ([]string, error) {
	out := make([]string, n)
	for i := range out {
		text, err := g.order(ctx, http.MethodPost, "/admin/keys", fmt.Sprintf(`{"owner": "caller-%04d"}`, i))
		if err != nil {
			return nil, err
		}
		var made struct {
			Key string `json:"key"`
		}
		if err := json.Unmarshal(text, &made); err != nil || made.Key == "" {
			return nil, fmt.Errorf("the answer to an order for an API key holds none: %q", text)
		}
		out[i] = "X-API-Key: " + made.Key
	}
	return out, nil
}

// issuer is whose tokens gwrun verifies. Its key set is served from this process, on loopback.
type issuer struct {
	url    string
	tokens *testkit.Tokens
	server *http.Server

	mu   sync.Mutex
	made int // tokens
}

func newIssuer() (*issuer, error) {
	tokens, err := testkit.NewTokens("ES256")
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	i := &issuer{url: "http://" + l.Addr().String() + "/keys", tokens: tokens}
	i.server = &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/jwk-set+json")
		_, _ = w.Write(tokens.KeySet()) // whoever has left asks again
	})}
	go func() { _ = i.server.Serve(l) }() // until it is closed
	return i, nil
}

func (i *issuer) close() { _ = i.server.Close() }

// bearers makes n tokens, each of which differs from all that were made before. Signing takes as long as a gateway's own work: all
// cores do it, before anything is measured.
func (i *issuer) bearers(ctx context.Context, _ *guarded, n int) ([]string, error) {
	i.mu.Lock()
	first := i.made
	i.made += n
	i.mu.Unlock()
	out, errs := make([]string, n), make([]error, runtime.NumCPU())
	var wg sync.WaitGroup
	for worker := range errs {
		wg.Go(func() {
			for at := worker; at < n && ctx.Err() == nil; at += len(errs) {
				token, err := i.token(first + at)
				if err != nil {
					errs[worker] = err
					return
				}
				out[at] = "Authorization: Bearer " + token
			}
		})
	}
	wg.Wait()
	return out, errors.Join(append(errs, ctx.Err())...)
}

// passengers are bearers behind a proxy, each with an address of its own.
func (i *issuer) passengers(ctx context.Context, g *guarded, n int) ([]string, error) {
	out, err := i.bearers(ctx, g, n)
	for at := range out {
		out[at] += fmt.Sprintf("\r\nX-Forwarded-For: 198.51.%d.%d", at>>8&0xff, at&0xff)
	}
	return out, err
}

// token is as large as an identity provider's usually is.
func (i *issuer) token(number int) (string, error) {
	now := time.Now()
	return i.tokens.Sign(map[string]any{
		"iss": i.url, "aud": "bench", "sub": fmt.Sprintf("caller-%04d", number%callers), "jti": fmt.Sprintf("%032d", number),
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "client_id": "bench", "scope": "orders.read orders.write", "roles": []string{"user"},
	})
}
