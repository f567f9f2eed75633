package contenttype

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
)

// handler is the policy of one route.
type handler struct {
	types    map[string]bool // "application/json"
	families map[string]bool // "text", of "text/*"

	unknown, missing, twice policy.Verdict
}

func build(_ context.Context, _ *policy.Env, p *Plan) (policy.Handler, error) {
	if len(p.Allow) == 0 {
		return nil, errors.New("allow is empty")
	}
	h := &handler{types: map[string]bool{}, families: map[string]bool{}}
	for i, t := range p.Allow {
		switch family, all := strings.CutSuffix(t, "/*"); {
		case all && plain(family+"/x"):
			h.families[family] = true
		case !all && plain(t):
			h.types[t] = true
		default:
			return nil, fmt.Errorf("allow[%d]: %q is no media type in lower case", i, t)
		}
	}
	// RFC 9110 section 15.5.16: Accept tells the client what would have been taken.
	accept := []httpmsg.Field{{Name: "Accept", Value: strings.Join(p.Allow, ", ")}}
	refuse := func(status int, code, detail string, header []httpmsg.Field) policy.Verdict {
		return policy.Refuse(&policy.Reject{Status: status, Code: code, Detail: detail, Header: header})
	}
	h.unknown = refuse(415, "unsupported_media_type", "this route does not take the media type of the request body; Accept says what it takes", accept)
	h.missing = refuse(415, "unsupported_media_type", "the request has a body and no Content-Type; Accept says what this route takes", accept)
	h.twice = refuse(400, "bad_content_type", "the request has more than one Content-Type", nil)
	return h, nil
}

// plain reports whether a text is one media type as this policy writes it: in lower case, without parameters.
func plain(text string) bool {
	var buf [maxType]byte
	media, ok := mediaType(buf[:0], text)
	return ok && string(media) == text && !strings.Contains(text, "*")
}

// Decide refuses a body of another media type than the route takes. Of two fields the gateway would judge one and the upstream might
// believe the other, so that they are no question of what is taken: the request is malformed (RFC 9110 section 5.3).
func (h *handler) Decide(_ context.Context, x *policy.Exchange) policy.Verdict {
	if x.Request.ContentLength == 0 {
		return policy.Pass
	}
	switch x.Request.Header.Count("Content-Type") {
	case 0:
		return h.missing
	case 1:
	default:
		return h.twice
	}
	var buf [maxType]byte
	media, ok := mediaType(buf[:0], x.Request.Header.Get("Content-Type"))
	if !ok || !h.takes(media) {
		return h.unknown
	}
	return policy.Pass
}

// takes reports whether a media type is in the list. The conversions do not allocate.
func (h *handler) takes(media []byte) bool {
	if h.types[string(media)] {
		return true
	}
	for i, c := range media {
		if c == '/' {
			return h.families[string(media[:i])]
		}
	}
	return false
}
