package webhook

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
)

var webhookTime = testkit.NewClock(time.Time{}).Now()

// What each forge sends, signed as it signs, is one hint.
func TestProviders(t *testing.T) {
	now := webhookTime.Unix()
	for _, c := range []struct {
		name       string
		provider   Provider
		secret     string
		repository string
		ref        string
		file       string
		sign       func(body []byte) []string
		want       Hint
	}{
		{
			"GitHub", GitHub, secret, "https://github.com/codertocat/hello-world.git", "master", "github-push.json",
			func(b []byte) []string {
				return []string{"X-GitHub-Event", "push", "X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958", "X-Hub-Signature-256", "sha256=" + mac(secret, b), "X-Hub-Signature", "sha1=" + strings.Repeat("0", 40)}
			},
			Hint{"config", "github.com/codertocat/hello-world", "refs/heads/master", "6113728f27ae82c7b1a177c8d03f9e96e0adf246", "72d3162e-cc78-11e3-81ab-4c9367dc0958"},
		},
		{
			"GitHub, a tag is deleted", GitHub, secret, "git@github.com:Codertocat/Hello-World.git", "refs/tags/simple-tag", "github-tag-deleted.json",
			func(b []byte) []string {
				return []string{"X-GitHub-Event", "push", "X-GitHub-Delivery", "a", "X-Hub-Signature-256", "sha256=" + mac(secret, b)}
			},
			Hint{"config", "github.com/codertocat/hello-world", "refs/tags/simple-tag", "", "a"},
		},
		{
			"GitLab, signing token", GitLab, signingToken, "http://example.com/mike/diaspora", "master", "gitlab-push.json",
			func(b []byte) []string {
				return append(stamp(signingToken, "0ec2e5e8-0c93-4b1d-a3f6-bf6b3f0b7f7d", now, b), "X-Gitlab-Event", "Push Hook")
			},
			Hint{"config", "example.com/mike/diaspora", "refs/heads/master", "da1560886d4f094c3e6c9ef40349f7d38b5d27d7", "0ec2e5e8-0c93-4b1d-a3f6-bf6b3f0b7f7d"},
		},
		{
			"GitLab, secret token", GitLab, secret, "ssh://git@example.com/mike/diaspora.git", "", "gitlab-push.json",
			func([]byte) []string {
				return []string{"X-Gitlab-Event", "Push Hook", "X-Gitlab-Token", secret, "Idempotency-Key", "key"}
			},
			Hint{"config", "example.com/mike/diaspora", "refs/heads/master", "da1560886d4f094c3e6c9ef40349f7d38b5d27d7", "key"},
		},
		{
			"GitLab, a tag by a system hook", GitLab, secret, "http://example.com/jsmith/example", "v1.0.0", "gitlab-tag-push.json",
			func([]byte) []string {
				return []string{"X-Gitlab-Event", "System Hook", "X-Gitlab-Token", secret}
			},
			Hint{"config", "example.com/jsmith/example", "refs/tags/v1.0.0", "82b3d5ae55f7080f1e6022629cdb57bfae7cccc7", ""},
		},
		{
			"Gitea", Gitea, secret, "http://localhost:3000/gitea/webhooks", "develop", "gitea-push.json",
			func(b []byte) []string {
				return []string{"X-Gitea-Event", "push", "X-GitHub-Event", "push", "X-Gitea-Delivery", "f6266f16-1bf3-46a5-9ea4-602e06ead473", "X-Gitea-Signature", mac(secret, b)}
			},
			Hint{"config", "localhost:3000/gitea/webhooks", "refs/heads/develop", "bffeb74224043ba2feb48d137756c8a9331c449a", "f6266f16-1bf3-46a5-9ea4-602e06ead473"},
		},
		{
			"Gitea, GitHub's field", Gitea, secret, "http://localhost:3000/gitea/webhooks", "develop", "gitea-push.json",
			func(b []byte) []string {
				return []string{"X-Gitea-Event", "push", "X-Gitea-Delivery", "a", "X-Hub-Signature-256", "sha256=" + mac(secret, b)}
			},
			Hint{"config", "localhost:3000/gitea/webhooks", "refs/heads/develop", "bffeb74224043ba2feb48d137756c8a9331c449a", "a"},
		},
		{
			"Forgejo", Forgejo, secret, "ssh://forgejo@localhost:2222/forgejo/webhooks.git", "develop", "forgejo-push.json",
			func(b []byte) []string {
				return []string{"X-Forgejo-Event", "push", "X-Gitea-Event", "push", "X-Forgejo-Delivery", "f6266f16-1bf3-46a5-9ea4-602e06ead473", "X-Forgejo-Signature", mac(secret, b), "X-Gitea-Signature", mac(secret, b)}
			},
			Hint{"config", "localhost:2222/forgejo/webhooks", "refs/heads/develop", "bffeb74224043ba2feb48d137756c8a9331c449a", "f6266f16-1bf3-46a5-9ea4-602e06ead473"},
		},
		{
			"Bitbucket Cloud", Bitbucket, secret, "git@bitbucket.org:team_name/repo_name.git", "name-of-branch", "bitbucket-cloud-push.json",
			func(b []byte) []string {
				return []string{"X-Event-Key", "repo:push", "X-Request-UUID", "{a54f16da-24e9-4d7f-a3a7-b1ba2cd98aa3}", "X-Hub-Signature", "sha256=" + mac(secret, b)}
			},
			Hint{"config", "bitbucket.org/team_name/repo_name", "refs/heads/name-of-branch", "709d658dc5b6d6afcd46049c2f332ee3f515a67d", "{a54f16da-24e9-4d7f-a3a7-b1ba2cd98aa3}"},
		},
		{
			"Bitbucket Data Center", Bitbucket, secret, "https://server.bitbucket.local/scm/~gopher/webhook-test.git", "feature/wip", "bitbucket-datacenter-push.json",
			func(b []byte) []string {
				return []string{"Content-Type", "application/json; charset=utf-8", "X-Event-Key", "repo:refs_changed", "X-Request-Id", "e6e7cbe4-5d15-4d0b-8e4c-2f9b6f3c8a01", "X-Hub-Signature", "sha256=" + mac(secret, b)}
			},
			Hint{"config", "server.bitbucket.local/scm/~gopher/webhook-test", "refs/heads/feature/wip", "", "e6e7cbe4-5d15-4d0b-8e4c-2f9b6f3c8a01"},
		},
		{
			"generic", Generic, secret, "https://git.example.com/platform/gateway-config.git", "main", "generic-push.json",
			func(b []byte) []string { return []string{"X-Signature", "sha256=" + mac(secret, b)} },
			Hint{"config", "git.example.com/platform/gateway-config", "refs/heads/main", "5e1c309dae7f45e0f39b1bf3ac3cd9db12e7d689", ""},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := Hook{ID: "config", Provider: c.provider, Secrets: fixed(c.secret), Repository: c.repository}
			if c.ref != "" {
				h.Refs = []string{"another", c.ref}
			}
			body := payload(t, c.file)
			r := newRig(t, h)
			r.want(newDelivery(body, c.sign(body)...), "202 webhook_accepted")
			if len(r.hints) != 1 || r.hints[0] != c.want {
				t.Errorf("hints %+v, want %+v", r.hints, c.want)
			}
			wrong := newRig(t, Hook{ID: "config", Provider: c.provider, Secrets: fixed(otherSecret(c.secret)), Repository: c.repository})
			wrong.want(newDelivery(body, c.sign(body)...), "401 webhook_signature_invalid")
			if len(wrong.hints) != 0 || strings.Contains(wrong.logs.String(), c.secret) {
				t.Errorf("hints %+v, log %s", wrong.hints, wrong.logs)
			}
		})
	}
}

func otherSecret(s string) string {
	if strings.HasPrefix(s, signingPrefix) {
		return signingPrefix + base64.StdEncoding.EncodeToString([]byte("another key of thirty-two bytes."))
	}
	return s + "!"
}

// Vectors that others have published.
func TestKnownAnswers(t *testing.T) {
	t.Run("GitHub", func(t *testing.T) { // docs.github.com, "Validating webhook deliveries"
		const key, body = "It's a Secret to Everybody", "Hello, World!"
		h := github()
		h.Secrets = fixed(key)
		d := newDelivery([]byte(body), "X-GitHub-Delivery", "a", "X-GitHub-Event", "ping",
			"X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")
		newRig(t, h).want(d, "200 webhook_ping")
		d.body = []byte(body + "!")
		newRig(t, h).want(d, "401 webhook_signature_invalid")
	})
	t.Run("Standard Webhooks", func(t *testing.T) { // github.com/standard-webhooks/standard-webhooks, TestWebhookSign
		h := Hook{ID: "config", Provider: GitLab, Secrets: fixed("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), Repository: "https://gitlab.com/a/b"}
		good := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
		bad := "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="
		for _, c := range []struct {
			name, signature string
			age             time.Duration
			want            string
		}{
			{"now", good, 0, "202 webhook_ignored"},
			{"five minutes ago", good, 5 * time.Minute, "202 webhook_ignored"},
			{"a second more", good, 5*time.Minute + time.Second, "401 webhook_expired"},
			{"five minutes hence", good, -5 * time.Minute, "202 webhook_ignored"},
			{"a second more hence", good, -5*time.Minute - time.Second, "401 webhook_expired"},
			{"one of several", strings.Join([]string{bad, "v2," + bad[3:], good, bad}, " "), 0, "202 webhook_ignored"},
			{"none of several", bad + " v1a," + good[3:], 0, "401 webhook_signature_invalid"},
			{"the right one behind eight", strings.Repeat(bad+" ", 8) + good, 0, "401 webhook_signature_invalid"},
			{"another version alone", "v2," + good[3:], 0, "401 webhook_signature_invalid"},
			{"not base64", "v1,!!!!", 0, "401 webhook_signature_invalid"},
			{"too short", "v1,AAAA", 0, "401 webhook_signature_invalid"},
		} {
			t.Run(c.name, func(t *testing.T) {
				r := newRig(t, h)
				r.clock.Advance(time.Unix(1614265330, 0).Add(c.age).Sub(r.clock.Now()))
				r.want(newDelivery([]byte(`{"test": 2432232314}`), "webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp", "1614265330",
					"webhook-signature", c.signature, "X-Gitlab-Event", "Issue Hook"), c.want)
			})
		}
	})
}

// Bitbucket tells of several refs at once.
func TestSeveralChanges(t *testing.T) {
	body := []byte(`{"repository":{"full_name":"a/b"},"push":{"changes":[
		{"new":{"type":"branch","name":"main","target":{"hash":"` + strings.Repeat("1", 40) + `"}}},
		{"new":null,"old":{"type":"branch","name":"gone","target":{"hash":"` + strings.Repeat("2", 40) + `"}}},
		{"new":{"type":"annotated_tag","name":"v1"}},{"new":{"type":"bookmark","name":"hg"}},{},7]}}`)
	for refs, want := range map[string][]string{
		"":          {"refs/heads/main " + strings.Repeat("1", 40), "refs/heads/gone ", "refs/tags/v1 "},
		"gone":      {"refs/heads/gone "},
		"v1 main":   {"refs/heads/main " + strings.Repeat("1", 40), "refs/tags/v1 "},
		"elsewhere": nil,
	} {
		r := newRig(t, Hook{ID: "config", Provider: Bitbucket, Secrets: fixed(secret), Repository: "https://bitbucket.org/A/B", Refs: strings.Fields(refs)})
		code := "202 webhook_accepted"
		if want == nil {
			code = "202 webhook_ignored"
		}
		r.want(newDelivery(body, "X-Event-Key", "repo:push", "X-Hub-Signature", "sha256="+mac(secret, body)), code)
		var got []string
		for _, h := range r.hints {
			got = append(got, h.Ref+" "+h.Commit)
		}
		if !slices.Equal(got, want) {
			t.Errorf("refs %q: got %q, want %q", refs, got, want)
		}
	}
}

// Older Bitbucket servers name the repository, and give no addresses.
func TestRepositoryByName(t *testing.T) {
	body := []byte(`{"repository":{"slug":"Config","project":{"key":"PLAT"}},"changes":[{"refId":"refs/heads/main","toHash":"x"}]}`)
	for repository, want := range map[string]string{
		"https://git.example.com/scm/plat/config.git":       "202 webhook_accepted",
		"ssh://git@git.example.com:7999/plat/config.git":    "202 webhook_accepted",
		"https://git.example.com/scm/otherplat/config.git":  "202 webhook_ignored",
		"https://git.example.com/scm/plat/config-other.git": "202 webhook_ignored",
	} {
		r := newRig(t, Hook{ID: "config", Provider: Bitbucket, Secrets: fixed(secret), Repository: repository})
		r.want(newDelivery(body, "X-Event-Key", "repo:refs_changed", "X-Hub-Signature", "sha256="+mac(secret, body)), want)
	}
}

func TestNormalise(t *testing.T) {
	for in, want := range map[string]string{
		"https://github.com/Org/Repo.git":                  "github.com/org/repo",
		"https://u:p@GitHub.com:443/org/repo/":             "github.com/org/repo",
		"git@github.com:org/repo.git":                      "github.com/org/repo",
		"github.com:org/repo":                              "github.com/org/repo",
		"git@example.com:/abs/repo.git":                    "example.com/abs/repo",
		"ssh://git@example.com:22/org/repo":                "example.com/org/repo",
		"ssh://git@example.com:7999/~me/r.git":             "example.com:7999/~me/r",
		"git://example.com/r.git":                          "example.com/r",
		"http://[2001:db8::1]:3000/a/b":                    "[2001:db8::1]:3000/a/b",
		"https://dev.example.com/My%20Repo/x":              "dev.example.com/my repo/x",
		"":                                                 "",
		"/srv/config":                                      "",
		"C:\\config":                                       "",
		"ext::sh -c x":                                     "",
		"ext::sh":                                          "",
		"file:///etc/passwd":                               "",
		"ftp://example.com/x":                              "",
		"https://example.com":                              "",
		"https://example.com/.git":                         "",
		"https:///x":                                       "",
		"https://example.com/x?y":                          "",
		"https://exa mple.com/x":                           "",
		"https://example.com/x\n":                          "",
		"https://-x/y":                                     "",
		"https://example.com/" + strings.Repeat("a", 2048): "",
	} {
		got, ok := normalise(in)
		if got != want || ok != (want != "") {
			t.Errorf("%q: got %q, %t; want %q", in, got, ok, want)
		}
	}
}

func FuzzNormalise(f *testing.F) {
	for _, s := range []string{"https://u:p@h:443/x.git", "git@h:o/r", "ssh://h:7999/x", "[::1]:x", "a:b:c", "https://h/%2e%2e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := normalise(s)
		if !ok {
			return
		}
		host, path, _ := strings.Cut(got, "/")
		if host == "" || path == "" || got != strings.ToLower(got) || strings.Contains(host, "@") {
			t.Errorf("%q becomes %q", s, got)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	good := github()
	for _, c := range []struct {
		name string
		edit func(*Hook)
		want string
	}{
		{"no id", func(h *Hook) { h.ID = "" }, `webhook "": the id must be up to 63 letters`},
		{"a path as id", func(h *Hook) { h.ID = "../admin" }, `webhook "../admin": the id must be`},
		{"unknown provider", func(h *Hook) { h.Provider = "GitHub" }, `provider "GitHub" is not one of github, gitlab, gitea, forgejo, bitbucket, generic`},
		{"no secret", func(h *Hook) { h.Secrets = nil }, "it has no secret: anybody could send to it"},
		{"three secrets", func(h *Hook) { h.Secrets = fixed(secret, secret, secret) }, "it has 3 secrets; two are enough"},
		{"a secret and insecure", func(h *Hook) { h.Insecure = true }, "it has a secret and is insecure"},
		{"no repository", func(h *Hook) { h.Repository = "" }, "the repository is not an address"},
		{"a directory", func(h *Hook) { h.Repository = "/srv/config" }, "the repository is not an address"},
		{"a bad ref", func(h *Hook) { h.Refs = []string{"main", "a..b"} }, `ref "a..b" is not the name of a branch or a tag`},
		{"HEAD", func(h *Hook) { h.Refs = []string{"HEAD"} }, "HEAD is no ref that is pushed to"},
		{"a second of that id", func(h *Hook) {}, `webhook "config": there is another one of that id`},
	} {
		h := good
		h.Refs = slices.Clone(good.Refs)
		c.edit(&h)
		_, err := New(Options{Hooks: []Hook{good, h}, Hint: func(Hint) {}})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	bad := Hook{ID: "a b", Repository: "https://user:hunter2@h"}
	if _, err := New(Options{Hooks: []Hook{bad, bad}, Hint: func(Hint) {}}); err == nil || strings.Count(err.Error(), "\n") != 1 || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
	if _, err := New(Options{}); err == nil || err.Error() != "webhooks: Hint must be set" {
		t.Errorf("got %v", err)
	}
	if n := len(Codes()); n != len(slices.Compact(slices.Sorted(slices.Values(Codes())))) || n < 17 {
		t.Errorf("%d codes: %s", n, fmt.Sprint(Codes()))
	}
}
