// Package consul finds endpoints by Consul's health API, with blocking queries: the agent answers when something has changed, or
// when the wait is over. It uses the official client. An answer without instances is taken at its word, as Consul speaks with
// authority; an agent that cannot be reached is not.
package consul

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/suuupra/gateway/runtime/discovery/provider"
	"github.com/suuupra/gateway/schema/ir"
)

const (
	backoffFirst = time.Second
	backoffMax   = 30 * time.Second
	maxAnswer    = 16 << 20 // bytes
	grace        = 15 * time.Second
)

type catalog struct {
	spec   *ir.ConsulService
	env    provider.Env
	client *api.Client
}

// New returns what follows spec.
func New(spec *ir.ConsulService, env provider.Env) (provider.Run, error) {
	transport := &http.Transport{
		DialContext: env.Dial, TLSHandshakeTimeout: 5 * time.Second, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute,
		DisableCompression: true,
	}
	scheme, address, ok := strings.Cut(spec.Address, "://")
	if !ok {
		return nil, fmt.Errorf("%q is not a URL", spec.Address)
	}
	// The client would take its address, token and namespace from the environment: everything is said.
	client, err := api.NewClient(&api.Config{
		Address: address, Scheme: scheme, HttpClient: &http.Client{
			Transport:     bounded{transport},
			CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("the agent redirects") },
		},
	})
	if err != nil {
		return nil, fmt.Errorf("make Consul client: %w", err)
	}
	c := &catalog{spec: spec, env: env, client: client}
	return func(ctx context.Context, sink provider.Sink) {
		defer transport.CloseIdleConnections()
		c.run(ctx, sink)
	}, nil
}

// bounded keeps an agent from sending without end.
type bounded struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	}
	return resp, err
}

func (c *catalog) run(ctx context.Context, sink provider.Sink) {
	index, failures := uint64(0), 0
	for ctx.Err() == nil {
		list, next, err := c.ask(ctx, index)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			sink.Failed(err)
			wait := min(backoffFirst<<min(failures, 10), backoffMax)
			failures++
			index = 0
			timer := time.NewTimer(wait/2 + rand.N(wait/2+1))
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return
			}
			continue
		case next < index: // Consul's documentation: an index that goes backwards starts anew
			next = 0
		}
		failures, index = 0, max(next, 1) // and one below 1 would not block
		sink.Found(list)
	}
}

// ask waits for an answer newer than index.
func (c *catalog) ask(ctx context.Context, index uint64) ([]provider.Endpoint, uint64, error) {
	wait := time.Duration(c.spec.Wait) * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, wait+wait/16+grace) // the agent adds up to a sixteenth
	defer cancel()
	o := (&api.QueryOptions{
		Datacenter: c.spec.Datacenter, Namespace: c.spec.Namespace, WaitIndex: index, WaitTime: wait,
	}).WithContext(ctx)
	if c.spec.Token != "" {
		token, err := c.env.Secret(c.spec.Token)
		if err != nil {
			return nil, 0, fmt.Errorf("read the token: %w", err)
		}
		o.Token = strings.TrimSpace(string(token))
	}
	tag := ""
	if len(c.spec.Tags) > 0 {
		tag = c.spec.Tags[0] // the agent selects by one, the rest is selected here
	}
	entries, meta, err := c.client.Health().Service(c.spec.Service, tag, true, o)
	if err != nil {
		return nil, 0, fmt.Errorf("ask Consul for %s: %w", c.spec.Service, err)
	}
	var out []provider.Endpoint
	for _, e := range entries {
		if ep, ok := c.endpoint(e); ok {
			out = append(out, ep)
		}
	}
	return out, meta.LastIndex, nil
}

func (c *catalog) endpoint(e *api.ServiceEntry) (provider.Endpoint, bool) {
	if e.Service == nil {
		return provider.Endpoint{}, false
	}
	for _, tag := range c.spec.Tags {
		if !slices.Contains(e.Service.Tags, tag) {
			return provider.Endpoint{}, false
		}
	}
	host := e.Service.Address
	if host == "" && e.Node != nil {
		host = e.Node.Address
	}
	if host == "" || e.Service.Port < 1 || e.Service.Port > 65535 {
		return provider.Endpoint{}, false
	}
	return provider.Endpoint{
		Address: net.JoinHostPort(host, strconv.Itoa(e.Service.Port)), Weight: int64(max(e.Service.Weights.Passing, 0)),
	}, true
}
