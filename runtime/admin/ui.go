package admin

import (
	"bytes"
	"crypto/rand"
	_ "embed" // the page
	"html/template"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/suuupra/gateway/runtime/httpmsg"
)

//go:embed ui.html
var pageText string

// pageRoutes is how many routes the page lists; the API has the others.
const pageRoutes = 50

// page is what ui.html shows.
type page struct {
	Status
	Nonce    string
	Now      time.Time
	NotReady []string
	Routes   []RouteLine
	More     bool
}

func newPage() *template.Template {
	return template.Must(template.New("ui").Funcs(template.FuncMap{
		"short":  shortDigest,
		"ago":    ago,
		"moment": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"path": func(l RouteLine) string {
			if l.Match.Path != "" {
				return l.Match.Path
			}
			return "~ " + l.Match.PathRegex
		},
		"join":     func(list []string) string { return strings.Join(list, ", ") },
		"duration": func(seconds int64) string { return (time.Duration(seconds) * time.Second).String() },
		"expired":  func(now time.Time, at *time.Time) bool { return at != nil && at.Before(now) },
	}).Parse(pageText))
}

// shortDigest is the part of a digest that people compare.
func shortDigest(d string) string {
	if _, hex, ok := strings.Cut(d, ":"); ok {
		d = hex
	}
	return d[:min(len(d), 12)]
}

// ago says how far a moment is from now, in the largest unit that fits.
func ago(now, t time.Time) string {
	d, suffix := now.Sub(t), " ago"
	if d < 0 {
		d, suffix = -d, " from now"
	}
	switch {
	case d < time.Second:
		return "now"
	case d < time.Minute:
		return d.Truncate(time.Second).String() + suffix
	case d < time.Hour:
		return strings.TrimSuffix(d.Truncate(time.Minute).String(), "0s") + suffix
	case d < 48*time.Hour:
		return strings.TrimSuffix(d.Truncate(time.Hour).String(), "0m0s") + suffix
	}
	return strconv.Itoa(int(d/(24*time.Hour))) + " days" + suffix
}

// ui is a page for a person: no scripts, nothing from elsewhere, reloaded by the browser every few seconds.
func (s *Server) ui(*call) *httpmsg.Response {
	p := page{Status: s.complete(), Nonce: rand.Text(), Now: s.o.Now(), NotReady: s.o.Status.NotReady()}
	if s.o.Routes != nil {
		for _, r := range s.o.Routes.After("", pageRoutes+1) {
			p.Routes = append(p.Routes, line(r))
		}
		if p.More = len(p.Routes) > pageRoutes; p.More {
			p.Routes = p.Routes[:pageRoutes]
		}
	}
	var body bytes.Buffer
	if err := s.page.Execute(&body, p); err != nil {
		s.o.Log.Error("the admin page cannot be written", slog.Any("error", err))
		return problem(http.StatusInternalServerError, "internal_error", "the page cannot be written")
	}
	resp := respond(http.StatusOK, "text/html; charset=utf-8", body.Bytes())
	resp.Header.Add("Content-Security-Policy", "default-src 'none'; style-src 'nonce-"+p.Nonce+"'; img-src data:; "+
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	resp.Header.Add("X-Frame-Options", "DENY")
	resp.Header.Add("Referrer-Policy", "no-referrer")
	return resp
}
