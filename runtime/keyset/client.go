package keyset

import (
	"net"
	"net/http"
	"time"

	"github.com/suuupra/gateway/runtime/upstream/dialguard"
)

// Client makes the clients that fetchers use in the gateway. The address that is dialled is judged, after name resolution and each
// time; no proxy is taken from the environment, which would be dialled in its place.
func Client(private bool) *http.Client {
	dialer := &net.Dialer{Timeout: fetchTimeout, ControlContext: dialguard.Control(private)}
	return &http.Client{
		Timeout:       fetchTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: fetchTimeout, ResponseHeaderTimeout: fetchTimeout,
			MaxResponseHeaderBytes: 64 << 10, DisableCompression: true, ForceAttemptHTTP2: true,
			MaxConnsPerHost: 2, MaxIdleConns: 2, IdleConnTimeout: 30 * time.Second,
		},
	}
}
