package redisstate

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/suuupra/gateway/runtime/admin/access/session"
)

var (
	//go:embed sessions.lua
	sessionsText   string
	sessionsScript = newScript(sessionsText)
)

// sessionsKey is where the sessions of the admin API are, those of each environment apart.
func (c *Client) sessionsKey() string { return "gw:admin:sessions:" + c.env }

// storedSession is a session with its times as the script compares them.
type storedSession struct {
	session.Session
	CreatedMs int64 `json:"created_ms"`
	UntilMs   int64 `json:"until_ms"`
}

func encodeSession(s *session.Session) (string, error) {
	raw, err := json.Marshal(storedSession{*s, s.Created.UnixMilli(), s.Expires.UnixMilli()})
	if err != nil {
		return "", fmt.Errorf("encode session: %w", err)
	}
	return string(raw), nil
}

// decodeSession reads what is stored under an id.
func decodeSession(id, raw string) (*session.Session, error) {
	var s storedSession
	if err := json.Unmarshal([]byte(raw), &s); err != nil || s.ID != id {
		return nil, fmt.Errorf("session %.64q: what Redis holds is no session", id)
	}
	return &s.Session, nil
}

// AddSession implements session.Store.
func (c *Client) AddSession(ctx context.Context, s session.Session, most int) (ended int, err error) {
	raw, err := encodeSession(&s)
	if err != nil {
		return 0, err
	}
	now := c.now()
	var n int64
	err = c.admin(ctx, func(ctx context.Context) (err error) {
		n, err = sessionsScript.number(ctx, c.rdb, c.sessionsKey(), "add", s.ID, raw, now.UnixMilli(), most, max(s.Expires.Sub(now), time.Second).Milliseconds())
		return err
	})
	return int(n), err
}

// Session implements session.Store.
func (c *Client) Session(ctx context.Context, id string) (*session.Session, error) {
	var raw string
	err := c.admin(ctx, func(ctx context.Context) (err error) {
		raw, err = c.rdb.HGet(ctx, c.sessionsKey(), id).Result()
		return err
	})
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s, err := decodeSession(id, raw)
	if err != nil || !s.Live(c.now()) {
		return nil, err
	}
	return s, nil
}

// RotateSession implements session.Store.
func (c *Client) RotateSession(ctx context.Context, id, used, next string, at time.Time) (session.Rotation, error) {
	s, err := c.Session(ctx, id)
	if s == nil || err != nil {
		return session.Unknown, err
	}
	s.Refresh, s.Refreshed = next, at
	raw, err := encodeSession(s)
	if err != nil {
		return session.Unknown, err
	}
	var n int64
	err = c.admin(ctx, func(ctx context.Context) (err error) {
		n, err = sessionsScript.number(ctx, c.rdb, c.sessionsKey(), "rotate", id, used, c.now().UnixMilli(), raw)
		return err
	})
	if err != nil || n < int64(session.Unknown) || n > int64(session.Rotated) {
		return session.Unknown, err
	}
	return session.Rotation(n), nil
}

// EndSession implements session.Store.
func (c *Client) EndSession(ctx context.Context, id string) (bool, error) {
	s, err := c.Session(ctx, id)
	if s == nil || err != nil {
		return false, err
	}
	var n int64
	err = c.admin(ctx, func(ctx context.Context) (err error) {
		n, err = c.rdb.HDel(ctx, c.sessionsKey(), id).Result()
		return err
	})
	return n == 1, err
}

// Sessions implements session.Store.
func (c *Client) Sessions(ctx context.Context) ([]session.Session, error) {
	var all map[string]string
	if err := c.admin(ctx, func(ctx context.Context) (err error) {
		all, err = c.rdb.HGetAll(ctx, c.sessionsKey()).Result()
		return err
	}); err != nil {
		return nil, err
	}
	now, out := c.now(), make([]session.Session, 0, len(all))
	for id, raw := range all {
		if s, err := decodeSession(id, raw); err == nil && s.Live(now) { // what is no session lets nobody in
			out = append(out, *s)
		}
	}
	session.SortByAge(out)
	return out, nil
}
