// Package provider is the contract between package discovery and its providers. It holds no code that runs.
package provider

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/suuupra/gateway/schema/ir"
)

// Endpoint is one address of a service.
type Endpoint struct {
	Address  string // host:port; the host is an IP literal wherever the provider knows one
	Weight   int64  // 0 stands for 1
	Metadata []ir.Pair
}

// Env is what a provider may reach. Log, Dial and Secret are set.
type Env struct {
	Log    *slog.Logger
	Now    func() time.Time
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
	Secret func(ref string) ([]byte, error)
}

// Sink is told what was found, as a whole each time, and what went wrong. Its functions are called by one goroutine.
type Sink struct {
	Found  func([]Endpoint)
	Failed func(error)
}

// Run follows a service until ctx ends.
type Run func(ctx context.Context, sink Sink)
