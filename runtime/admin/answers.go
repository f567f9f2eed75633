package admin

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/suuupra/gateway/runtime/drift"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/schema/ir"
)

// respond makes a response that nobody stores and no browser guesses the type of.
func respond(status int, contentType string, body []byte) *httpmsg.Response {
	return &httpmsg.Response{
		Status: status, ContentLength: int64(len(body)), Body: bytes.NewReader(body),
		Header: httpmsg.Header{Fields: []httpmsg.Field{
			{Name: "Content-Type", Value: contentType},
			{Name: "Cache-Control", Value: "no-store"},
			{Name: "X-Content-Type-Options", Value: "nosniff"},
		}},
	}
}

func respondJSON(status int, v any) *httpmsg.Response {
	body, err := json.Marshal(v)
	if err != nil { // a plan in a route is not JSON, which the bundle's decoder rules out
		return problem(http.StatusInternalServerError, "internal_error", "the answer cannot be written as JSON")
	}
	return respond(status, "application/json", append(body, '\n'))
}

func problem(status int, code, detail string) *httpmsg.Response {
	return respond(status, httpmsg.ProblemType, httpmsg.AppendProblem(nil, status, code, detail))
}

// complete adds what the server knows itself.
func (s *Server) complete() Status {
	st := s.o.Status.Status()
	if st.StartedAt.IsZero() {
		st.StartedAt = s.started.UTC()
	}
	st.UptimeSeconds = int64(s.o.Now().Sub(st.StartedAt) / time.Second)
	if st.Build == (Build{}) {
		st.Build = s.o.Build
	}
	if st.Listeners == nil {
		st.Listeners = []Listener{}
	}
	return st
}

func (s *Server) status(*call) *httpmsg.Response {
	return respondJSON(http.StatusOK, s.complete())
}

func (s *Server) fleet(*call) *httpmsg.Response {
	f := s.o.Fleet.Fleet()
	f.Late, f.Instances = append([]string{}, f.Late...), append([]drift.Instance{}, f.Instances...) // a list, also if it is empty
	return respondJSON(http.StatusOK, f)
}

// Reloading is the answer of POST /admin/reload.
type Reloading struct {
	Status string `json:"status"`
}

func (s *Server) reload(*call) *httpmsg.Response {
	s.o.Reload()
	return respondJSON(http.StatusAccepted, Reloading{"the source will be polled now; /admin/status says what came of it"})
}

// SecretList is the answer of GET /admin/secrets.
type SecretList struct {
	Secrets []SecretReference `json:"secrets"`
}

func (s *Server) secrets(*call) *httpmsg.Response {
	list := []SecretReference{}
	if s.o.Secrets != nil {
		list = append(list, s.o.Secrets.Secrets()...)
	}
	return respondJSON(http.StatusOK, SecretList{list})
}

// scrapeWait is how long a scrape waits for the one before it.
const scrapeWait = 10 * time.Second

// metrics runs one scrape at a time: with many routes one is work enough, and anybody may ask.
func (s *Server) metrics(r *httpmsg.Request) *httpmsg.Response {
	timer := time.NewTimer(scrapeWait)
	defer timer.Stop()
	select {
	case s.scrapes <- struct{}{}:
		defer func() { <-s.scrapes }()
	case <-timer.C:
		resp := problem(http.StatusServiceUnavailable, "scrape_in_progress", "another scrape is still running")
		resp.Header.Add("Retry-After", "10")
		return resp
	}
	var (
		body        bytes.Buffer
		contentType string
		err         error
		zipped      = acceptsGzip(r)
	)
	if zipped {
		z, _ := gzip.NewWriterLevel(&body, gzip.BestSpeed) // fails for an unknown level only
		if contentType, err = s.o.Metrics.WriteMetrics(z, r.Header.Get("Accept")); err == nil {
			err = z.Close()
		}
	} else {
		contentType, err = s.o.Metrics.WriteMetrics(&body, r.Header.Get("Accept"))
	}
	if err != nil {
		s.o.Log.Error("metrics cannot be written", slog.Any("error", err))
		return problem(http.StatusInternalServerError, "internal_error", "the metrics cannot be written")
	}
	resp := respond(http.StatusOK, contentType, body.Bytes())
	resp.Header.Add("Vary", "Accept, Accept-Encoding")
	if zipped {
		resp.Header.Add("Content-Encoding", "gzip")
	}
	return resp
}

func acceptsGzip(r *httpmsg.Request) bool {
	for coding := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		name, weight, _ := strings.Cut(coding, ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			_, q, _ := strings.Cut(weight, "=")
			return strings.Trim(q, " 0.") != "" || strings.TrimSpace(q) == ""
		}
	}
	return false
}

// The number of routes in one answer.
const (
	defaultPage = 100
	maxPage     = 1000
)

// RouteLine is a route in a list: everything but the plans.
type RouteLine struct {
	ID       string   `json:"id"`
	Tenant   string   `json:"tenant,omitempty"`
	Match    ir.Match `json:"match"`
	Target   string   `json:"target"` // its type
	Upstream string   `json:"upstream,omitempty"`
	Policies []string `json:"policies"` // kinds, in pipeline order
}

func line(r ir.Route) RouteLine {
	l := RouteLine{
		ID: r.ID, Tenant: r.Tenant, Match: r.Match, Target: r.Target.Type, Upstream: r.Target.Upstream,
		Policies: make([]string, len(r.Policies)),
	}
	for i, p := range r.Policies {
		l.Policies[i] = p.Kind
	}
	return l
}

// RoutePage is the answer of GET /admin/config/routes.
type RoutePage struct {
	Routes []RouteLine `json:"routes"`
	Next   *string     `json:"next"` // the value of "after" for the next page; null on the last
}

// routes lists the running routes in pages: ?limit=N&after=ID.
func (s *Server) routes(c *call) *httpmsg.Response {
	after, limit, bad := pageOf(c.Request)
	if bad != nil {
		return bad
	}
	found := s.o.Routes.After(after, limit+1)
	page := RoutePage{Routes: []RouteLine{}}
	if len(found) > limit {
		found = found[:limit]
		page.Next = &found[limit-1].ID
	}
	for _, route := range found {
		page.Routes = append(page.Routes, line(route))
	}
	return respondJSON(http.StatusOK, page)
}

// route shows one running route.
func (s *Server) route(c *call) *httpmsg.Response {
	route, ok := s.o.Routes.Route(c.id)
	if !ok {
		return nil
	}
	return respondJSON(http.StatusOK, route)
}
