package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// errOver is the end of the measurement.
var errOver = errors.New("the window is over")

// eventReader reads one event stream, whatever pieces it comes in: it looks for lines of data and ignores chunk sizes.
type eventReader struct {
	conn net.Conn
	in   *bufio.Reader
}

// openEvents asks for a stream and waits for its first event.
func openEvents(ctx context.Context, addr string, request []byte) (*eventReader, error) {
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	r := &eventReader{conn: conn, in: bufio.NewReaderSize(conn, 512)}
	if _, err = conn.Write(request); err == nil {
		_, err = r.next(time.Now().Add(10 * time.Second))
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return r, nil
}

// next waits for an event and returns how long ago it was sent.
func (r *eventReader) next(by time.Time) (time.Duration, error) {
	if err := r.conn.SetReadDeadline(by); err != nil {
		return 0, err
	}
	for {
		line, err := r.in.ReadString('\n')
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return 0, errOver
		case err != nil:
			return 0, err
		case strings.HasPrefix(line, "HTTP/1.1 ") && !strings.HasPrefix(line, "HTTP/1.1 200 "):
			return 0, errors.New("answered " + strings.TrimSpace(line))
		}
		data, ok := strings.CutPrefix(strings.TrimSpace(line), "data: ")
		if !ok {
			continue
		}
		sent, err := strconv.ParseInt(data, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("event %q: %w", data, err)
		}
		return time.Since(time.Unix(0, sent)), nil
	}
}
