package depot

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/schema/bundle"
)

func TestMain(m *testing.M) { testkit.NoLeaks(m) }

func TestParseLocation(t *testing.T) {
	digest := string(bundle.DigestOf(nil))
	for _, c := range []struct {
		in   string
		kind Kind
		out  string // "" for an error
	}{
		{"/srv/bundles", Files, "/srv/bundles"},
		{"bundles", Files, "bundles"},
		{"file:///srv/my%20bundles", Files, "/srv/my bundles"},
		{"site.gwb", Archive, "site.gwb"},
		{"file:///srv/site.gwb", Archive, "/srv/site.gwb"},
		{"/srv/bundles@" + digest, Files, "/srv/bundles@" + digest},
		{"https://ana:pw@example.com/b", Web, "https://example.com/b/"},
		{"http://127.0.0.1:8080/b/", Web, "http://127.0.0.1:8080/b/"},
		{"http://[::1]:8080/b", Web, "http://[::1]:8080/b/"},
		{"http://localhost/b", Web, "http://localhost/b/"},
		{"git+https://example.com/o/r.git#bundles", Git, "git+https://example.com/o/r.git#bundles"},
		{"git+ssh://git@example.com/o/r#gw/prod", Git, "git+ssh://example.com/o/r#gw/prod"},
		{"oci://registry.example.com:5000/team/shop", Registry, "oci://registry.example.com:5000/team/shop"},
		{"oci://localhost:5000/shop@" + digest, Registry, "oci://localhost:5000/shop@" + digest},

		{in: ""},
		{in: "bundles\n"},
		{in: "file://bundles"},
		{in: "http://example.com/b"},
		{in: "http://10.0.0.1/b"},
		{in: "http://localhost.example.com/b"},
		{in: "git+http://example.com/o/r#main"},
		{in: "git://example.com/o/r#main"},
		{in: "git+git://example.com/o/r#main"},
		{in: "git+file:///etc#main"},
		{in: "git+ext://sh#main"},
		{in: "ssh://example.com/r#main"},
		{in: "git+ssh://-oProxyCommand=id/r#main"},
		{in: "git+https://example.com/o/r"},
		{in: "git+https://example.com/#main"},
		{in: "git+https://example.com/o/r#--output=x"},
		{in: "git+https://example.com/o/r#../../x"},
		{in: "git+https://example.com/o/r#a..b"},
		{in: "git+https://example.com/o/r#a.lock"},
		{in: "git+https://example.com/o/r#a%0ab"},
		{in: "https:///b"},
		{in: "https://example.com/b?x=1"},
		{in: "https://example.com/site.gwb"},
		{in: "oci://registry.example.com"},
		{in: "oci://registry.example.com/Shop"},
		{in: "oci://registry.example.com/shop:latest"},
		{in: "oci://registry.example.com/../shop"},
		{in: "s3://bucket/x"},
		{in: "/srv/bundles@sha256:00"},
	} {
		l, err := ParseLocation(c.in)
		if c.out == "" {
			if err == nil {
				t.Errorf("%q was read as %s", c.in, l)
			}
			continue
		}
		if err != nil || l.Kind != c.kind || l.String() != c.out {
			t.Errorf("%q: %s %s, %v", c.in, l.Kind, l, err)
		}
	}
}

func TestOpenWriter(t *testing.T) {
	for _, where := range []string{"site.gwb", "bundles@" + string(bundle.DigestOf(nil))} {
		l, err := ParseLocation(where)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := OpenWriter(l, Options{}); err == nil {
			t.Errorf("%s can be published to", where)
		}
	}
}

func TestCredentialsFrom(t *testing.T) {
	env := map[string]string{"GWCTL_GIT_TOKEN": "s3cret", "GWCTL_HTTP_TOKEN": "s3cret", "GWCTL_OCI_USER": "ana", "GWCTL_OCI_PASSWORD": "s3cret"}
	c := CredentialsFrom(func(k string) string { return env[k] }, "GWCTL")
	if c != (Credentials{WebToken: "s3cret", GitToken: "s3cret", RegistryUser: "ana", RegistrySecret: "s3cret"}) {
		t.Error("the environment was misread")
	}
	if text := fmt.Sprintf("%v %+v %#v %s", c, c, c, Options{Credentials: c}); strings.Contains(text, "s3cret") {
		t.Errorf("credentials print as %s", text)
	}
}

// pack writes a git pack whose objects have the given types, announced lengths and contents.
func pack(objects ...packed) []byte {
	var b bytes.Buffer
	b.WriteString("PACK")
	binary.Write(&b, binary.BigEndian, uint32(2))
	binary.Write(&b, binary.BigEndian, uint32(len(objects)))
	for _, o := range objects {
		n := o.length
		c := byte(o.kind<<4) | byte(n&15)
		for n >>= 4; n > 0; n >>= 7 {
			b.WriteByte(c | 0x80)
			c = byte(n & 0x7f)
		}
		b.WriteByte(c)
		if o.kind == 7 {
			b.Write(make([]byte, 20))
		}
		b.Write(o.data)
	}
	sum := sha1.Sum(b.Bytes())
	return append(b.Bytes(), sum[:]...)
}

type packed struct {
	kind   int // 3 is a blob, 7 a delta against a named object
	length uint64
	data   []byte // compressed
}

func deflate(data []byte) []byte {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	z.Write(data)
	z.Close()
	return b.Bytes()
}

// TestPackBombs: little on the wire, gigabytes unpacked. The heap must not follow.
func TestPackBombs(t *testing.T) {
	const size = 16 << 20
	zeros := deflate(make([]byte, size))
	delta := binary.AppendUvarint(binary.AppendUvarint(nil, 10), 8<<30) // "makes 8 GiB"
	many := make([]packed, 20)
	for i := range many {
		many[i] = packed{3, size, zeros}
	}
	for name, data := range map[string][]byte{
		"a blob of 1 TiB":             pack(packed{3, 1 << 40, deflate(nil)}),
		"a blob longer than it says":  pack(packed{3, 10, zeros}),
		"a delta that makes 8 GiB":    pack(packed{7, uint64(len(delta)), deflate(delta)}),
		"a delta without sizes":       pack(packed{7, 0, deflate(nil)}),
		"many blobs, 320 MiB of them": pack(many...),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := unpack(bytes.NewReader(data), memory.NewStorage())
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s: unpacked", name)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 32<<20 {
			t.Errorf("%s: allocated %d MiB", name, grown>>20)
		}
	}
	fine := pack(packed{3, 5, deflate([]byte("hello"))})
	store := memory.NewStorage()
	if _, err := unpack(bytes.NewReader(fine), store); err != nil || len(store.Blobs) != 1 {
		t.Errorf("a plain pack: %v", err)
	}
}

func TestFolderRefusesOtherFolders(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "precious"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := (&folder{path: dir}).Prepare(t.Context()); err == nil || !strings.Contains(err.Error(), "empty folder") {
		t.Errorf("Prepare: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v now", entries)
	}
}

func TestFolderReadsPlainFilesOnly(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, indexName), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := (&folder{path: dir}).Look(t.Context(), "", ""); err == nil || !strings.Contains(err.Error(), "not a plain file") {
		t.Errorf("Look: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, indexName)); err != nil {
		t.Fatal(err)
	}
	big, err := os.Create(filepath.Join(dir, indexName))
	if err != nil {
		t.Fatal(err)
	}
	defer big.Close()
	if err := big.Truncate(1 << 40); err != nil { // sparse: 1 TiB that takes no space
		t.Skip("the file system has no sparse files of 1 TiB: " + err.Error())
	}
	var e *bundle.Error
	if _, err := (&folder{path: dir}).Look(t.Context(), "", ""); !errors.As(err, &e) || e.Reason != bundle.TooLarge {
		t.Errorf("Look: %v", err)
	}
}

func TestLockFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), lockName)
	unlock, err := lockFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
	defer cancel()
	if _, err := lockFile(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second lock: %v", err)
	}
	var inside, most int
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			unlock, err := lockFile(t.Context(), path)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			inside++
			most = max(most, inside)
			mu.Unlock()
			runtime.Gosched()
			mu.Lock()
			inside--
			mu.Unlock()
			unlock()
		})
	}
	unlock()
	all.Wait()
	if most != 1 {
		t.Errorf("%d held the lock at once", most)
	}
}

func TestWriteFileLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	for _, content := range []string{"one", "two"} {
		if err := writeFile(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != content {
			t.Errorf("read %q, %v", got, err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "y"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "y", "z"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(filepath.Join(dir, "y"), []byte("x")); err == nil {
		t.Error("a folder was replaced by a file")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-1": 0, "abc": 0, "1e9": 0, "99999": time.Hour,
		now.Add(90 * time.Second).Format(http.TimeFormat):  90 * time.Second,
		now.Add(-90 * time.Second).Format(http.TimeFormat): 0,
	} {
		if got := retryAfter(header, now); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}

// TestPlainHTTPStaysOnTheMachine: a name that is taken for loopback and resolves elsewhere is not dialled.
func TestPlainHTTPStaysOnTheMachine(t *testing.T) {
	client := &http.Client{Transport: newTransport(true)}
	resp, err := client.Get("http://192.0.2.1/")
	if err == nil {
		resp.Body.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "not a loopback address") {
		t.Errorf("Get: %v", err)
	}
}

func TestIndexKeepsTheLatest(t *testing.T) {
	index := bundle.NewIndex()
	for i := range keepBundles + 10 {
		for _, env := range []string{"prod", "staging"} {
			if env == "staging" && i > 2 {
				continue
			}
			b, err := bundle.New(bundle.Info{Name: "shop", Environment: env, Compiler: "1", SchemaVersion: "v1", MinRuntime: "0.1.0"},
				[]bundle.Shard{{Path: "routes/00", Kind: bundle.KindRoutes, Data: fmt.Appendf(nil, "[%d]", i)}})
			if err != nil {
				t.Fatal(err)
			}
			a, err := bundle.BundleArtifact(b.Raw().Manifest)
			if err != nil {
				t.Fatal(err)
			}
			index = index.With(a.Descriptor).Trim(keepBundles)
		}
	}
	count := map[string]int{}
	for _, d := range index.Bundles() {
		count[d.Environment()]++
	}
	if count["prod"] != keepBundles || count["staging"] != 3 {
		t.Errorf("kept %v", count)
	}
	if data, err := index.Encode(); err != nil || len(data) > 64<<10 {
		t.Errorf("the index has %d bytes, %v", len(data), err)
	}
}
