package compression

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
)

// handler is the policy of one route. It decides nothing about requests.
type handler struct {
	algorithms []*algorithm
	min        int64
	types      map[string]bool // "text/html"
	families   map[string]bool // "text", of "text/*"
}

func build(_ context.Context, _ *policy.Env, p *Plan) (policy.Handler, error) {
	h := &handler{min: p.MinBytes, types: map[string]bool{}, families: map[string]bool{}}
	for _, name := range p.Algorithms {
		a := algorithms[name]
		if a == nil {
			return nil, fmt.Errorf("algorithm %q is not known", name)
		}
		h.algorithms = append(h.algorithms, a)
	}
	if len(h.algorithms) == 0 {
		return nil, fmt.Errorf("there is no algorithm")
	}
	for _, t := range p.Types {
		if family, all := strings.CutSuffix(t, "/*"); all {
			h.families[family] = true
			continue
		}
		h.types[t] = true
	}
	return h, nil
}

// Decide implements policy.Handler. What a client accepts goes upstream as it came: an upstream that compresses saves the work.
func (h *handler) Decide(context.Context, *policy.Exchange) policy.Verdict { return policy.Pass }

// Stream implements policy.StreamHandler.
func (h *handler) Stream(_ context.Context, x *policy.Exchange, r *httpmsg.Response) policy.Stream {
	if !h.eligible(r) {
		if r.Status == 304 || r.Status == 206 && h.suits(r) {
			vary(&r.Header) // as the 200 would (RFC 9110 sections 15.3.7 and 15.4.5)
		}
		return nil
	}
	vary(&r.Header) // also where this client gets it plain: caches must not hand that to others, or the other way round
	if x.Request.Method == "HEAD" || r.ContentLength >= 0 && r.ContentLength < h.min {
		return nil
	}
	a := choose(x.Request.Header.Fields, h.algorithms)
	if a == nil {
		return nil
	}
	rewrite(&r.Header, a.name)
	r.ContentLength = -1
	return a.stream()
}

// eligible reports whether the response may be compressed at all.
func (h *handler) eligible(r *httpmsg.Response) bool {
	switch {
	case r.Status < 200 || r.Status == 204 || r.Status == 205 || r.Status == 206 || r.Status == 304:
		return false
	case r.Header.Has("Content-Encoding"), r.Header.Has("Content-Range"), r.ContentLength == 0:
		return false
	}
	for _, value := range r.Header.Values("Cache-Control") {
		for directive := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(directive), "no-transform") { // RFC 9111 section 5.2.2.6
				return false
			}
		}
	}
	return h.suits(r)
}

// suits reports whether the media type is one that is compressed.
func (h *handler) suits(r *httpmsg.Response) bool {
	media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	media = strings.ToLower(strings.TrimSpace(media))
	if media == "text/event-stream" || strings.HasPrefix(media, "application/grpc") {
		return false // the one has to arrive event by event, the other compresses by message
	}
	family, _, _ := strings.Cut(media, "/")
	return h.types[media] || h.families[family]
}

// vary says that the response depends on what the client accepts (RFC 9110 section 12.5.5).
func vary(h *httpmsg.Header) {
	for _, value := range h.Values("Vary") {
		for name := range strings.SplitSeq(value, ",") {
			if name = strings.TrimSpace(name); name == "*" || strings.EqualFold(name, "Accept-Encoding") {
				return
			}
		}
	}
	h.Add("Vary", "Accept-Encoding")
}

// vouching are the fields that speak of the bytes of the body, which are others now.
var vouching = []string{"Accept-Ranges", "Content-Length", "Content-Md5", "Content-Digest", "Digest"}

// rewrite makes the header that of the compressed response. Another representation needs another strong validator, and we have
// none to give: the one there is becomes weak (RFC 9110 section 8.8.1).
func rewrite(h *httpmsg.Header, coding string) {
	h.Fields = slices.DeleteFunc(h.Fields, func(f httpmsg.Field) bool {
		return slices.ContainsFunc(vouching, func(name string) bool { return strings.EqualFold(f.Name, name) })
	})
	if tag := h.Get("ETag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		h.Set("ETag", "W/"+tag)
	}
	h.Add("Content-Encoding", coding)
}
