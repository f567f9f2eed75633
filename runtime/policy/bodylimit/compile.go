package bodylimit

import (
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/v1"
)

func compile(_ *policy.CompileContext, s *v1.BodyLimit) *Plan {
	return &Plan{MaxBytes: int64(s.MaxBytes)}
}
