// Package publisher signs programs for tests, with keys of its own, as gwctl apply does: what it makes goes through the same
// verification as any other bundle. It must not compile, and it must not be imported by production code.
package publisher

import (
	"slices"
	"testing"
	"time"

	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
)

// Publisher owns a release key and a channel key for one environment.
type Publisher struct {
	Trust       *bundle.Trust
	Environment string
	Name        string           // of the repository
	Epoch       int64            // of the next channel
	Version     int64            // of the channel signed last
	Now         func() time.Time // when channels are issued
	TTL         time.Duration    // how long channels are valid

	tb               testing.TB
	release, channel *bundle.PrivateKey
}

// New makes keys, and the trust that believes them for one environment.
func New(tb testing.TB, environment string) *Publisher {
	tb.Helper()
	p := &Publisher{Environment: environment, Name: "tests", Epoch: 1, Now: time.Now, TTL: time.Hour, tb: tb}
	var file bundle.TrustFile
	for _, k := range []struct {
		role bundle.Role
		key  **bundle.PrivateKey
	}{{bundle.RoleRelease, &p.release}, {bundle.RoleChannel, &p.channel}} {
		key, err := bundle.GenerateKey(bundle.Ed25519)
		p.check(err)
		entry, err := bundle.TrustKeyOf(key.Public(), k.role)
		p.check(err)
		file.Keys = append(file.Keys, entry)
		*k.key = key
	}
	raw, err := file.Encode()
	p.check(err)
	p.Trust, err = bundle.ParseTrust(raw)
	p.check(err)
	return p
}

func (p *Publisher) check(err error) {
	if err != nil {
		p.tb.Helper()
		p.tb.Fatal(err)
	}
}

// Bundle packs and signs a program. Kinds are those it uses.
func (p *Publisher) Bundle(prog *ir.Program) *bundle.Bundle {
	p.tb.Helper()
	shards, err := ir.Pack(prog)
	p.check(err)
	return p.Shards(shards, KindsOf(prog)...)
}

// Shards signs a bundle made of shards that no program needs to have.
func (p *Publisher) Shards(shards []bundle.Shard, kinds ...string) *bundle.Bundle {
	p.tb.Helper()
	b, err := bundle.New(bundle.Info{
		Name: p.Name, Environment: p.Environment, Source: bundle.Source{Commit: "0123456789abcdef0123456789abcdef01234567"},
		Compiler: "0.0.0-test", SchemaVersion: "gateway.suuupra.dev/v1", MinRuntime: "0.1.0", Kinds: kinds,
	}, shards)
	p.check(err)
	p.check(b.Sign(p.release))
	return b
}

// KindsOf lists the policy and target kinds a program uses, as manifests do.
func KindsOf(prog *ir.Program) []string {
	var out []string
	for i := range prog.Routes {
		out = append(out, "target/"+prog.Routes[i].Target.Type)
		for _, pol := range prog.Routes[i].Policies {
			out = append(out, "policy/"+pol.Kind)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Publish gives a program the next version of the channel.
func (p *Publisher) Publish(prog *ir.Program) *bundle.Raw {
	p.tb.Helper()
	return p.Channel(p.Bundle(prog), nil)
}

// Channel gives a bundle the next version of the channel, changed by edit if it is not nil.
func (p *Publisher) Channel(b *bundle.Bundle, edit func(*bundle.Channel)) *bundle.Raw {
	p.tb.Helper()
	p.Version++
	now := p.Now()
	c := bundle.Channel{
		Name: p.Name, Environment: p.Environment, Epoch: p.Epoch, Version: p.Version, Manifest: b.Ref(),
		IssuedAt: bundle.TimeOf(now), ExpiresAt: bundle.TimeOf(now.Add(p.TTL)),
	}
	if edit != nil {
		edit(&c)
	}
	raw := b.Raw()
	var err error
	raw.Channel, err = bundle.SignChannel(c, p.channel)
	p.check(err)
	return raw
}

// Verify judges a bundle as a gateway of the environment does.
func (p *Publisher) Verify(raw *bundle.Raw) *bundle.Verdict {
	p.tb.Helper()
	v, err := bundle.Verify(raw, bundle.Check{Trust: p.Trust, Environment: p.Environment, Runtime: "1.0.0", Now: p.Now(), NeedChannel: true})
	p.check(err)
	return v
}

// Program is an environment with one upstream named "up" at an address, and a route for each id, on path /<id>/*. Change it
// before it is published.
func (p *Publisher) Program(address string, ids ...string) *ir.Program {
	prog := &ir.Program{
		Environment: p.Environment,
		Gateway: ir.Gateway{
			Name: p.Name, Listeners: []ir.Listener{{ID: "default", Address: "127.0.0.1:0"}},
			Limits:   ir.Limits{HeaderBytes: 32 << 10, HeaderFields: 100, URLBytes: 8 << 10, BodyBytes: 10 << 20},
			Timeouts: ir.Timeouts{ReadHeader: 10_000, BodyIdle: 15_000, KeepAlive: 75_000},
		},
		Upstreams: []ir.Upstream{Upstream("up", address)},
	}
	for _, id := range ids {
		prog.Routes = append(prog.Routes, Route(id, "up"))
	}
	return prog
}

// Upstream is an upstream with one endpoint on this machine.
func Upstream(id, address string) ir.Upstream {
	return ir.Upstream{
		ID: id, Scheme: "http", Endpoints: []ir.Endpoint{{Address: address}}, PrivateAddresses: true,
		ConnectTimeout: 5_000, IdleTimeout: 60_000, MaxIdle: 64, MaxConnections: 1024,
	}
}

// Route is a route on path /<id>/* to an upstream.
func Route(id, upstream string) ir.Route {
	return ir.Route{
		ID: id, Match: ir.Match{Path: "/" + id + "/*"}, Target: ir.Target{Type: "http", Upstream: upstream},
		Forward: ir.Forward{Timeout: 60_000, HeaderTimeout: 30_000, IdleTimeout: 60_000},
	}
}
