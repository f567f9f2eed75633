package main

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"os"

	"github.com/suuupra/gateway/internal/build"
	"github.com/suuupra/gateway/internal/depot"
	"github.com/suuupra/gateway/schema/bundle"
)

// depotOptions are how gwctl reaches the places where bundles are kept.
func depotOptions() depot.Options {
	return depot.Options{Credentials: depot.CredentialsFrom(os.Getenv, "GWCTL"), UserAgent: "gwctl/" + build.Version}
}

// openDestination opens a place to publish to, which the caller closes. What is wrong with its name is a usage error.
func openDestination(place string) (depot.Location, depot.Writer, error) {
	location, err := depot.ParseLocation(place)
	if err != nil {
		return depot.Location{}, nil, usage(err)
	}
	to, err := depot.OpenWriter(location, depotOptions())
	if err != nil {
		return depot.Location{}, nil, usage(err)
	}
	return location, to, nil
}

// fetchBundle reads a bundle from a place, without believing it.
func fetchBundle(ctx context.Context, place, env string) (*bundle.Raw, error) {
	location, err := depot.ParseLocation(place)
	if err != nil {
		return nil, usage(err)
	}
	d, err := depot.Open(location, depotOptions())
	if err != nil {
		return nil, err
	}
	got, err := depot.Fetch(ctx, d, depot.Request{Environment: env, Bundle: location.Bundle})
	if err := cmp.Or(err, d.Close()); err != nil {
		return nil, err
	}
	return got.Raw, nil
}

func keysOf[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }
