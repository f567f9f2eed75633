package apikey

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/apikey"
	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/policy"
)

// records is the part of policy.State that keys need.
type records struct {
	policy.State // the rest is not to be asked

	mu    sync.Mutex
	keys  map[string]*policy.KeyRecord
	fail  error
	asked int
	used  map[string]time.Time
	log   bytes.Buffer

	random io.Reader // the same each time
}

// Key implements policy.State.
func (r *records) Key(ctx context.Context, id string) (*policy.KeyRecord, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	if err := errors.Join(r.fail, ctx.Err()); err != nil {
		return nil, err
	}
	return r.keys[id], nil
}

// KeyUsed implements policy.State.
func (r *records) KeyUsed(id string, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.used == nil {
		r.used = map[string]time.Time{}
	}
	r.used[id] = at
}

var pepper = []byte("a pepper that is long enough for it")

// key makes a key and its record, which change may edit before it is stored.
func (r *records) key(tb testing.TB, env string, change func(*policy.KeyRecord)) apikey.Key {
	tb.Helper()
	k, err := apikey.Generate(env, r.random)
	if err != nil {
		tb.Fatal(err)
	}
	hasher, err := apikey.NewHasher(pepper)
	if err != nil {
		tb.Fatal(err)
	}
	record := &policy.KeyRecord{ID: k.ID, Environment: env, Owner: "shop", Scopes: []string{"read", "write"}, Hashes: []string{hasher.Hash(k.ID, k.Secret)}}
	if change != nil {
		change(record)
	}
	r.keys[k.ID] = record
	return k
}

// newWorld returns a world with a pepper, and the records in it.
func newWorld() (*policytest.World, *records) {
	w, r := policytest.NewWorld(), &records{keys: map[string]*policy.KeyRecord{}, random: rand.NewChaCha8([32]byte{1})}
	w.State, w.Pepper, w.Log = r, pepper, slog.New(slog.NewTextHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return w, r
}

// handlerOf builds the policy as its author wrote it.
func handlerOf(tb testing.TB, w *policytest.World, authored string) policy.Handler {
	tb.Helper()
	return w.Build(tb, Kind, policytest.MustCompile(tb, Kind, policytest.Route{Policy: "auth: { apiKey: " + authored + " }"}))
}
