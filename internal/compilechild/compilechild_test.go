package compilechild_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/compilechild"
	"github.com/suuupra/gateway/internal/testkit"
)

// The test binary is child, parent and tests in one, as gwrun is child and gateway.
func TestMain(m *testing.M) {
	compilechild.Main(os.Args, behave)
	if len(os.Args) == 3 && os.Args[1] == "parent" {
		_, err := new(compilechild.Command).Run(context.Background(), compilechild.Request{Subdirectory: "hang", GitDir: os.Args[2]})
		fmt.Println("the child ended before its parent:", err)
		os.Exit(1)
	}
	testkit.NoLeaks(m)
}

// behave compiles well or badly, as the request says.
func behave(ctx context.Context, r compilechild.Request) (compilechild.Response, error) {
	switch r.Subdirectory {
	case "good":
		return compilechild.Response{ContentDigest: "sha256:" + r.Commit, Text: r.Environment}, nil
	case "invalid":
		return compilechild.Response{Diagnostics: 2, Text: "routes/a.yaml:1:1: error"}, nil
	case "cannot":
		return compilechild.Response{}, errors.New("no such commit")
	case "environment":
		return compilechild.Response{ContentDigest: "sha256:x", Text: strings.Join(os.Environ(), ",")}, nil
	case "hang":
		if r.GitDir != "" { // the parent test wants to know who to look for
			if err := os.WriteFile(r.GitDir+".part", []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
				return compilechild.Response{}, err
			}
			if err := os.Rename(r.GitDir+".part", r.GitDir); err != nil {
				return compilechild.Response{}, err
			}
		}
		select {} // not even ctx ends it
	case "grow":
		var kept [][]byte
		for ctx.Err() == nil {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = byte(i)
			}
			kept = append(kept, b)
		}
		return compilechild.Response{Text: fmt.Sprint(len(kept))}, nil
	case "panic":
		panic("lost my way")
	case "flood":
		for {
			if _, err := os.Stdout.WriteString(strings.Repeat("x", 1<<16)); err != nil {
				return compilechild.Response{}, err
			}
		}
	case "chatter":
		fmt.Print("a debug line\n")
		return compilechild.Response{ContentDigest: "sha256:x"}, nil
	case "wordy":
		return compilechild.Response{Diagnostics: 1, Text: strings.Repeat("long ", 1<<20)}, nil
	case "exec":
		return compilechild.Response{}, exec.CommandContext(ctx, "/bin/sleep", "3600").Run()
	}
	return compilechild.Response{}, fmt.Errorf("unknown behaviour %q", r.Subdirectory)
}

func TestRun(t *testing.T) {
	t.Setenv("GWRUN_ADMIN_TOKEN", "hunter2")
	for _, c := range []struct {
		behaviour string
		command   compilechild.Command
		want      compilechild.Response
		is        error
		text      string // of the error
	}{
		{behaviour: "good", want: compilechild.Response{ContentDigest: "sha256:c0ffee", Text: "production"}},
		{behaviour: "invalid", want: compilechild.Response{Diagnostics: 2, Text: "routes/a.yaml:1:1: error"}},
		{behaviour: "cannot", text: "no such commit"},
		{behaviour: "hang", command: compilechild.Command{Timeout: 200 * time.Millisecond}, is: compilechild.ErrTimeout, text: "more than 200ms"},
		{behaviour: "exec", command: compilechild.Command{Timeout: 500 * time.Millisecond}, is: compilechild.ErrTimeout},
		{behaviour: "grow", command: compilechild.Command{Memory: 96 << 20}, is: compilechild.ErrMemory, text: "more than 96 MiB"},
		{behaviour: "panic", text: `exit status 2: "panic: lost my way`},
		{behaviour: "flood", is: compilechild.ErrOutput, text: "more than 1048576 bytes"},
		{behaviour: "chatter", is: compilechild.ErrOutput, text: "invalid character"},
		{behaviour: "good", command: compilechild.Command{Path: "/nonexistent/gwrun"}, is: os.ErrNotExist},
	} {
		t.Run(c.behaviour, func(t *testing.T) {
			got, err := c.command.Run(t.Context(), compilechild.Request{Subdirectory: c.behaviour, Commit: "c0ffee", Environment: "production"})
			if c.is == nil && c.text == "" {
				if err != nil || !reflect.DeepEqual(got, c.want) {
					t.Fatalf("got %+v, %v; want %+v", got, err, c.want)
				}
				return
			}
			if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.text) {
				t.Fatalf("got error %v, want %v with %q", err, c.is, c.text)
			}
		})
	}
}

func TestChildKnowsNoSecrets(t *testing.T) {
	t.Setenv("GWRUN_ADMIN_TOKEN", "hunter2")
	got, err := new(compilechild.Command).Run(t.Context(), compilechild.Request{Subdirectory: "environment"})
	if err != nil || got.ContentDigest == "" {
		t.Fatalf("got %+v, %v", got, err)
	}
	if strings.Contains(got.Text, "hunter2") || strings.Contains(got.Text, "PATH=") {
		t.Errorf("the child sees the environment %s", got.Text)
	}
}

func TestLongTextIsCut(t *testing.T) {
	got, err := new(compilechild.Command).Run(t.Context(), compilechild.Request{Subdirectory: "wordy"})
	if err != nil || got.Diagnostics != 1 || len(got.Text) > 70<<10 || !strings.HasSuffix(got.Text, "...") {
		t.Errorf("got %d bytes of text, %d diagnostics, %v", len(got.Text), got.Diagnostics, err)
	}
}

func TestCancelKillsTheChild(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	pidFile := filepath.Join(t.TempDir(), "pid")
	done := make(chan error, 1)
	go func() {
		_, err := new(compilechild.Command).Run(ctx, compilechild.Request{Subdirectory: "hang", GitDir: pidFile})
		done <- err
	}()
	pid := waitPID(t, pidFile)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if alive(pid) {
		t.Error("the child lives on")
	}
}

func TestChildDiesWithItsParent(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	pidFile := filepath.Join(t.TempDir(), "pid")
	parent := testkit.Start(t, testkit.Command{Path: self, Args: []string{"parent", pidFile}})
	pid := waitPID(t, pidFile)
	if !alive(pid) {
		t.Fatalf("there is no child %d", pid)
	}
	parent.Kill()
	testkit.Eventually(t, "the child is gone", func() bool { return !alive(pid) })
}

func waitPID(t *testing.T, file string) int {
	t.Helper()
	var data []byte
	testkit.Eventually(t, "the child has started", func() bool {
		var err error
		data, err = os.ReadFile(file)
		return err == nil
	})
	pid, err := strconv.Atoi(string(data))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// alive reports whether a process runs. One that has ended and was not waited for does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return !errors.Is(err, os.ErrNotExist)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// A child that is asked nonsense says so, and does not wait for more.
func TestRequestIsStrict(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string]string{
		"nothing":       "",
		"not JSON":      "hello",
		"unknown field": `{"request":{},"memory":1,"timeout":1,"shell":"x"}`,
		"no bounds":     `{"request":{}}`,
		"two values":    `{"request":{},"memory":1,"timeout":1}{}`,
		"too long":      `{"request":{"commit":"` + strings.Repeat("x", 70<<10) + `"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), self, compilechild.Argument)
			cmd.Stdin = strings.NewReader(in)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.HasPrefix(string(out), "request: ") {
				t.Errorf("got %v, output %q", err, out)
			}
		})
	}
}
