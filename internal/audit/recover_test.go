package audit

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/suuupra/gateway/schema/bundle"
)

// unclosed is a folder as a writer leaves it that is killed.
func unclosed(t testing.TB, records int) files {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "trail")
	trail := open(t, options(t, dir))
	for range records {
		add(t, trail, reload())
	}
	f := read(t, dir)
	shut(t, trail)
	return f
}

// TestTornLine cuts the newest segment in the middle of its last lines, after every byte. The writer goes on; the bytes stay; a record
// tells of them; and whoever changes them later is found.
func TestTornLine(t *testing.T) {
	f := unclosed(t, 2)
	data := f[nameOf(1)]
	lines := split(data)
	start := len(lines[0]) + len(lines[1]) // the opening and the first record stay
	step := 7
	if raceEnabled || testing.Short() {
		step = 61
	}
	dir := t.TempDir()
	for size := start; size < len(data); size += step {
		cut := data[:size]
		f.with(nameOf(1), cut).put(t, dir)
		shut(t, open(t, options(t, dir)))
		report, err := Verify([]string{dir}, Check{Trust: ours(t)})
		if err != nil {
			t.Fatalf("cut after byte %d: %v", size, err)
		}
		tail := int64(size - bytes.LastIndexByte(cut, '\n') - 1)
		whole := bytes.Count(cut, []byte("\n")) - 1
		want, told := "audit.start"+strings.Repeat(" reload", whole-1)+" audit.start", int64(0)
		if tail > 0 {
			want += " audit.recover"
		}
		for _, l := range report.Torn {
			told += l.Bytes
		}
		if got := story(t, dir); got != want+" audit.stop" || told != tail {
			t.Fatalf("cut after byte %d: %s, %d bytes torn", size, got, told)
		}
	}
}

// tornTrail is a trail whose first segment ends in the middle of a line.
func tornTrail(t *testing.T, tail string) string {
	t.Helper()
	f := unclosed(t, 2)
	dir := t.TempDir()
	f.with(nameOf(1), append(bytes.Clone(f[nameOf(1)]), tail...)).put(t, dir)
	shut(t, open(t, options(t, dir)))
	return dir
}

func TestTornLineIsToldOf(t *testing.T) {
	for _, c := range []struct{ name, tail string }{
		{"half a line", `{"action":"login","ac`},
		{"zeros", strings.Repeat("\x00", 4096)},
		{"zeros and the rest of some lines", strings.Repeat("\x00", 100) + "tcome\":\"success\"}\n{}\n" + strings.Repeat("\x00", 100)},
		{"half a footer", `{"payload":"eyJ`},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := tornTrail(t, c.tail)
			report, err := Verify([]string{dir}, Check{Trust: ours(t)})
			if err != nil {
				t.Fatal(err)
			}
			if len(report.Torn) != 1 || report.Torn[0] != (TornLine{File: filepath.Join(dir, nameOf(1)), Bytes: int64(len(c.tail))}) {
				t.Errorf("torn: %v", report.Torn)
			}
			if report.Signed != report.Last || report.Segments != 2 {
				t.Errorf("%+v", report)
			}
			data := read(t, dir)[nameOf(1)]
			if !bytes.HasSuffix(data, []byte(c.tail)) {
				t.Error("the bytes are not where they were")
			}
			var told *Entry
			if err := Read(dir, func(e *Entry, _ *Fault) error {
				if e != nil && e.Action == Recover {
					told = e
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if told == nil || told.Object != nameOf(1) || told.Details["bytes"] != fmt.Sprint(len(c.tail)) || told.Details["digest"] != string(bundle.DigestOf([]byte(c.tail))) {
				t.Errorf("the record: %+v", told)
			}
			for name, change := range map[string]func([]byte) []byte{
				"changed": func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
				"shorter": func(b []byte) []byte { return b[:len(b)-1] },
				"longer":  func(b []byte) []byte { return append(b, 'x') },
				"gone":    func(b []byte) []byte { return b[:len(b)-len(c.tail)] },
			} {
				other := t.TempDir()
				read(t, dir).with(nameOf(1), change(bytes.Clone(data))).put(t, other)
				_, err := Verify([]string{other}, Check{Trust: ours(t)})
				if f := faultOf(t, err); f == nil || filepath.Base(f.File) != nameOf(1) {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

// TestChangedTrail: a writer does not go on from a segment that somebody changed, nor from one that is not its own.
func TestChangedTrail(t *testing.T) {
	f := unclosed(t, 3)
	dir := filepath.Join(t.TempDir(), "closed")
	shut(t, open(t, options(t, dir)))
	closed := read(t, dir)
	changed := func(f files, old, with string) files {
		data := bytes.Replace(f[nameOf(1)], []byte(old), []byte(with), 1)
		if bytes.Equal(data, f[nameOf(1)]) {
			t.Fatalf("nothing to change: %s", old)
		}
		return f.with(nameOf(1), data)
	}
	for _, c := range []struct {
		name string
		f    files
		edit func(*Options)
		want string
	}{
		{"a record", changed(f, `"ops"`, `"opz"`), nil, "1.jsonl:3: record 2: was changed: the next line names another digest for it; keep the folder"},
		{"a line", changed(f, `{"action":"reload"`, `{"action":"reload",`), nil, "1.jsonl:3: record 2: is not a record: "},
		{"the opening", changed(f, `"segment":1`, `"segment":0`), nil, "1.jsonl:1: segments and records are counted from 1"},
		{"the name", files{nameOf(2): f[nameOf(1)]}, nil, "2.jsonl:1: is segment 1, its name says 2"},
		{"an empty file", f.with(nameOf(2), []byte{}), nil, "2.jsonl:1: the file is empty"},
		{"a record before the footer", changed(closed, `"gw-1"`, `"gw-2"`), nil, "1.jsonl:2: record 1: was changed"},
		{"the footer", changed(closed, `"sig":"`, `"sig":"A`), nil, "1.jsonl:4: not a DSSE envelope"},
		{"another footer", changed(closed, `"payload":"eyJ`, `"payload":"eyK`), nil, "1.jsonl:4: the signature of key"},
		{"after the footer", changed(closed, "]}\n", "]}\n{}\n"), nil, "1.jsonl:5: follows the footer"},
		{"torn after the footer", changed(closed, "]}\n", "]}\n{"), nil, "1.jsonl:5: "},
		{"another environment", f, func(o *Options) { o.Environment = "dev" }, `is of environment "prod"; give "dev" a folder of its own`},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			c.f.put(t, dir)
			o := options(t, dir)
			if c.edit != nil {
				c.edit(&o)
			}
			_, err := Open(o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant ...%s...", err, c.want)
			}
			for name, data := range read(t, dir) {
				if !bytes.Equal(data, c.f[name]) {
					t.Errorf("%s was written to", name)
				}
			}
			lock, err := takeLock(filepath.Join(dir, "lock"))
			if err != nil {
				t.Fatalf("the lock is still held: %v", err)
			}
			_ = lock.Close()
		})
	}
}

// TestNewKey: the trail goes on under another key, and whoever verifies it knows both.
func TestNewKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trail")
	shut(t, open(t, options(t, dir)))
	o := options(t, dir)
	o.Key = seedKey(t, "new")
	shut(t, open(t, o))
	both := trust(t, grant{"audit", bundle.RoleAudit, "prod"}, grant{"new", bundle.RoleAudit, "prod"})
	report, err := Verify([]string{dir}, Check{Trust: both})
	if err != nil || len(report.Keys) != 2 {
		t.Errorf("%+v, %v", report, err)
	}
	_, err = Verify([]string{dir}, Check{Trust: ours(t)})
	if got := spell(faultOf(t, err)); got != fmt.Sprintf("signature %s:4 0", nameOf(2)) {
		t.Errorf("without the new key: %s", got)
	}
}

// TestLinksAndPipes: what somebody put in the place of a file is not written to.
func TestLinksAndPipes(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"lock", nameOf(1) + ".tmp"} {
		dir := filepath.Join(t.TempDir(), "trail")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(outside, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if trail, err := Open(options(t, dir)); err == nil {
			_ = trail.Close()
			t.Errorf("%s was a link and was followed", name)
		}
	}
	if data, err := os.ReadFile(outside); err != nil || len(data) > 0 {
		t.Errorf("%q, %v", data, err)
	}
}
