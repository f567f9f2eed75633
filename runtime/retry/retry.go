// Package retry says how often and when an attempt may be repeated: a budget that keeps retries from becoming the load that
// broke the upstream, back-off, and what an upstream asks for by Retry-After. Whether an attempt may be repeated at all is for
// the target to say. It keeps no time and sends nothing.
package retry

import (
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Budget bounds the retries of one upstream by the requests it has under way, as Envoy's retry budget does. It is safe for
// concurrent use; the zero value is ready.
type Budget struct {
	active  atomic.Int64
	_       [56]byte
	retries atomic.Int64
	_       [56]byte
}

// Begin notes a request under way, End that it is over.
func (b *Budget) Begin() { b.active.Add(1) }

// End is the other half of Begin.
func (b *Budget) End() { b.active.Add(-1) }

// TryRetry takes a place for one more retry under way, if they stay within percent of the requests under way, or within least,
// whichever is more, and within most. EndRetry gives the place back.
func (b *Budget) TryRetry(percent, least, most int64) bool {
	allowed := min(max(b.active.Load()*percent/100, least), most)
	for {
		n := b.retries.Load()
		if n >= allowed {
			return false
		}
		if b.retries.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// EndRetry ends what TryRetry has allowed.
func (b *Budget) EndRetry() { b.retries.Add(-1) }

// Active counts the requests under way.
func (b *Budget) Active() int64 { return b.active.Load() }

// Retries counts the retries under way.
func (b *Budget) Retries() int64 { return b.retries.Load() }

// Backoff returns how long to wait before a retry: a random time up to base doubled with each attempt before it, at most limit,
// each as likely as any other (full jitter: M. Brooker, "Exponential Backoff And Jitter", 2015). The first retry has attempt 1.
func Backoff(base, limit time.Duration, attempt int, rand func() uint64) time.Duration {
	top := limit
	if shift := max(attempt, 1) - 1; base <= 0 || shift < 63 && base <= limit>>shift {
		top = base << shift
	}
	if top <= 0 {
		return 0
	}
	return time.Duration(rand() % (uint64(top) + 1))
}

// After reads a Retry-After field (RFC 9110 section 10.2.3): seconds, or a date in any of HTTP's forms. It is at least 0 and at
// most limit; false if the value is neither.
func After(value string, now time.Time, limit time.Duration) (time.Duration, bool) {
	value, limit = strings.Trim(value, " \t"), max(limit, 0)
	if value == "" {
		return 0, false
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds > math.MaxInt64/int64(time.Second) {
			return limit, true // more than fits is more than anybody waits
		}
		return min(time.Duration(seconds)*time.Second, limit), true
	}
	at, ok := date(value, now)
	if !ok {
		return 0, false
	}
	return min(max(at.Sub(now), 0), limit), true
}

// The forms of a date in HTTP (RFC 9110 section 5.6.7), all of them in GMT.
const (
	imfDate     = "Mon, 02 Jan 2006 15:04:05 GMT"
	rfc850Date  = "Monday, 02-Jan-06 15:04:05 GMT"
	asctimeDate = "Mon Jan _2 15:04:05 2006"
)

// date reads a date. That of RFC 850 has a year of two digits: it is the latest one that is not more than 50 years ahead.
func date(value string, now time.Time) (time.Time, bool) {
	for _, form := range [...]string{imfDate, asctimeDate} {
		if at, err := time.Parse(form, value); err == nil {
			return at, true
		}
	}
	at, err := time.Parse(rfc850Date, value)
	if err != nil {
		return time.Time{}, false
	}
	year := now.UTC().Year()/100*100 + 100 + at.Year()%100
	in := func(year int) time.Time {
		return time.Date(year, at.Month(), at.Day(), at.Hour(), at.Minute(), at.Second(), 0, time.UTC)
	}
	for in(year).After(now.AddDate(50, 0, 0)) {
		year -= 100
	}
	return in(year), true
}
