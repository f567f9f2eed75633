package http1

import "github.com/suuupra/gateway/runtime/httpmsg"

// The reasons for which a message is refused. Status is what a client is told; for a response from an upstream it is 502
// whatever stands here.
var (
	ErrLineEnd         = bad("bad_line_end", "a line does not end in CRLF")
	ErrRequestLine     = bad("bad_request_line", "the request line is not \"method target HTTP/1.1\"")
	ErrMethod          = bad("bad_method", "the method is not a word in capitals")
	ErrConnect         = &httpmsg.Error{Status: 501, Code: "connect_not_supported", Detail: "this is not a forward proxy"}
	ErrVersion         = bad("bad_version", "the version is neither HTTP/1.1 nor HTTP/1.0")
	ErrTarget          = bad("bad_target", "the request target is malformed")
	ErrTargetLong      = &httpmsg.Error{Status: 414, Code: "target_too_long", Detail: "the request target is too long"}
	ErrFieldName       = bad("bad_field_name", "a field name is empty, malformed or followed by white space")
	ErrFieldValue      = bad("bad_field_value", "a field value holds a control character")
	ErrFold            = bad("folded_field", "a line begins with white space")
	ErrHeaderSize      = &httpmsg.Error{Status: 431, Code: "header_too_large", Detail: "the header is too large"}
	ErrHeaderCount     = &httpmsg.Error{Status: 431, Code: "too_many_fields", Detail: "the header has too many fields"}
	ErrNoHost          = bad("no_host", "there is no Host")
	ErrHost            = bad("bad_host", "Host is repeated or not a host with an optional port")
	ErrHostMismatch    = bad("host_mismatch", "Host and the target name different authorities")
	ErrLength          = bad("bad_content_length", "Content-Length is repeated or not a plain number")
	ErrLengthAndCoding = bad("length_and_coding", "Content-Length and Transfer-Encoding are both present")
	ErrCoding          = bad("bad_transfer_encoding", "Transfer-Encoding is not exactly \"chunked\", or the version has none")
	ErrConnection      = bad("bad_connection", "Connection is malformed or names too many fields")
	ErrExpect          = &httpmsg.Error{Status: 417, Code: "unknown_expectation", Detail: "the only expectation met is 100-continue"}
	ErrChunkSize       = bad("bad_chunk_size", "a chunk size is not plain hexadecimal digits and CRLF")
	ErrChunkEnd        = bad("bad_chunk_end", "the data of a chunk is not followed by CRLF")
	ErrTrailer         = bad("forbidden_trailer", "a trailer names a field that must stand in the header")
	ErrStatusLine      = bad("bad_status_line", "the status line is malformed")
)

func bad(code, detail string) *httpmsg.Error {
	return &httpmsg.Error{Status: 400, Code: code, Detail: detail}
}
