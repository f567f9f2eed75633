package httpmsg

import (
	"cmp"
	"strconv"
	"unicode/utf8"
)

// ProblemType is the media type of problem bodies (RFC 9457).
const ProblemType = "application/problem+json"

// Error is a failure that has a meaning in HTTP: a message that was refused, a body that broke off. Code is the stable
// reason, snake_case.
type Error struct {
	Status int
	Code   string
	Detail string // for the client; never holds a secret
}

// Error says the code and the detail.
func (e *Error) Error() string { return e.Code + ": " + e.Detail }

// AppendProblem appends a problem body (RFC 9457) with the members type, title, status, code and detail.
func AppendProblem(dst []byte, status int, code, detail string) []byte {
	return (&Problem{Status: status, Code: code, Detail: detail}).Append(dst)
}

// Problem is a problem body (RFC 9457).
type Problem struct {
	Type     string // URI; empty: about:blank
	Status   int
	Code     string
	Detail   string
	Violated []string // member violated-policies (draft-ietf-httpapi-ratelimit-headers-11): the limits that were exceeded
}

// Append appends the body.
func (p *Problem) Append(dst []byte) []byte {
	dst = append(dst, `{"type":`...)
	dst = appendJSON(dst, cmp.Or(p.Type, "about:blank"))
	dst = append(dst, `,"title":`...)
	dst = appendJSON(dst, StatusText(p.Status))
	dst = append(dst, `,"status":`...)
	dst = strconv.AppendInt(dst, int64(p.Status), 10)
	dst = append(dst, `,"code":`...)
	dst = appendJSON(dst, p.Code)
	dst = append(dst, `,"detail":`...)
	dst = appendJSON(dst, p.Detail)
	for i, name := range p.Violated {
		sep := ","
		if i == 0 {
			sep = `,"violated-policies":[`
		}
		dst = append(dst, sep...)
		dst = appendJSON(dst, name)
	}
	if len(p.Violated) > 0 {
		dst = append(dst, ']')
	}
	return append(dst, "}\n"...)
}

// appendJSON quotes a string. It also escapes <, > and &, as the text may be shown by a browser that ignores the type.
func appendJSON(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < 0x20 || r == '<' || r == '>' || r == '&' || r == 0x7f || r == 0x2028 || r == 0x2029:
			dst = append(dst, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		default: // broken UTF-8 arrives here as U+FFFD
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}

// StatusText is the reason phrase of a status code, or a word for its class if the code is not registered.
func StatusText(status int) string {
	if text, ok := reasons[status]; ok {
		return text
	}
	switch status / 100 {
	case 1:
		return "Informational"
	case 2:
		return "Success"
	case 3:
		return "Redirect"
	case 4:
		return "Client Error"
	}
	return "Server Error"
}

// reasons are the phrases of the IANA HTTP Status Code Registry.
var reasons = map[int]string{
	100: "Continue", 101: "Switching Protocols", 102: "Processing", 103: "Early Hints",
	200: "OK", 201: "Created", 202: "Accepted", 203: "Non-Authoritative Information", 204: "No Content",
	205: "Reset Content", 206: "Partial Content", 207: "Multi-Status", 208: "Already Reported", 226: "IM Used",
	300: "Multiple Choices", 301: "Moved Permanently", 302: "Found", 303: "See Other", 304: "Not Modified",
	305: "Use Proxy", 307: "Temporary Redirect", 308: "Permanent Redirect",
	400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden", 404: "Not Found",
	405: "Method Not Allowed", 406: "Not Acceptable", 407: "Proxy Authentication Required", 408: "Request Timeout",
	409: "Conflict", 410: "Gone", 411: "Length Required", 412: "Precondition Failed", 413: "Content Too Large",
	414: "URI Too Long", 415: "Unsupported Media Type", 416: "Range Not Satisfiable", 417: "Expectation Failed",
	421: "Misdirected Request", 422: "Unprocessable Content", 423: "Locked", 424: "Failed Dependency", 425: "Too Early",
	426: "Upgrade Required", 428: "Precondition Required", 429: "Too Many Requests",
	431: "Request Header Fields Too Large", 451: "Unavailable For Legal Reasons",
	500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
	504: "Gateway Timeout", 505: "HTTP Version Not Supported", 506: "Variant Also Negotiates",
	507: "Insufficient Storage", 508: "Loop Detected", 511: "Network Authentication Required",
}

// ErrStopped says that the gateway stops, and had no more time for the exchange.
var ErrStopped = &Error{Status: 503, Code: "stopping", Detail: "the gateway is stopping; ask again"}

// ErrClientClosed says that the client went away. 499 is for records only: nobody is there to read it.
var ErrClientClosed = &Error{Status: 499, Code: "client_closed", Detail: "the client closed the connection"}
