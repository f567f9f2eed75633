package signedurl

import (
	"log/slog"
	"sync/atomic"

	"github.com/suuupra/gateway/internal/signedurl"
	"github.com/suuupra/gateway/runtime/policy"
)

// key follows the secret of one key.
type key struct {
	id     string
	secret policy.Secret
	log    *slog.Logger
	seen   atomic.Pointer[seen]
}

// seen is what became of one version of the secret.
type seen struct {
	version uint64
	key     *signedurl.Key // nil: it cannot be used
}

// newKey looks at the secret once, so that whoever activates a bundle hears at once that a key is not there.
func newKey(id string, secret policy.Secret, log *slog.Logger) *key {
	k := &key{id: id, secret: secret, log: log}
	k.current()
	return k
}

// current returns the key as it is now, nil if it cannot be used. It is made anew only when the secret has changed.
func (k *key) current() *signedurl.Key {
	value, version, err := k.secret.Value()
	last := k.seen.Load()
	if last != nil && last.version == version {
		return last.key
	}
	next := &seen{version: version}
	if err == nil {
		next.key, err = signedurl.NewKey(value)
	}
	if !k.seen.CompareAndSwap(last, next) {
		return next.key // somebody else has seen the change too, and says so
	}
	switch {
	case err != nil:
		k.log.Error("a key of signed URLs cannot be used; what it has signed is answered 503", slog.String("key", k.id), slog.Any("error", err))
	case last != nil && last.key == nil:
		k.log.Info("a key of signed URLs can be used again", slog.String("key", k.id))
	}
	return next.key
}
