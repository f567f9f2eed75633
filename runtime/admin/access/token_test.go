package access

import (
	"encoding/json"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/jose"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/admin/access/session"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/state/memstate"
	"github.com/suuupra/gateway/schema/ir"
)

func TestMain(m *testing.M) { testkit.NoLeaks(m) }

// vault holds one hash for everybody.
type vault string

func (v vault) Hold(string) (policy.Secret, error) { return v, nil }
func (v vault) Value() ([]byte, uint64, error)     { return []byte(v), 1, nil }
func (vault) Close() error                         { return nil }

const word = "correct horse battery staple"

// cheap is the hash of word.
var cheap = func() vault {
	h := &Hash{memory: minMemory, passes: 1, threads: 1, salt: []byte("0123456789abcdef"), digest: make([]byte, 32)}
	h.digest = h.of(word)
	return vault(h.String())
}()

var rules1 = ir.Admin{APIEnabled: true, Users: []ir.AdminUser{{Name: "ann", PasswordHash: "env:ANN", Roles: []string{"operator"}}, {Name: "bob", PasswordHash: "env:BOB", Roles: []string{"viewer"}}}}

func newControl(t *testing.T, clock *testkit.Clock, env string, key string, sessions session.Store) *Control {
	t.Helper()
	c, err := New(Options{
		Log: slog.New(slog.DiscardHandler), Now: clock.Now, Environment: env, SessionKey: []byte(key), Sessions: sessions,
		Limits: memstate.New(memstate.Options{Now: clock.Now}), Secrets: cheap,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

const sharedKey = "a key of thirty-two bytes or more"

// TestForgedTokens shows tokens that no gateway of this environment has made for a session that is live.
func TestForgedTokens(t *testing.T) {
	clock := testkit.NewClock(time.Time{})
	store := session.NewMemory(clock.Now)
	c, other, test := newControl(t, clock, "prod", sharedKey, store), newControl(t, clock, "prod", "", store), newControl(t, clock, "test", sharedKey, store)
	grant, err := c.Login(t.Context(), &rules1, "ann", word, netip.MustParseAddr("192.0.2.1"))
	if err != nil {
		t.Fatal(err)
	}
	bob, err := c.Login(t.Context(), &rules1, "bob", word, netip.MustParseAddr("192.0.2.1"))
	if err != nil {
		t.Fatal(err)
	}
	if a, err := c.Authenticate(t.Context(), &rules1, grant.AccessToken); err != nil || a.Name != "ann" || a.Kind != User || a.Session != grant.Session.ID {
		t.Fatalf("%+v, %v", a, err)
	}
	now := clock.Now().Unix()
	claims := func(change map[string]any) map[string]any {
		out := map[string]any{"iss": "gwrun", "aud": "gateway-admin:prod", "sub": "ann", "sid": grant.Session.ID, "iat": now, "exp": now + 600}
		for k, v := range change {
			if out[k] = v; v == nil {
				delete(out, k)
			}
		}
		return out
	}
	sign := func(header map[string]any, change map[string]any) string {
		if header == nil {
			header = map[string]any{"typ": tokenType}
		}
		token, err := c.signer.Sign(header, claims(change))
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	if _, err := c.Authenticate(t.Context(), &rules1, sign(nil, nil)); err != nil {
		t.Fatalf("the test makes no good tokens: %v", err)
	}
	parts := strings.Split(grant.AccessToken, ".")
	guess := jose.SecretSigner("HS256", []byte(strings.Repeat("x", 32)))
	guessed, _ := guess.Sign(map[string]any{"typ": tokenType}, claims(nil))
	for name, tt := range map[string]struct {
		token string
		want  error
	}{
		"nothing":              {"", ErrToken},
		"the refresh token":    {grant.RefreshToken, ErrToken},
		"no signature":         {parts[0] + "." + parts[1] + ".", ErrToken},
		"alg none":             {"eyJhbGciOiJub25lIiwidHlwIjoiZ3ctYWRtaW4rand0In0." + parts[1] + ".", ErrToken},
		"another key":          {guessed, ErrToken},
		"another's claims":     {parts[0] + "." + strings.Split(bob.AccessToken, ".")[1] + "." + parts[2], ErrToken},
		"a larger HMAC":        {sign(map[string]any{"typ": tokenType, "alg": "HS512"}, nil), ErrToken},
		"another type":         {sign(map[string]any{"typ": "JWT"}, nil), ErrToken},
		"no type":              {sign(map[string]any{"typ": nil}, nil), ErrToken},
		"another issuer":       {sign(nil, map[string]any{"iss": "gwrun2"}), ErrToken},
		"another environment":  {sign(nil, map[string]any{"aud": "gateway-admin:test"}), ErrToken},
		"several environments": {sign(nil, map[string]any{"aud": []string{"gateway-admin:prod"}}), ErrToken},
		"no end":               {sign(nil, map[string]any{"exp": nil}), ErrToken},
		"an end that is text":  {sign(nil, map[string]any{"exp": "9999999999"}), ErrToken},
		"the end of time":      {sign(nil, map[string]any{"exp": json.Number("1e400")}), ErrToken},
		"expired":              {sign(nil, map[string]any{"exp": now}), ErrExpired},
		"from tomorrow":        {sign(nil, map[string]any{"iat": now + 86400}), ErrToken},
		"not yet":              {sign(nil, map[string]any{"nbf": now + 60}), ErrToken},
		"somebody else":        {sign(nil, map[string]any{"sub": "bob"}), ErrEnded},
		"nobody":               {sign(nil, map[string]any{"sub": nil}), ErrEnded},
		"no session":           {sign(nil, map[string]any{"sid": nil}), ErrToken},
		"a session's pattern":  {sign(nil, map[string]any{"sid": "*"}), ErrToken},
		"no such session":      {sign(nil, map[string]any{"sid": strings.Repeat("a", 24)}), ErrEnded},
	} {
		if a, err := c.Authenticate(t.Context(), &rules1, tt.token); err != tt.want || a != nil {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	for name, at := range map[string]*Control{"a gateway with another key": other, "another environment with the same key": test} {
		if _, err := at.Authenticate(t.Context(), &rules1, grant.AccessToken); err != ErrToken {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeysThatAreTooShort(t *testing.T) {
	_, err := New(Options{Log: slog.New(slog.DiscardHandler), SessionKey: []byte("too short")})
	if want := "the key of the sessions has 9 bytes, must have at least 32; `openssl rand -base64 32` makes one"; err == nil || err.Error() != want {
		t.Error(err)
	}
}

// TestLoginsInATrafficJam has as many passwords being hashed as may be.
func TestLoginsInATrafficJam(t *testing.T) {
	clock := testkit.NewClock(time.Time{})
	c := newControl(t, clock, "prod", "", session.NewMemory(clock.Now))
	for range hashesAtATime {
		c.hashes <- struct{}{}
	}
	if _, err := c.compare(t.Context(), decoy(nil), word); err != ErrBusy {
		t.Errorf("%v", err)
	}
	<-c.hashes
	if good, err := c.compare(t.Context(), decoy(&Hash{memory: minMemory, passes: 1, threads: 1, salt: make([]byte, 16), digest: make([]byte, 32)}), word); good || err != nil || len(c.hashes) != hashesAtATime-1 {
		t.Errorf("%t, %v, %d", good, err, len(c.hashes))
	}
}

// TestRefreshTokens holds the parts of one together.
func TestRefreshTokens(t *testing.T) {
	first, id := newRefresh()
	next := first.next()
	if next == first || next.session() != id || next.digest() == first.digest() || !validSession(id) || len(id) != 24 {
		t.Errorf("%s %s %s", first, next, id)
	}
	if read, ok := parseRefresh(first.String()); !ok || read != first {
		t.Errorf("%s", first)
	}
	if other, otherID := newRefresh(); other == first || otherID == id {
		t.Error("two sessions are one")
	}
}

// FuzzParseRefresh holds that a token has one spelling.
func FuzzParseRefresh(f *testing.F) {
	token, _ := newRefresh()
	f.Add(token.String())
	f.Add("gwr_" + strings.Repeat("A", 64))
	f.Add("gwr_" + strings.Repeat("A", 63) + "\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if token, ok := parseRefresh(text); ok && token.String() != text {
			t.Errorf("%q is read as %q", text, token)
		}
	})
}

// FuzzAuthenticate shows whatever comes.
func FuzzAuthenticate(f *testing.F) {
	clock := testkit.NewClock(time.Time{})
	c, err := New(Options{
		Log: slog.New(slog.DiscardHandler), Now: clock.Now, Environment: "prod", SessionKey: []byte(sharedKey), Sessions: session.NewMemory(clock.Now),
		Limits: memstate.New(memstate.Options{}), Secrets: cheap,
	})
	if err != nil {
		f.Fatal(err)
	}
	token, _ := c.signer.Sign(map[string]any{"typ": tokenType}, map[string]any{"iss": tokenIssuer, "aud": "gateway-admin:prod", "sid": strings.Repeat("a", 24), "exp": 1e9})
	for _, seed := range []string{token, "", "..", "a.b.c", strings.Repeat(".", 100)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if a, err := c.Authenticate(t.Context(), &rules1, token); a != nil || err == nil {
			t.Errorf("%q lets in %+v", token, a)
		}
	})
}
