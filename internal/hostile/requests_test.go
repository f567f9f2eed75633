package hostile_test

import "strings"

// request is an input of HTTP/1.1. tail follows it on the same connection.
type request struct {
	name, bytes string
	answers     string // "400 bad_host"; several in their order, separated by "; "
	is          outcome
	open        string // request lines at the upstream, as answers; (cut) is one whose end never came
	late        string // sent once the upstream has the head
	without     string // what the upstream must not see in a head
}

// tail asks for an answer, so that it shows if anything before it was taken for less or more than it is.
const tail = "GET /tail HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

func get(fields string) string { return "GET / HTTP/1.1\r\nHost: h\r\n" + fields + "\r\n\r\n" }

func post(fields, body string) string {
	return "POST / HTTP/1.1\r\nHost: h\r\n" + fields + "\r\n\r\n" + body
}

func chunked(body string) string { return post("Transfer-Encoding: chunked", body) }

// Shorter words for the codes of many rows.
const (
	badLength  = "400 bad_content_length"
	badCoding  = "400 bad_transfer_encoding"
	badSize    = "400 bad_chunk_size"
	badHost    = "400 bad_host"
	badValue   = "400 bad_field_value"
	badName    = "400 bad_field_name"
	badLine    = "400 bad_request_line"
	badEnd     = "400 bad_line_end"
	badVersion = "400 bad_version"
	badMethod  = "400 bad_method"
	badTarget  = "400 bad_target"
	badTrailer = "400 forbidden_trailer"
	folded     = "400 folded_field"
)

// framings are about where a request ends.
var framings = []request{
	{name: "length and coding", bytes: post("Content-Length: 6\r\nTransfer-Encoding: chunked", "0\r\n\r\nX"), answers: "400 length_and_coding"},
	{name: "coding and length", bytes: post("Transfer-Encoding: chunked\r\nContent-Length: 6", "0\r\n\r\nX"), answers: "400 length_and_coding"},
	{name: "two equal lengths", bytes: post("Content-Length: 1\r\nContent-Length: 1", "X"), answers: badLength},
	{name: "two lengths", bytes: post("Content-Length: 1\r\nContent-Length: 2", "XX"), answers: badLength},
	{name: "length +5", bytes: post("Content-Length: +5", "hello"), answers: badLength},
	{name: "length 0x5", bytes: post("Content-Length: 0x5", "hello"), answers: badLength},
	{name: "length 5,5", bytes: post("Content-Length: 5,5", "hello"), answers: badLength},
	{name: "length 5 and space", bytes: post("Content-Length: 5 ", "hello"), answers: badLength},
	{name: "length -1", bytes: post("Content-Length: -1", ""), answers: badLength},
	{name: "length 2^64", bytes: post("Content-Length: 18446744073709551616", ""), answers: badLength},
	{name: "length 2^64+5", bytes: post("Content-Length: 18446744073709551621", "hello"), answers: badLength},
	{name: "length 2^63", bytes: post("Content-Length: 9223372036854775808", ""), answers: badLength},
	{name: "length 1e1", bytes: post("Content-Length: 1e1", "0123456789"), answers: badLength},
	{name: "empty length", bytes: post("Content-Length:", ""), answers: badLength},
	{name: "two spaces before a length", bytes: post("Content-Length:  5", "hello"), answers: badLength},
	{name: "coding xchunked", bytes: post("Transfer-Encoding: xchunked", "0\r\n\r\n"), answers: badCoding},
	{name: "coding chunked, identity", bytes: post("Transfer-Encoding: chunked, identity", "0\r\n\r\n"), answers: badCoding},
	{name: "coding identity, chunked", bytes: post("Transfer-Encoding: identity, chunked", "0\r\n\r\n"), answers: badCoding},
	{name: "coding gzip, chunked", bytes: post("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"), answers: badCoding},
	{name: "coding with vertical tab", bytes: post("Transfer-Encoding: Chunked\x0b", "0\r\n\r\n"), answers: badValue},
	{name: "coding with space before", bytes: post("Transfer-Encoding:  chunked", "0\r\n\r\n"), answers: badCoding},
	{name: "coding with tab before", bytes: post("Transfer-Encoding:\tchunked", "0\r\n\r\n"), answers: badCoding},
	{name: "coding with space behind", bytes: post("Transfer-Encoding: chunked ", "0\r\n\r\n"), answers: badCoding},
	{name: "coding in quotes", bytes: post("Transfer-Encoding: \"chunked\"", "0\r\n\r\n"), answers: badCoding},
	{name: "coding twice", bytes: post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n"), answers: badCoding},
	{name: "coding twice, the second odd", bytes: post("Transfer-Encoding: chunked\r\nTransfer-encoding: x", "0\r\n\r\n"), answers: badCoding},
	{name: "empty coding", bytes: post("Transfer-Encoding:", ""), answers: badCoding},
	{name: "coding on HTTP/1.0", bytes: "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", answers: badCoding},
	{name: "space before the colon of a length", bytes: post("Content-Length : 5", "hello"), answers: badName},
	{name: "space before the colon of a coding", bytes: post("Transfer-Encoding : chunked", "0\r\n\r\n"), answers: badName},
	{name: "fold before a length", bytes: post("X: a\r\n Content-Length: 5", "hello"), answers: folded},
	{name: "chunk size 0x5", bytes: chunked("0x5\r\nhello\r\n0\r\n\r\n"), answers: badSize},
	{name: "chunk size 5_0", bytes: chunked("5_0\r\nhello\r\n0\r\n\r\n"), answers: badSize},
	{name: "chunk size +5", bytes: chunked("+5\r\nhello\r\n0\r\n\r\n"), answers: badSize},
	{name: "chunk size -5", bytes: chunked("-5\r\nhello\r\n0\r\n\r\n"), answers: badSize},
	{name: "chunk size with space", bytes: chunked("5 \r\nhello\r\n0\r\n\r\n"), answers: badSize},
	{name: "chunk size 5 ;", bytes: chunked("5 ;\r\nhello\r\n0\r\n\r\n"), answers: badSize},
	{name: "chunk size with 17 digits", bytes: chunked("00000000000000005\r\nhello\r\n0\r\n\r\n"), answers: badSize},
	{name: "chunk size 2^63", bytes: chunked("8000000000000000\r\nhello\r\n0\r\n\r\n"), answers: badSize},
	{name: "empty chunk size", bytes: chunked("\r\nhello\r\n0\r\n\r\n"), answers: badSize},
	{name: "chunk size ends in LF", bytes: chunked("5\nhello\r\n0\r\n\r\n"), answers: badSize},
	{name: "chunk size ends in CR CR LF", bytes: chunked("5\r\r\nhello\r\n0\r\n\r\n"), answers: badSize},
	{name: "chunk extension", bytes: chunked("5;a=b\r\nhello\r\n0\r\n\r\n"), answers: badSize},
	{name: "chunk extension with LF", bytes: chunked("5;\n\r\nhello\r\n0\r\n\r\n"), answers: badSize},
	{name: "16 MiB of chunk extensions", bytes: chunked("5;" + strings.Repeat("a", 16<<20)), answers: badSize},
	{name: "chunk longer than its size", bytes: chunked("5\r\nhello!\r\n0\r\n\r\n"), answers: "400 bad_chunk_end"},
	{name: "chunk ends in LF", bytes: chunked("5\r\nhello\n0\r\n\r\n"), answers: "400 bad_chunk_end"},
	{name: "request in place of the last CRLF", bytes: chunked("0\r\nGET /admin HTTP/1.1\r\nHost: h\r\n\r\n"), answers: badName},
	{name: "last CRLF missing", bytes: chunked("0\r\n"), answers: badName}, // what follows is read as a trailer
	{name: "trailer ends in LF", bytes: chunked("0\r\nA: b\n\r\n"), answers: badEnd},
	{name: "trailer folded", bytes: chunked("0\r\nA: b\r\n c\r\n\r\n"), answers: folded},
	{name: "trailer Content-Length", bytes: chunked("0\r\nContent-Length: 5\r\n\r\n"), answers: badTrailer},
	{name: "trailer Transfer-Encoding", bytes: chunked("0\r\nTransfer-Encoding: chunked\r\n\r\n"), answers: badTrailer},
	{name: "trailer Host", bytes: chunked("0\r\nHost: evil\r\n\r\n"), answers: badTrailer},
	{name: "trailer Authorization", bytes: chunked("0\r\nAuthorization: x\r\n\r\n"), answers: badTrailer},
	{name: "trailer X-Forwarded-For", bytes: chunked("0\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"), answers: badTrailer},
	{name: "data after the trailer", bytes: chunked("0\r\nA: b\r\n\r\nhello\r\n\r\n"), answers: "200; " + badLine, open: "POST /"},
	{name: "bad chunk size that comes late", bytes: chunked("5\r\nhello\r\n"), late: "0x5\r\nhello\r\n0\r\n\r\n", answers: badSize, open: "POST / (cut)"},
	{name: "forbidden trailer that comes late", bytes: chunked("5\r\nhello\r\n"), late: "0\r\nContent-Length: 5\r\n\r\n", answers: badTrailer, open: "POST / (cut)"},
	{name: "body not read, of 200 KiB", is: bounded, bytes: unread(200 << 10), answers: "405 method_not_allowed; 200", open: "GET /tail"},
	{name: "body not read, of 300 KiB", bytes: unread(300 << 10), answers: "405 method_not_allowed"},
	{name: "body not read, of unknown length", bytes: strings.Replace(chunked("c800\r\n"+requestsOf(0xc800)+"\r\n0\r\n\r\n"), " / ", " /health ", 1), is: bounded, answers: "405 method_not_allowed; 200", open: "GET /tail"},
}

// unread is a request that is answered before its body, which looks like requests, is read.
func unread(size int) string {
	return "POST /health HTTP/1.1\r\nHost: h\r\nContent-Length: " + itoa(size) + "\r\n\r\n" + requestsOf(size)
}

func requestsOf(size int) string {
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
	return strings.Repeat(smuggled, size/len(smuggled)+1)[:size]
}
