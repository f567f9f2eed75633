// Package dns finds endpoints by DNS: address records, or service records (RFC 2782). It asks again when the answer's time to
// live is over, within a floor and a cap. A name that does not exist for once is a failure like any other: it empties no pool.
package dns

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/suuupra/gateway/runtime/discovery/provider"
	"github.com/suuupra/gateway/schema/ir"
)

const (
	perServer    = 2 * time.Second // one question to one server
	backoffFirst = time.Second
	backoffMax   = 30 * time.Second
	udpSize      = 1232 // EDNS0 buffer that needs no fragment anywhere (DNS flag day 2020)
	maxTargets   = 64   // SRV targets that are looked up when the answer does not bring their addresses
	resolvConf   = "/etc/resolv.conf"
)

// resolver follows one name.
type resolver struct {
	spec *ir.DNS
	env  provider.Env
	conf string // path of the system's configuration
}

// New returns what follows spec.
func New(spec *ir.DNS, env provider.Env) (provider.Run, error) {
	if _, ok := dns.IsDomainName(spec.Name); !ok {
		return nil, fmt.Errorf("%q is not a domain name", spec.Name)
	}
	r := &resolver{spec: spec, env: env, conf: resolvConf}
	return r.run, nil
}

func (r *resolver) run(ctx context.Context, sink provider.Sink) {
	failures := 0
	for ctx.Err() == nil {
		list, ttl, err := r.lookup(ctx)
		if ctx.Err() != nil {
			return
		}
		var wait time.Duration
		if err != nil {
			sink.Failed(err)
			wait = min(backoffFirst<<min(failures, 10), backoffMax)
			wait = max(wait/2+rand.N(wait/2+1), ms(r.spec.MinTTL)/2)
			failures++
		} else {
			sink.Found(list)
			failures = 0
			wait = min(max(ttl, ms(r.spec.MinTTL)), max(ms(r.spec.MaxTTL), ms(r.spec.MinTTL)))
			wait -= rand.N(wait/20 + 1) // gateways that started together do not ask together
		}
		timer := time.NewTimer(max(wait, 10*time.Millisecond))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// lookup asks once. The time to live is the shortest of the records that were used.
func (r *resolver) lookup(ctx context.Context) ([]provider.Endpoint, time.Duration, error) {
	conf, err := r.servers()
	if err != nil {
		return nil, 0, err
	}
	var last error
	for _, name := range conf.NameList(r.spec.Name) {
		var list []provider.Endpoint
		var ttl time.Duration
		if r.spec.Type == "SRV" {
			list, ttl, err = r.services(ctx, conf, name)
		} else {
			var addresses []net.IP
			addresses, ttl, err = r.addresses(ctx, conf, name, types(r.spec.Type))
			list = at(addresses, r.spec.Port, 0)
		}
		if err == nil && len(list) > 0 {
			return list, ttl, nil
		}
		if err == nil {
			err = fmt.Errorf("%s has no %s records", name, r.spec.Type)
		}
		if last == nil || !errors.Is(err, errNoName) {
			last = err
		}
	}
	return nil, 0, last
}

func types(kind string) []uint16 {
	switch kind {
	case "A":
		return []uint16{dns.TypeA}
	case "AAAA":
		return []uint16{dns.TypeAAAA}
	}
	return []uint16{dns.TypeA, dns.TypeAAAA}
}

func at(addresses []net.IP, port, weight int64) []provider.Endpoint {
	out := make([]provider.Endpoint, len(addresses))
	for i, a := range addresses {
		out[i] = provider.Endpoint{Address: net.JoinHostPort(a.String(), strconv.FormatInt(port, 10)), Weight: weight}
	}
	return out
}

// servers are those of the configuration, or the system's, read anew each time: a laptop changes its network.
func (r *resolver) servers() (*dns.ClientConfig, error) {
	if len(r.spec.Servers) > 0 {
		return &dns.ClientConfig{Servers: r.spec.Servers, Ndots: 1}, nil
	}
	conf, err := dns.ClientConfigFromFile(r.conf)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", r.conf, err)
	}
	for i, s := range conf.Servers {
		conf.Servers[i] = net.JoinHostPort(s, conf.Port)
	}
	return conf, nil
}

var errNoName = errors.New("the name does not exist")

// ask sends one question to the servers in turn, until one of them answers it.
func (r *resolver) ask(ctx context.Context, conf *dns.ClientConfig, name string, kind uint16) (*dns.Msg, error) {
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), kind)
	q.SetEdns0(udpSize, false)
	var errs []error
	for _, server := range conf.Servers {
		m, err := r.exchange(ctx, q, "udp", server)
		if err == nil && m.Truncated {
			m, err = r.exchange(ctx, q, "tcp", server)
		}
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", server, err))
			continue
		case m.Rcode == dns.RcodeSuccess:
			return m, nil
		case m.Rcode == dns.RcodeNameError:
			return nil, fmt.Errorf("%s: %w", name, errNoName)
		}
		errs = append(errs, fmt.Errorf("%s answers %s", server, dns.RcodeToString[m.Rcode]))
	}
	if len(errs) == 0 {
		return nil, errors.New("there are no name servers")
	}
	return nil, fmt.Errorf("look up %s: %w", name, errors.Join(errs...))
}

// exchange asks one server over one connection of its own, whose port and id nobody can guess.
func (r *resolver) exchange(ctx context.Context, q *dns.Msg, network, server string) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, perServer)
	defer cancel()
	conn, err := r.env.Dial(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	q = q.Copy()
	q.Id = dns.Id()
	client := &dns.Client{Net: network, Timeout: perServer, UDPSize: udpSize}
	m, _, err := client.ExchangeWithConnContext(ctx, q, &dns.Conn{Conn: conn, UDPSize: udpSize})
	switch {
	case err != nil:
		return nil, err
	case len(m.Question) != 1 || !strings.EqualFold(m.Question[0].Name, q.Question[0].Name) || m.Question[0].Qtype != q.Question[0].Qtype:
		return nil, errors.New("the answer is to another question")
	}
	return m, nil
}

// addresses asks for each type, and is content if one of them brings something.
func (r *resolver) addresses(ctx context.Context, conf *dns.ClientConfig, name string, kinds []uint16) ([]net.IP, time.Duration, error) {
	var out []net.IP
	ttl := time.Duration(-1)
	var failed error
	for _, kind := range kinds {
		m, err := r.ask(ctx, conf, name, kind)
		if err != nil {
			failed = err
			continue
		}
		for _, rr := range m.Answer {
			h := rr.Header()
			ip := ipOf(rr)
			if ip == nil && h.Rrtype != dns.TypeCNAME || !answers(m.Answer, name, h.Name) {
				continue
			}
			if t := time.Duration(h.Ttl) * time.Second; ttl < 0 || t < ttl {
				ttl = t
			}
			if ip != nil {
				out = append(out, ip)
			}
		}
	}
	if failed != nil && (len(out) == 0 || !errors.Is(failed, errNoName)) {
		return nil, 0, failed // half of an answer would drop the other half of the pool
	}
	return out, max(ttl, 0), nil
}

func ipOf(rr dns.RR) net.IP {
	switch a := rr.(type) {
	case *dns.A:
		return a.A
	case *dns.AAAA:
		return a.AAAA
	}
	return nil
}

// answers reports whether owner is name, or what a chain of aliases leads to from there. Servers may add records nobody asked for.
func answers(records []dns.RR, name, owner string) bool {
	const longest = 16
	at := dns.Fqdn(name)
	for range longest {
		if strings.EqualFold(at, owner) {
			return true
		}
		next := ""
		for _, rr := range records {
			if c, ok := rr.(*dns.CNAME); ok && strings.EqualFold(c.Hdr.Name, at) {
				next = c.Target
			}
		}
		if next == "" {
			return false
		}
		at = next
	}
	return false
}

// services asks for service records: those of the lowest priority are used, with their weights.
func (r *resolver) services(ctx context.Context, conf *dns.ClientConfig, name string) ([]provider.Endpoint, time.Duration, error) {
	m, err := r.ask(ctx, conf, name, dns.TypeSRV)
	if err != nil {
		return nil, 0, err
	}
	var records []*dns.SRV
	for _, rr := range m.Answer {
		if s, ok := rr.(*dns.SRV); ok && answers(m.Answer, name, s.Hdr.Name) && s.Target != "." {
			records = append(records, s)
		}
	}
	if len(records) == 0 {
		return nil, 0, nil
	}
	slices.SortStableFunc(records, func(a, b *dns.SRV) int { return int(a.Priority) - int(b.Priority) })
	records = slices.DeleteFunc(records, func(s *dns.SRV) bool { return s.Priority != records[0].Priority })
	if len(records) > maxTargets {
		records = records[:maxTargets]
	}
	var out []provider.Endpoint
	ttl := time.Duration(records[0].Hdr.Ttl) * time.Second
	for _, s := range records {
		addresses, least, err := r.target(ctx, conf, m, s.Target)
		if err != nil {
			return nil, 0, err
		}
		ttl = min(ttl, time.Duration(s.Hdr.Ttl)*time.Second, least)
		// A weight of 0 is "hardly ever" beside others (RFC 2782): the least there is.
		out = append(out, at(addresses, int64(s.Port), max(int64(s.Weight), 1))...)
	}
	return out, ttl, nil
}

// target finds the addresses of a service's target: in the answer itself, or by asking.
func (r *resolver) target(ctx context.Context, conf *dns.ClientConfig, m *dns.Msg, name string) ([]net.IP, time.Duration, error) {
	var out []net.IP
	ttl := time.Duration(-1)
	for _, rr := range m.Extra {
		if ip := ipOf(rr); ip != nil && strings.EqualFold(rr.Header().Name, name) {
			out = append(out, ip)
			if t := time.Duration(rr.Header().Ttl) * time.Second; ttl < 0 || t < ttl {
				ttl = t
			}
		}
	}
	if len(out) > 0 {
		return out, ttl, nil
	}
	return r.addresses(ctx, conf, name, types("ip"))
}
