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
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

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
		return nil, gatewayRefused(base, status, body)
	}
	return body, nil
}

// gatewayCall is one request to a gateway's admin API.
type gatewayCall struct {
	method, path string
	query        url.Values
	body         []byte // JSON; nil: none
	ifMatch      string // the version that the order is about; "": none
	limit        int64  // bytes of the answer
}

// callGateway makes a request with the credential there is for the gateway, and returns the status and the body of the answer. A session
// whose token is not taken any more is renewed once: the gateways may have got another key.
func callGateway(ctx context.Context, base string, c gatewayCall) (status int, body []byte, err error) {
	u, err := gatewayURL(base)
	if err != nil {
		return 0, nil, err
	}
	who, err := credentialFor(ctx, u)
	if err != nil {
		return 0, nil, err
	}
	status, body, err = sendGateway(ctx, u, c, who.bearer)
	if err == nil && status == http.StatusUnauthorized && who.saved {
		if who, err = renew(ctx, u, who.bearer); err != nil {
			return 0, nil, err
		}
		return sendGateway(ctx, u, c, who.bearer)
	}
	return status, body, err
}

// sendGateway makes a request with a token; "" sends none.
func sendGateway(ctx context.Context, gateway *url.URL, c gatewayCall, token string) (status int, body []byte, err error) {
	u := gateway.JoinPath(c.path)
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
	if c.ifMatch != "" {
		req.Header.Set("If-Match", strconv.Quote(c.ifMatch))
	}
	if token != "" {
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

// gatewayRefused says what a status other than the one hoped for means, and what the gateway said about it.
func gatewayRefused(base string, status int, body []byte) error {
	switch status {
	case http.StatusUnauthorized:
		return &codeError{exitRefused, fmt.Errorf("the gateway at %s refused the token; log in with gwctl login, or set GWRUN_ADMIN_TOKEN", redacted(base))}
	case http.StatusForbidden:
		return &codeError{exitRefused, fmt.Errorf("the gateway at %s does not permit this: %s", redacted(base), detailOf(body))}
	case http.StatusNotFound:
		return fmt.Errorf("%s: %w", redacted(base), errNoGateway)
	}
	return fmt.Errorf("the gateway at %s answered %d %s", redacted(base), status, http.StatusText(status))
}

// detailOf is what a problem says, on one line.
func detailOf(body []byte) string {
	var problem struct{ Detail string }
	if json.Unmarshal(body, &problem) != nil || problem.Detail == "" {
		return "it does not say why"
	}
	return cell(problem.Detail)
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

// gatewayFlags are those of commands that ask one gateway, and print what it says.
type gatewayFlags struct{ gateway, format string }

func (f *gatewayFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.gateway, "gateway", "", "URL of the gateway's admin API (credentials: gwctl login, GWCTL_TOKEN or GWRUN_ADMIN_TOKEN)")
	cmd.Flags().StringVar(&f.format, "format", "text", "text or json")
}

func (f *gatewayFlags) check() error {
	switch {
	case f.gateway == "":
		return usagef("--gateway is required: the URL of the gateway's admin API")
	case f.format != "text" && f.format != "json":
		return usagef("--format is %q, must be text or json", f.format)
	}
	_, err := gatewayURL(f.gateway)
	return err
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
