package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"time"
)

// multiplexed is a load over HTTP/2: on each connection, each stream sends its next request when the last is answered.
type multiplexed struct {
	addr, host, path     string
	secure               *tls.Config
	connections, streams int
	duration             time.Duration
}

func (m multiplexed) run(ctx context.Context) (result, error) {
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	transport := &http.Transport{TLSClientConfig: m.secure, Protocols: &protocols}
	conns := make([]*http.ClientConn, 0, m.connections)
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	for range m.connections {
		c, err := transport.NewClientConn(ctx, "https", m.addr)
		if err != nil {
			return result{}, err
		}
		conns = append(conns, c)
	}
	ctx, cancel := context.WithTimeout(ctx, m.duration)
	defer cancel()
	return together(m.connections*m.streams, func(i int) result {
		var r result
		for ctx.Err() == nil {
			begin := time.Now()
			err := m.exchange(ctx, conns[i%len(conns)])
			switch {
			case ctx.Err() != nil:
			case err != nil:
				r.fail(err)
				return r
			default:
				r.answered++
				r.latencies = append(r.latencies, time.Since(begin))
			}
		}
		return r
	}), nil
}

func (m multiplexed) exchange(ctx context.Context, c *http.ClientConn) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+m.host+m.path, nil)
	if err != nil {
		return err
	}
	resp, err := c.RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s", resp.Status)
	}
	return nil
}
