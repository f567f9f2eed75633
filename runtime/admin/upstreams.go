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

// upstreams lists the running upstreams in pages.
func (s *Server) upstreams(r *httpmsg.Request) *httpmsg.Response {
	after, limit, bad := pageOf(r)
	if bad != nil {
		return bad
	}
	found := s.o.Upstreams.Upstreams(after, limit+1)
	page := struct {
		Upstreams []upstream.Status `json:"upstreams"`
		Next      *string           `json:"next"` // the value of "after" for the next page; null on the last
	}{Upstreams: []upstream.Status{}}
	if len(found) > limit {
		found = found[:limit]
		page.Next = &found[limit-1].ID
	}
	page.Upstreams = append(page.Upstreams, found...)
	return respondJSON(http.StatusOK, page)
}

// upstream describes one upstream. The id of one that stands for a url is an origin, of whose slashes the normal form of the path
// has left one.
func (s *Server) upstream(id string) endpoint {
	found, ok := s.o.Upstreams.Upstream(id)
	if scheme, rest, origin := strings.Cut(id, ":/"); !ok && origin {
		found, ok = s.o.Upstreams.Upstream(scheme + "://" + rest)
	}
	return endpoint{reading, func(*httpmsg.Request) *httpmsg.Response {
		if !ok {
			return problem(http.StatusNotFound, "no_such_upstream", "the running bundle has no upstream of this name; /admin/upstreams lists them")
		}
		return respondJSON(http.StatusOK, found)
	}}
}
