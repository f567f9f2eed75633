//go:build unix

package secret_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/secret"
)

func TestMain(m *testing.M) { testkit.NoLeaks(m) }

func open(t *testing.T) *secret.Store {
	t.Helper()
	s := secret.New(slog.New(slog.DiscardHandler))
	t.Cleanup(s.Close)
	return s
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestGet(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write(t, at("token"), "s3cret\n")
	write(t, at("empty"), "")
	write(t, at("full"), strings.Repeat("x", secret.MaxSize))
	write(t, at("fuller"), strings.Repeat("x", secret.MaxSize+1))
	for link, to := range map[string]string{"link": "token", "loop": "loop", "device": os.DevNull} {
		if err := os.Symlink(to, at(link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SECRET_TEST", "from the environment\n")
	t.Setenv("SECRET_EMPTY", "")
	t.Setenv("GWRUN_API_KEY_PEPPER", "pepper")
	s := open(t)
	for _, tt := range []struct{ name, ref, want, err string }{
		{"variable", "env:SECRET_TEST", "from the environment\n", ""},
		{"unset", "env:SECRET_ABSENT", "", "secret env:SECRET_ABSENT: the environment variable is not set"},
		{"empty variable", "env:SECRET_EMPTY", "", "secret env:SECRET_EMPTY: is empty"},
		{"the gateway's own", "env:GWRUN_API_KEY_PEPPER", "", "secret env:GWRUN_API_KEY_PEPPER: is a variable of the gateway's own"},
		{"the gateway's own in small letters", "env:gwrun_api_key_pepper", "", "secret env:gwrun_api_key_pepper: is a variable of the gateway's own"},
		{"no name", "env:A=B", "", "secret env:A=B: is no name of an environment variable"},
		{"file, newline and all", "file:" + at("token"), "s3cret\n", ""},
		{"behind a link", "file:" + at("link"), "s3cret\n", ""},
		{"the largest", "file:" + at("full"), strings.Repeat("x", secret.MaxSize), ""},
		{"too large", "file:" + at("fuller"), "", "secret file:" + at("fuller") + ": is larger than 1048576 bytes"},
		{"empty", "file:" + at("empty"), "", "secret file:" + at("empty") + ": is empty"},
		{"absent", "file:" + at("absent"), "", "secret file:" + at("absent") + ": no such file or directory"},
		{"directory", "file:" + dir, "", "secret file:" + dir + ": is no regular file"},
		{"device", "file:" + at("device"), "", "secret file:" + at("device") + ": is no regular file"},
		{"pipe", "file:" + at("pipe"), "", "secret file:" + at("pipe") + ": is no regular file"},
		{"loop", "file:" + at("loop"), "", "secret file:" + at("loop") + ": too many levels of symbolic links"},
		{"relative", "file:token", "", "secret file:token: the path must be absolute"},
		{"no scheme", "/etc/passwd", "", `secret /etc/passwd: must begin with "env:" or "file:"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := s.Get(tt.ref)
			text := ""
			if err != nil {
				text = err.Error()
			}
			if string(got) != tt.want || text != tt.err {
				t.Errorf("%d bytes, error %q, want %q", len(got), text, tt.err)
			}
		})
	}
}

// TestWatch rotates a file in the ways programs do it. Time is the test's own, so that it takes none.
func TestWatch(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before func(t *testing.T, dir string)
		change func(t *testing.T, dir string)
		told   int32
	}{
		{"nothing", nil, func(*testing.T, string) {}, 0},
		{"written in place", nil, func(t *testing.T, dir string) { write(t, filepath.Join(dir, "tls.key"), "new") }, 1},
		{"of the same size", nil, func(t *testing.T, dir string) { write(t, filepath.Join(dir, "tls.key"), "dlo") }, 1},
		{"touched", nil, func(t *testing.T, dir string) {
			if err := os.Chtimes(filepath.Join(dir, "tls.key"), time.Time{}, time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
		}, 0},
		{"time stamp set back", func(t *testing.T, dir string) {
			if err := os.Chtimes(filepath.Join(dir, "tls.key"), time.Time{}, time.Unix(1, 0)); err != nil {
				t.Fatal(err)
			}
		}, func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "tls.key"), "dlo")
			if err := os.Chtimes(filepath.Join(dir, "tls.key"), time.Time{}, time.Unix(1, 0)); err != nil {
				t.Fatal(err)
			}
		}, 1},
		{"renamed", nil, func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "next"), "new")
			if err := os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "tls.key")); err != nil {
				t.Fatal(err)
			}
		}, 1},
		{"removed", nil, func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "tls.key")); err != nil {
				t.Fatal(err)
			}
		}, 1},
		{"link swapped, as Kubernetes does", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "tls.key")); err != nil {
				t.Fatal(err)
			}
			for _, v := range []string{"..v1", "..v2"} {
				if err := os.Mkdir(filepath.Join(dir, v), 0o700); err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(dir, v, "tls.key"), v)
			}
			for link, to := range map[string]string{"..data": "..v1", "tls.key": "..data/tls.key"} {
				if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
					t.Fatal(err)
				}
			}
		}, func(t *testing.T, dir string) {
			if err := os.Symlink("..v2", filepath.Join(dir, "..data_tmp")); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
				t.Fatal(err)
			}
		}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "tls.key"), "old")
			if tt.before != nil {
				tt.before(t, dir)
			}
			synctest.Test(t, func(t *testing.T) {
				s := secret.New(slog.New(slog.DiscardHandler))
				defer s.Close()
				var told atomic.Int32
				stop := s.Watch("file:"+filepath.Join(dir, "tls.key"), func() { told.Add(1) })
				after := func(d time.Duration) int32 {
					time.Sleep(d)
					synctest.Wait()
					return told.Load()
				}
				if n := after(3 * time.Second); n != 0 {
					t.Fatalf("told %d times before anything changed", n)
				}
				tt.change(t, dir)
				if n := after(40 * time.Second); n != tt.told {
					t.Errorf("told %d times, want %d", n, tt.told)
				}
				stop()
				write(t, filepath.Join(dir, "tls.key"), "and another")
				if n := after(40 * time.Second); n != tt.told {
					t.Errorf("told %d times, the last of them after the end of the watch", n)
				}
			})
		})
	}
}

// A watcher that panics is one defect, not the end of all rotation.
func TestWatcherThatPanics(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	write(t, path, "the value")
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := secret.New(slog.New(slog.NewTextHandler(&log, nil)))
		var told atomic.Int32
		s.Watch("file:"+path, func() { panic("no") })
		s.Watch("file:"+path, func() { told.Add(1) })
		write(t, path, "another value")
		time.Sleep(3 * time.Second)
		synctest.Wait()
		s.Close()
		if told.Load() != 1 {
			t.Errorf("the other watcher was told %d times", told.Load())
		}
		if !strings.Contains(log.String(), "a watcher of a secret panicked") || strings.Contains(log.String(), "value") {
			t.Errorf("log %q", log.String())
		}
		s.Watch("file:"+path, func() { t.Error("told after Close") })()
		s.Close()
	})
}
