package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
)

func TestMain(m *testing.M) { testkit.NoLeaks(m) }

const secret = "a secret for the tests of webhooks"

var sender = netip.MustParseAddr("192.0.2.7")

// rig is a receiver, and what it did.
type rig struct {
	*Receiver
	t     testing.TB
	clock *testkit.Clock
	logs  *bytes.Buffer

	mu    sync.Mutex
	hints []Hint
	codes []string // "hook code"
}

func newRig(t testing.TB, hooks ...Hook) *rig { return newRigWith(t, Options{Hooks: hooks}) }

func newRigWith(t testing.TB, o Options) *rig {
	t.Helper()
	r := &rig{t: t, clock: testkit.NewClock(webhookTime), logs: &bytes.Buffer{}}
	o.Now, o.Log = r.clock.Now, slog.New(slog.NewTextHandler(r.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	o.Hint = func(h Hint) { r.mu.Lock(); defer r.mu.Unlock(); r.hints = append(r.hints, h) }
	o.Observe = func(hook, code string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.codes = append(r.codes, hook+" "+code)
	}
	var err error
	if r.Receiver, err = New(o); err != nil {
		t.Fatal(err)
	}
	return r
}

// delivery is a request to be, in order until a test says otherwise.
type delivery struct {
	hook   string
	method string
	header http.Header
	body   []byte
	reader io.Reader // in place of body
	length int64
	from   netip.Addr
}

func newDelivery(body []byte, fields ...string) *delivery {
	d := &delivery{hook: "config", method: http.MethodPost, header: http.Header{}, body: body, length: int64(len(body)), from: sender}
	d.header.Set("Content-Type", "application/json")
	return d.with(fields...)
}

// with sets header fields: name, value, name, value. An empty value removes the field.
func (d *delivery) with(fields ...string) *delivery {
	for i := 0; i < len(fields); i += 2 {
		d.header.Del(fields[i])
		if fields[i+1] != "" {
			d.header.Set(fields[i], fields[i+1])
		}
	}
	return d
}

func (r *rig) receive(d *delivery) Answer {
	r.t.Helper()
	body := d.reader
	if body == nil {
		body = bytes.NewReader(d.body)
	}
	a := r.Receive(context.Background(), &Request{
		Hook: d.hook, Method: d.method, Header: d.header, ContentLength: d.length, Body: body, From: d.from,
	})
	if r.memory.used.Load() != 0 {
		r.t.Errorf("%d bytes are not given back", r.memory.used.Load())
	}
	return a
}

// want compares status and code.
func (r *rig) want(d *delivery, want string) Answer {
	r.t.Helper()
	a := r.receive(d)
	if got := fmt.Sprintf("%d %s", a.Status, a.Code); got != want {
		r.t.Errorf("got %s (%s), want %s", got, a.Detail, want)
	}
	return a
}

func mac(key string, body []byte) string {
	sum := hmac.New(sha256.New, []byte(key))
	sum.Write(body)
	return hex.EncodeToString(sum.Sum(nil))
}

// signingToken is one as GitLab makes them.
var signingToken = signingPrefix + base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))

// stamp signs a delivery as Standard Webhooks has it.
func stamp(token, id string, seconds int64, body []byte) []string {
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(token, signingPrefix))
	sum := hmac.New(sha256.New, key)
	fmt.Fprintf(sum, "%s.%d.%s", id, seconds, body)
	return []string{
		"webhook-id", id, "webhook-timestamp", fmt.Sprint(seconds),
		"webhook-signature", "v1," + base64.StdEncoding.EncodeToString(sum.Sum(nil)),
	}
}

func fixed(values ...string) []Secret {
	var out []Secret
	for _, v := range values {
		out = append(out, func() ([]byte, error) { return []byte(v), nil })
	}
	return out
}

func payload(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// github is the hook most tests use, and push a delivery to it with the given id.
func github() Hook {
	return Hook{ID: "config", Provider: GitHub, Secrets: fixed(secret), Repository: "https://github.com/Codertocat/Hello-World", Refs: []string{"master"}}
}

func push1(t testing.TB, id string) *delivery {
	return signGitHub(newDelivery(payload(t, "github-push.json"), "X-GitHub-Event", "push", "X-GitHub-Delivery", id))
}

func signGitHub(d *delivery) *delivery {
	return d.with("X-Hub-Signature-256", "sha256="+mac(secret, d.body))
}
