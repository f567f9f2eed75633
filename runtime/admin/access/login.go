package access

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/suuupra/gateway/internal/failures"
	"github.com/suuupra/gateway/runtime/admin/access/session"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/ir"
)

const (
	// hashesAtATime bounds the memory that logins take: each hash may take 128 MiB, one that gwctl makes takes 64.
	hashesAtATime = 2
	hashWait      = 2 * time.Second // for one of them

	// Logins are counted, good ones and bad ones. Both buckets have to grant a login.
	accountBurst, accountEvery = 10, 30 * time.Second
	addressBurst, addressEvery = 20, 10 * time.Second
)

// Why somebody is not let in. All but ErrThrottled are without detail on purpose.
var (
	ErrWrong    = errors.New("the user name or the password is wrong")
	ErrBusy     = errors.New("too many logins are being checked")
	ErrRefresh  = errors.New("the refresh token is not good")
	ErrReused   = errors.New("the refresh token was used before; the session has been ended")
	ErrToken    = errors.New("the token is not good")
	ErrExpired  = errors.New("the token has expired")
	ErrEnded    = errors.New("the session has ended")
	ErrKeysAway = errors.New("the keys of the identity provider are not available")
)

// ThrottledError says that too many logins were tried.
type ThrottledError struct {
	Wait time.Duration // until the next try
}

// Error says so.
func (*ThrottledError) Error() string { return "too many logins were tried" }

// Grant is what a login or a refresh gives.
type Grant struct {
	AccessToken  string
	RefreshToken string
	Expires      time.Time // of the access token
	Session      session.Session
	Ended        int // sessions of the user that were ended to make room for this one
}

// Login checks a password, and begins a session. The errors are ErrWrong, ErrBusy, a *ThrottledError, or policy.ErrStateAway.
func (c *Control) Login(ctx context.Context, a *ir.Admin, name, password string, from netip.Addr) (*Grant, error) {
	if err := c.throttle(ctx, name, from); err != nil {
		return nil, err
	}
	r := c.under(a)
	hash, text, known := c.candidate(r, name)
	good, err := c.compare(ctx, hash, password)
	switch {
	case err != nil:
		return nil, err
	case !good || !known:
		return nil, ErrWrong
	}
	now := c.o.Now().UTC().Truncate(time.Millisecond)
	limits := r.admin.SessionRules()
	refresh, id := newRefresh()
	s := session.Session{
		ID: id, User: name, Address: from.Unmap().WithZone("").String(), Created: now, Refreshed: now,
		Expires: now.Add(time.Duration(limits.RefreshLifetime) * time.Millisecond), Refresh: refresh.digest(), Password: digest(text),
	}
	ended, err := c.o.Sessions.AddSession(ctx, s, int(limits.MaxPerUser))
	if err != nil {
		return nil, fmt.Errorf("begin session: %w", err)
	}
	return c.grant(r, s, refresh, ended)
}

// candidate is the hash to compare a password with: of somebody who is not there, or whose hash cannot be read, one that costs as much
// as somebody's, always the same one for a name, so that how long a login takes says nothing.
func (c *Control) candidate(r *rules, name string) (hash *Hash, text string, known bool) {
	if u := r.user(name); u != nil {
		hash, text, err := r.hash(u)
		if err == nil {
			return hash, text, true
		}
		c.o.Log.Error("a user of the admin API cannot log in", slog.String("user", u.Name), slog.Any("error", err))
	}
	var like *Hash
	if n := len(r.admin.Users); n > 0 {
		mac := hmac.New(sha256.New, c.secret)
		mac.Write([]byte(name))
		like, _, _ = r.hash(&r.admin.Users[binary.BigEndian.Uint64(mac.Sum(nil))%uint64(n)]) // nil: as gwctl makes them
	}
	return decoy(like), "", false
}

// compare hashes a password, when it is its turn.
func (c *Control) compare(ctx context.Context, hash *Hash, password string) (bool, error) {
	timer := time.NewTimer(hashWait)
	defer timer.Stop()
	select {
	case c.hashes <- struct{}{}:
		defer func() { <-c.hashes }()
	case <-timer.C:
		return false, ErrBusy
	case <-ctx.Done():
		return false, ErrBusy
	}
	if len(password) > MaxPassword {
		password = "" // which nobody has: shorter than HashPassword takes
	}
	return hash.matches(password) && password != "", nil
}

// throttle counts a login for the account and for the address, whether or not there is such an account.
func (c *Control) throttle(ctx context.Context, name string, from netip.Addr) error {
	taken, err := c.o.Limits.Take(ctx, []policy.Bucket{
		{Name: "admin-login-account:" + digest(name), Every: accountEvery, Burst: accountBurst, Cost: 1},
		{Name: fmt.Sprintf("admin-login-address:%x", failures.SourceOf(from)), Every: addressEvery, Burst: addressBurst, Cost: 1},
	})
	if err != nil {
		return fmt.Errorf("count login: %w", err)
	}
	wait, granted := time.Duration(0), true
	for _, t := range taken {
		granted, wait = granted && t.Granted, max(wait, t.Retry)
	}
	if !granted {
		return &ThrottledError{Wait: wait}
	}
	return nil
}

// Refresh spends a refresh token, and returns the next one with an access token. The errors are ErrRefresh, ErrReused, or
// policy.ErrStateAway. With ErrReused the session comes back, which has been ended.
func (c *Control) Refresh(ctx context.Context, a *ir.Admin, token string) (*Grant, error) {
	used, ok := parseRefresh(token)
	if !ok {
		return nil, ErrRefresh
	}
	r := c.under(a)
	s, err := c.o.Sessions.Session(ctx, used.session())
	if err != nil {
		return nil, fmt.Errorf("look for session: %w", err)
	}
	if s == nil || !c.holds(r, s) {
		return nil, ErrRefresh
	}
	next := used.next()
	now := c.o.Now().UTC().Truncate(time.Millisecond)
	came, err := c.o.Sessions.RotateSession(ctx, s.ID, used.digest(), next.digest(), now)
	switch {
	case err != nil:
		return nil, fmt.Errorf("refresh session: %w", err)
	case came == session.Reused:
		return &Grant{Session: *s}, ErrReused
	case came != session.Rotated:
		return nil, ErrRefresh
	}
	s.Refreshed = now
	return c.grant(r, *s, next, 0)
}

// holds reports whether a session is good under the rules as they are now: its user is still there, with the same password, and it is
// not older than sessions may be.
func (c *Control) holds(r *rules, s *session.Session) bool {
	u := r.user(s.User)
	if u == nil {
		return false
	}
	limits := r.admin.SessionRules()
	if !c.o.Now().Before(s.Created.Add(time.Duration(limits.RefreshLifetime) * time.Millisecond)) {
		return false
	}
	_, text, err := r.hash(u)
	return err == nil && digest(text) == s.Password
}

// Sessions are all that are live, the oldest first.
func (c *Control) Sessions(ctx context.Context) ([]session.Session, error) {
	return c.o.Sessions.Sessions(ctx)
}

// End ends a session, and reports whether it was live.
func (c *Control) End(ctx context.Context, id string) (bool, error) {
	if !validSession(id) {
		return false, nil
	}
	return c.o.Sessions.EndSession(ctx, id)
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
