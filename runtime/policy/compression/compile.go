package compression

import (
	"strings"

	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/v1"
)

// compile returns nil where compression is switched off.
func compile(_ *policy.CompileContext, s *v1.Compression) *Plan {
	s.ApplyDefaults()
	if !*s.Enabled {
		return nil
	}
	p := &Plan{Algorithms: s.Algorithms, MinBytes: int64(*s.MinBytes), Types: make([]string, len(s.Types))}
	for i, t := range s.Types {
		p.Types[i] = strings.ToLower(t)
	}
	return p
}
