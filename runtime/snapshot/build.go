package snapshot

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/router"
	"github.com/suuupra/gateway/runtime/target"
	"github.com/suuupra/gateway/runtime/telemetry"
	"github.com/suuupra/gateway/runtime/upstream"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
)

// Builder makes snapshots. It is what stays the same from one to the next.
type Builder struct {
	Kinds   []policy.Kind
	Targets []target.Kind
	Env     policy.Env
	Shared  *Shared
	Metrics *telemetry.Metrics
	Tracers *telemetry.Tracers
}

// block is the routes of one shard, ready to serve. While a shard's digest stays, its block is taken over as it is.
type block struct {
	plans   []ir.Route
	routes  []*Route
	metrics *telemetry.Metrics
}

// Close closes the policies of the block's routes and gives their series back.
func (b *block) Close() error {
	var errs []error
	for i := len(b.routes) - 1; i >= 0; i-- {
		r := b.routes[i]
		errs = append(errs, r.Chain.Close())
		b.metrics.Forget(r.Metrics)
		b.metrics.ForgetUpstreams(r.Upstream)
	}
	return errors.Join(errs...)
}

// Build makes the snapshot of a verified bundle beside prev, from which it takes over whatever has the same digest. It works
// while prev serves, and undoes itself on error.
func (b *Builder) Build(ctx context.Context, v *bundle.Verdict, prev *Snapshot) (_ *Snapshot, err error) {
	s := &Snapshot{done: make(chan struct{}), blocks: map[bundle.Digest]*block{}}
	s.refs.Store(1)
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := b.knows(v.Bundle.Manifest.Kinds); err != nil {
		return nil, err
	}
	pools, err := b.upstreams(s, v.Bundle)
	if err != nil {
		return nil, err
	}
	for i := range v.Bundle.Shards {
		sh, entry := &v.Bundle.Shards[i], &v.Bundle.Manifest.Shards[i]
		switch sh.Kind {
		case bundle.KindGateway:
			if s.Gateway, err = ir.DecodeGateway(sh.Data); err != nil {
				return nil, fmt.Errorf("decode shard %s: %w", sh.Path, err)
			}
		case bundle.KindRoutes:
			if err := b.routes(ctx, s, prev, sh, entry.Digest, pools); err != nil {
				return nil, fmt.Errorf("shard %s: %w", sh.Path, err)
			}
		}
	}
	if s.Proxies, err = httpmsg.NewProxies(s.Gateway.TrustedProxies); err != nil {
		return nil, err
	}
	if s.Tracer, err = b.Tracers.Acquire(s.Gateway.Tracing); err != nil {
		return nil, err
	}
	s.release = append(s.release, s.Tracer.Release)
	if err := s.index(); err != nil {
		return nil, err
	}
	s.describe(v)
	return s, nil
}

// knows refuses a bundle that uses a kind this gwrun does not have, before anything is built.
func (b *Builder) knows(kinds []string) error {
	known := map[string]bool{}
	for _, k := range b.Kinds {
		known["policy/"+k.Name] = true
	}
	for _, t := range b.Targets {
		known["target/"+t.Name] = true
	}
	for _, k := range kinds {
		if !known[k] {
			return bundle.Refuse(bundle.RuntimeTooOld, "the bundle uses %s, which this gwrun does not have; upgrade gwrun first", k)
		}
	}
	return nil
}

// pool is an upstream's connections and the digest of the settings that shape them.
type pool struct {
	*upstream.Pool
	digest string
}

// upstreams takes over, or makes, the pool of every upstream.
func (b *Builder) upstreams(s *Snapshot, bn *bundle.Bundle) (map[string]pool, error) {
	pools := map[string]pool{}
	for i := range bn.Shards {
		sh := &bn.Shards[i]
		if sh.Kind != bundle.KindUpstreams {
			continue
		}
		list, err := ir.DecodeUpstreams(sh.Data)
		if err != nil {
			return nil, fmt.Errorf("decode shard %s: %w", sh.Path, err)
		}
		for _, u := range list {
			raw, err := json.Marshal(u)
			if err != nil {
				return nil, fmt.Errorf("upstream %q: %w", u.ID, err)
			}
			sum := sha256.Sum256(raw)
			digest := hex.EncodeToString(sum[:])
			made := false
			value, release, err := b.Shared.Get("upstream/"+digest, func() (any, error) {
				made = true
				return upstream.New(u)
			})
			if err != nil {
				return nil, err
			}
			s.release = append(s.release, release)
			pools[u.ID] = pool{Pool: value.(*upstream.Pool), digest: digest}
			if made {
				s.Reuse.UpstreamsBuilt++
			} else {
				s.Reuse.UpstreamsKept++
			}
		}
	}
	s.Info.Upstreams = len(pools)
	return pools, nil
}

// routes takes over the block of a shard, or decodes the shard and builds its routes. A block holds pools, so its key
// covers their digests too.
func (b *Builder) routes(ctx context.Context, s, prev *Snapshot, sh *bundle.Shard, digest bundle.Digest, pools map[string]pool) error {
	var plans []ir.Route
	if prev != nil && prev.blocks[digest] != nil {
		plans = prev.blocks[digest].plans
	} else {
		var err error
		if plans, err = ir.DecodeRoutes(sh.Data); err != nil {
			return fmt.Errorf("decode: %w", err)
		}
	}
	h := sha256.New()
	io.WriteString(h, string(digest))
	for i := range plans {
		p, ok := pools[plans[i].Target.Upstream]
		if !ok {
			return fmt.Errorf("route %q names upstream %q, which the bundle does not have", plans[i].ID, plans[i].Target.Upstream)
		}
		io.WriteString(h, p.digest)
	}
	made := false
	value, release, err := b.Shared.Get("routes/"+hex.EncodeToString(h.Sum(nil)), func() (any, error) {
		made = true
		return b.block(ctx, plans, pools)
	})
	if err != nil {
		return err
	}
	s.release = append(s.release, release)
	blk := value.(*block)
	s.blocks[digest] = blk
	s.routes = append(s.routes, blk.routes...)
	if made {
		s.Reuse.RoutesBuilt += len(plans)
	} else {
		s.Reuse.RoutesKept += len(plans)
	}
	return nil
}

func (b *Builder) block(ctx context.Context, plans []ir.Route, pools map[string]pool) (*block, error) {
	kinds := make(map[string]policy.Kind, len(b.Kinds))
	for _, k := range b.Kinds {
		kinds[k.Name] = k
	}
	blk := &block{plans: plans, routes: make([]*Route, 0, len(plans)), metrics: b.Metrics}
	fail := func(id string, err error) (*block, error) {
		_ = blk.Close() // the error that stopped the build is the one to report
		return nil, fmt.Errorf("route %q: %w", id, err)
	}
	for i := range plans {
		p := &plans[i]
		kind := slices.IndexFunc(b.Targets, func(k target.Kind) bool { return k.Name == p.Target.Type })
		if kind < 0 {
			return fail(p.ID, fmt.Errorf("target type %q is not known to this gwrun; upgrade it first", p.Target.Type))
		}
		up := pools[p.Target.Upstream]
		t, err := b.Targets[kind].Build(p, up.Pool)
		if err != nil {
			return fail(p.ID, err)
		}
		r := &Route{
			Plan: p, Target: t, Scheme: up.Spec().Scheme, Metrics: b.Metrics.Route(p.ID), Upstream: b.Metrics.Upstream(up.Spec().ID),
			Info: policy.Route{ID: p.ID, Pattern: cmp.Or(p.Match.Path, p.Match.PathRegex), Tenant: p.Tenant}, Chain: &Chain{},
		}
		blk.routes = append(blk.routes, r)
		if r.Chain, err = buildChain(ctx, kinds, b.Env, r.Metrics, p.ID, p.Policies); err != nil {
			r.Chain = &Chain{} // nothing of it was left open
			return fail(p.ID, err)
		}
	}
	return blk, nil
}

// index sorts the routes by id and builds the router over them.
func (s *Snapshot) index() error {
	slices.SortFunc(s.routes, func(a, b *Route) int { return cmp.Compare(a.Info.ID, b.Info.ID) })
	plans := make([]ir.Route, len(s.routes))
	for i, r := range s.routes {
		if i > 0 && s.routes[i-1].Info.ID == r.Info.ID {
			return fmt.Errorf("route %q is in the bundle twice", r.Info.ID)
		}
		plans[i] = *r.Plan
	}
	rt, err := router.Build(plans)
	if err != nil {
		return fmt.Errorf("build router: %w", err)
	}
	s.router = rt
	return nil
}

func (s *Snapshot) describe(v *bundle.Verdict) {
	m := &v.Bundle.Manifest
	s.Info.Name, s.Info.Environment = m.Name, m.Environment
	s.Info.Digest, s.Info.ContentDigest = v.Bundle.Digest(), m.ContentDigest
	s.Info.Commit, s.Info.Dirty = m.Source.Commit, m.Source.Dirty
	s.Info.Position = v.Position
	if v.Channel != nil {
		s.Info.ExpiresAt = v.Channel.ExpiresAt.Time
	}
	s.Info.Routes = len(s.routes)
}
