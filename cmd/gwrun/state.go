package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/suuupra/gateway/internal/apikey"
	"github.com/suuupra/gateway/runtime/admin/access"
	"github.com/suuupra/gateway/runtime/admin/access/session"
	"github.com/suuupra/gateway/runtime/apikeys"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/state/keystore"
	"github.com/suuupra/gateway/runtime/state/memstate"
	"github.com/suuupra/gateway/runtime/state/redisstate"
)

// inMemory is the value of --redis for a gateway that is the only one: its state ends with the process.
const inMemory = "memory:"

// minPepper is how long the pepper has to be, in bytes.
const minPepper = apikey.MinPepper

// shared is the state that gateways share, as the parts of one see it.
type shared interface {
	policy.State
	keystore.Store
}

// openState makes what --redis names, and the service that administers the API keys of an environment in it.
func (s *station) openState(dev bool, environment string) error {
	c := s.c
	pepper := []byte(c.Pepper)
	var state shared
	switch {
	case c.Redis == inMemory || c.Redis == "" && dev:
		state = memstate.New(memstate.Options{Now: time.Now})
		if !dev {
			s.log.Warn("state is kept in memory: limits and API keys are this gateway's alone, and end with it")
		}
		if len(pepper) == 0 && dev { // nor do the keys outlive the process
			pepper = make([]byte, minPepper)
			_, _ = rand.Read(pepper) // never fails
		}
	case c.Redis == "":
		return nil
	default:
		client, err := redisstate.Open(c.Redis, redisstate.Options{
			Log: s.log, Metrics: s.metrics, Now: time.Now, Environment: c.Env, Instance: instance(), Pepper: apikey.Fingerprint(pepper),
		})
		if err != nil {
			return &codeError{exitInvalid, fmt.Errorf("--redis: %w", err)}
		}
		state, s.redis = client, client
	}
	s.state = state
	if len(pepper) == 0 {
		return nil
	}
	s.pepper = pepper
	var err error
	s.keys, err = apikeys.New(apikeys.Options{
		Store: state, Pepper: pepper, Environment: environment, Tenants: func() []string { return s.status.tenants() }, Log: s.log, Now: time.Now, Random: rand.Reader,
	})
	return err
}

// openAccess makes what decides who may use the admin API. Sessions are in Redis where there is one: they are good at all gateways then.
func (s *station) openAccess() (*access.Control, error) {
	var sessions session.Store = session.NewMemory(time.Now)
	if s.redis != nil {
		sessions = s.redis
	}
	limits := s.state
	if limits == nil {
		limits = memstate.New(memstate.Options{Now: time.Now})
	}
	c, err := access.New(access.Options{
		Log: s.log, Now: time.Now, Environment: s.c.Env, SessionKey: []byte(s.c.SessionKey), Sessions: sessions, Limits: limits,
		Secrets: s.secrets, KeySets: s.keySets,
	})
	if err != nil {
		return nil, &codeError{exitInvalid, fmt.Errorf("GWRUN_ADMIN_SESSION_KEY: %w", err)}
	}
	return c, nil
}

// clientIP is who sends, as the proxies in front say.
func (s *station) clientIP(r *httpmsg.Request) netip.Addr {
	if p := s.gateway.Running().Proxies; p != nil {
		return p.ClientIP(r)
	}
	return r.Peer.Addr()
}

// closeState ends what openState began.
func (s *station) closeState() {
	if s.redis == nil {
		return
	}
	if err := s.redis.Close(); err != nil {
		s.log.Warn("the connections to Redis were not closed well", slog.Any("error", err))
	}
}

var errPepper = errors.New("must have at least 32 bytes; `openssl rand -base64 32` makes one")
