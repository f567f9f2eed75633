package admin

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/upstream"
)

// pageOf reads ?limit=N&after=ID.
func pageOf(r *httpmsg.Request) (after string, limit int, bad *httpmsg.Response) {
	_, raw, _ := strings.Cut(r.Target, "?")
	query, err := url.ParseQuery(raw)
	if err != nil {
		return "", 0, problem(http.StatusBadRequest, "bad_query", "the query cannot be read")
	}
	limit = defaultPage
	if text := query.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxPage {
			return "", 0, problem(http.StatusBadRequest, "bad_query", "limit must be a number from 1 to "+strconv.Itoa(maxPage))
		}
	}
	return query.Get("after"), limit, nil
}

// UpstreamPage is the answer of GET /admin/upstreams.
type UpstreamPage struct {
	Upstreams []upstream.Status `json:"upstreams"`
	Next      *string           `json:"next"` // the value of "after" for the next page; null on the last
}

// upstreams lists the running upstreams in pages.
func (s *Server) upstreams(c *call) *httpmsg.Response {
	after, limit, bad := pageOf(c.Request)
	if bad != nil {
		return bad
	}
	found := s.o.Upstreams.Upstreams(after, limit+1)
	page := UpstreamPage{Upstreams: []upstream.Status{}}
	if len(found) > limit {
		found = found[:limit]
		page.Next = &found[limit-1].ID
	}
	page.Upstreams = append(page.Upstreams, found...)
	return respondJSON(http.StatusOK, page)
}

// upstream describes one upstream. The id of one that stands for a url is an origin, of whose slashes the normal form of the path
// has left one.
func (s *Server) upstream(c *call) *httpmsg.Response {
	found, ok := s.o.Upstreams.Upstream(c.id)
	if scheme, rest, origin := strings.Cut(c.id, ":/"); !ok && origin {
		found, ok = s.o.Upstreams.Upstream(scheme + "://" + rest)
	}
	if !ok {
		return problem(http.StatusNotFound, "no_such_upstream", "the running bundle has no upstream of this name; /admin/upstreams lists them")
	}
	return respondJSON(http.StatusOK, found)
}
