package live

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/suuupra/gateway/internal/depot"
	"github.com/suuupra/gateway/schema/bundle"
)

// Destination is where bundles are published. Everything read there is verified as a gateway would.
type Destination struct {
	From        depot.Depot
	Environment string
	Trust       func() (*bundle.Trust, error) // as it is by now
	Now         func() time.Time

	etag string
	last bundle.Position
	now  *Publication
}

// Publication is what gateways run by order of the channel.
type Publication struct {
	Version string // of the channel, such as 1.7
	Commit  string // hexadecimal; "" for a bundle of files that no commit holds
	Content string // digest of what it holds, whichever commit it comes from
}

// String names it as a condition does: "bundle 1.7 of commit abc1234".
func (p *Publication) String() string {
	if p.Commit == "" {
		return fmt.Sprintf("bundle %s of no commit", p.Version)
	}
	return fmt.Sprintf("bundle %s of commit %.7s", p.Version, p.Commit)
}

// Look reads what is published; nil if nothing is. An expired channel is read all the same: it says what gateways run.
func (d *Destination) Look(ctx context.Context) (*Publication, error) {
	trust, err := d.Trust()
	if err != nil {
		return nil, err
	}
	check := bundle.Check{Trust: trust, Environment: d.Environment, Now: d.Now(), Retained: true, NeedChannel: true, Last: d.last}
	got, err := depot.Fetch(ctx, d.From, depot.Request{
		Environment: d.Environment, Last: d.etag,
		Check: func(channel, _ []byte) error { // before anything else is fetched
			_, _, err := bundle.VerifyChannel(channel, check)
			return err
		},
	})
	switch {
	case errors.Is(err, depot.ErrNotModified):
		return d.now, nil
	case errors.Is(err, depot.ErrNotFound) && d.now == nil:
		return nil, nil
	case err != nil:
		return nil, err
	}
	v, err := bundle.Verify(got.Raw, check)
	if err != nil {
		return nil, err
	}
	m := &v.Bundle.Manifest
	p := &Publication{Version: v.Position.String(), Content: string(m.ContentDigest)}
	if !m.Source.Dirty {
		p.Commit = m.Source.Commit
	}
	d.etag, d.last, d.now = got.ETag, v.Position, p
	return p, nil
}
