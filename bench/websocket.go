package main

import (
	"bufio"
	"context"
	"crypto/sha1" //nolint:gosec // RFC 6455 section 1.3 asks for it
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// The WebSocket of the bench knows binary frames of up to 125 bytes and nothing else: proxies look at no frame, and a full
// client would cost the two cores more than they do.

const (
	socketKey   = "dGhlIHNhbXBsZSBub25jZQ=="
	socketGUID  = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
	frameBinary = 0x82
	frameMasked = 0x80
)

func socketAccept(key string) string {
	sum := sha1.Sum([]byte(key + socketGUID)) //nolint:gosec // as above
	return base64.StdEncoding.EncodeToString(sum[:])
}

// echo is the upstream's side: it returns each frame, unmasked.
func echo(c net.Conn, in *bufio.Reader, key string) {
	if _, err := fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n", socketAccept(key)); err != nil {
		return
	}
	buf := make([]byte, 2+4+125)
	for {
		payload, err := readFrame(in, buf)
		if err != nil {
			return
		}
		if _, err := c.Write(append([]byte{frameBinary, byte(len(payload))}, payload...)); err != nil {
			return
		}
	}
}

// readFrame reads one small frame, masked or not, and returns its payload.
func readFrame(in *bufio.Reader, buf []byte) ([]byte, error) {
	if _, err := io.ReadFull(in, buf[:2]); err != nil {
		return nil, err
	}
	n, masked := int(buf[1]&^frameMasked), buf[1]&frameMasked != 0
	if buf[0] != frameBinary || n > 125 {
		return nil, fmt.Errorf("frame % x is not a small binary one", buf[:2])
	}
	var mask [4]byte
	if masked {
		if _, err := io.ReadFull(in, mask[:]); err != nil {
			return nil, err
		}
	}
	payload := buf[2 : 2+n]
	if _, err := io.ReadFull(in, payload); err != nil {
		return nil, err
	}
	if masked {
		for i := range payload {
			payload[i] ^= mask[i%4]
		}
	}
	return payload, nil
}

// socket is one WebSocket of the load.
type socket struct {
	conn net.Conn
	in   *bufio.Reader
	out  []byte
	buf  [2 + 4 + 125]byte
}

// openSocket connects and switches protocols.
func openSocket(ctx context.Context, addr, host, path string) (*socket, error) {
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &socket{conn: conn, in: bufio.NewReader(conn)}
	if err := s.upgrade(host, path); err != nil {
		_ = conn.Close()
		return nil, err
	}
	// A frame from a client is masked; a mask of zeros leaves the payload as it is.
	s.out = append([]byte{frameBinary, frameMasked | 8, 0, 0, 0, 0}, make([]byte, 8)...)
	return s, nil
}

func (s *socket) upgrade(host, path string) error {
	if err := s.conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(s.conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n", path, host, socketKey); err != nil {
		return err
	}
	accepted := false
	for first := true; ; first = false {
		line, err := s.in.ReadString('\n')
		if err != nil {
			return err
		}
		line = strings.TrimSpace(line)
		switch {
		case first && !strings.HasPrefix(line, "HTTP/1.1 101 "):
			return errors.New("answered " + line)
		case line == "" && !accepted:
			return errors.New("the handshake has the wrong Sec-WebSocket-Accept")
		case line == "":
			return nil
		case strings.HasSuffix(line, socketAccept(socketKey)):
			accepted = true
		}
	}
}

// trade sends the moment and waits for it to come back.
func (s *socket) trade() error {
	if err := s.conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	now := uint64(time.Now().UnixNano())
	binary.BigEndian.PutUint64(s.out[6:], now)
	if _, err := s.conn.Write(s.out); err != nil {
		return err
	}
	payload, err := readFrame(s.in, s.buf[:])
	if err != nil {
		return err
	}
	if len(payload) != 8 || binary.BigEndian.Uint64(payload) != now {
		return fmt.Errorf("%d bytes came back that were not sent", len(payload))
	}
	return nil
}
