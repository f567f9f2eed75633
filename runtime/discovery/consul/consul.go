// Package consul finds endpoints by Consul's health API, with blocking queries: the agent answers when something has changed, or
// when the wait is over. It uses the official client. An answer without instances is taken at its word, as Consul speaks with
// authority; an agent that cannot be reached is not.
package consul

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/suuupra/gateway/runtime/discovery/pace"
	"github.com/suuupra/gateway/runtime/discovery/provider"
	"github.com/suuupra/gateway/schema/ir"
)

const (
	backoffMax = 30 * time.Second
	maxAnswer  = 16 << 20 // bytes
	maxRefusal = 4 << 10  // bytes, of an answer that is not 200
	maxShown   = 200      // bytes of it that are shown
	burst      = 10       // answers in a row that are taken as fast as they come; after them one each
	every      = 500 * time.Millisecond
	maxWeight  = 1<<16 - 1

	tokenHeader = "X-Consul-Token"
	noToken     = "none"
)

// Tests shorten them.
var (
	grace        = 15 * time.Second // how long an agent may take beyond the wait it was asked for
	backoffFirst = time.Second
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
	address, err := url.Parse(spec.Address)
	if err != nil || address.Host == "" {
		return nil, fmt.Errorf("%q is not a URL", spec.Address)
	}
	client, err := api.NewClient(&api.Config{
		Address: address.Host, Scheme: address.Scheme, PathPrefix: strings.TrimRight(address.Path, "/"), Token: noToken,
		HttpClient: &http.Client{
			Transport:     &guard{spec: spec, base: transport},
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

// guard stands between the client and the agent. The client adds what it finds in the environment (CONSUL_HTTP_TOKEN,
// CONSUL_NAMESPACE, CONSUL_PARTITION) where it is told nothing: the gateway's own token is not for an agent that a tenant names. And
// an agent must not send without end.
type guard struct {
	spec *ir.ConsulService
	base http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if g.spec.Token == "" {
		r.Header.Del(tokenHeader)
	}
	q := r.URL.Query()
	q.Del("partition")
	if g.spec.Namespace == "" {
		q.Del("ns")
	}
	r.URL.RawQuery = q.Encode()
	resp, err := g.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	limit := int64(maxAnswer)
	if resp.StatusCode != http.StatusOK {
		limit = maxRefusal
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, limit), resp.Body}
	return resp, nil
}

func (c *catalog) run(ctx context.Context, sink provider.Sink) {
	index, failures := uint64(0), 0
	// An agent that answers at once, whatever the index, must not be asked as fast as it answers: Consul's documentation asks
	// clients for a limit.
	limit := pace.Limit{Burst: burst, Every: every}
	for limit.Wait(ctx) {
		list, next, err := c.ask(ctx, index)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			sink.Failed(err)
			index = 0
			if !pace.Pause(ctx, pace.Backoff(failures, backoffFirst, backoffMax)) {
				return
			}
			failures++
			continue
		case next < index: // Consul's documentation: an index that goes backwards starts anew
			next = 0
		}
		failures, index = 0, max(next, 1) // and one below 1 would not block
		sink.Found(list)
	}
}

// ask waits for an answer newer than index. With index 0 the agent answers at once.
func (c *catalog) ask(ctx context.Context, index uint64) ([]provider.Endpoint, uint64, error) {
	wait := time.Duration(c.spec.Wait) * time.Millisecond
	limit := grace
	if index > 0 {
		limit += wait + wait/16 // the agent adds up to a sixteenth
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	o := (&api.QueryOptions{
		Datacenter: c.spec.Datacenter, Namespace: c.spec.Namespace, WaitIndex: index, WaitTime: wait,
	}).WithContext(ctx)
	if c.spec.Token != "" {
		token, err := c.env.Secret(c.spec.Token)
		if err != nil {
			return nil, 0, fmt.Errorf("read the token: %w", err)
		}
		if o.Token = strings.TrimSpace(string(token)); o.Token == "" {
			return nil, 0, errors.New("the token is empty")
		}
	}
	tag := ""
	if len(c.spec.Tags) > 0 {
		tag = c.spec.Tags[0] // the agent selects by one, the rest is selected here
	}
	entries, meta, err := c.client.Health().Service(c.spec.Service, tag, true, o)
	if err == nil && entries == nil {
		err = errors.New("the answer is null, which is no list")
	}
	if err != nil {
		return nil, 0, fmt.Errorf("ask Consul for %s: %w", c.spec.Service, told(err, o.Token))
	}
	var out []provider.Endpoint
	for _, e := range entries {
		if ep, ok := c.endpoint(e); ok {
			out = append(out, ep)
		}
	}
	return out, meta.LastIndex, nil
}

// told is err in words that can be shown. What an agent says may be long, and may hold what it was sent.
func told(err error, token string) error {
	text := err.Error()
	if status := (api.StatusError{}); errors.As(err, &status) {
		text = fmt.Sprintf("the agent answers %d: %s", status.Code, status.Body)
	}
	if token != "" {
		text = strings.ReplaceAll(text, token, "(token)")
	}
	if len(text) > maxShown {
		text = strings.ToValidUTF8(text[:maxShown], "") + "..."
	}
	return errors.New(text)
}

func (c *catalog) endpoint(e *api.ServiceEntry) (provider.Endpoint, bool) {
	if e == nil || e.Service == nil {
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
		Address: net.JoinHostPort(host, strconv.Itoa(e.Service.Port)), Weight: int64(min(max(e.Service.Weights.Passing, 0), maxWeight)),
	}, true
}
