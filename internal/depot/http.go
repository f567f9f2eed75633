package depot

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"syscall"
	"time"
)

// requestTimeout bounds one request, from dialling to the last byte of the answer.
const requestTimeout = 2 * time.Minute

// newTransport dials as a careful client does: bounded at each step, and without TLS to loopback addresses only,
// whatever the name resolves to. It asks for no compression: digests and limits are over the bytes as they travel.
func newTransport(plain bool) *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	if plain {
		dialer.Control = func(_, address string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			if err != nil || !at.Addr().Unmap().IsLoopback() {
				return fmt.Errorf("%s is not a loopback address, and the connection would not be encrypted", address)
			}
			return nil
		}
	}
	t := &http.Transport{
		DialContext: dialer.DialContext, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 30 * time.Second,
		IdleConnTimeout: 90 * time.Second, MaxIdleConnsPerHost: transfers, DisableCompression: true, ForceAttemptHTTP2: true,
		MaxResponseHeaderBytes: 64 << 10,
	}
	if !plain {
		t.Proxy = http.ProxyFromEnvironment
	}
	return t
}

// sameHost follows redirects within a host only: the address, the credentials and the way there were chosen for it.
func sameHost(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	if len(via) > 3 || req.URL.Host != first.Host || req.URL.Scheme != first.Scheme {
		return fmt.Errorf("redirected to %s://%s, which is not followed; name that address instead", req.URL.Scheme, req.URL.Host)
	}
	return nil
}

// statusError turns an answer that is no success into an error.
func statusError(resp *http.Response) error {
	switch resp.StatusCode {
	case http.StatusNotFound, http.StatusGone:
		return ErrNotFound
	case http.StatusPreconditionFailed, http.StatusConflict:
		return ErrConflict
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("the server answered %s: check the credentials", resp.Status)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return &Unavailable{After: retryAfter(resp.Header.Get("Retry-After"), time.Now()), Err: fmt.Errorf("the server answered %s", resp.Status)}
	}
	if resp.StatusCode >= 500 {
		return &Unavailable{Err: fmt.Errorf("the server answered %s", resp.Status)}
	}
	return fmt.Errorf("the server answered %s", resp.Status)
}

// retryAfter reads seconds or a date. More than an hour is taken for an hour.
func retryAfter(header string, now time.Time) time.Duration {
	var d time.Duration
	if n, err := strconv.ParseInt(header, 10, 32); err == nil {
		d = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), time.Hour)
}

// body reads the answer to a request for at most limit bytes.
func body(resp *http.Response, limit int64) ([]byte, error) {
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return nil, fmt.Errorf("the server sent it compressed (%.40q), which was not asked for", enc)
	}
	data, err := readAll(resp.Body, limit)
	if err != nil {
		return nil, transient(err)
	}
	return data, nil
}

// transient marks failures of the connection, which another attempt may not meet.
func transient(err error) error {
	var known *Unavailable
	if errors.As(err, &known) {
		return err
	}
	var netErr net.Error
	if errors.As(err, &netErr) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		return &Unavailable{Err: err}
	}
	return err
}

// throttled turns "come back later" into an error that says when, for clients that would drop the header.
type throttled struct{ next http.RoundTripper }

func (t throttled) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
		return resp, err
	}
	resp.Body.Close()
	return nil, statusError(resp)
}
