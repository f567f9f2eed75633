package redisstate

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
)

func TestParse(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, testkit.NewAuthority(t).PEM, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ url, want string }{
		{"redis://localhost", "standalone localhost:6379 db 0"},
		{"redis://localhost:6380/3", "standalone localhost:6380 db 3"},
		{"redis://localhost/", "standalone localhost:6379 db 0"},
		{"redis://[::1]", "standalone [::1]:6379 db 0"},
		{"redis://[::1]:7000/0", "standalone [::1]:7000 db 0"},
		{"redis://:s3cret@h", "standalone h:6379 db 0 user  pass s3cret"},
		{"redis://gw:s3cret@h", "standalone h:6379 db 0 user gw pass s3cret"},
		{"redis://g%40w:p%2F%3F%23%40%3A@h:1/2", "standalone h:1 db 2 user g@w pass p/?#@:"},
		{"redis://u:a:b@h", "standalone h:6379 db 0 user u pass a:b"},
		{"rediss://h", "standalone h:6379 db 0 tls"},
		{"rediss://h?ca=" + ca, "standalone h:6379 db 0 tls ca"},
		{"redis://h?poolSize=7", "standalone h:6379 db 0 pool 7"},
		{"redis+cluster://a:1,b,[::2]:3", "cluster a:1,b:6379,[::2]:3 db 0"},
		{"rediss+cluster://a/0", "cluster a:6379 db 0 tls"},
		{"redis+sentinel://a,b:1/main", "sentinel a:26379,b:1 master main db 0"},
		{"redis+sentinel://u:p@a/my%2Fmain/4?sentinelUser=s&sentinelPassword=q", "sentinel a:26379 master my/main db 4 user u pass p sentinel s q"},
	} {
		l, err := parse(tt.url)
		if err != nil {
			t.Errorf("%s: %v", tt.url, err)
			continue
		}
		got := fmt.Sprintf("%s db %d", l, l.db)
		if l.pass != "" {
			got += " user " + l.user + " pass " + l.pass
		}
		if l.sentinelPass != "" {
			got += " sentinel " + l.sentinelUser + " " + l.sentinelPass
		}
		if l.tls != nil {
			if got += " tls"; l.tls.RootCAs != nil {
				got += " ca"
			}
		}
		if l.poolSize > 0 {
			got += fmt.Sprintf(" pool %d", l.poolSize)
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.url, got, tt.want)
		}
	}
}

// TestParseErrors says what is wrong, and nothing of a password, however the URL was botched: the password in these is K3nnw0rt.
func TestParseErrors(t *testing.T) {
	noPEM := filepath.Join(t.TempDir(), "no.pem")
	if err := os.WriteFile(noPEM, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	const (
		address = "address 1 of 1 is not host:port; percent-encode what is special in a password"
		path    = "its path is not the number of a database; percent-encode what is special in a password"
		option  = "it has an option that is none of ca, poolSize and, of Sentinel, sentinelUser and sentinelPassword"
		scheme  = "its scheme is none of redis, rediss, redis+cluster, rediss+cluster, redis+sentinel and rediss+sentinel"
	)
	for _, tt := range []struct{ url, want string }{
		{"", "it has no scheme: write redis://host:6379"},
		{"localhost:6379", "it has no scheme: write redis://host:6379"},
		{"http://h", scheme},
		{"redis+://h", scheme},
		{"redis+ring://h", scheme},
		{"redis://", address},
		{"redis://h:0", address},
		{"redis://h:65536", address},
		{"redis://h:x", address},
		{"redis://::1", address},
		{"redis://a,b", "it has 2 addresses: only redis+cluster and redis+sentinel take more than one"},
		{"redis+cluster://a," + strings.Repeat("b,", 64), "it has 66 addresses; 64 are allowed"},
		{"redis+cluster://a,,b", "address 2 of 3 is not host:port; percent-encode what is special in a password"},
		{"redis://u@h", "it has a user without a password: write redis://user:password@host, or redis://:password@host without a user"},
		{"redis://h/x", path},
		{"redis://h/-1", path},
		{"redis://h/1/2", path},
		{"redis+cluster://h/1", "it names database 1: a cluster has database 0 alone"},
		{"redis+sentinel://h", "it does not name the master: write redis+sentinel://host:26379/MASTER"},
		{"redis+sentinel://h/main/x", path},
		{"redis://h?timeout=1", option},
		{"redis://h?sentinelPassword=K3nnw0rt", option},
		{"redis+sentinel://h/m?sentinelUser=u", "its option sentinelUser needs sentinelPassword"},
		{"redis://h?poolSize=0", "its option poolSize must be a number from 1 to 4096"},
		{"redis://h?poolSize=1&poolSize=2", "its option poolSize must have one value"},
		{"redis://h?ca=/x", "its option ca needs TLS: write rediss in place of redis"},
		{"rediss://h?ca=/nowhere/ca.pem", "read its option ca: open /nowhere/ca.pem: no such file or directory"},
		{"rediss://h?ca=" + noPEM, "its option ca names " + noPEM + ", which is no PEM file of certificates"},
		{"redis://u:K3nnw0rt/x@h", address},
		{"redis://u:1/K3nnw0rt@h", path},
		{"redis://u:K3nnw0rt?x@h", address},
		{"redis://u:p@h?K3nnw0rt@h", option},
		{"redis://u:K3nnw0rt#@h", "it holds a space or a \"#\": percent-encode what is special in a password"},
		{"redis://u:K3nn w0rt@h", "it holds a space or a \"#\": percent-encode what is special in a password"},
		{"redis://u:K3nnw0rt%@h", "its user or password is not percent-encoded"},
		{"redis://u:K3nn@w0rt@h", "its user or password is not percent-encoded"},
		{"redis://h?ca=%zzK3nnw0rt", "what stands after its \"?\" is not percent-encoded"},
	} {
		_, err := Open(tt.url, Options{})
		if err == nil || err.Error() != "read the URL of Redis: "+tt.want {
			t.Errorf("%s: %v; want %s", tt.url, err, tt.want)
		}
		if err != nil && (strings.Contains(err.Error(), "K3nn") || strings.Contains(err.Error(), "w0rt")) {
			t.Errorf("%s: the error tells the password: %v", tt.url, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"redis://localhost:6379/0", "rediss://u:p@[::1]:1/2", "redis+cluster://a,b:2", "redis+sentinel://a:1,b/main/3?sentinelPassword=x",
		"redis://u:p/q@h", "redis://h?poolSize=3",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, url string) {
		if strings.Contains(url, "ca=") {
			return // it reads files
		}
		l, err := parse(url)
		if err != nil {
			return
		}
		if len(l.addrs) == 0 || l.mode == "" || l.db < 0 || (l.mode == sentinel) != (l.master != "") {
			t.Errorf("%q is %+v", url, l)
		}
		if l.pass != "" && l.pass != l.user && len(l.pass) > 8 && strings.Contains(l.String(), l.pass) {
			t.Errorf("%q shows the password: %s", url, l)
		}
	})
}
