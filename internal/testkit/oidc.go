package testkit

import (
	"bufio"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

//go:embed oidc/package.json oidc/package-lock.json oidc/provider.mjs
var oidcFiles embed.FS

// OIDCProvider is a running OpenID provider: the npm package oidc-provider, which is certified by the OpenID Foundation. It hands out
// tokens for the audience suuupra-api with the role user to the client ann, and with the role guest to the client guest.
type OIDCProvider struct {
	Issuer string // its URL

	tb    testing.TB
	lines *bufio.Scanner
	input io.Writer
}

// OIDC starts a provider that signs with a key named first, and stops it when the test ends. Where node or npm is not installed the test
// ends as Missing says.
func OIDC(tb testing.TB) *OIDCProvider {
	tb.Helper()
	node, dir := Program(tb, "node"), oidcFolder(tb)
	cmd := exec.Command(node, "provider.mjs")
	cmd.Dir, cmd.Stderr = dir, io.Discard
	input, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatalf("start the OpenID provider: %v", err)
	}
	tb.Cleanup(func() {
		_ = input.Close() // it ends with its input
		_ = cmd.Wait()
	})
	p := &OIDCProvider{tb: tb, lines: bufio.NewScanner(output), input: input}
	p.Issuer = p.line()
	return p
}

func (p *OIDCProvider) line() string {
	p.tb.Helper()
	if !p.lines.Scan() {
		p.tb.Fatalf("the OpenID provider has ended: %v", p.lines.Err())
	}
	return p.lines.Text()
}

// Keys publishes these keys and no others; the first one signs.
func (p *OIDCProvider) Keys(names ...string) {
	p.tb.Helper()
	if _, err := fmt.Fprintln(p.input, strings.Join(names, " ")); err != nil {
		p.tb.Fatal(err)
	}
	if got := p.line(); got != "keys "+strings.Join(names, " ") {
		p.tb.Fatalf("the OpenID provider says %q", got)
	}
}

// Token fetches a token for a client, with scopes.
func (p *OIDCProvider) Token(client, scope string) string {
	p.tb.Helper()
	resp, err := http.PostForm(p.Issuer+"/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {client}, "client_secret": {"no-secret-of-anybodys"}, "scope": {scope}, "resource": {"urn:suuupra:api"},
	})
	if err != nil {
		p.tb.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		p.tb.Fatal(err)
	}
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(text, &answer); err != nil || answer.Token == "" {
		p.tb.Fatalf("the OpenID provider gives no token: %d %s", resp.StatusCode, text)
	}
	return answer.Token
}

// oidcFolder installs the provider, once for each version of it.
func oidcFolder(tb testing.TB) string {
	tb.Helper()
	npm := Program(tb, "npm")
	cache, err := os.UserCacheDir()
	if err != nil {
		tb.Fatal(err)
	}
	sum := sha256.New()
	files := []string{"package.json", "package-lock.json", "provider.mjs"}
	content := map[string][]byte{}
	for _, name := range files {
		if content[name], err = oidcFiles.ReadFile("oidc/" + name); err != nil {
			tb.Fatal(err)
		}
		sum.Write(content[name])
	}
	dir := filepath.Join(cache, "gateway-testkit", "oidc-"+hex.EncodeToString(sum.Sum(nil))[:16])
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "oidc-provider")); err == nil {
		return dir
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		tb.Fatal(err)
	}
	making, err := os.MkdirTemp(filepath.Dir(dir), "oidc-making-")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(making) }()
	for name, text := range content {
		if err := os.WriteFile(filepath.Join(making, name), text, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	install := exec.Command(npm, "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts")
	install.Dir = making
	if out, err := install.CombinedOutput(); err != nil {
		tb.Fatalf("install the OpenID provider: %v\n%s", err, out)
	}
	if err := os.Rename(making, dir); err != nil {
		if _, there := os.Stat(filepath.Join(dir, "node_modules")); there != nil { // another test was faster
			tb.Fatal(err)
		}
	}
	return dir
}
