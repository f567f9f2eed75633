package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// load describes the requests of one measurement. Each connection sends its next request when the last is answered, so
// the server is never idle; with a rate, not before its turn.
type load struct {
	addr        string
	requests    [][]byte // sent in turn; each without a body
	once        bool     // no request is sent twice: the load ends when all were sent
	connections int
	duration    time.Duration
	rate        int         // requests a second over all connections, 0 is as fast as it goes
	secure      *tls.Config // nil: plain
	fresh       bool        // a new connection for each request, which asks the server to close it
	buffer      int         // of the reader, in bytes; 0: enough for small answers
}

// result is what came back.
type result struct {
	answered  int
	failed    int // not 200, or the connection broke
	firstFail string
	elapsed   time.Duration
	latencies []time.Duration // sorted
}

func (r result) perSecond() float64 { return float64(r.answered) / r.elapsed.Seconds() }

func (r result) quantile(q float64) time.Duration {
	if len(r.latencies) == 0 {
		return 0
	}
	return r.latencies[min(int(q*float64(len(r.latencies))), len(r.latencies)-1)]
}

func (l load) run(ctx context.Context) result {
	ctx, cancel := context.WithTimeout(ctx, l.duration)
	defer cancel()
	return together(l.connections, func(i int) result { return l.connection(ctx, i) })
}

// together runs n clients at the same time and adds up what came back.
func together(n int, client func(i int) result) result {
	begin := time.Now()
	parts := make([]result, n)
	var wg sync.WaitGroup
	for i := range parts {
		wg.Go(func() { parts[i] = client(i) })
	}
	wg.Wait()
	total := result{elapsed: time.Since(begin)}
	for _, p := range parts {
		total.answered += p.answered
		total.failed += p.failed
		if total.firstFail == "" {
			total.firstFail = p.firstFail
		}
		total.latencies = append(total.latencies, p.latencies...)
	}
	slices.Sort(total.latencies)
	return total
}

// fail counts a request that went wrong.
func (r *result) fail(err error) {
	r.failed++
	if r.firstFail == "" {
		r.firstFail = err.Error()
	}
}

func (l load) connection(ctx context.Context, number int) result {
	var r result
	var c *client
	defer func() { c.close() }()
	var turn <-chan time.Time
	if l.rate > 0 {
		t := time.NewTicker(time.Second * time.Duration(l.connections) / time.Duration(l.rate))
		defer t.Stop()
		turn = t.C
	}
	for n := number; ctx.Err() == nil && (!l.once || n < len(l.requests)); n += l.connections {
		if turn != nil {
			select {
			case <-turn:
			case <-ctx.Done():
				return r
			}
		}
		begin := time.Now()
		again, err := l.exchange(&c, l.requests[n%len(l.requests)])
		if err != nil {
			r.fail(err)
		} else {
			r.answered++
			r.latencies = append(r.latencies, time.Since(begin))
		}
		if err != nil || !again {
			c.close()
			c = nil
		}
	}
	return r
}

func (l load) exchange(c **client, request []byte) (again bool, err error) {
	if *c == nil {
		if *c, err = dial(l.addr, l.secure, l.buffer); err != nil {
			return false, err
		}
	}
	again, err = (*c).do(request)
	return again && !l.fresh, err
}

// client is one keep-alive connection. It reads as much of HTTP/1.1 as the servers here send: a status, Content-Length,
// and Connection: close. Being simple makes it cheap, so that on two cores the servers have most of the machine.
type client struct {
	conn net.Conn
	in   *bufio.Reader
}

func dial(addr string, secure *tls.Config, buffer int) (*client, error) {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	if secure != nil {
		conn = tls.Client(conn, secure) // shakes hands with the first write
	}
	return &client{conn: conn, in: bufio.NewReaderSize(conn, max(buffer, 4096))}, nil
}

func (c *client) close() {
	if c != nil {
		_ = c.conn.Close()
	}
}

// do sends one request and reads the whole answer; again says whether the connection can take another one.
func (c *client) do(request []byte) (again bool, err error) {
	if err := c.conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return false, err
	}
	if _, err := c.conn.Write(request); err != nil {
		return false, err
	}
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return false, err
	}
	ok := bytes.HasPrefix(line, []byte("HTTP/1.1 200"))
	status := string(bytes.TrimSpace(line[:min(len(line), 40)]))
	length, again := -1, true
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return false, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch value = bytes.TrimSpace(value); {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return false, err
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			length = chunked
		case bytes.EqualFold(name, []byte("Connection")) && bytes.EqualFold(value, []byte("close")):
			again = false
		}
	}
	if err := c.skip(length); err != nil {
		return false, fmt.Errorf("%s: %w", status, err)
	}
	if !ok {
		return again, fmt.Errorf("answered %s", status)
	}
	return again, nil
}

// chunked stands for the length of a body that says it as it goes.
const chunked = -2

// skip reads a body and drops it.
func (c *client) skip(length int) error {
	switch {
	case length >= 0:
		_, err := c.in.Discard(length)
		return err
	case length != chunked:
		return errors.New("neither Content-Length nor Transfer-Encoding")
	}
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 32)
		if err != nil {
			return err
		}
		if _, err := c.in.Discard(int(n) + 2); err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
	}
}

// get builds the request the load sends: what a browser or a client library would at least send, and further fields ("Name: value").
func get(host, path string, fields ...string) []byte {
	head := append([]string{"GET " + path + " HTTP/1.1", "Host: " + host, "User-Agent: bench", "Accept: */*"}, fields...)
	return []byte(strings.Join(head, "\r\n") + "\r\n\r\n")
}

// getOnce is get for a connection that the server closes afterwards: the ports in TIME_WAIT are then not the load's.
func getOnce(host, path string) []byte { return get(host, path, "Connection: close") }

// post builds a request with a body of n bytes.
func post(host, path string, n int) []byte {
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: */*\r\nContent-Length: %d\r\n\r\n", path, host, n)
	return append([]byte(head), bytes.Repeat([]byte{'x'}, n)...)
}

// ask sends one request on a connection of its own and reports whether the answer is 200.
func ask(addr string, request []byte) bool {
	c, err := dial(addr, nil, 0)
	if err != nil {
		return false
	}
	defer c.close()
	_, err = c.do(request)
	return err == nil
}
