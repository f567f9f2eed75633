package gitwatch

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// What a git server may send when it was not asked for a pack.
const (
	maxAdvertised = 32 << 20 // the list of refs
	maxExcuse     = 64 << 10 // what an error says
	maxLater      = time.Hour
)

// TooLarge is a repository over one of the bounds.
type TooLarge struct{ What string }

// Error says which.
func (e *TooLarge) Error() string { return "the repository is too large: " + e.What }

// Later is a server that wants to be left alone for a while (RFC 9110 section 10.2.3).
type Later struct {
	Status int
	After  time.Duration // at most an hour
}

// Error says for how long.
func (e *Later) Error() string {
	return fmt.Sprintf("the server answered %d and asks not to be asked again for %s", e.Status, e.After)
}

// bounded cuts off answers that do not end, and keeps Retry-After, which the git library would drop.
type bounded struct {
	next http.RoundTripper
	pack int64 // bytes of an answer that may be a pack
}

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(req)
	if err != nil {
		return resp, err
	}
	limit := b.pack + 1<<20 // whoever reads the pack has the last word; this is for what stands before it
	switch {
	case resp.StatusCode >= http.StatusBadRequest && resp.Header.Get("Retry-After") != "":
		if after := retryAfter(resp.Header.Get("Retry-After"), time.Now()); after > 0 {
			_ = resp.Body.Close()
			return nil, &Later{resp.StatusCode, after}
		}
		limit = maxExcuse
	case resp.StatusCode >= http.StatusMultipleChoices:
		limit = maxExcuse
	case strings.HasSuffix(req.URL.Path, "/info/refs"):
		limit = maxAdvertised
	}
	resp.Body = &boundedBody{ReadCloser: resp.Body, left: limit}
	return resp, nil
}

// retryAfter reads seconds or a date; 0 is neither, or the past.
func retryAfter(header string, now time.Time) time.Duration {
	var d time.Duration
	if n, err := strconv.ParseInt(header, 10, 32); err == nil {
		d = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), maxLater)
}

type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, &TooLarge{What: "an answer that does not end"}
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
