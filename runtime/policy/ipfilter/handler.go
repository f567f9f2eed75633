package ipfilter

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/suuupra/gateway/runtime/policy"
)

// handler is the policy of one route.
type handler struct {
	allow  *set // nil: all that are not denied
	deny   *set
	denied policy.Verdict
}

func build(_ context.Context, _ *policy.Env, p *Plan) (policy.Handler, error) {
	if p.Allow == nil && p.Deny == nil {
		return nil, errors.New("there is neither allow nor deny")
	}
	h := &handler{denied: policy.Refuse(&policy.Reject{
		Status: 403, Code: "ip_denied", Detail: "this route may not be used from the address that the request came from",
	})}
	var err error
	if h.allow, err = read("allow", p.Allow); err != nil {
		return nil, err
	}
	if h.deny, err = read("deny", p.Deny); err != nil {
		return nil, err
	}
	return h, nil
}

// read makes the set of a list; nil if it is absent. An empty one is refused: as if it were absent it would allow everybody.
func read(field string, list []string) (*set, error) {
	if list == nil {
		return nil, nil
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s is empty", field)
	}
	networks := make([]netip.Prefix, len(list))
	for i, text := range list {
		var err error
		if networks[i], err = parse(text); err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", field, i, err)
		}
	}
	return newSet(networks), nil
}

// Decide refuses addresses that are denied, and those that are not allowed. A client without an address (behind a Unix socket, say) is
// in no list that could allow it, and nobody knows that it is not in one that denies: it is refused.
func (h *handler) Decide(_ context.Context, x *policy.Exchange) policy.Verdict {
	ip := x.ClientIP.Unmap().WithZone("")
	switch {
	case !ip.IsValid(), h.deny != nil && h.deny.contains(ip), h.allow != nil && !h.allow.contains(ip):
		return h.denied
	}
	return policy.Pass
}
