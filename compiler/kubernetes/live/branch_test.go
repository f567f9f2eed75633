package live

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/compiler/kubernetes"
	"github.com/suuupra/gateway/internal/gitsend"
)

// TestBring follows a branch through the life of two objects.
func TestBring(t *testing.T) {
	r := newRig(t, nil)
	o := r.brings(r.wish(route("a", "/a") + route("b", "/b")))
	r.holds("routes/shop/a.yaml", "routes/shop/b.yaml", "upstreams/shop/web.yaml")
	if head := r.git("rev-parse", "main"); o.commit != head {
		t.Errorf("pushed %q, the head is %s", o.commit, head)
	}
	want := "kubernetes: 2 changed, 0 gone\n\nHTTPRoute shop/a, resourceVersion 7\nHTTPRoute shop/b, resourceVersion 7\nupstreams/shop/web.yaml"
	if got := r.git("log", "-1", "--format=%B", "main"); got != want {
		t.Errorf("the message is\n%s\nwant\n%s", got, want)
	}
	if o.kept["gateway.yaml"] == "" || len(o.keptWanted()) != 0 {
		t.Errorf("kept %v", o.kept)
	}

	if o = r.brings(r.wish(route("a", "/a") + route("b", "/b"))); o.commit != "" || o.unpushed != "" || r.compiled != 1 {
		t.Errorf("nothing has changed, and it pushed %q after %d compilations", o.commit, r.compiled)
	}
	r.brings(r.wish(route("a", "/new") + route("b", "/b")))
	if got := r.git("show", "main:site/routes/shop/a.yaml"); !strings.Contains(got, "path: /new/*") {
		t.Errorf("after an edit:\n%s", got)
	}
	r.brings(r.wish(route("a", "/new"))) // half of the routes is not more than half
	r.holds("routes/shop/a.yaml", "upstreams/shop/web.yaml")
	if got := r.git("log", "-1", "--format=%B", "main"); !strings.Contains(got, "routes/shop/b.yaml: its object is gone") {
		t.Errorf("the message is %s", got)
	}
}

// TestOwnership leaves alone what people have written or changed, and what another live source has.
func TestOwnership(t *testing.T) {
	r := newRig(t, nil)
	r.brings(r.wish(route("a", "/a") + route("b", "/b") + route("c", "/c")))
	theirs := strings.Replace(r.git("show", "main:site/routes/shop/a.yaml")+"\n", "for gateway-api infra/public", "for gateway-api infra/other", 1)
	byHand := r.git("show", "main:site/routes/shop/b.yaml") + "\n    policy: { timeout: 5s }\n"
	files := map[string]string{"site/routes/shop/a.yaml": theirs, "site/routes/shop/b.yaml": byHand, "site/routes/own.yaml": apiVersion, "README.md": "x\n"}
	r.commits(files)

	o := r.brings(r.wish(route("a", "/x") + route("b", "/x") + route("c", "/x")))
	if got := o.kept["routes/shop/a.yaml"]; got != "it was written by another live source (gateway-api infra/other)" {
		t.Errorf("another source's: %q", got)
	}
	if got := o.kept["routes/shop/b.yaml"]; got != "it was not written by gwctl translate, or somebody has changed it since" {
		t.Errorf("changed by hand: %q", got)
	}
	if got := r.git("show", "main:site/routes/shop/c.yaml"); !strings.Contains(got, "/x/*") {
		t.Errorf("the third is still\n%s", got)
	}
	r.brings(r.wish(route("c", "/x"))) // their objects are gone, too
	for name, want := range files {
		if got := r.git("show", "main:"+name); got != strings.TrimSpace(want) {
			t.Errorf("%s is now\n%s", name, got)
		}
	}
}

// TestAdoption takes over what gwctl translate wrote from files.
func TestAdoption(t *testing.T) {
	r := newRig(t, nil)
	w := r.wish(route("a", "/a"))
	r.commits(map[string]string{"site/routes/shop/a.yaml": plain(t, w, "routes/shop/a.yaml"), "site/routes/shop/z.yaml": plain(t, w, "routes/shop/a.yaml")})
	if o := r.brings(r.wish(route("b", "/b"))); o.commit != "" || len(o.failed) != 0 || !o.invalid {
		t.Errorf("the same route twice in what others have: %+v", o)
	}
	r.commits(map[string]string{"site/routes/shop/z.yaml": "", "site/upstreams/shop/web.yaml": plain(t, w, "upstreams/shop/web.yaml")})
	r.brings(w)
	if got := r.git("show", "main:site/routes/shop/a.yaml"); !strings.Contains(got, "for gateway-api infra/public") {
		t.Errorf("it is still\n%s", got)
	}
}

// plain is a file as a translation of files writes it.
func plain(t *testing.T, w *wish, name string) string {
	t.Helper()
	data := strings.Replace(string(w.files[name]), "for gateway-api infra/public ", "", 1)
	if source, own := kubernetes.Writer([]byte(data)); !own || source != "" {
		t.Fatalf("%s is not what a translation of files writes", name)
	}
	return data
}

// TestRace pushes on top of what others pushed in between, and loses nothing of theirs.
func TestRace(t *testing.T) {
	r := newRig(t, nil)
	pushes := 0
	r.during = func(string) {
		if pushes++; pushes <= 2 {
			r.commits(map[string]string{"site/routes/mine.yaml": apiVersion + strings.Repeat("#\n", pushes)})
		}
	}
	o := r.brings(r.wish(route("a", "/a")))
	r.holds("routes/mine.yaml", "routes/shop/a.yaml", "upstreams/shop/web.yaml")
	if pushes != 3 || r.git("rev-parse", "main~1") != r.repo.Head() || o.commit != r.git("rev-parse", "main") {
		t.Errorf("%d attempts; %+v", pushes, o)
	}
	if got := r.git("show", "main:site/routes/mine.yaml"); strings.Count(got, "#") != 2 {
		t.Errorf("theirs is now %q", got)
	}
}

// TestRefusedPush gives the server's reason, and does not try again and again.
func TestRefusedPush(t *testing.T) {
	r := newRig(t, nil)
	hook := filepath.Join(r.repo.Dir, "hooks", "pre-receive")
	if err := os.WriteFile(hook, []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := r.branch.bring(t.Context(), r.wish(route("a", "/a")))
	var refused *gitsend.Refused
	if !errors.As(err, &refused) || refused.Status != "pre-receive hook declined" || r.compiled != 1 {
		t.Errorf("%v, after %d compilations", err, r.compiled)
	}
}

// TestGuard believes in the end of most routes only when it is seen again, the same, after a while.
func TestGuard(t *testing.T) {
	r := newRig(t, nil)
	four := route("a", "/a") + route("b", "/b") + route("c", "/c") + route("d", "/d")
	r.brings(r.wish(four))
	before := r.git("rev-parse", "main")
	guarded := func(when, objects string) {
		t.Helper()
		if o := r.brings(r.wish(objects)); !o.guarded || o.unpushed == "" || r.git("rev-parse", "main") != before {
			t.Errorf("%s: %+v", when, o)
		}
	}
	guarded("nothing is left", "")
	r.clock.Advance(30 * time.Second)
	guarded("too early", "")
	r.clock.Advance(time.Hour)
	guarded("something else is left", route("a", "/a"))
	if o := r.brings(r.wish(four)); o.guarded {
		t.Error("all is there again")
	}
	r.clock.Advance(time.Hour)
	guarded("the doubt of before has no weight", route("a", "/a"))
	r.clock.Advance(time.Minute)
	if o := r.brings(r.wish(route("a", "/a"))); o.commit == "" {
		t.Errorf("seen twice: %+v", o)
	}
	r.holds("routes/shop/a.yaml", "upstreams/shop/web.yaml")
}

// TestMistakes leaves out what does not compile, and nothing else.
func TestMistakes(t *testing.T) {
	r := newRig(t, map[string]string{
		"site/gateway.yaml":             apiVersion + "gateway: { name: shop }\n",
		"site/tenants/shop/tenant.yaml": apiVersion + "tenant: { hosts: [r.example.com], allowPrivateAddresses: true }\n",
	})
	custom := func(name, host string) string {
		return "---\napiVersion: gateway.suuupra.dev/v1\nkind: Route\nmetadata: { name: " + name + ", namespace: shop }\n" +
			"spec: { matcher: { host: " + host + ", path: /* }, service: { name: web, port: 80 } }\n"
	}
	o := r.brings(r.wish(route("a", "/a") + custom("good", "r.example.com") + custom("bad", "pay.example.com")))
	r.holds("routes/shop/a.yaml", "tenants/shop/routes/good.yaml", "tenants/shop/tenant.yaml", "tenants/shop/upstreams/web.yaml", "upstreams/shop/web.yaml")
	want := `tenants/shop/routes/bad.yaml:6:13: GW3013: route "shop.bad.route" takes host "pay.example.com", which tenant "shop" is not granted`
	if got := o.failed["tenants/shop/routes/bad.yaml"]; len(o.failed) != 1 || got != want {
		t.Errorf("failed %v, want %s", o.failed, want)
	}

	// the last good version stays
	r.brings(r.wish(route("a", "/a") + custom("good", "pay.example.com")))
	if got := r.git("show", "main:site/tenants/shop/routes/good.yaml"); !strings.Contains(got, "r.example.com") {
		t.Errorf("an edit that does not compile leaves\n%s", got)
	}

	// what is nobody's of ours stops everything, is not compiled again and again, and ends when it is mended
	r.commits(map[string]string{"site/routes/broken.yaml": apiVersion + "routes: [{ id: x }]\n"})
	w := route("a", "/b") + custom("good", "r.example.com")
	if o = r.brings(r.wish(w)); !o.invalid || !strings.HasPrefix(o.unpushed, "the repository does not compile with it: routes/broken.yaml:") {
		t.Errorf("a repository that is broken: %+v", o)
	}
	compiled := r.compiled
	if o = r.brings(r.wish(w)); !o.invalid || r.compiled != compiled {
		t.Errorf("compiled again: %+v", o)
	}
	r.commits(map[string]string{"site/routes/broken.yaml": ""})
	if o = r.brings(r.wish(w)); o.commit == "" || o.invalid {
		t.Errorf("mended: %+v", o)
	}
}

// TestSparedUpstream removes a route whose object is gone although people still say something about its upstream.
func TestSparedUpstream(t *testing.T) {
	r := newRig(t, nil)
	r.brings(r.wish(route("a", "/a")))
	r.commits(map[string]string{"site/environments/prod/p.yaml": apiVersion + "upstreams: [{ id: shop.web.80, discovery: null, targets: [{ url: \"http://127.0.0.1:9\" }] }]\n"})
	r.brings(r.wish(""))
	r.clock.Advance(time.Minute)
	o := r.brings(r.wish(""))
	r.holds("environments/prod/p.yaml", "upstreams/shop/web.yaml")
	if o.commit == "" || !strings.HasPrefix(o.kept["upstreams/shop/web.yaml"], "the repository does not compile without it: environments/prod/p.yaml:") {
		t.Errorf("%+v", o)
	}
}

// TestSparedRoute goes on with what others change where people patch a route whose object is gone.
func TestSparedRoute(t *testing.T) {
	r := newRig(t, nil)
	r.brings(r.wish(route("a", "/a") + route("b", "/b")))
	r.commits(map[string]string{"site/environments/prod/p.yaml": apiVersion + "routes: [{ id: shop.a.rule-0-0, policy: { timeout: 5s } }]\n"})
	o := r.brings(r.wish(route("b", "/new") + route("c", "/c")))
	r.holds("environments/prod/p.yaml", "routes/shop/a.yaml", "routes/shop/b.yaml", "routes/shop/c.yaml", "upstreams/shop/web.yaml")
	if got := o.failed["routes/shop/a.yaml"]; o.commit == "" || !strings.HasPrefix(got, "its object is gone, and the repository does not compile without it: environments/prod/p.yaml:") {
		t.Errorf("%q, %+v", got, o)
	}
	if got := r.git("show", "main:site/routes/shop/b.yaml"); !strings.Contains(got, "/new/*") {
		t.Errorf("what others change:\n%s", got)
	}
	r.commits(map[string]string{"site/environments/prod/p.yaml": ""})
	r.brings(r.wish(route("b", "/new") + route("c", "/c")))
	r.holds("routes/shop/b.yaml", "routes/shop/c.yaml", "upstreams/shop/web.yaml")
}

// TestHeld leaves the file of an object that cannot be read as it is.
func TestHeld(t *testing.T) {
	r := newRig(t, nil)
	r.brings(r.wish(route("a", "/a") + route("b", "/b")))
	w := r.wish(route("b", "/new"))
	w.held["routes/shop/a.yaml"] = true
	r.brings(w)
	r.holds("routes/shop/a.yaml", "routes/shop/b.yaml", "upstreams/shop/web.yaml")
}
