package httptarget

import (
	"errors"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/suuupra/gateway/runtime/engine/wire"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/upstream"
)

// The reasons for which an upstream fails.
const (
	connectFailed = "upstream_connect_failed"
	timedOut      = "upstream_timeout"
	wasReset      = "upstream_reset"
	badResponse   = "upstream_bad_response"
	refusedStream = "upstream_refused_stream"
)

var statuses = map[string]int{connectFailed: 502, timedOut: 504, wasReset: 502, badResponse: 502, refusedStream: 503}

var details = map[string]string{
	connectFailed: "the upstream could not be connected to",
	timedOut:      "the upstream did not answer in time",
	wasReset:      "the upstream closed the connection before it had answered",
	badResponse:   "the upstream sent a malformed response",
	refusedStream: "the upstream takes no more requests on the connection",
}

// reject turns the failure to get a response into the answer for the client.
func (c *call) reject(err error) *policy.Reject {
	var open *openError
	switch {
	case errors.As(err, &open):
		return &policy.Reject{
			Status: 503, Code: "breaker_open", Detail: "the upstream fails too often; it is not asked for a while",
			Header: []httpmsg.Field{{Name: "Retry-After", Value: seconds(open.wait)}},
		}
	case errors.Is(err, upstream.ErrNoEndpoints):
		return &policy.Reject{Status: 503, Code: "no_endpoints", Detail: "the upstream has no endpoints"}
	case errors.Is(err, upstream.ErrUnhealthy):
		return &policy.Reject{Status: 503, Code: "no_healthy_endpoints", Detail: "no endpoint of the upstream is healthy"}
	case errors.Is(err, upstream.ErrOverloaded):
		return overloaded("the upstream has no free connection")
	}
	if fromClient := (*clientError)(nil); errors.As(err, &fromClient) {
		e := fromClient.cause
		return &policy.Reject{Status: e.Status, Code: e.Code, Detail: e.Detail}
	}
	if errors.Is(err, httpmsg.ErrClientClosed) || c.ctx.Err() != nil {
		e := httpmsg.ErrClientClosed
		return &policy.Reject{Status: e.Status, Code: e.Code, Detail: e.Detail}
	}
	code := cause(err)
	c.x.Cause = err.Error()
	return &policy.Reject{Status: statuses[code], Code: code, Detail: details[code]}
}

func overloaded(detail string) *policy.Reject {
	return &policy.Reject{
		Status: 503, Code: "upstream_overloaded", Detail: detail, Header: []httpmsg.Field{{Name: "Retry-After", Value: "1"}},
	}
}

// seconds is a time as Retry-After gives it: whole seconds, at least one.
func seconds(d time.Duration) string {
	return strconv.FormatInt(max(int64((d+time.Second-1)/time.Second), 1), 10)
}

// openError says that the breaker lets nothing through.
type openError struct{ wait time.Duration }

// Error implements error.
func (e *openError) Error() string { return "the breaker is open for " + e.wait.String() }

// cause names what an error of the upstream's connection means.
func cause(err error) string {
	var dial *upstream.DialError
	switch {
	case errors.As(err, &dial):
		if dial.Timeout() {
			return timedOut
		}
		return connectFailed
	case errors.Is(err, upstream.ErrClosed):
		return connectFailed
	case errors.Is(err, upstream.ErrRefusedStream):
		return refusedStream
	case errors.Is(err, os.ErrDeadlineExceeded):
		return timedOut
	case errors.Is(err, wire.ErrInterrupted), errors.Is(err, io.ErrUnexpectedEOF):
		return wasReset
	}
	if _, malformed := upstream.Malformed(err); malformed {
		return badResponse
	}
	return wasReset
}
