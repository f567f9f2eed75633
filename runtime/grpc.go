package runtime

import (
	"strconv"
	"strings"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
)

// speaksGRPC reports whether the client understands refusals only in gRPC's own words
// (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).
func speaksGRPC(r *httpmsg.Request) bool {
	kind, isGRPC := strings.CutPrefix(r.Header.Get("Content-Type"), "application/grpc")
	return isGRPC && r.Proto == "HTTP/2.0" && (kind == "" || kind[0] == '+' || kind[0] == ';')
}

// refuseGRPC refuses a call: status 200, and the refusal where a trailer would be.
func refuseGRPC(w httpmsg.ResponseWriter, x *exchange, reject *policy.Reject) {
	resp := &httpmsg.Response{Status: 200, ContentLength: -1}
	resp.Header.Fields = append(resp.Header.Fields, reject.Header...)
	resp.Header.Add("Content-Type", "application/grpc")
	resp.Header.Add("Grpc-Status", strconv.Itoa(grpcStatus(reject.Status)))
	resp.Header.Add("Grpc-Message", grpcMessage(reject.Detail))
	resp.Header.Add("X-Gateway-Code", reject.Code)
	resp.Header.Add("X-Request-Id", x.ID)
	if w.Header(resp.Status, &resp.Header, resp.ContentLength) != nil {
		w.Abort()
	}
}

// grpcStatus is the code of gRPC for a status of HTTP, as clients map them (doc/http-grpc-status-mapping.md), and what is closer for
// those that they know no code for.
func grpcStatus(status int) int {
	switch status {
	case 400:
		return 13 // INTERNAL
	case 401:
		return 16 // UNAUTHENTICATED
	case 403:
		return 7 // PERMISSION_DENIED
	case 404, 405, 501:
		return 12 // UNIMPLEMENTED
	case 413, 431:
		return 8 // RESOURCE_EXHAUSTED
	case 429, 502, 503, 504:
		return 14 // UNAVAILABLE
	case 499:
		return 1 // CANCELLED
	}
	return 2 // UNKNOWN
}

// grpcMessage encodes text for Grpc-Message: printable ASCII but for "%".
func grpcMessage(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
		} else {
			const hex = "0123456789ABCDEF"
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}
