package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
)

// What the gateway has fits without an adapter.
var (
	_ Header = http.Header(nil)
	_ Header = (*httpmsg.Header)(nil)
	_ Firsts = policy.State(nil)
)

// Each case is one delivery to a GitHub webhook that is as it must be, but for one thing.
func TestHostileDeliveries(t *testing.T) {
	body := payload(t, "github-push.json")
	other := func(old, new string) func(*delivery) {
		return func(d *delivery) {
			d.body = []byte(strings.Replace(string(body), old, new, 1))
			if string(d.body) == string(body) {
				panic("the payload has no " + old)
			}
			d.length = int64(len(d.body))
			signGitHub(d)
		}
	}
	signedAs := func(body string) func(*delivery) {
		return func(d *delivery) { d.body, d.length = []byte(body), int64(len(body)); signGitHub(d) }
	}
	set := func(fields ...string) func(*delivery) { return func(d *delivery) { d.with(fields...) } }
	sum := mac(secret, body)
	for _, c := range []struct {
		name string
		edit func(*delivery)
		want string
	}{
		{"in order", func(*delivery) {}, "202 webhook_accepted"},
		{"another webhook", func(d *delivery) { d.hook = "config2" }, "404 webhook_unknown"},
		{"a path for a name", func(d *delivery) { d.hook = "../config" }, "404 webhook_unknown"},
		{"another case", func(d *delivery) { d.hook = "Config" }, "404 webhook_unknown"},
		{"GET", func(d *delivery) { d.method = http.MethodGet }, "405 webhook_method"},
		{"PUT", func(d *delivery) { d.method = http.MethodPut }, "405 webhook_method"},
		{"a form", func(d *delivery) {
			d.body = []byte("payload=%7B%7D")
			signGitHub(d.with("Content-Type", "application/x-www-form-urlencoded"))
		}, "415 webhook_media_type"},
		{"no content type", set("Content-Type", ""), "415 webhook_media_type"},
		{"plain text", set("Content-Type", "text/plain"), "415 webhook_media_type"},
		{"two content types", func(d *delivery) { d.header.Add("Content-Type", "application/json") }, "415 webhook_media_type"},
		{"compressed", set("Content-Encoding", "gzip"), "415 webhook_media_type"},
		{"a charset", set("Content-Type", "Application/JSON; charset=utf-8"), "202 webhook_accepted"},

		{"no signature", set("X-Hub-Signature-256", ""), "401 webhook_unsigned"},
		{"SHA-1 alone", set("X-Hub-Signature-256", "", "X-Hub-Signature", "sha1="+strings.Repeat("a", 40)), "401 webhook_unsigned"},
		{"another forge's field", set("X-Hub-Signature-256", "", "X-Gitea-Signature", sum), "401 webhook_unsigned"},
		{"a wrong secret", set("X-Hub-Signature-256", "sha256="+mac(secret+".", body)), "401 webhook_signature_invalid"},
		{"upper case", set("X-Hub-Signature-256", "sha256="+strings.ToUpper(sum)), "401 webhook_signature_invalid"},
		{"an upper-case prefix", set("X-Hub-Signature-256", "SHA256="+sum), "401 webhook_signature_invalid"},
		{"no prefix", set("X-Hub-Signature-256", sum), "401 webhook_signature_invalid"},
		{"SHA-1 by name", set("X-Hub-Signature-256", "sha1="+sum[:40]), "401 webhook_signature_invalid"},
		{"short", set("X-Hub-Signature-256", "sha256="+sum[:62]), "401 webhook_signature_invalid"},
		{"half a digit", set("X-Hub-Signature-256", "sha256="+sum[:63]), "401 webhook_signature_invalid"},
		{"long", set("X-Hub-Signature-256", "sha256="+sum+"00"), "401 webhook_signature_invalid"},
		{"not hexadecimal", set("X-Hub-Signature-256", "sha256="+strings.Repeat("g", 64)), "401 webhook_signature_invalid"},
		{"empty behind the prefix", set("X-Hub-Signature-256", "sha256="), "401 webhook_signature_invalid"},
		{"zeros", set("X-Hub-Signature-256", "sha256="+strings.Repeat("0", 64)), "401 webhook_signature_invalid"},
		{"twice", func(d *delivery) { d.header.Add("X-Hub-Signature-256", "sha256="+sum) }, "401 webhook_signature_invalid"},
		{"two in one field", set("X-Hub-Signature-256", "sha256="+sum+", sha256="+sum), "401 webhook_signature_invalid"},
		{"JSON that was encoded again", func(d *delivery) {
			var v any
			if err := json.Unmarshal(body, &v); err != nil {
				panic(err)
			}
			d.body, _ = json.Marshal(v)
		}, "401 webhook_signature_invalid"},
		{"a line break behind the body", func(d *delivery) { d.body = append(d.body[:len(d.body):len(d.body)], '\n') }, "401 webhook_signature_invalid"},
		{"no body", func(d *delivery) { d.body = nil }, "401 webhook_signature_invalid"},

		{"5 MiB", func(d *delivery) {
			d.body = append(body, []byte(strings.Repeat(" ", maxBody-len(body)))...)
			d.length = maxBody
			signGitHub(d)
		}, "202 webhook_accepted"},
		{"5 MiB and 1", func(d *delivery) { d.body = append(body, make([]byte, maxBody+1-len(body))...); d.length = maxBody + 1 }, "413 webhook_too_large"},
		{"5 MiB and 1, chunked", func(d *delivery) { d.body = append(body, make([]byte, maxBody+1-len(body))...); d.length = -1 }, "413 webhook_too_large"},
		{"5 MiB and 1, announced as less", func(d *delivery) { d.body = append(body, make([]byte, maxBody+1-len(body))...); d.length = 10 }, "413 webhook_too_large"},
		{"endless", func(d *delivery) { d.reader, d.length = &zeros{}, -1 }, "413 webhook_too_large"},
		{"breaks off", func(d *delivery) { d.reader = broken{} }, "400 webhook_incomplete"},

		{"no delivery id", set("X-GitHub-Delivery", ""), "400 webhook_delivery_invalid"},
		{"two delivery ids", func(d *delivery) { d.header.Add("X-GitHub-Delivery", "b") }, "400 webhook_delivery_invalid"},
		{"a long delivery id", set("X-GitHub-Delivery", strings.Repeat("a", 129)), "400 webhook_delivery_invalid"},
		{"a delivery id with a space", set("X-GitHub-Delivery", "a b"), "400 webhook_delivery_invalid"},
		{"a delivery id with a line break", func(d *delivery) { d.header["X-Github-Delivery"] = []string{"a\nb"} }, "400 webhook_delivery_invalid"},
		{"an old delivery id", set("X-GitHub-Delivery", "was-here"), "202 webhook_duplicate"},

		{"ping", set("X-GitHub-Event", "ping"), "200 webhook_ping"},
		{"ping with a wrong signature", set("X-GitHub-Event", "ping", "X-Hub-Signature-256", "sha256="+mac("no", body)), "401 webhook_signature_invalid"},
		{"another event", set("X-GitHub-Event", "pull_request"), "202 webhook_ignored"},
		{"no event", set("X-GitHub-Event", ""), "202 webhook_ignored"},
		{"two events", func(d *delivery) { d.header.Add("X-GitHub-Event", "ping") }, "202 webhook_ignored"},
		{"another repository", func(d *delivery) {
			d.body = []byte(strings.ReplaceAll(string(body), "Hello-World", "Other"))
			signGitHub(d)
		}, "202 webhook_ignored"},
		{"another branch", other("refs/heads/master", "refs/heads/feature"), "202 webhook_ignored"},
		{"a tag of the branch's name", other("refs/heads/master", "refs/tags/master"), "202 webhook_accepted"},
		{"a branch that begins like it", other("refs/heads/master", "refs/heads/master/x"), "202 webhook_ignored"},

		{"a ref with a line break", other("refs/heads/master", `refs/heads/master\n`), "400 webhook_payload_invalid"},
		{"a ref with dots", other("refs/heads/master", `refs/heads/a..b`), "400 webhook_payload_invalid"},
		{"a ref that leaves", other("refs/heads/master", `refs/heads/../../x`), "400 webhook_payload_invalid"},
		{"an option for a ref", other("refs/heads/master", `--output=x`), "400 webhook_payload_invalid"},
		{"a short ref", other("refs/heads/master", `master`), "400 webhook_payload_invalid"},
		{"a ref of 300 bytes", other("refs/heads/master", "refs/heads/"+strings.Repeat("a", 300)), "400 webhook_payload_invalid"},
		{"a number for a ref", other(`"refs/heads/master"`, "7"), "400 webhook_payload_invalid"},
		{"two refs", other(`"ref":`, `"ref": "refs/heads/feature", "ref":`), "400 webhook_payload_invalid"},
		{"two repositories", other(`"repository":`, `"repository": {}, "repository":`), "400 webhook_payload_invalid"},
		{"two clone addresses", other(`"clone_url":`, `"clone_url": "https://github.com/a/b", "clone_url":`), "400 webhook_payload_invalid"},
		{"the repository in capitals", other(`"repository":`, `"Repository":`), "400 webhook_payload_invalid"},
		{"a text for a repository", signedAs(`{"ref":"refs/heads/master","repository":"x"}`), "400 webhook_payload_invalid"},
		{"nothing", signedAs(``), "400 webhook_payload_invalid"},
		{"null", signedAs(`null`), "400 webhook_payload_invalid"},
		{"an array", signedAs(`[` + string(body) + `]`), "400 webhook_payload_invalid"},
		{"two documents", signedAs(string(body) + string(body)), "400 webhook_payload_invalid"},
		{"cut short", signedAs(string(body[:len(body)-3])), "400 webhook_payload_invalid"},
		{"not JSON", signedAs(`<xml/>`), "400 webhook_payload_invalid"},
		{"64 levels", signedAs(`{"x":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + "," + string(body[1:])), "202 webhook_accepted"},
		{"65 levels", signedAs(`{"x":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + "," + string(body[1:])), "400 webhook_payload_invalid"},
		{"10,000 levels", signedAs(strings.Repeat(`{"repository":`, 10_000) + "1" + strings.Repeat("}", 10_000)), "400 webhook_payload_invalid"},
		{"5 MiB of brackets", signedAs(strings.Repeat("[", maxBody)), "400 webhook_payload_invalid"},
		{"a number beyond floats", signedAs(`{"x":1e999,` + string(body[1:])), "202 webhook_accepted"},
		{"a lone surrogate", other("refs/heads/master", `refs/heads/\ud800`), "202 webhook_ignored"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, github())
			r.want(push1(t, "was-here"), "202 webhook_accepted")
			before := len(r.hints)
			d := push1(t, "new")
			c.edit(d)
			a := r.want(d, c.want)
			if got := len(r.hints) - before; (got > 0) != (a.Code == "webhook_accepted") {
				t.Errorf("%d hints", got)
			}
			hook := "config "
			if a.Status == http.StatusNotFound {
				hook = " " // the name is the sender's
			}
			if want := hook + a.Code; r.codes[len(r.codes)-1] != want {
				t.Errorf("counted %q, want %q", r.codes[len(r.codes)-1], want)
			}
			if log := r.logs.String(); strings.Contains(log, "Codertocat") || strings.Contains(log, secret) || strings.Contains(log, "../config") {
				t.Errorf("the log quotes the delivery: %s", log)
			}
		})
	}
}

// What the sender is told says how to mend it.
func TestDetails(t *testing.T) {
	for _, c := range []struct {
		name   string
		hook   Hook
		fields []string
		want   string
	}{
		{"SHA-1", github(), []string{"X-Hub-Signature", "sha1=" + strings.Repeat("a", 40)}, "the delivery is signed with SHA-1 alone, which is not taken; X-Hub-Signature-256 is missing"},
		{"unsigned", github(), nil, "the delivery has no X-Hub-Signature-256: give the webhook a secret at the forge"},
		{"malformed", github(), []string{"X-Hub-Signature-256", "sha256=x"}, "the signature in X-Hub-Signature-256 must be sha256= and 64 hexadecimal digits in lower case"},
		{"GitLab, nothing", gitlabHook(secret), nil, "the delivery has neither webhook-signature nor X-Gitlab-Token: give the webhook a token at GitLab"},
		{"GitLab, wrong token", gitlabHook(secret), []string{"X-Gitlab-Token", "x"}, "X-Gitlab-Token is not the token of this webhook"},
		{"GitLab, only a token", gitlabHook(signingToken), []string{"X-Gitlab-Token", "x"}, "the delivery has only X-Gitlab-Token, and this webhook takes a signing token"},
		{"GitLab, a malformed time", gitlabHook(signingToken), []string{"webhook-signature", "v1,x", "webhook-id", "a", "webhook-timestamp", "-5"}, "webhook-id, webhook-timestamp or webhook-signature is missing, repeated or malformed"},
	} {
		a := newRig(t, c.hook).receive(newDelivery([]byte("{}"), c.fields...))
		if a.Status != http.StatusUnauthorized || a.Detail != c.want {
			t.Errorf("%s: got %d %q, want %q", c.name, a.Status, a.Detail, c.want)
		}
	}
}

func gitlabHook(secrets ...string) Hook {
	return Hook{ID: "config", Provider: GitLab, Secrets: fixed(secrets...), Repository: "http://example.com/mike/diaspora"}
}

func TestGitLabSchemes(t *testing.T) {
	body, now := payload(t, "gitlab-push.json"), webhookTime.Unix()
	push := []string{"X-Gitlab-Event", "Push Hook"}
	token := []string{"X-Gitlab-Token", secret}
	forged := stamp(signingPrefix+"YW5vdGhlciBrZXkgb2YgdGhpcnR5LXR3byBieXRlcw==", "a", now, body)
	for _, c := range []struct {
		name    string
		secrets []string
		fields  [][]string
		want    string
	}{
		{"both are configured, both are there", []string{signingToken, secret}, [][]string{stamp(signingToken, "a", now, body), token}, "202 webhook_accepted"},
		{"both are configured, the token alone", []string{signingToken, secret}, [][]string{token}, "202 webhook_accepted"},
		{"a good token does not rescue a bad signature", []string{signingToken, secret}, [][]string{forged, token}, "401 webhook_signature_invalid"},
		{"nor an old one", []string{signingToken, secret}, [][]string{stamp(signingToken, "a", now-301, body), token}, "401 webhook_expired"},
		{"a signature without a key for it", []string{secret}, [][]string{stamp(signingToken, "a", now, body), token}, "202 webhook_accepted"},
		{"the signing token in clear", []string{signingToken}, [][]string{{"X-Gitlab-Token", signingToken}}, "401 webhook_unsigned"},
		{"another id than was signed", []string{signingToken}, [][]string{stamp(signingToken, "a", now, body), {"webhook-id", "b"}}, "401 webhook_signature_invalid"},
		{"another time than was signed", []string{signingToken}, [][]string{stamp(signingToken, "a", now, body), {"webhook-timestamp", fmt.Sprint(now + 1)}}, "401 webhook_signature_invalid"},
		{"an id with a full stop", []string{signingToken}, [][]string{stamp(signingToken, "a.1", now, body)}, "401 webhook_signature_invalid"},
		{"a signing token that is not base64", []string{"whsec_!!!!!!!!!!!!!!!!"}, [][]string{stamp(signingToken, "a", now, body)}, "503 webhook_secret_away"},
	} {
		d := newDelivery(body, push...)
		for _, f := range c.fields {
			d.with(f...)
		}
		t.Run(c.name, func(t *testing.T) { newRig(t, gitlabHook(c.secrets...)).want(d, c.want) })
	}
}

// A token is judged before a byte of the body is read.
func TestTokenBeforeBody(t *testing.T) {
	d := newDelivery(nil, "X-Gitlab-Event", "Push Hook", "X-Gitlab-Token", "wrong")
	z := &zeros{}
	d.reader = z
	newRig(t, gitlabHook(secret)).want(d, "401 webhook_signature_invalid")
	if z.n.Load() != 0 {
		t.Errorf("read %d bytes", z.n.Load())
	}
}

func TestForgejoSignatureIsNotRescued(t *testing.T) {
	body := payload(t, "forgejo-push.json")
	h := Hook{ID: "config", Provider: Forgejo, Secrets: fixed(secret), Repository: "http://localhost:3000/forgejo/webhooks"}
	good := mac(secret, body)
	for forgejo, want := range map[string]string{mac("x", body): "401 webhook_signature_invalid", "": "202 webhook_accepted", good: "202 webhook_accepted"} {
		newRig(t, h).want(newDelivery(body, "X-Forgejo-Event", "push", "X-Forgejo-Delivery", "a",
			"X-Forgejo-Signature", forgejo, "X-Gitea-Signature", good, "X-Hub-Signature-256", "sha256="+good), want)
	}
	// Present and empty is present.
	d := newDelivery(body, "X-Forgejo-Event", "push", "X-Forgejo-Delivery", "a", "X-Gitea-Signature", good)
	d.header["X-Forgejo-Signature"] = []string{""}
	newRig(t, h).want(d, "401 webhook_signature_invalid")
}

func TestRotation(t *testing.T) {
	const old, fresh = "the old secret of this hook", "the new secret of this hook"
	first, second := []byte(old), []byte(nil)
	var away error
	h := github()
	h.Secrets = []Secret{
		func() ([]byte, error) { return first, nil },
		func() ([]byte, error) { return second, away },
	}
	r, n := newRig(t, h), 0
	send := func(key, want string) {
		t.Helper()
		n++
		d := push1(t, fmt.Sprint(n))
		r.want(d.with("X-Hub-Signature-256", "sha256="+mac(key, d.body)), want)
	}
	send(old, "202 webhook_accepted") // the second one is empty
	second = []byte(fresh + "\n")     // as files have it
	send(old, "202 webhook_accepted")
	send(fresh, "202 webhook_accepted")
	first = []byte("short")
	send(old, "401 webhook_signature_invalid")
	send(fresh, "202 webhook_accepted")
	send("short", "401 webhook_signature_invalid")
	second, away = nil, errors.New("secret file:/run/secrets/hook: does not exist")
	send(fresh, "503 webhook_secret_away")
	send("", "503 webhook_secret_away")
	if log := r.logs.String(); !strings.Contains(log, "file:/run/secrets/hook") || !strings.Contains(log, "shorter than 16 bytes") || strings.Contains(log, "of this hook") {
		t.Errorf("log: %s", log)
	}
}

func TestInsecure(t *testing.T) {
	h := github()
	h.Secrets, h.Insecure = nil, true
	r := newRig(t, h)
	r.want(push1(t, "a").with("X-Hub-Signature-256", ""), "202 webhook_accepted")
	r.want(push1(t, "b").with("X-Hub-Signature-256", "sha256=zz"), "202 webhook_accepted")
}
