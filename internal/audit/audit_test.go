package audit

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/schema/bundle"
)

func TestMain(m *testing.M) {
	if child(os.Getenv("AUDIT_TEST_CHILD")) {
		return
	}
	testkit.NoLeaks(m)
}

// makeKey makes the same key in every run.
func makeKey(seed string) (*bundle.PrivateKey, error) {
	sum := sha256.Sum256([]byte("for tests only: " + seed))
	der, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(sum[:]))
	if err != nil {
		return nil, err
	}
	return bundle.ParsePrivateKey(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func seedKey(t testing.TB, seed string) *bundle.PrivateKey {
	t.Helper()
	key, err := makeKey(seed)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// grant is a line of a trust file.
type grant struct {
	seed string
	role bundle.Role
	env  string
}

func trustFile(t testing.TB, grants ...grant) []byte {
	t.Helper()
	var f bundle.TrustFile
	for _, g := range grants {
		k, err := bundle.TrustKeyOf(seedKey(t, g.seed).Public(), g.role, g.env)
		if err != nil {
			t.Fatal(err)
		}
		f.Keys = append(f.Keys, k)
	}
	raw, err := f.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func trust(t testing.TB, grants ...grant) *bundle.Trust {
	t.Helper()
	tr, err := bundle.ParseTrust(trustFile(t, grants...))
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// ours is the trust in the key that options uses.
func ours(t testing.TB) *bundle.Trust { return trust(t, grant{"audit", bundle.RoleAudit, "prod"}) }

func options(t testing.TB, dir string) Options {
	return Options{
		Dir: dir, Environment: "prod", Instance: "gw-1", Key: seedKey(t, "audit"), Details: []string{"commit", "key", "risk"},
		OnFailure: func(err error) { t.Logf("failure: %v", err) },
	}
}

func open(t testing.TB, o Options) *Trail {
	t.Helper()
	trail, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = trail.Close() }) // a test that looks at the error has closed it before
	return trail
}

func add(t testing.TB, trail *Trail, records ...Record) {
	t.Helper()
	for _, r := range records {
		if err := trail.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
}

func shut(t testing.TB, trail *Trail) {
	t.Helper()
	if err := trail.Close(); err != nil {
		t.Fatal(err)
	}
}

func reload() Record {
	return Record{Actor: Actor{Kind: Token, ID: "ops", Address: "192.0.2.7"}, Action: Reload, Outcome: Success}
}

// rotation is a number of bytes after which a segment of reloads holds three.
const rotation = 1200

// files are the segments of a folder.
type files map[string][]byte

func read(t testing.TB, dir string) files {
	t.Helper()
	out := files{}
	found, err := segments(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if out[filepath.Base(f.path)], err = os.ReadFile(f.path); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// put makes a folder of segments.
func (f files) put(t testing.TB, dir string) {
	t.Helper()
	old, err := segments(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range old {
		if err := os.Remove(o.path); err != nil {
			t.Fatal(err)
		}
	}
	for name, data := range f {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// with is a copy in which one file is another.
func (f files) with(name string, data []byte) files {
	out := files{}
	for n, d := range f {
		out[n] = d
	}
	if out[name] = data; data == nil {
		delete(out, name)
	}
	return out
}

func split(data []byte) [][]byte {
	return bytes.SplitAfter(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
}

func join(lines [][]byte) []byte {
	var out []byte
	for _, l := range lines {
		out = append(append(out, bytes.TrimSuffix(l, []byte("\n"))...), '\n')
	}
	return out
}

// three is a trail of three segments: the first two are signed, the last is being written.
func three(t testing.TB) (files, Head) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "trail")
	o := options(t, dir)
	o.MaxBytes = rotation
	trail := open(t, o)
	for trail.Head().Seq < 11 {
		add(t, trail, reload())
	}
	f, head := read(t, dir), trail.Head()
	shut(t, trail)
	if len(f) != 3 {
		t.Fatalf("%d segments", len(f))
	}
	return f, head
}

// faultOf is the fault of a verification, or nil if there is none.
func faultOf(t testing.TB, err error) *Fault {
	t.Helper()
	var f *Fault
	if err != nil && !errors.As(err, &f) {
		t.Fatalf("not a fault: %v", err)
	}
	return f
}

// TestGoldenTrail holds the format to the bytes in testdata: trails that were written stay readable. Everything in it is in docs/audit.md.
func TestGoldenTrail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "trail")
		o := options(t, dir)
		o.MaxBytes = 1500
		trail := open(t, o)
		for _, r := range []Record{
			{Actor: Actor{Kind: User, ID: "zoë", Address: "192.0.2.7"}, Action: Login, Outcome: Success},
			{
				Actor: Actor{Kind: User, ID: "zoë", Address: "192.0.2.7"}, Action: OverlayCreate, Object: "routes/users-api", Outcome: Success, Reason: "incident 42",
				Before: bundle.DigestOf([]byte("before")), After: bundle.DigestOf([]byte("after")), Details: map[string]string{"risk": "GWR101", "commit": "0a1b2c3"},
			},
			{Actor: Actor{Kind: Anonymous, ID: "x\n{\"seq\":9}\x1b[2J\u202e", Address: "2001:db8::1"}, Action: Login, Outcome: Refused, Reason: `"wrong" \ password`},
		} {
			time.Sleep(1500 * time.Millisecond)
			add(t, trail, r)
		}
		time.Sleep(time.Hour)
		add(t, trail, Record{Actor: Actor{Kind: System}, Action: Activation, Object: "1.42", Outcome: Failed, Reason: "ready: upstream users-api has no endpoint"})
		shut(t, trail)
		for name, data := range read(t, dir) {
			testkit.Golden(t, filepath.Join("testdata", "trail", name), data)
		}
		testkit.Golden(t, filepath.Join("testdata", "trust.json"), trustFile(t, grant{"audit", bundle.RoleAudit, "prod"}))
	})
	report, err := Verify([]string{filepath.Join("testdata", "trail")}, Check{Trust: ours(t)})
	if err != nil {
		t.Fatal(err)
	}
	text, err := bundle.Canonical(report)
	if err != nil {
		t.Fatal(err)
	}
	testkit.Golden(t, filepath.Join("testdata", "report.json"), append(text, '\n'))
}

// TestHostileTexts: whatever comes in, a record is one line of ASCII-safe structure that reads back as it was written.
func TestHostileTexts(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"plain", "users api / v1", "users api / v1"},
		{"letters of other scripts", "Zoë 日本 Ωмега 🙂", "Zoë 日本 Ωмега 🙂"},
		{"a line and a record", "x\n{\"seq\":1}", `x\u{a}{"seq":1}`},
		{"carriage return", "ok\rfailed", `ok\u{d}failed`},
		{"ANSI", "\x1b[31mred\x1b]0;title\a", `\u{1b}[31mred\u{1b}]0;title\u{7}`},
		{"C1 control sequence", "\u009b31m", `\u{9b}31m`},
		{"delete", "a\x7fb", `a\u{7f}b`},
		{"line separators", "a\u2028b\u2029c\u0085d", `a\u{2028}b\u{2029}c\u{85}d`},
		{"text turned around", "\u202egnp.exe\u2066", `\u{202e}gnp.exe\u{2066}`},
		{"invisible", "ad\u200bmin\ufeff", `ad\u{200b}min\u{feff}`},
		{"NUL", "a\x00b", `a\u{0}b`},
		{"no UTF-8", "a\xff\xc3(b", `a\xff\xc3(b`},
		{"half a surrogate", "\xed\xa0\x80", `\xed\xa0\x80`},
		{"a true replacement character", "a\ufffdb", "a\ufffdb"},
		{"too long", strings.Repeat("é", 600), strings.Repeat("é", 512) + "…"},
		{"too long in escapes", strings.Repeat("\n", 2000), strings.Repeat(`\u{a}`, 205) + "…"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := reload()
			r.Object = c.in
			if err := r.prepare(nil); err != nil {
				t.Fatal(err)
			}
			if r.Object != c.want {
				t.Errorf("got  %q\nwant %q", r.Object, c.want)
			}
			line, err := bundle.Canonical(Entry{Seq: 1, Record: r})
			if err != nil {
				t.Fatal(err)
			}
			if e, err := parseEntry(line); err != nil || e.Object != c.want {
				t.Errorf("parseEntry: %v, %v", e, err)
			}
		})
	}
}

// TestLargestRecord: with every text as long as may be, and of characters that are long in every encoding, a line has room.
func TestLargestRecord(t *testing.T) {
	for _, text := range []string{`"`, "\n", "\xff", "é", "\u0958", "\U0001d160"} { // the last two grow in NFC
		long := strings.Repeat(text, 5000)
		r := Record{Actor: Actor{Kind: User, ID: long, Address: long}, Action: Login, Outcome: Refused, Object: long, Reason: long, Details: map[string]string{}}
		var keys []string
		for i := range maxDetails {
			keys = append(keys, fmt.Sprintf("%064d", i))
			r.Details[keys[i]] = long
		}
		if err := r.prepare(keys); err != nil {
			t.Fatal(err)
		}
		line, err := bundle.Canonical(Entry{Record: r, Instance: strings.Repeat("x", 255), Prev: bundle.DigestOf(nil)})
		if err != nil || len(line) >= maxLine {
			t.Errorf("%q: a line of %d bytes, %v", text, len(line), err)
		}
	}
}

func TestMistakesOfTheCaller(t *testing.T) {
	trail := open(t, options(t, filepath.Join(t.TempDir(), "trail")))
	for _, c := range []struct {
		name string
		edit func(*Record)
		want string
	}{
		{"no action", func(r *Record) { r.Action = "" }, `audit record: action "" is not one of the list`},
		{"unknown action", func(r *Record) { r.Action = "login\n" }, `audit record: action "login\n" is not one of the list`},
		{"the trail's own", func(r *Record) { r.Action = Stop }, `audit record: action "audit.stop" is the trail's own`},
		{"no outcome", func(r *Record) { r.Outcome = "" }, `audit record: outcome "" must be begun, success, refused or failed`},
		{"no actor", func(r *Record) { r.Actor = Actor{} }, `audit record: actor.kind "" must be user, token, key, system or anonymous`},
		{"content for a digest", func(r *Record) { r.After = `{"password":"hunter2"}` }, "audit record: after must be a digest, sha256: followed by 64 lower-case hexadecimal digits"},
		{"a detail nobody allowed", func(r *Record) { r.Details = map[string]string{"password": "hunter2"} }, `audit record: details: the key "password" is not in the list of those allowed`},
		{"too many details", func(r *Record) {
			r.Details = map[string]string{}
			for i := range 17 {
				r.Details[fmt.Sprint(i)] = ""
			}
		}, "audit record: 17 details, at most 16 are allowed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := reload()
			c.edit(&r)
			before := trail.Head()
			if err := trail.Append(t.Context(), r); err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			if trail.Head() != before {
				t.Error("something was written")
			}
		})
	}
}

func TestOptions(t *testing.T) {
	open777 := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(open777, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open777, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		edit func(*Options)
		want string
	}{
		{"no folder", func(o *Options) { o.Dir = "" }, "audit trail: no folder is named"},
		{"no key", func(o *Options) { o.Key = nil }, "audit trail: no key is named that signs it"},
		{"instance", func(o *Options) { o.Instance = "gw 1" }, `audit trail: instance "gw 1" must be 1 to 255 letters, digits, dots, dashes, colons and underscores`},
		{"environment", func(o *Options) { o.Environment = "a b" }, `audit trail: trust file: keys[0]: "a b" is not the name of an environment`},
		{"detail", func(o *Options) { o.Details = []string{"a b"} }, `audit trail: details: "a b" cannot be a key`},
		{"size", func(o *Options) { o.MaxBytes = -1 }, "audit trail: the size and the age of segments must not be negative"},
		{"a folder for everybody", func(o *Options) { o.Dir = open777 }, "audit trail: " + open777 + " has mode 0777, so others may write to it; name a folder inside it, which is then made with mode 0700"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := options(t, filepath.Join(t.TempDir(), "trail"))
			c.edit(&o)
			if _, err := Open(o); err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}
