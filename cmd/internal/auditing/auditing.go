// Package auditing opens the audit trail that the settings of a program name.
package auditing

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/suuupra/gateway/cmd/internal/bounded"
	"github.com/suuupra/gateway/internal/audit"
	"github.com/suuupra/gateway/internal/audit/sink"
	"github.com/suuupra/gateway/schema/bundle"
)

// Options are the settings of a trail. All but Sinks and Lost are required.
type Options struct {
	Dir, KeyFile          string
	Sinks                 string // with commas in between, as package sink reads them
	Environment, Instance string
	Details               []string // names of details that records may have
	Log                   *slog.Logger
	Lost                  func(kind string, records int) // by a sink of a kind
	OnFailure             func(error)
}

// SinkError is a sink that cannot be: a mistake in the settings.
type SinkError struct{ Err error }

func (e *SinkError) Error() string { return e.Err.Error() }
func (e *SinkError) Unwrap() error { return e.Err }

// Open opens a trail.
func Open(o Options) (*audit.Trail, error) {
	data, err := bounded.ReadFile(o.KeyFile, 16<<10)
	if err != nil {
		return nil, fmt.Errorf("read the audit key: %w", err)
	}
	key, err := bundle.ParsePrivateKey(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.KeyFile, err)
	}
	var sinks []audit.Sink
	closeAll := func() {
		for _, s := range sinks {
			_ = s.Close() // the error to report is another one
		}
	}
	for spec := range strings.FieldsFuncSeq(o.Sinks, func(r rune) bool { return r == ',' }) {
		kind, _, _ := strings.Cut(spec, ":")
		s, err := sink.Open(spec, sink.Options{Instance: o.Instance, Log: o.Log, Lost: func(n int) {
			if o.Lost != nil {
				o.Lost(kind, n)
			}
		}})
		if err != nil {
			closeAll()
			return nil, &SinkError{fmt.Errorf("--audit-sinks: %w", err)}
		}
		sinks = append(sinks, s)
	}
	t, err := audit.Open(audit.Options{
		Dir: o.Dir, Environment: o.Environment, Instance: o.Instance, Key: key, Details: o.Details, Sinks: sinks, OnFailure: o.OnFailure, Log: o.Log,
	})
	if err != nil {
		closeAll()
		return nil, fmt.Errorf("open the audit trail: %w", err)
	}
	return t, nil
}
