package admin

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/suuupra/gateway/internal/overlay"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/admin/access"
	"github.com/suuupra/gateway/runtime/admin/access/session"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/keyset"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/state/memstate"
	"github.com/suuupra/gateway/schema/ir"
)

// password is everybody's.
const password = "correct horse battery staple"

// hashOf is the cheapest hash that is taken: tests log in often.
func hashOf(password string) string {
	salt := []byte("0123456789abcdef")
	b64 := base64.RawStdEncoding.EncodeToString
	return "$argon2id$v=19$m=7168,t=1,p=1$" + b64(salt) + "$" + b64(argon2.IDKey([]byte(password), salt, 1, 7168, 1, 32))
}

// secrets are what references stand for.
type secrets struct {
	mu     sync.Mutex
	values map[string]string
	held   int
}

func (s *secrets) set(ref, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values[ref] = value
}

// Hold implements policy.Secrets.
func (s *secrets) Hold(ref string) (policy.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held++
	return heldSecret{s, ref}, nil
}

type heldSecret struct {
	all *secrets
	ref string
}

// Value implements policy.Secret.
func (h heldSecret) Value() ([]byte, uint64, error) {
	h.all.mu.Lock()
	defer h.all.mu.Unlock()
	v, ok := h.all.values[h.ref]
	if !ok {
		return nil, 0, errors.New("secret " + h.ref + ": is not there")
	}
	return []byte(v), 1, nil
}

// Close implements policy.Secret.
func (h heldSecret) Close() error {
	h.all.mu.Lock()
	defer h.all.mu.Unlock()
	h.all.held--
	return nil
}

// office is a server whose people log in, with an audit trail that a test can read.
type office struct {
	*Server
	f       *fake
	clock   *testkit.Clock
	secrets *secrets
	access  *access.Control

	mu    sync.Mutex
	trail []Event
	full  bool // the trail takes nothing more
}

// people are the users of a test, one for each role and some with roles of their own.
func people() []ir.AdminUser {
	var out []ir.AdminUser
	for _, role := range []string{"viewer", "operator", "super-admin", "key-manager", "nobody"} {
		out = append(out, ir.AdminUser{Name: role + "-user", PasswordHash: "env:" + role, Roles: []string{role}})
	}
	return out
}

type parts struct {
	sessions session.Store
	limits   policy.State
	key      []byte
	clock    *testkit.Clock
	oidc     *ir.AdminOIDC
}

func newOffice(t *testing.T, p parts) *office {
	t.Helper()
	o := &office{f: newFake(), clock: p.clock, secrets: &secrets{values: map[string]string{}}}
	if o.clock == nil {
		o.clock = testkit.NewClock(now)
	}
	o.f.flags.Users = people()
	o.f.flags.Roles = []ir.AdminRole{{ID: "key-manager", Permissions: ir.ExpandPermission("keys:*")}, {ID: "nobody"}}
	o.f.flags.OIDC = p.oidc
	for _, u := range o.f.flags.Users {
		o.secrets.set(u.PasswordHash, hashOf(password))
	}
	if p.sessions == nil {
		p.sessions = session.NewMemory(o.clock.Now)
	}
	if p.limits == nil {
		p.limits = memstate.New(memstate.Options{Now: o.clock.Now})
	}
	log := slog.New(slog.NewTextHandler(&o.f.log, nil))
	var err error
	o.access, err = access.New(access.Options{
		Log: log, Now: o.clock.Now, Environment: "test", SessionKey: p.key, Sessions: p.sessions, Limits: p.limits, Secrets: o.secrets,
		KeySets: keyset.New(keyset.Env{Log: log, Metrics: &policytest.Counts{}, Now: time.Now, Client: keyset.Client}),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		o.access.Close()
		if o.secrets.held != 0 {
			t.Errorf("%d secrets are still held", o.secrets.held)
		}
	})
	house := newKeyHouse(t, nil)
	o.Server = newServer(o.f, func(opts *Options) {
		opts.Access, opts.Now, opts.Keys, opts.Audit = o.access, o.clock.Now, house.o.Keys, o.audit
		opts.Overlays, opts.OverlaysLaid = newShelf(), func() []overlay.Outcome { return nil }
		opts.Bundle = func() ([]byte, error) { return []byte("bundle"), nil }
	})
	return o
}

func (o *office) audit(_ context.Context, e Event) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.full {
		return errors.New("no space left on device")
	}
	o.trail = append(o.trail, e)
	return nil
}

// events are what was recorded since the last call, in one line each.
func (o *office) events() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []string
	for _, e := range o.trail {
		line := string(e.Actor.Kind) + " " + e.Actor.Name + " " + e.Action + " " + e.Object + " " + string(e.Outcome)
		if e.Reason != "" {
			line += " " + e.Reason
		}
		out = append(out, line)
	}
	o.trail = nil
	return out
}

// post sends an order with a body, and perhaps a token.
func (o *office) post(t *testing.T, path, bearer, body string, more ...string) (int, string) {
	t.Helper()
	r := withBody(request("POST", path, more...), "application/json", body)
	if bearer != "" {
		r.Header.Add("Authorization", "Bearer "+bearer)
	}
	return o.send(t, r)
}

func (o *office) ask(t *testing.T, method, path, bearer string) (int, string) {
	t.Helper()
	r := request(method, path)
	if bearer != "" {
		r.Header.Add("Authorization", "Bearer "+bearer)
	}
	return o.send(t, r)
}

func (o *office) send(t *testing.T, r *httpmsg.Request) (int, string) {
	t.Helper()
	resp := o.do(r)
	if resp == nil {
		return 404, ""
	}
	var b strings.Builder
	if resp.Body != nil {
		buf := make([]byte, 1<<20)
		for {
			n, err := resp.Body.Read(buf)
			b.Write(buf[:n])
			if err != nil {
				break
			}
		}
	}
	return resp.Status, b.String()
}

// logIn logs somebody in who may.
func (o *office) logIn(t *testing.T, user string) Tokens {
	t.Helper()
	status, answer := o.post(t, "/admin/login", "", `{"username":"`+user+`","password":"`+password+`"}`)
	var tokens Tokens
	if err := json.Unmarshal([]byte(answer), &tokens); err != nil || status != 200 {
		t.Fatalf("log in as %s: %d %s", user, status, answer)
	}
	return tokens
}

// code is the code in a problem.
func code(answer string) string {
	var p struct{ Code string }
	_ = json.Unmarshal([]byte(answer), &p)
	return p.Code
}
