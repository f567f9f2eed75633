package audit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
)

// child is what the test program does when a test has started it again. It reports whether it was.
func child(what string) bool {
	name, dir, _ := strings.Cut(what, ":")
	var err error
	switch name {
	case "write":
		err = writeForever(dir)
	case "full":
		err = writeUntilFull(dir)
	default:
		return false
	}
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	return true
}

func start(t *testing.T, what, dir string) *testkit.Process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return testkit.Start(t, testkit.Command{Path: self, Env: []string{"AUDIT_TEST_CHILD=" + what + ":" + dir}})
}

// childOptions are options without a test.
func childOptions(dir string) (Options, error) {
	key, err := makeKey("audit")
	return Options{Dir: dir, Environment: "prod", Instance: "gw-1", Key: key}, err
}

// writeForever appends from many goroutines, and prints what was acknowledged.
func writeForever(dir string) error {
	o, err := childOptions(dir)
	if err != nil {
		return err
	}
	o.MaxBytes = 20_000
	trail, err := Open(o)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for n := 0; ; n++ {
				r := reload()
				r.Object = fmt.Sprintf("%d of %p", n, &n)
				if err := trail.Append(context.Background(), r); err != nil {
					return
				}
				mu.Lock()
				fmt.Println("ack", r.Object)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return nil
}

// TestKilledWriter kills a writer at moments that are as they come. The next goes on, all that was acknowledged is there, and the
// trail verifies.
func TestKilledWriter(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trail")
	rounds := 8
	if testing.Short() {
		rounds = 2
	}
	acknowledged := map[string]bool{}
	for round := range rounds {
		p := start(t, "write", dir)
		p.WaitLine(fmt.Sprintf(`(?s)(ack [^\n]*\n.*){%d}`, 1+7*round))
		p.Kill()
		for line := range strings.SplitSeq(p.Output(), "\n") {
			if object, ok := strings.CutPrefix(line, "ack "); ok {
				acknowledged[object+" round "+strconv.Itoa(round)] = true
			}
		}
		o := options(t, dir)
		trail, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		head := trail.Head()
		shut(t, trail)
		report, err := Verify([]string{dir}, Check{Trust: ours(t), Head: head.Digest})
		if err != nil {
			t.Fatal(err)
		}
		if report.Signed != report.Last {
			t.Errorf("signed up to %d of %d", report.Signed, report.Last)
		}
	}
	starts, stops, round := 0, 0, 0
	err := Read(dir, func(e *Entry, f *Fault) error {
		if f != nil {
			return f
		}
		switch e.Action {
		case Start:
			starts++
			if starts%2 == 0 {
				if want := "the writer before was killed"; e.Reason != want {
					t.Errorf("record %d: %q, want %q", e.Seq, e.Reason, want)
				}
			} else if e.Reason != "" {
				t.Errorf("record %d: %q", e.Seq, e.Reason)
			}
		case Stop:
			stops++
			round++
		case Reload:
			delete(acknowledged, e.Object+" round "+strconv.Itoa(round))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if starts != 2*rounds || stops != rounds {
		t.Errorf("%d starts and %d stops in %d rounds", starts, stops, rounds)
	}
	for object := range acknowledged {
		t.Errorf("%s was acknowledged and is not in the trail", object)
	}
}

// writeUntilFull appends until the disk is full, prints so, waits for room, and appends again.
func writeUntilFull(dir string) error {
	o, err := childOptions(dir)
	if err != nil {
		return err
	}
	failures := 0
	o.OnFailure = func(error) { failures++ }
	signal.Ignore(syscall.SIGXFSZ)
	trail, err := Open(o)
	if err != nil {
		return err
	}
	limit := syscall.Rlimit{Cur: 10_000, Max: 1 << 40}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	appended := 0
	for err == nil {
		if err = trail.Append(context.Background(), reload()); err == nil {
			appended++
		}
	}
	if !errors.Is(err, syscall.EFBIG) {
		return fmt.Errorf("the disk is full, but: %w", err)
	}
	for range 3 {
		if err := trail.Append(context.Background(), reload()); !errors.Is(err, syscall.EFBIG) {
			return fmt.Errorf("the disk is still full, but: %w", err)
		}
	}
	fmt.Println("full after", appended, "refused", failures, "head", trail.Head().Seq)
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	if err := trail.Append(context.Background(), reload()); err != nil {
		return err
	}
	fmt.Println("head", trail.Head().Seq)
	return trail.Close()
}

// TestFullDisk: records that do not fit are refused, leave nothing behind, and the trail goes on when there is room.
func TestFullDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trail")
	p := start(t, "full", dir)
	full := p.WaitLine(`full after (\d+) refused 4 head (\d+)\n`)
	if status := p.Wait(); status != 0 {
		t.Fatalf("status %d", status)
	}
	appended, _ := strconv.Atoi(full[1])
	head, _ := strconv.Atoi(full[2])
	if appended < 10 || head != appended+1 {
		t.Errorf("%d records and the head is %d", appended, head)
	}
	report, err := Verify([]string{dir}, Check{Trust: ours(t)})
	if err != nil {
		t.Fatal(err)
	}
	if want := int64(appended + 3); report.Records != want || report.Segments != 1 || report.Signed != want {
		t.Errorf("%+v, want %d records in one segment", report, want)
	}
}

// TestFullFileSystem is TestFullDisk with a file system that has no room for anything: no segment can begin, none can be signed.
func TestFullFileSystem(t *testing.T) {
	mount := t.TempDir()
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=32k"); err != nil {
		t.Skipf("only root may mount a file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(mount, 0); err != nil {
			t.Error(err)
		}
	})
	dir := filepath.Join(mount, "trail")
	o := options(t, dir)
	o.MaxBytes = 6000
	failures := make(chan error, 100)
	o.OnFailure = func(err error) { failures <- err }
	trail := open(t, o)
	var err error
	for err == nil {
		err = trail.Append(t.Context(), reload())
	}
	if !errors.Is(err, syscall.ENOSPC) || !errors.Is(<-failures, syscall.ENOSPC) {
		t.Fatalf("the disk is full, but: %v", err)
	}
	head := trail.Head()
	report, err := Verify([]string{dir}, Check{Trust: ours(t), Head: head.Digest})
	if err != nil || report.Last != head.Seq || report.Segments < 2 {
		t.Fatalf("while it is full: %+v, %v", report, err)
	}
	if err := syscall.Mount("tmpfs", mount, "tmpfs", syscall.MS_REMOUNT, "size=128k"); err != nil {
		t.Fatal(err)
	}
	for range 30 {
		add(t, trail, reload())
	}
	shut(t, trail)
	if report, err = Verify([]string{dir}, Check{Trust: ours(t), Head: head.Digest}); err != nil || report.Last != head.Seq+31 || report.Signed != report.Last {
		t.Errorf("afterwards: %+v, %v", report, err)
	}
}

// TestFullDiskAtClose: what could not be signed is, after the next start.
func TestFullDiskAtClose(t *testing.T) {
	mount := t.TempDir()
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=16k"); err != nil {
		t.Skipf("only root may mount a file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(mount, 0); err != nil {
			t.Error(err)
		}
	})
	dir := filepath.Join(mount, "trail")
	trail, err := Open(options(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		err = trail.Append(t.Context(), reload())
	}
	if err := trail.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("Close: %v", err)
	}
	if err := syscall.Mount("tmpfs", mount, "tmpfs", syscall.MS_REMOUNT, "size=64k"); err != nil {
		t.Fatal(err)
	}
	trail = open(t, options(t, dir))
	shut(t, trail)
	if report, err := Verify([]string{dir}, Check{Trust: ours(t)}); err != nil || report.Signed != report.Last {
		t.Errorf("%+v, %v", report, err)
	}
}
