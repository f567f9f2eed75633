package activate

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/suuupra/gateway/runtime/state"
	"github.com/suuupra/gateway/schema/bundle"
)

// ErrNothing says that no bundle serves yet.
var ErrNothing = errors.New("no bundle has been activated yet")

// Archive returns the exact bytes of the running bundle, as a .gwb file.
func (a *Activator) Archive() ([]byte, error) {
	a.mu.Lock()
	current, fresh, kept := a.current, a.fresh, a.kept
	a.mu.Unlock()
	switch {
	case current == nil:
		return nil, ErrNothing
	case fresh != nil:
		return bytes.Clone(fresh), nil
	case kept != nil:
		return inflate(kept)
	}
	return a.o.Store.Read(state.GenerationAt(current.Info.Position))
}

// Stock returns a function that finds blobs of the running bundle, so that only what changed is fetched. The archive is
// opened when the first blob is asked for, and forgotten with the function.
func (a *Activator) Stock() func(bundle.Digest) ([]byte, bool) {
	blobs := sync.OnceValue(func() map[bundle.Digest][]byte {
		data, err := a.Archive()
		if err != nil {
			return nil // everything is fetched
		}
		raw, err := bundle.DecodeArchive(data)
		if err != nil {
			return nil
		}
		return raw.Blobs
	})
	return func(d bundle.Digest) ([]byte, bool) {
		data, ok := blobs()[d]
		return data, ok
	}
}

func deflate(data []byte) ([]byte, error) {
	var buf bytes.Buffer
	w, err := flate.NewWriter(&buf, flate.BestSpeed)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(data)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("compress bundle: %w", err)
	}
	return buf.Bytes(), nil
}

// inflate undoes deflate; what it reads was written by this process.
func inflate(data []byte) ([]byte, error) {
	out, err := io.ReadAll(flate.NewReader(bytes.NewReader(data)))
	if err != nil {
		return nil, fmt.Errorf("decompress bundle: %w", err)
	}
	return out, nil
}

// Precheck judges channel and manifest before their shards are fetched, so that nobody makes us download what we would
// refuse. It changes nothing; Offer checks everything again.
func (a *Activator) Precheck(channel, manifest []byte) error {
	if channel == nil {
		return nil // Offer says what is missing
	}
	a.work.Lock()
	check := a.check(a.floor, false)
	a.work.Unlock()
	c, _, err := bundle.VerifyChannel(channel, check)
	if err != nil {
		return err
	}
	_, err = bundle.VerifyManifest(manifest, c, check)
	return err
}
