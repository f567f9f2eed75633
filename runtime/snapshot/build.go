package snapshot

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"runtime/debug"
	"slices"
	"time"

	"github.com/suuupra/gateway/runtime/certificate"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/router"
	"github.com/suuupra/gateway/runtime/target"
	"github.com/suuupra/gateway/runtime/telemetry"
	"github.com/suuupra/gateway/runtime/tenancy"
	"github.com/suuupra/gateway/runtime/upstream"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/grant"
	"github.com/suuupra/gateway/schema/ir"
)

// Builder makes snapshots. It is what stays the same from one to the next. All fields but the last are required; Env.Shared is
// the Builder's own Shared.
type Builder struct {
	Kinds   []policy.Kind
	Targets []target.Kind
	Env     policy.Env
	Shared  *Shared
	Metrics *telemetry.Metrics
	Tracers *telemetry.Tracers

	// Upstreams is what upstreams may reach beside Shared, Env and Metrics.
	Upstreams upstream.Env
	// Certificates is how those of the listeners are loaded; nil: the gateway does not open the listeners a bundle names.
	Certificates *certificate.Env
}

// Build makes the snapshot of a verified bundle beside prev, from which it takes over every route and upstream that did not change.
// It works while prev serves, and undoes itself on error. A panic of a kind that builds is an error: a bundle must not end the
// gateway that refuses it.
func (b *Builder) Build(ctx context.Context, v *bundle.Verdict, prev *Snapshot) (*Snapshot, error) {
	return b.Over(ctx, v, v.Bundle, nil, prev)
}

// Over is Build where overlays are laid over the bundle: content is what comes of it, and overlays are their ids.
func (b *Builder) Over(ctx context.Context, v *bundle.Verdict, content *bundle.Bundle, overlays []string, prev *Snapshot) (_ *Snapshot, err error) {
	if err := b.knows(content.Manifest.Kinds); err != nil {
		return nil, err
	}
	if prev != nil && prev.retain() { // nothing of it closes while it is copied from
		defer prev.Release()
	} else {
		prev = Empty()
	}
	s := &Snapshot{done: make(chan struct{}), shards: map[bundle.Digest][]*Route{}, metrics: b.Metrics, log: b.Env.Log}
	s.refs.Store(1)
	defer func() {
		if p := recover(); p != nil {
			b.Metrics.Panicked()
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
		if err != nil {
			s.close()
		}
	}()
	if err := b.fill(ctx, s, content, prev); err != nil {
		return nil, err
	}
	if s.Proxies, err = httpmsg.NewProxies(s.Gateway.TrustedProxies); err != nil {
		return nil, err
	}
	if err := b.certificates(s); err != nil {
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
	s.Info.Overlays = overlays
	return s, nil
}

// fill takes over, or makes, what the shards hold.
func (b *Builder) fill(ctx context.Context, s *Snapshot, bn *bundle.Bundle, prev *Snapshot) (err error) {
	grants, err := b.gateway(s, bn)
	if err != nil {
		return err
	}
	w := &work{Builder: b, grants: grants, s: s, prev: prev, kinds: map[string]*policy.Kind{}, env: b.Env, envs: map[*upstream.Upstream]*target.Env{}, words: newWords()}
	w.env.Shared, w.env.Metrics, w.env.Environment = b.Shared, b.Metrics, bn.Manifest.Environment
	for i := range b.Kinds {
		w.kinds[b.Kinds[i].Name] = &b.Kinds[i]
	}
	if w.ups, err = b.upstreams(ctx, s, bn, grants); err != nil {
		return err
	}
	for i := range bn.Shards {
		sh := &bn.Shards[i]
		if sh.Kind == bundle.KindRoutes {
			err = w.shard(ctx, sh, bn.Manifest.Shards[i].Digest)
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("shard %s: %w", sh.Path, err)
		}
	}
	return nil
}

// gateway takes in what belongs to no route, and returns what tenants are granted. It goes first: that decides what else may be made.
func (b *Builder) gateway(s *Snapshot, bn *bundle.Bundle) (grants grant.Set, err error) {
	for i := range bn.Shards {
		if sh := &bn.Shards[i]; sh.Kind == bundle.KindGateway {
			if s.Gateway, err = ir.DecodeGateway(sh.Data); err != nil {
				return nil, fmt.Errorf("shard %s: %w", sh.Path, err)
			}
		}
	}
	if grants, err = grant.Of(s.Gateway.Tenancy); err != nil {
		return nil, bundle.Refuse(bundle.TenantGrant, "%v", err)
	}
	if s.Tenancy, err = tenancy.New(&s.Gateway); err != nil {
		return nil, err
	}
	s.Tenants = b.Metrics.Tenants(s.Gateway.Tenants(), s.Gateway.Tenancy != nil && s.Gateway.Tenancy.Open)
	return grants, nil
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

// upstreams takes over, or makes, every upstream. One that is taken over is the same: two snapshots have the same upstream
// exactly if their settings of it have the same digest. One that is made anew shares with the one before what its endpoints have.
func (b *Builder) upstreams(ctx context.Context, s *Snapshot, bn *bundle.Bundle, grants grant.Set) (map[string]*upstream.Upstream, error) {
	ups := map[string]*upstream.Upstream{}
	env := b.Upstreams
	env.Shared, env.Log, env.Now = b.Shared, b.Env.Log, b.Env.Now
	if env.Observer == nil {
		env.Observer = b.Metrics
	}
	for i := range bn.Shards {
		sh := &bn.Shards[i]
		if sh.Kind != bundle.KindUpstreams {
			continue
		}
		list, err := ir.DecodeUpstreams(sh.Data)
		if err != nil {
			return nil, fmt.Errorf("shard %s: %w", sh.Path, err)
		}
		for _, u := range list {
			if ups[u.ID] != nil {
				return nil, fmt.Errorf("upstream %q is in the bundle twice", u.ID)
			}
			if err := grants.Upstream(&u); err != nil {
				return nil, bundle.Refuse(bundle.TenantGrant, "%v", err)
			}
			if ups[u.ID], err = b.upstream(s, u, &env); err != nil {
				return nil, err
			}
		}
	}
	s.Info.Upstreams = len(ups)
	b.discovered(ctx, s)
	return ups, nil
}

func (b *Builder) upstream(s *Snapshot, u ir.Upstream, env *upstream.Env) (*upstream.Upstream, error) {
	raw, err := json.Marshal(u)
	if err != nil {
		return nil, fmt.Errorf("upstream %q: %w", u.ID, err)
	}
	sum := sha256.Sum256(raw)
	made := false
	value, release, err := b.Shared.Get("upstream/"+hex.EncodeToString(sum[:]), func() (any, error) {
		made = true
		return upstream.New(u, *env)
	})
	if err != nil {
		return nil, err
	}
	s.release = append(s.release, release)
	if made {
		s.Reuse.UpstreamsBuilt++
	} else {
		s.Reuse.UpstreamsKept++
	}
	up := value.(*upstream.Upstream)
	s.upstreams = append(s.upstreams, up)
	return up, nil
}

// discoveryWait is how long a build waits for the first answers of discovery. It goes on without them: an upstream whose discovery
// is away must not keep the rest of a configuration from being served.
const discoveryWait = 2 * time.Second

func (b *Builder) discovered(ctx context.Context, s *Snapshot) {
	ctx, cancel := context.WithTimeout(ctx, discoveryWait)
	defer cancel()
	for _, u := range s.upstreams {
		u.Known(ctx)
	}
}

// work is one build under way.
type work struct {
	*Builder
	grants  grant.Set
	s, prev *Snapshot
	env     policy.Env
	kinds   map[string]*policy.Kind
	ups     map[string]*upstream.Upstream
	envs    map[*upstream.Upstream]*target.Env
	words   words
}

// targetEnv is what the targets of an upstream may reach. They share it: a gateway may have a hundred thousand.
func (w *work) targetEnv(up *upstream.Upstream) *target.Env {
	e := w.envs[up]
	if e == nil {
		e = &target.Env{Upstream: up, Shared: w.Shared, Log: w.env.Log, Now: w.env.Now}
		e.Fill()
		w.envs[up] = e
	}
	return e
}

// shard takes over, or makes, the routes of one shard. A shard prev has too is not even decoded; in one that changed, the
// routes that did not change are found by comparing them.
func (w *work) shard(ctx context.Context, sh *bundle.Shard, digest bundle.Digest) error {
	same, whole := w.prev.shards[digest]
	if whole {
		w.s.shards[digest] = make([]*Route, 0, len(same))
		for _, r := range same {
			if err := w.route(ctx, digest, &r.Plan, r); err != nil {
				return err
			}
		}
		return nil
	}
	plans, err := ir.DecodeRoutes(sh.Data)
	if err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	w.s.shards[digest] = make([]*Route, 0, len(plans))
	for i := range plans {
		old := w.prev.route(plans[i].ID)
		if old != nil && !reflect.DeepEqual(&plans[i], &old.Plan) {
			old = nil
		}
		if err := w.route(ctx, digest, &plans[i], old); err != nil {
			return err
		}
	}
	return nil
}

// route takes over old, which is nil or has the same plan, or makes the route if there is none or its upstream changed.
func (w *work) route(ctx context.Context, shard bundle.Digest, p *ir.Route, old *Route) error {
	up := w.ups[p.Target.Upstream]
	if up == nil {
		return fmt.Errorf("route %q names upstream %q, which the bundle does not have", p.ID, p.Target.Upstream)
	}
	if err := w.grants.Route(p, up.Spec()); err != nil { // also for one that is taken over: the grant may be another one
		return bundle.Refuse(bundle.TenantGrant, "%v", err)
	}
	r := old
	if r != nil && r.up == up {
		r.refs.Add(1)
		w.s.Reuse.RoutesKept++
	} else {
		var err error
		if r, err = w.make(p, up); err != nil {
			return fmt.Errorf("route %q: %w", p.ID, err)
		}
		w.s.Reuse.RoutesBuilt++
	}
	w.s.routes = append(w.s.routes, r) // from here on, closing the snapshot gives it back
	w.s.shards[shard] = append(w.s.shards[shard], r)
	if r != old {
		if err := r.Chain.build(ctx, w.kinds, w.env, r); err != nil {
			return fmt.Errorf("route %q: %w", p.ID, err)
		}
	}
	return nil
}

// make makes a route without its policies.
func (w *work) make(p *ir.Route, up *upstream.Upstream) (*Route, error) {
	kind := slices.IndexFunc(w.Targets, func(k target.Kind) bool { return k.Name == p.Target.Type })
	if kind < 0 {
		return nil, fmt.Errorf("target type %q is not known to this gwrun; upgrade it first", p.Target.Type)
	}
	id := up.Spec().ID
	r := &Route{
		Plan: w.words.route(p), Metrics: w.Metrics.Route(p.ID), Upstream: w.Metrics.Upstream(id),
		Info: policy.Route{ID: p.ID, Pattern: cmp.Or(p.Match.Path, p.Match.PathRegex), Tenant: p.Tenant}, up: up,
	}
	t, err := w.Targets[kind].Build(&r.Plan, w.Metrics.Target(r.Metrics, r.Upstream), w.targetEnv(up))
	if err != nil {
		w.Metrics.Forget(r.Metrics)
		w.Metrics.ForgetUpstreams(r.Upstream)
		return nil, err
	}
	r.Target = t
	r.refs.Store(1)
	return r, nil
}

// index sorts the routes by id and builds the router over them.
func (s *Snapshot) index() error {
	slices.SortFunc(s.routes, func(a, b *Route) int { return cmp.Compare(a.Info.ID, b.Info.ID) })
	plans := make([]*ir.Route, len(s.routes))
	for i, r := range s.routes {
		if i > 0 && s.routes[i-1].Info.ID == r.Info.ID {
			return fmt.Errorf("route %q is in the bundle twice", r.Info.ID)
		}
		plans[i] = &r.Plan
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
		s.Info.ExpiresAt, s.Info.Replaces = v.Channel.ExpiresAt.Time, v.Channel.Replaces
	}
	s.Info.Routes = len(s.routes)
}
