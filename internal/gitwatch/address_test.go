package gitwatch

import (
	"errors"
	"strings"
	"testing"
)

func TestHostileAddresses(t *testing.T) {
	for _, c := range []struct{ address, text string }{
		{"", "is empty"},
		{"ext::sh -c 'touch /tmp/pwned'", "remote helper"},
		{"EXT::sh", "remote helper"},
		{"fd::17", "remote helper"},
		{"ext::https://example.com/x", "https"},
		{"file:///etc", "file:// is not taken"},
		{"FILE:///etc", "file:// is not taken"},
		{"git://example.com/x.git", `"git" is not one of`},
		{"ftp://example.com/x.git", `"ftp" is not one of`},
		{"git+ssh://git@example.com/x.git", `"git+ssh" is not one of`},
		{"oci://example.com/x", `"oci" is not one of`},
		{"javascript://example.com/x", "is not one of"},
		{"http://example.com/x.git", "loopback addresses only"},
		{"http://localhost.example.com/x.git", "loopback addresses only"},
		{"http://127.0.0.1.example.com/x.git", "loopback addresses only"},
		{"http://169.254.169.254/x.git", "loopback addresses only"},
		{"http://0/x.git", "loopback addresses only"},
		{"--upload-pack=touch /tmp/pwned", `starts with "-"`},
		{"-oProxyCommand=touch", `starts with "-"`},
		{"-", `starts with "-"`},
		{"ssh://-oProxyCommand=touch/x.git", "host"},
		{"ssh://git@-oProxyCommand=touch/x.git", "host"},
		{"ssh://-l@example.com/x.git", "plain user name"},
		{"ssh://git:hunter2@example.com/x.git", "no password"},
		{"ssh://example.com/-x", `starts with "-"`},
		{"ssh://example.com/a/--upload-pack=x", `starts with "-"`},
		{"ssh://example.com/a;b.git", "shell"},
		{"ssh://example.com/a`b`.git", "escapes"},
		{"ssh://example.com/$(id).git", "escapes"},
		{"ssh://example.com/%24(id).git", "escapes"},
		{"ssh://example.com/a%0ab.git", "escapes"},
		{"git@github.com:org/repo.git", "write ssh://"},
		{"example.com:org/repo", "write ssh://"},
		{"C:\\config", "write ssh://"},
		{"https://", "host"},
		{"https:///x.git", "host"},
		{"https://example.com", "names no repository"},
		{"https://example.com/", "names no repository"},
		{"https://exa mple.com/x", "not a valid URL"},
		{"https://example.com:0/x", "port"},
		{"https://example.com:70000/x", "port"},
		{"https://example.com:/x", "port"},
		{"https://example.com/a/../b", "segment"},
		{"https://example.com/a/%2e%2e/b", "escapes"},
		{"ssh://example.com/a%20b.git", "shell"},
		{"https://example.com/a//b", "segment"},
		{"https://example.com/a%2fb", "escapes"},
		{"https://example.com/x?service=git-receive-pack", "no query"},
		{"https://example.com/x?", "no query"},
		{"https://example.com/x#main", "no query"},
		{"https://example.com/x\n.git", "control character"},
		{"https://example.com/x\x00", "control character"},
		{"https://bot:hunter2@example.com:bad/x", "not a valid URL"},
		{"https://bot:hunter2@/x", "host"},
		{"https://bot:hunter2@exa%6dple.com/x", "not a valid URL"},
		{"https://example.com/" + strings.Repeat("a", 3000), "too long"},
	} {
		l, err := ParseAddress(c.address)
		if err == nil {
			t.Errorf("%q is taken as %s", c.address, l)
		} else if !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got %q, want %q", c.address, err, c.text)
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct{ address, shown, user, password string }{
		{"https://github.com/org/repo.git", "https://github.com/org/repo.git", "", ""},
		{"https://bot:hunter2@git.example.com:8443/org/repo", "https://git.example.com:8443/org/repo", "bot", "hunter2"},
		{"https://[2001:db8::1]/org/repo", "https://[2001:db8::1]/org/repo", "", ""},
		{"ssh://git@github.com/org/repo.git", "ssh://github.com/org/repo.git", "git", ""},
		{"ssh://git@example.com:2222/~me/repo.git/", "ssh://example.com:2222/~me/repo.git/", "git", ""},
		{"https://dev.azure.com/org/My%20Project/_git/repo", "https://dev.azure.com/org/My%20Project/_git/repo", "", ""},
		{"http://127.0.0.1:3000/repo", "http://127.0.0.1:3000/repo", "", ""},
		{"http://localhost/repo", "http://localhost/repo", "", ""},
		{"http://[::1]:3000/repo", "http://[::1]:3000/repo", "", ""},
		{"/srv/config", "/srv/config", "", ""},
		{"/srv/a:b", "/srv/a:b", "", ""},
		{"/srv/../srv/config/", "/srv/config", "", ""},
	} {
		l, err := ParseAddress(c.address)
		if err != nil {
			t.Errorf("%s: %v", c.address, err)
		} else if l.String() != c.shown || l.user != c.user || l.password != c.password {
			t.Errorf("%s: got %s, user %q, password %q", c.address, l, l.user, l.password)
		}
	}
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"https://u:p@h/x", "ssh://git@h/x", "ext::sh", "/srv", "-x", "http://127.0.0.1/x", "a:b", "https://h/%2e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := ParseAddress(s)
		if err != nil || l.url == nil {
			return
		}
		if l.url.User != nil || l.password != "" && len(l.password) > 6 && strings.Contains(l.String(), l.password) && !strings.Contains(l.url.Path+l.url.Host, l.password) {
			t.Errorf("%q shows its password in %q", s, l)
		}
		if l.url.Scheme != "https" && l.url.Scheme != "ssh" && !(l.url.Scheme == "http" && loopback(l.url.Hostname())) {
			t.Errorf("%q is taken as %q", s, l)
		}
		again, err := ParseAddress(l.String())
		if err != nil || again.String() != l.String() {
			t.Errorf("%q is shown as %q, which is read as %v, %v", s, l, again, err)
		}
	})
}

func TestRefs(t *testing.T) {
	for _, ref := range []string{
		"--output=x", "../..", "refs/heads/a..b", "refs/heads/main\n", "main\nx", "a b", "a~1", "a^", "HEAD:x", "a?", "a*", "[a", "@{u}",
		"a\\b", "a.lock", "a.", ".a", "a//b", "/a", "a/", "refs/heads/-x", "refs/", "main\x00", "\u007f", strings.Repeat("a", 300), "@",
	} {
		if names, err := ParseRef(ref); err == nil {
			t.Errorf("ref %q is taken as %v", ref, names)
		}
	}
	for _, ref := range []string{"", "HEAD", "main", "release/2026.1", "v1.0.0", "refs/heads/main", "refs/tags/v1", "feature-x"} {
		if _, err := ParseRef(ref); err != nil {
			t.Errorf("ref %q: %v", ref, err)
		}
	}
}

func TestSplitSubdirectory(t *testing.T) {
	for in, want := range map[string][2]string{
		"https://h/org/repo.git":              {"https://h/org/repo.git", ""},
		"https://h/org/repo.git//gateway":     {"https://h/org/repo.git", "gateway"},
		"https://h/org/repo.git//a/b/":        {"https://h/org/repo.git", "a/b"},
		"ssh://git@h/repo//a":                 {"ssh://git@h/repo", "a"},
		"/srv/config":                         {"/srv/config", ""},
		"/srv/config//deploy/gateway":         {"/srv/config", "deploy/gateway"},
		"config//gateway":                     {"config", "gateway"},
		"https://h/org/repo.git//a//../../..": {"https://h/org/repo.git", "a//../../.."},
	} {
		if repo, dir := SplitSubdirectory(in); repo != want[0] || dir != want[1] {
			t.Errorf("%s: got %q, %q", in, repo, dir)
		}
	}
}

func TestRedact(t *testing.T) {
	got := Redact(errors.New("get https://x:p%2Fw%20d@h: bad \"p/w d\" p%2Fw+d or t0ken\nAuthorization: \x1b[31m"+strings.Repeat("x", 600)), Spellings("p/w d", "", "t0ken"))
	for _, secret := range []string{"p/w", "p%2Fw", "t0ken", "\n", "\x1b"} {
		if strings.Contains(got, secret) {
			t.Errorf("%q shows in %q", secret, got)
		}
	}
	if len(got) > 510 {
		t.Errorf("%d bytes", len(got))
	}
}
