package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// load describes the requests of one measurement. Each connection sends its next request when the last is answered, so
// the server is never idle; with a rate, not before its turn.
type load struct {
	addr        string
	requests    [][]byte // sent in turn; each without a body
	connections int
	duration    time.Duration
	rate        int // requests a second over all connections, 0 is as fast as it goes
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
	begin := time.Now()
	parts := make([]result, l.connections)
	var wg sync.WaitGroup
	for i := range parts {
		wg.Go(func() { parts[i] = l.connection(ctx, i) })
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
	for n := number; ctx.Err() == nil; n += l.connections {
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
			r.failed++
			if r.firstFail == "" {
				r.firstFail = err.Error()
			}
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
		if *c, err = dial(l.addr); err != nil {
			return false, err
		}
	}
	return (*c).do(request)
}

// client is one keep-alive connection. It reads as much of HTTP/1.1 as the servers here send: a status, Content-Length,
// and Connection: close. Being simple makes it cheap, so that on two cores the servers have most of the machine.
type client struct {
	conn net.Conn
	in   *bufio.Reader
}

func dial(addr string) (*client, error) {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return &client{conn: conn, in: bufio.NewReader(conn)}, nil
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
		case bytes.EqualFold(name, []byte("Connection")) && bytes.EqualFold(value, []byte("close")):
			again = false
		}
	}
	if length < 0 {
		return false, errors.New(status + " without Content-Length")
	}
	if _, err := c.in.Discard(length); err != nil {
		return false, err
	}
	if !ok {
		return again, fmt.Errorf("answered %s", status)
	}
	return again, nil
}

// get builds the request the load sends: what a browser or a client library would at least send.
func get(host, path string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
}

// ask sends one request on a connection of its own and reports whether the answer is 200.
func ask(addr string, request []byte) bool {
	c, err := dial(addr)
	if err != nil {
		return false
	}
	defer c.close()
	_, err = c.do(request)
	return err == nil
}
