package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// redisServer is a redis-server that keeps nothing on disk, and a connection to ask it how often it was asked.
type redisServer struct {
	*process
	addr string
	conn net.Conn
	in   *bufio.Reader
}

func startRedis(ctx context.Context, dir string) (*redisServer, error) {
	path, err := lookPath("redis-server")
	if err != nil {
		return nil, err
	}
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	p, err := start(ctx, "redis-server", path, "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--dir", dir)
	if err != nil {
		return nil, err
	}
	var r *redisServer
	err = p.wait(ctx, 10*time.Second, func() bool {
		r, err = dialRedis(addr)
		return err == nil
	})
	if err != nil {
		p.stop()
		return nil, err
	}
	r.process = p
	return r, nil
}

func dialRedis(addr string) (*redisServer, error) {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return &redisServer{addr: addr, conn: conn, in: bufio.NewReader(conn)}, nil
}

func (r *redisServer) stop() {
	_ = r.conn.Close()
	r.process.stop()
}

// asked is how often a server was asked since it was started, and what it took to answer.
type asked struct {
	trips   int // reads of requests from clients' sockets: commands that come together count once
	scripts int // EVALSHA and EVAL
	cpu     time.Duration
}

// since is what was asked after an earlier reading, without the trip that this reading was.
func (a asked) since(before asked) asked {
	return asked{a.trips - before.trips - 1, a.scripts - before.scripts, a.cpu - before.cpu}
}

// asked reads the counts.
func (r *redisServer) asked() (asked, error) {
	u, err := r.usage()
	if err != nil {
		return asked{}, err
	}
	text, err := r.info()
	if err != nil {
		return asked{}, fmt.Errorf("ask redis-server for its counts: %w", err)
	}
	a, err := parseAsked(text)
	a.cpu = u.cpu
	return a, err
}

// info asks for all sections of INFO.
func (r *redisServer) info() (string, error) {
	if err := r.conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(r.conn, "INFO all\r\n"); err != nil { // an inline command
		return "", err
	}
	head, err := r.in.ReadString('\n')
	if err != nil {
		return "", err
	}
	size, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(head, "$")))
	if err != nil {
		return "", fmt.Errorf("answered %q", strings.TrimSpace(head))
	}
	text := make([]byte, size+len("\r\n"))
	_, err = io.ReadFull(r.in, text)
	return string(text), err
}

// parseAsked reads the sections "stats" and "commandstats" of INFO.
func parseAsked(info string) (asked, error) {
	var a asked
	found := false
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch name {
		case "total_reads_processed": // since version 6
			n, err := strconv.Atoi(value)
			if err != nil {
				return a, fmt.Errorf("redis-server: %s is %q", name, value)
			}
			a.trips, found = n, true
		case "cmdstat_evalsha", "cmdstat_eval":
			calls, _, _ := strings.Cut(strings.TrimPrefix(value, "calls="), ",")
			n, err := strconv.Atoi(calls)
			if err != nil {
				return a, fmt.Errorf("redis-server: %s is %q", name, value)
			}
			a.scripts += n
		}
	}
	if !found {
		return a, errors.New("redis-server does not say how often it was asked; version 6 or later does")
	}
	return a, nil
}
