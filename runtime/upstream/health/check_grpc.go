package health

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// serving is HealthCheckResponse.ServingStatus.SERVING.
const serving = 1

// askGRPC asks by the health checking protocol of gRPC: one call of grpc.health.v1.Health/Check. The exchange is a POST with one
// message each way (grpc/doc/PROTOCOL-HTTP2.md), and each message has one field that matters, so that no gRPC library is needed
// to trust with the answers of servers that may be ill.
func (h *Host) askGRPC(ctx context.Context, nc net.Conn) *checkError {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.origin()+"/grpc.health.v1.Health/Check", bytes.NewReader(healthRequest(h.c.Check.Service)))
	if err != nil {
		return &checkError{CheckBroken, err}
	}
	req.Host = cmp.Or(h.c.Check.Host, h.authority())
	req.Header = http.Header{
		"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "User-Agent": {userAgent},
		"Grpc-Timeout": {strconv.FormatInt(min(h.timeout().Milliseconds(), 99999999), 10) + "m"},
	}
	resp, done, failure := overHTTP2(req, nc)
	if failure != nil {
		return failure
	}
	defer done()
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/grpc") {
		return failed(CheckBroken, "answered %d without gRPC", resp.StatusCode)
	}
	message, err := io.ReadAll(io.LimitReader(resp.Body, maxCheckBody+1))
	switch {
	case err != nil:
		return failed(CheckBroken, "read the answer: %w", err)
	case len(message) > maxCheckBody:
		return failed(CheckBroken, "the answer has more than %d bytes", maxCheckBody)
	}
	switch status := cmp.Or(resp.Trailer.Get("Grpc-Status"), resp.Header.Get("Grpc-Status")); status {
	case "0":
	case "":
		return failed(CheckBroken, "the answer has no gRPC status")
	default:
		if n, err := strconv.ParseUint(status, 10, 8); err == nil {
			return failed(CheckNotServing, "answered gRPC status %d", n)
		}
		return failed(CheckBroken, "the gRPC status is no number")
	}
	status, err := healthStatus(message)
	switch {
	case err != nil:
		return failed(CheckBroken, "decode the answer: %w", err)
	case status != serving:
		return failed(CheckNotServing, "answered serving status %d", status)
	}
	return nil
}

// healthRequest is a HealthCheckRequest with its length before it. Field 1 is the service.
func healthRequest(service string) []byte {
	var message []byte
	if service != "" {
		message = append(message, 1<<3|2)
		message = binary.AppendUvarint(message, uint64(len(service)))
		message = append(message, service...)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

var errMessage = errors.New("malformed message")

// healthStatus is field 1 of a HealthCheckResponse with its length before it; 0 (UNKNOWN) if it is absent. Other fields are
// skipped, as protocol buffers have it.
func healthStatus(p []byte) (status uint64, err error) {
	if len(p) < 5 || p[0] != 0 || uint64(binary.BigEndian.Uint32(p[1:5])) != uint64(len(p)-5) {
		return 0, errMessage // compressed, cut off, or more than one: a server may send none of that
	}
	for p = p[5:]; len(p) > 0; {
		tag, n := binary.Uvarint(p)
		if n <= 0 {
			return 0, errMessage
		}
		p = p[n:]
		size := uint64(0)
		switch tag & 7 {
		case 0:
			v, n := binary.Uvarint(p)
			if n <= 0 {
				return 0, errMessage
			}
			if tag>>3 == 1 {
				status = v
			}
			size = uint64(n)
		case 1:
			size = 8
		case 2:
			length, n := binary.Uvarint(p)
			if n <= 0 || length > uint64(len(p)) {
				return 0, errMessage
			}
			size = uint64(n) + length
		case 5:
			size = 4
		default:
			return 0, errMessage
		}
		if size > uint64(len(p)) {
			return 0, errMessage
		}
		p = p[size:]
	}
	return status, nil
}
