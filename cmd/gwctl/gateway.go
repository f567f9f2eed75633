package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/suuupra/gateway/internal/build"
	"github.com/suuupra/gateway/runtime/admin"
	"github.com/suuupra/gateway/schema/bundle"
)

// errNoGateway says that an address is not a gateway's.
var errNoGateway = errors.New("there is no gateway's admin API at this address; is gateway.admin.apiEnabled set, and is it the address of --admin?")

// gatewayTimeout bounds one request to a gateway.
const gatewayTimeout = 10 * time.Second

// gatewayURL reads the address of a gateway.
func gatewayURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, usagef("%q is not the URL of a gateway, e.g. http://127.0.0.1:9090", redacted(s))
	}
	return u, nil
}

// gatewayURLs checks every --gateway before the first is asked.
func gatewayURLs(all []string) error {
	for _, g := range all {
		if _, err := gatewayURL(g); err != nil {
			return err
		}
	}
	return nil
}

// redacted is an address as it may be printed: without a password.
func redacted(s string) string {
	if u, err := url.Parse(s); err == nil {
		return u.Redacted()
	}
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return "..." + s[i:]
	}
	return s
}

// askGateway reads a path of a gateway's admin API.
func askGateway(ctx context.Context, base, path string, limit int64) ([]byte, error) {
	status, body, err := callGateway(ctx, base, gatewayCall{method: http.MethodGet, path: path, limit: limit})
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, gatewayRefused(base, status)
	}
	return body, nil
}

// gatewayCall is one request to a gateway's admin API.
type gatewayCall struct {
	method, path string
	query        url.Values
	body         []byte // JSON; nil: none
	limit        int64  // bytes of the answer
}

// callGateway makes a request with the token of GWRUN_ADMIN_TOKEN, and returns the status and the body of the answer.
func callGateway(ctx context.Context, base string, c gatewayCall) (status int, body []byte, err error) {
	u, err := gatewayURL(base)
	if err != nil {
		return 0, nil, err
	}
	u = u.JoinPath(c.path)
	u.RawQuery = c.query.Encode()
	ctx, cancel := context.WithTimeout(ctx, gatewayTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, c.method, u.String(), bytes.NewReader(c.body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("User-Agent", "gwctl/"+build.Version)
	if c.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token := os.Getenv("GWRUN_ADMIN_TOKEN"); token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	// A redirect would carry the token to somewhere nobody named.
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("ask gateway: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if body, err = io.ReadAll(io.LimitReader(resp.Body, c.limit+1)); err != nil {
		return 0, nil, fmt.Errorf("read the gateway's answer: %w", err)
	}
	if int64(len(body)) > c.limit {
		return 0, nil, fmt.Errorf("the gateway's answer is larger than %d bytes", c.limit)
	}
	return resp.StatusCode, body, nil
}

// gatewayRefused says what a status other than the one hoped for means.
func gatewayRefused(base string, status int) error {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return &codeError{exitRefused, fmt.Errorf("the gateway at %s refused the token; set GWRUN_ADMIN_TOKEN", redacted(base))}
	case http.StatusNotFound:
		return fmt.Errorf("%s: %w", redacted(base), errNoGateway)
	}
	return fmt.Errorf("the gateway at %s answered %d %s", redacted(base), status, http.StatusText(status))
}

// fetchStatus asks a gateway what it runs.
func fetchStatus(ctx context.Context, base string) (*admin.Status, error) {
	body, err := askGateway(ctx, base, "/admin/status", 1<<20)
	if err != nil {
		return nil, err
	}
	var st admin.Status
	if err := json.Unmarshal(body, &st); err != nil {
		return nil, fmt.Errorf("read the gateway's status: %w", err)
	}
	return &st, nil
}

// fetchRunning reads the bundle a gateway runs.
func fetchRunning(ctx context.Context, base string) (*bundle.Raw, error) {
	body, err := askGateway(ctx, base, "/admin/bundle", bundle.MaxArchive)
	if err != nil {
		return nil, err
	}
	return bundle.DecodeArchive(body)
}

// reached reports whether a gateway runs a channel position or a later one.
func reached(st *admin.Status, want bundle.Position) bool {
	r := st.Running
	return r != nil && (bundle.Position{Epoch: int64(r.Epoch), Version: int64(r.Version)}).Compare(want) >= 0
}

// statusLine says in one line how a gateway is.
func statusLine(name string, st *admin.Status, err error) string {
	name = redacted(name)
	switch {
	case err != nil:
		return fmt.Sprintf("%s: %v", name, err)
	case st.Running == nil:
		return fmt.Sprintf("%s: nothing is running yet%s", name, failureText(st))
	}
	r := st.Running
	return fmt.Sprintf("%s: %s version %d.%d, digest %s, commit %.12s%s", name, r.Environment, r.Epoch, r.Version, bundle.Digest(r.Digest).Short(), r.Commit, failureText(st))
}

func failureText(st *admin.Status) string {
	text := ""
	if p := st.Source.Pending; p != nil {
		text += fmt.Sprintf("; version %d waits: %s", p.Version, p.Reason)
	}
	if len(st.MissingSecrets) > 0 {
		text += fmt.Sprintf("; routes answer 503 for want of these secrets: %s", strings.Join(st.MissingSecrets, ", "))
	}
	if len(st.RestartNeeded) > 0 {
		text += fmt.Sprintf("; restart it: the bundle opens these listeners otherwise than they are open: %s", strings.Join(st.RestartNeeded, ", "))
	}
	if f := st.Source.LastError; f != nil {
		text += fmt.Sprintf("; error since %s: %s: %s", f.Since.UTC().Format(time.RFC3339), f.Code, f.Message)
	}
	return text
}
