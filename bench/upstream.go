package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// The paths the upstream knows, each at the end of whatever the proxy puts before it. Every other path is answered with reply.
const (
	pathStream = "/stream"   // an event stream with one event, that then stays open
	pathEvents = "/events"   // an event stream with an event every eventPace
	pathEcho   = "/echo"     // a WebSocket that returns what it gets
	pathSize   = "/size/"    // followed by the length of the body to answer with
	pathUpload = "/upload"   // takes a body and answers with reply
	eventPace  = time.Second // between two events of one stream
)

// reply is a small JSON-sized body, so that the proxy's own work dominates.
var reply = []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 256\r\n\r\n" + strings.Repeat("x", 256))

const streamHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"

// stream is the answer under pathStream.
var stream = []byte(streamHead + "9\r\ndata: 1\n\n\r\n")

// upstream is the server behind every proxy. It reads requests as simply as can be, to be cheap.
func upstream() (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go each(l, func(c net.Conn) {
		in := bufio.NewReader(c)
		for {
			r, err := readRequest(in)
			if err != nil || !answerOne(c, in, r) {
				return
			}
		}
	})
	return l, nil
}

// request is what the upstream keeps of a request header.
type request struct {
	path   string // empty: nothing special about it
	length int64
	key    string // Sec-WebSocket-Key
}

// answerOne reports whether the connection can take another request.
func answerOne(c net.Conn, in *bufio.Reader, r request) bool {
	switch {
	case r.path == "":
	case strings.HasSuffix(r.path, pathStream):
		if _, err := c.Write(stream); err == nil {
			_, _ = in.ReadByte() // until the proxy leaves
		}
		return false
	case strings.HasSuffix(r.path, pathEvents):
		sendEvents(c)
		return false
	case strings.HasSuffix(r.path, pathEcho):
		echo(c, in, r.key)
		return false
	case strings.HasSuffix(r.path, pathUpload):
		if _, err := io.CopyN(io.Discard, in, r.length); err != nil {
			return false
		}
	case strings.Contains(r.path, pathSize):
		_, size, _ := strings.Cut(r.path, pathSize)
		n, err := strconv.Atoi(size)
		return err == nil && sendBody(c, n) == nil
	}
	_, err := c.Write(reply)
	return err == nil
}

// bulk is what large bodies are made of.
var bulk = bytes.Repeat([]byte("0123456789abcdef"), 4096)

func sendBody(c net.Conn, n int) error {
	pieces := net.Buffers{fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", n)}
	for n > 0 {
		piece := bulk[:min(n, len(bulk))]
		pieces = append(pieces, piece)
		n -= len(piece)
	}
	_, err := pieces.WriteTo(c)
	return err
}

// sendEvents sends the moment of sending as the data of each event, until the proxy leaves.
func sendEvents(c net.Conn) {
	if _, err := io.WriteString(c, streamHead); err != nil {
		return
	}
	for tick := time.NewTicker(eventPace); ; <-tick.C {
		data := fmt.Sprintf("data: %d\n\n", time.Now().UnixNano())
		if _, err := fmt.Fprintf(c, "%x\r\n%s\r\n", len(data), data); err != nil {
			tick.Stop()
			return
		}
	}
}

// readRequest reads one request header. The fields are looked at only where the path is one that needs them.
func readRequest(in *bufio.Reader) (request, error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return request{}, err
	}
	var r request
	for _, special := range []string{pathStream, pathEvents, pathEcho, pathSize, pathUpload} {
		if bytes.Contains(line, []byte(special)) {
			_, target, _ := strings.Cut(string(line), " ")
			r.path, _, _ = strings.Cut(target, " ")
			break
		}
	}
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return r, err
		}
		if len(line) <= 2 {
			return r, nil
		}
		if r.path == "" {
			continue
		}
		name, value, _ := strings.Cut(strings.TrimSpace(string(line)), ":")
		switch value = strings.TrimSpace(value); {
		case strings.EqualFold(name, "Content-Length"):
			if r.length, err = strconv.ParseInt(value, 10, 64); err != nil {
				return r, err
			}
		case strings.EqualFold(name, "Sec-WebSocket-Key"):
			r.key = value
		}
	}
}

// each serves every connection of l until l is closed.
func each(l net.Listener, serve func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		go func() {
			defer func() { _ = c.Close() }()
			serve(c)
		}()
	}
}
