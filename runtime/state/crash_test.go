package state_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/state"
)

// The process that dies: it saves versions 1 to crashSaves and kills itself at the n-th step.
const (
	crashDir   = "STATE_CRASH_DIR"
	crashAt    = "STATE_CRASH_AT"
	crashLimit = "STATE_CRASH_LIMIT" // of a file's size, in bytes: a disk that is full
	crashSaves = 5
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		if err := saveUntilKilled(dir); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		return
	}
	testkit.NoLeaks(m)
}

func saveUntilKilled(dir string) error {
	s, err := state.Open(dir)
	if err != nil {
		return err
	}
	if limit, err := strconv.Atoi(os.Getenv(crashLimit)); err == nil {
		l := syscall.Rlimit{Cur: uint64(limit), Max: uint64(limit)}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
			return err
		}
	}
	left, _ := strconv.Atoi(os.Getenv(crashAt)) // 0 never comes to an end
	s.OnStep(func(name string) {
		os.Stdout.WriteString(name + "\n")
		if left--; left == 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until it strikes
		}
	})
	for v := int64(1); v <= crashSaves; v++ {
		st := at(1, v)
		if err := s.Save([]byte("archive of "+st.Position.String()), st); err != nil {
			return err
		}
	}
	return nil
}

// crash runs the process that dies in dir. It returns the steps it came to.
func crash(t *testing.T, dir string, env ...string) (steps []string, stderr string, err error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(append(os.Environ(), crashDir+"="+dir), env...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err = cmd.Run()
	return strings.Fields(strings.ReplaceAll(out.String(), " ", "_")), complaints.String(), err
}

// Whatever the step at which the process dies, the directory says how far the gateway had come, holds the bundle that was
// complete, and takes the next one.
func TestKilledAtEveryStep(t *testing.T) {
	all, stderr, err := crash(t, t.TempDir())
	if err != nil {
		t.Fatalf("the saves alone: %v\n%s", err, stderr)
	}
	if n := len(all); n < crashSaves*10 {
		t.Fatalf("%d steps, want at least ten per save: %v", n, all)
	}
	for n := 1; n <= len(all); n++ {
		t.Run(strconv.Itoa(n)+" "+all[n-1], func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			steps, _, err := crash(t, dir, crashAt+"="+strconv.Itoa(n))
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL || len(steps) != n {
				t.Fatalf("the process ended with %v after %d steps", err, len(steps))
			}
			checkAfterCrash(t, dir, all[:n])
		})
	}
}

// checkAfterCrash looks at a directory as a gateway that starts does. The last of steps was not carried out.
func checkAfterCrash(t *testing.T, dir string, steps []string) {
	t.Helper()
	saves, archives, states := 0, 0, 0 // begun, and renamed into place
	for i, step := range steps {
		switch {
		case step == "archive":
			saves++
		case i+1 == len(steps):
		case strings.HasPrefix(step, "rename_state"):
			states++
		case strings.HasPrefix(step, "rename_"):
			archives++
		}
	}
	s := open(t, dir)
	st, err := s.Load()
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	if st.Position.Version != int64(states) {
		t.Errorf("the state says version %d, %d were written", st.Position.Version, states)
	}
	got := kept(t, s) // each of them whole
	if archives == 0 && len(got) != 0 || archives > 0 && (len(got) == 0 || got[0] != "1."+strconv.Itoa(archives)) {
		t.Errorf("after %d saves, %d archives written: kept %v", saves, archives, got)
	}
	if len(got) > state.Keep+1 || archives >= state.Keep && len(got) < state.Keep {
		t.Errorf("kept %v", got)
	}
	if names := entries(t, dir); slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, ".tmp-") }) {
		t.Errorf("half a file is left: %v", names)
	}
	next := at(1, int64(archives)+1)
	save(t, s, next)
	if st, err := s.Load(); err != nil || st != next {
		t.Errorf("the next save gives %+v, %v", st, err)
	}
	if got := kept(t, s); len(got) != min(archives+1, state.Keep) {
		t.Errorf("after the next save: kept %v", got)
	}
}

// A disk that fills up costs the bundle that does not fit, and no other.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	s, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	save(t, s, at(1, 0)) // no real position, but smaller than those that follow
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, stderr, err := crash(t, dir, crashLimit+"=8")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(stderr, "keep bundle") {
		t.Fatalf("the process ended with %v: %s", err, stderr)
	}
	s = open(t, dir)
	if got := kept(t, s); !slices.Equal(got, []string{"1.0"}) {
		t.Errorf("kept %v", got)
	}
	if st, err := s.Load(); err != nil || st != at(1, 0) {
		t.Errorf("the state is %+v, %v", st, err)
	}
	if names := entries(t, dir); len(names) != 3 {
		t.Errorf("left: %v", names)
	}
}

// A lock ends with its process, however that ends.
func TestKilledGatewayLocksNobodyOut(t *testing.T) {
	dir := t.TempDir()
	if steps, _, _ := crash(t, dir, crashAt+"=1"); len(steps) != 1 {
		t.Fatalf("the process came to %v", steps)
	}
	if _, err := os.Stat(filepath.Join(dir, "lock")); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}

func mkfifo(path string) error { return syscall.Mkfifo(path, 0o600) }
