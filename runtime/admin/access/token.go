package access

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/suuupra/gateway/internal/jose"
	"github.com/suuupra/gateway/runtime/admin/access/session"
	"github.com/suuupra/gateway/schema/ir"
)

// What access tokens say of themselves (RFC 8725, sections 3.8, 3.9 and 3.11).
const (
	tokenType   = "gw-admin+jwt"
	tokenIssuer = "gwrun"
)

func (c *Control) audience() string { return "gateway-admin:" + c.o.Environment }

// grant makes the tokens of a session.
func (c *Control) grant(r *rules, s session.Session, refresh refreshToken, ended int) (*Grant, error) {
	now := c.o.Now()
	limits := r.admin.SessionRules()
	expires := now.Add(time.Duration(limits.Lifetime) * time.Millisecond)
	if s.Expires.Before(expires) {
		expires = s.Expires
	}
	expires = expires.UTC().Truncate(time.Second)
	token, err := c.signer.Sign(map[string]any{"typ": tokenType}, map[string]any{
		"iss": tokenIssuer, "aud": c.audience(), "sub": s.User, "sid": s.ID, "iat": now.Unix(), "exp": expires.Unix(),
	})
	if err != nil {
		return nil, fmt.Errorf("make access token: %w", err)
	}
	return &Grant{AccessToken: token, RefreshToken: refresh.String(), Expires: expires, Session: s, Ended: ended}, nil
}

// Authenticate finds out whose bearer token it is. What he may do is what the configuration says now, not what it said when the token
// was made. The errors are ErrToken, ErrExpired, ErrEnded, ErrKeysAway, or policy.ErrStateAway.
func (c *Control) Authenticate(ctx context.Context, a *ir.Admin, token string) (*Actor, error) {
	t, err := jose.Parse(token)
	if err != nil {
		return nil, ErrToken
	}
	r := c.under(a)
	if t.Type != tokenType {
		return c.provided(ctx, r, t)
	}
	claims, err := t.Claims(c.keys, []string{"HS256"})
	if err != nil || claims["iss"] != tokenIssuer || claims["aud"] != c.audience() {
		return nil, ErrToken
	}
	if err := inTime(claims, c.o.Now(), 0); err != nil {
		return nil, err
	}
	id, _ := claims["sid"].(string)
	if !validSession(id) {
		return nil, ErrToken
	}
	s, err := c.o.Sessions.Session(ctx, id)
	switch {
	case err != nil:
		return nil, fmt.Errorf("look for session: %w", err)
	case s == nil || s.User != claims["sub"] || !c.holds(r, s):
		return nil, ErrEnded
	}
	return &Actor{Kind: User, Name: s.User, Roles: r.user(s.User).Roles, Session: s.ID}, nil
}

// refreshToken is 16 bytes that say which session it is of, and 32 that make it good once. Both are secret: who sends the former with
// any but the good latter had a token of the session, and has spent it.
type refreshToken [48]byte

const (
	family        = 16
	refreshPrefix = "gwr_" // for scanners of leaked secrets
)

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func newRefresh() (t refreshToken, id string) {
	copy(t[:], random(len(t)))
	return t, t.session()
}

func parseRefresh(text string) (t refreshToken, ok bool) {
	rest, ok := strings.CutPrefix(text, refreshPrefix)
	if !ok || len(rest) != len(t)*4/3 || strings.ContainsAny(rest, "\r\n") { // which the decoder skips
		return t, false
	}
	n, err := base64.RawURLEncoding.Strict().Decode(t[:], []byte(rest))
	return t, err == nil && n == len(t)
}

// String is the token as it is handed out.
func (t refreshToken) String() string {
	return refreshPrefix + base64.RawURLEncoding.EncodeToString(t[:])
}

// next is the next token of the family.
func (t refreshToken) next() refreshToken {
	copy(t[family:], random(len(t)-family))
	return t
}

// session is the id of the session. The token cannot be told from it.
func (t refreshToken) session() string {
	sum := sha256.Sum256(append([]byte("admin session\x00"), t[:family]...))
	return base32Lower.EncodeToString(sum[:sessionBytes])
}

// digest is what is stored of it.
func (t refreshToken) digest() string {
	sum := sha256.Sum256(t[:])
	return hex.EncodeToString(sum[:])
}

const sessionBytes = 15

// validSession reports whether a text can be the id of a session.
func validSession(id string) bool {
	raw, err := base32Lower.DecodeString(id)
	return err == nil && len(raw) == sessionBytes && !strings.ContainsAny(id, "\r\n")
}

// inTime judges exp, nbf and iat (RFC 7519, section 4.1). A token that never expires could never be taken back.
func inTime(claims map[string]any, now time.Time, skew time.Duration) error {
	exp, ok := date(claims["exp"])
	switch {
	case !ok:
		return ErrToken
	case !now.Before(exp.Add(skew)):
		return ErrExpired
	}
	for _, name := range []string{"nbf", "iat"} {
		v, there := claims[name]
		if !there {
			continue
		}
		if at, ok := date(v); !ok || at.After(now.Add(skew+time.Second)) { // iat is in whole seconds
			return ErrToken
		}
	}
	return nil
}
