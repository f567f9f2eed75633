// Package session is the sessions of people who have logged in to the admin API, and the contract of whoever keeps them: memory here,
// the shared Redis in package redisstate. It judges no password and no token; a store sees digests alone.
package session

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// Session is one login, and all that came of it: its refresh tokens are a family, of which the last one is good.
type Session struct {
	ID        string    `json:"id"` // no secret
	User      string    `json:"user"`
	Address   string    `json:"address"` // that logged in
	Created   time.Time `json:"created"`
	Refreshed time.Time `json:"refreshed"` // the last time; the time of the login before the first
	Expires   time.Time `json:"expires"`   // however often it is refreshed
	// Refresh is the digest of the refresh token that is good now.
	Refresh string `json:"refresh"`
	// Password is a digest of the password hash by which the user came in: another password ends the session.
	Password string `json:"password"`
}

// Store keeps sessions, and forgets those that have expired. It is safe for concurrent use by all gateways that share it.
// policy.ErrStateAway says that it could not be asked; after it a change may have happened all the same.
type Store interface {
	// AddSession keeps a new session. Of the user's sessions it then has the most youngest, and ends the others.
	AddSession(ctx context.Context, s Session, most int) (ended int, err error)
	// Session returns a session; nil if there is none that is live.
	Session(ctx context.Context, id string) (*Session, error)
	// RotateSession replaces the digest of the refresh token of a live session by that of the next, if it is used. If it is any other,
	// somebody shows a token that was spent: whoever has the good one may have stolen it or been stolen from, and the session ends.
	RotateSession(ctx context.Context, id, used, next string, at time.Time) (Rotation, error)
	// EndSession ends a session, and reports whether it was live.
	EndSession(ctx context.Context, id string) (bool, error)
	// Sessions returns all that are live, the oldest first.
	Sessions(ctx context.Context) ([]Session, error)
}

// Rotation is what became of a refresh token.
type Rotation int

// The outcomes. The zero value lets nobody in.
const (
	Unknown Rotation = iota // there is no such session, or not any more
	Reused                  // the token was spent: the session has been ended
	Rotated
)

// Live reports whether a session has not expired.
func (s *Session) Live(now time.Time) bool { return now.Before(s.Expires) }

// SortByAge puts the oldest first, those of one moment by their ids.
func SortByAge(list []Session) {
	slices.SortFunc(list, func(a, b Session) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID)) })
}
