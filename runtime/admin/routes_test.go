package admin

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/schema/ir"
)

// sample is a path that an order takes.
func sample(r *route) string {
	id := map[string]string{"/admin/config/routes/{id...}": "users-api", "/admin/upstreams/{id...}": "users", "/admin/overlays/{id}": "inc-42"}[r.path]
	if id == "" {
		id = "abcdefgh234567yz"
	}
	return strings.NewReplacer("{id...}", id, "{id}", id).Replace(r.path)
}

// TestEveryOrderInEveryRole asks for each order as each user, and as nobody.
func TestEveryOrderInEveryRole(t *testing.T) {
	o := newOffice(t, parts{})
	tokens := map[string]string{"token": token}
	for _, u := range people() {
		tokens[u.Name] = o.logIn(t, u.Name).AccessToken
	}
	for i := range routes {
		r := &routes[i]
		if r.open {
			continue
		}
		for who, bearer := range tokens {
			if r.action == "logout" && who != "token" {
				continue // see TestLogout
			}
			roles := []string{strings.TrimSuffix(who, "-user")}
			if who == "token" {
				roles = []string{"super-admin"}
			}
			may := r.permission == "" || slices.Contains(o.f.flags.Permits(roles), r.permission)
			o.events()
			status, answer := o.ask(t, r.method, sample(r), bearer)
			if forbidden := status == 403; forbidden == may || !may && (code(answer) != "forbidden" || !strings.Contains(answer, r.permission)) {
				t.Errorf("%s %s as %s: %d %s", r.method, r.path, who, status, answer)
			}
			if status == 405 || status == 401 {
				t.Errorf("%s %s as %s: %d %s", r.method, r.path, who, status, answer)
			}
			events := o.events()
			switch {
			case !may && (len(events) != 1 || !strings.HasSuffix(events[0], " refused forbidden")):
				t.Errorf("%s %s as %s is refused, and recorded as %q", r.method, r.path, who, events)
			case may && safe(r.method) && len(events) != 0:
				t.Errorf("%s %s as %s reads, and is recorded as %q", r.method, r.path, who, events)
			case may && !safe(r.method) && (len(events) < 1 || !strings.HasSuffix(events[0], " begun")) && status != 400 && status != 415:
				t.Errorf("%s %s as %s writes, and is recorded as %q: %d", r.method, r.path, who, events, status)
			}
		}
		if status, answer := o.ask(t, r.method, sample(r), ""); status != 401 {
			t.Errorf("%s %s as nobody: %d %s", r.method, r.path, status, answer)
		}
	}
}

// TestViewersOnlyLook holds what the name promises, whatever the table says.
func TestViewersOnlyLook(t *testing.T) {
	viewer, _ := ir.BuiltInRole(ir.RoleViewer)
	for i := range routes {
		r := &routes[i]
		if !safe(r.method) && slices.Contains(viewer, r.permission) {
			t.Errorf("a viewer may %s %s", r.method, r.path)
		}
	}
}

// TestTable holds what every line must say.
func TestTable(t *testing.T) {
	known := ir.AdminPermissions()
	seen := map[string]bool{}
	anybody := []string{"/admin/login", "/admin/refresh", "/admin/logout", "/admin/whoami"}
	for i := range routes {
		r := &routes[i]
		name := r.method + " " + r.path
		if seen[name] {
			t.Errorf("%s stands twice", name)
		}
		seen[name] = true
		if r.permission == "" && !slices.Contains(anybody, r.path) || r.permission != "" && !slices.Contains(known, r.permission) {
			t.Errorf("%s: permission %q", name, r.permission)
		}
		if r.open != (r.path == "/admin/login" || r.path == "/admin/refresh") {
			t.Errorf("%s: open %t", name, r.open)
		}
		if safe(r.method) != (r.action == "") || r.method == http.MethodHead {
			t.Errorf("%s: action %q", name, r.action)
		}
		if r.method == http.MethodGet != strings.HasSuffix(r.permission, ":read") && r.permission != "" {
			t.Errorf("%s: permission %q", name, r.permission)
		}
		if r.answer == nil || r.summary == "" || r.status == 0 || !strings.HasPrefix(r.path, "/admin/") {
			t.Errorf("%s is not complete", name)
		}
	}
}

func TestPaths(t *testing.T) {
	for _, tt := range []struct {
		pattern, path, id string
		ok                bool
	}{
		{"/admin/keys", "/admin/keys", "", true},
		{"/admin/keys", "/admin/keys/", "", false},
		{"/admin/keys", "/admin/keysx", "", false},
		{"/admin/keys/{id}", "/admin/keys/a", "a", true},
		{"/admin/keys/{id}", "/admin/keys/", "", false},
		{"/admin/keys/{id}", "/admin/keys/a/rotate", "", false},
		{"/admin/keys/{id}/rotate", "/admin/keys/a/rotate", "a", true},
		{"/admin/keys/{id}/rotate", "/admin/keys/rotate", "", false},
		{"/admin/keys/{id}/rotate", "/admin/keys//rotate", "", false},
		{"/admin/keys/{id}/rotate", "/admin/keys/a/b/rotate", "", false},
		{"/admin/upstreams/{id...}", "/admin/upstreams/http:/a:80", "http:/a:80", true},
		{"/admin/upstreams/{id...}", "/admin/upstreams/", "", false},
	} {
		r := route{path: tt.pattern}
		if id, ok := r.under(tt.path); ok != tt.ok || ok && id != tt.id {
			t.Errorf("%s under %s: %q %t", tt.path, tt.pattern, id, ok)
		}
	}
}
