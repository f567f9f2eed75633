package bodylimit

import (
	"context"
	"fmt"

	"github.com/suuupra/gateway/runtime/policy"
)

type handler struct{ max int64 }

func build(_ context.Context, _ *policy.Env, p *Plan) (policy.Handler, error) {
	if p.MaxBytes < 0 {
		return nil, fmt.Errorf("maxBytes is %d, must not be negative", p.MaxBytes)
	}
	return &handler{max: p.MaxBytes}, nil
}

// Decide refuses a body that announces more than the bound, and bounds the reads of one that announces nothing.
func (h *handler) Decide(_ context.Context, x *policy.Exchange) policy.Verdict {
	x.MaxBody = h.max
	if x.Request.ContentLength > h.max {
		return policy.Refuse(&policy.Reject{
			Status: 413, Code: "body_too_large",
			Detail: fmt.Sprintf("the request body has %d bytes, this route takes at most %d", x.Request.ContentLength, h.max),
		})
	}
	return policy.Pass
}
