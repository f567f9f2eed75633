package snapshot

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/suuupra/gateway/runtime/certificate"
)

// certificates takes over, or loads, those of the listeners. Without them a listener could serve nobody, so a bundle whose
// certificates cannot be used is refused.
func (b *Builder) certificates(s *Snapshot) error {
	if b.Certificates == nil {
		return nil
	}
	s.sets = map[string]*certificate.Set{}
	for _, l := range s.Gateway.Listeners {
		if l.TLS == nil {
			continue
		}
		raw, err := json.Marshal(l)
		if err != nil {
			return fmt.Errorf("listener %q: %w", l.ID, err)
		}
		sum := sha256.Sum256(raw)
		value, release, err := b.Shared.Get("certificates/"+l.ID+"/"+hex.EncodeToString(sum[:8]), func() (any, error) {
			return certificate.Load(l, *b.Certificates)
		})
		if err != nil {
			return err
		}
		s.release = append(s.release, release)
		s.sets[l.ID] = value.(*certificate.Set)
	}
	return nil
}

// Certificates returns those of a listener, nil if it has none.
func (s *Snapshot) Certificates(listener string) *certificate.Set { return s.sets[listener] }

// Expiries tells when the certificates of every listener end.
func (s *Snapshot) Expiries(yield func(listener, certificate string, expires time.Time)) {
	for id, set := range s.sets {
		set.Expiries(func(ref string, expires time.Time) { yield(id, ref, expires) })
	}
}
