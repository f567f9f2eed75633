package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/admin"
	"github.com/suuupra/gateway/runtime/drift"
	"github.com/suuupra/gateway/runtime/simulate"
	"github.com/suuupra/gateway/runtime/state/redisstate"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/diag"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// digestOf is the digest of a version of the tests.
func digestOf(version int64) string { return string(bundle.DigestOf([]byte{byte(version)})) }

// instance is a gateway of prod at a version.
func instance(name string, version int64) drift.Instance {
	at := noon.Add(-3 * time.Hour)
	return drift.Instance{
		Instance: name, Environment: "prod", Version: version, Epoch: 1, Digest: digestOf(version), Commit: strings.Repeat("c0", 20),
		ActivatedAt: &at, Gwrun: "0.4.0", StartedAt: noon.Add(-72 * time.Hour), Mode: "auto", At: noon,
	}
}

// statusOf is what a gateway says that knows a fleet; the first of it is the one.
func statusOf(fleet ...drift.Instance) *admin.Status {
	self, expires := fleet[0], noon.Add(5*24*time.Hour)
	st := &admin.Status{
		Running: &admin.Running{
			Version: uint64(self.Version), Epoch: 1, Digest: self.Digest, Commit: self.Commit, Environment: "prod", ActivatedAt: *self.ActivatedAt, ExpiresAt: &expires,
		},
		Source: admin.Source{Kind: "oci://registry.example.com/shop", Mode: self.Mode}, Instance: self.Instance, Fleet: fleet,
		SharedState: &redisstate.Status{Mode: "standalone", Up: true},
		StartedAt:   self.StartedAt, UptimeSeconds: 72 * 3600, Build: admin.Build{Version: self.Gwrun},
		Drift: &admin.Drift{Classes: []admin.DriftClass{
			{Class: "source", Detail: "the compiled content is the same"},
			{Class: "live", Detail: "no overlays"},
			{Class: "fleet", Detail: "all of them"},
			{Class: "trust", Detail: "the channel expires in 5 days"},
		}},
	}
	return st
}

// held is a candidate that a gate holds at a gateway, and how the gateway says so.
func held(st *admin.Status) {
	opens := noon.Add(20 * time.Hour)
	st.Source.Pending = &admin.Pending{
		Version: 43, Epoch: 1, Digest: digestOf(43), Reason: `held: gate "doors" (1 of 2 approvals): the change carries 1 of the risks it is about (AUTH_REMOVED)`,
		Held: []string{drift.HeldByDryRun, drift.HeldByGate, drift.HeldByWindow},
		Rules: []admin.Rule{
			{
				Rule: `gate "doors"`, Why: "the change carries 1 of the risks it is about (AUTH_REMOVED)", Codes: []string{"AUTH_REMOVED"}, Approvals: 1, Needed: 2,
				Risks: []admin.Risk{{Code: "AUTH_REMOVED", Severity: "security", Object: "route users", Pos: diag.Pos{File: "routes/users.yaml", Line: 7, Col: 5}, Message: "needs no credential any more"}},
			},
			{Rule: "windows", Why: `window "night" denies changes now`, Needed: 1, Opens: &opens},
		},
		DryRun: &simulate.ShadowReport{Requests: 120, Dropped: 3, Ways: map[simulate.Way]int64{simulate.AllowToDeny: 2, simulate.OtherLimit: 1, simulate.DenyToAllow: 0}},
	}
	st.Fleet[0].Waiting = &drift.Waiting{Version: 43, Epoch: 1, Digest: digestOf(43), Why: st.Source.Pending.Reason, Held: st.Source.Pending.Held}
}

func TestGoldenStatus(t *testing.T) {
	behind := 2
	late := instance("gw-c-3", 41)
	late.Drift, late.Error = []string{"trust"}, "key_unknown"
	empty := instance("gw-b-2", 0)
	empty.Version, empty.Epoch, empty.Digest, empty.Commit, empty.ActivatedAt = 0, 0, "", "", nil

	agreed := statusOf(instance("gw-a-1", 42), instance("gw-b-2", 42), instance("gw-c-3", 42))
	split := statusOf(instance("gw-a-1", 42), empty, late)
	split.Drift.CommitsBehind = &behind
	split.Drift.Classes[0] = admin.DriftClass{Class: "source", Detected: true, Detail: "2 commits behind, the compiled content differs", Details: []string{"modified routes/app.yaml"}}
	split.Drift.Classes[2] = admin.DriftClass{Class: "fleet", Detected: true, Detail: "1 of 3 run 1.42", Details: []string{"gw-b-2 runs nothing", "gw-c-3 runs 1.41 0123; error key_unknown"}}
	waiting := statusOf(instance("gw-a-1", 42), instance("gw-b-2", 43), instance("gw-c-3", 43))
	held(waiting)
	alone := statusOf(instance("gw-a-1", 42))
	held(alone)
	alone.Fleet, alone.SharedState, alone.Source.Pending.Rules = nil, nil, alone.Source.Pending.Rules[:1]
	alone.Drift.Classes[2] = admin.DriftClass{Class: "fleet", Unknown: true, Detail: "gateways see each other through Redis, and none is configured"}
	alone.MissingSecrets, alone.RestartNeeded = []string{"env:KEY"}, []string{"public"}
	alone.Source.LastError = &admin.Failure{Code: "source_fetch", Message: "the registry is away", Since: noon}
	dry := instance("gw-b-2", 42)
	dry.Mode, dry.Waiting = "dry-run", &drift.Waiting{Version: 43, Epoch: 1, Digest: digestOf(43), Why: "sync is in dry-run; it verifies and builds", Held: []string{drift.HeldBySync}}
	hostile := statusOf(instance("gw\x1b[2J", 42))
	hostile.Fleet, hostile.Drift = nil, nil
	hostile.Source.LastError = &admin.Failure{Code: "\x1b[31m", Message: "a\rb\u202e\n", Since: noon}

	away := answer{Gateway: "http://192.0.2.9:9090", Error: "away", err: errors.New("ask gateway: away")}
	for name, answers := range map[string][]answer{
		"agreed":  {{Gateway: "http://gw-a:9090", Status: agreed}, {Gateway: "http://gw-b:9090", Status: statusOf(instance("gw-b-2", 42), instance("gw-a-1", 42))}},
		"split":   {{Gateway: "http://gw-a:9090", Status: split}},
		"waiting": {{Gateway: "http://gw-a:9090", Status: waiting}},
		"dry-run": {{Gateway: "http://gw-a:9090", Status: statusOf(instance("gw-a-1", 43), dry)}},
		"alone":   {{Gateway: "http://gw-a:9090", Status: alone}, away, away},
		"nothing": {away, {Gateway: "http://gw-a:9090", Status: &admin.Status{}}},
		"hostile": {{Gateway: "http://gw-a:9090", Status: hostile}},
	} {
		t.Run(name, func(t *testing.T) {
			f := statusFlags{fleet: true}
			testkit.Golden(t, filepath.Join("testdata", "status", name+".txt"), []byte(f.text(answers)))
		})
	}
	t.Run("one of the fleet", func(t *testing.T) {
		f := statusFlags{fleet: false}
		testkit.Golden(t, filepath.Join("testdata", "status", "no-fleet.txt"), []byte(f.text([]answer{{Gateway: "http://gw-a:9090", Status: agreed}})))
	})
}

func TestNewsOfAWatchWithoutTerminal(t *testing.T) {
	lines := func(members ...drift.Instance) []string {
		return newsOf([]group{{answer: answer{Gateway: "http://gw-a:9090", Status: statusOf(members...)}, members: members}})
	}
	judging := func(why string) drift.Instance {
		i := instance("gw-b-2", 42)
		i.Waiting = &drift.Waiting{Version: 43, Epoch: 1, Digest: digestOf(43), Why: why}
		return i
	}
	a, b := instance("gw-a-1", 42), instance("gw-b-2", 42)
	short := func(v int64) string { return bundle.Digest(digestOf(v)).Short() }
	failing := b
	failing.Error, failing.Drift = "key_unknown", []string{"trust"}
	for name, tt := range map[string]struct{ before, now, want []string }{
		"at first":    {nil, lines(a), []string{"http://gw-a:9090: prod, 1 of 1 run 1.42 sha256:" + short(42), "gw-a-1: runs 1.42 " + short(42)}},
		"nothing":     {lines(a, b), lines(a, b), nil},
		"another":     {lines(a), lines(a, b), []string{"http://gw-a:9090: prod, 2 of 2 run 1.42 sha256:" + short(42), "gw-b-2: runs 1.42 " + short(42)}},
		"one is gone": {lines(a, b), lines(a), []string{"http://gw-a:9090: prod, 1 of 1 run 1.42 sha256:" + short(42), "gw-b-2 is gone"}},
		"one has moved": {
			lines(a, b), lines(a, instance("gw-b-2", 43)),
			[]string{"http://gw-a:9090: prod, 1 of 2 run 1.43 sha256:" + short(43), "gw-b-2: runs 1.43 " + short(43)},
		},
		"one fails":        {lines(a, b), lines(a, failing), []string{"gw-b-2: runs 1.42 " + short(42) + ", drift of trust, error key_unknown"}},
		"a dry run begins": {lines(a, b), lines(a, judging("dryRun: 0 of 40 requests")), []string{"gw-b-2: runs 1.42 " + short(42) + "; 1.43 waits: dryRun: 0 of 40 requests"}},
		"a dry run counts": {lines(a, judging("dryRun: 0 of 40 requests")), lines(a, judging("dryRun: 31 of 40 requests")), nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := changed(tt.before, tt.now); !slices.Equal(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// asked serves what a gateway says, another thing with each question; the last goes on.
func asked(t *testing.T, says ...*admin.Status) string {
	t.Helper()
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(says[min(int(n.Add(1)), len(says))-1])
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// waited waits for 1.43 as apply --wait does.
func waited(t *testing.T, timeout time.Duration, urls ...string) (code int, stderr string) {
	t.Helper()
	var out bytes.Buffer
	cmd := &cobra.Command{}
	cmd.SetErr(&out)
	cmd.SetContext(t.Context())
	err := waitFor(cmd, urls, bundle.Position{Epoch: 1, Version: 43}, timeout)
	if err != nil {
		out.WriteString("error: " + err.Error() + "\n")
	}
	return exitCode(err), out.String()
}

func TestWait(t *testing.T) {
	old, now := instance("gw-b-2", 42), instance("gw-b-2", 43)
	waits := func(held ...string) drift.Instance {
		i := instance("gw-b-2", 42)
		i.Waiting = &drift.Waiting{Version: 43, Epoch: 1, Digest: digestOf(43), Why: "held: something", Held: held}
		return i
	}
	older := waits(drift.HeldByGate)
	older.Waiting.Version = 42
	failing := old
	failing.Error = "key_unknown"
	off := old
	off.Mode = "off"
	short := bundle.Digest(digestOf(42)).Short()
	approve := "    approve of it: gwctl approve " + digestOf(43) + " --base " + digestOf(42) + ` --env prod --to oci://registry.example.com/shop --trust trust.json --key approver.key --reason "..."`
	heldText := func(more string) string {
		return "gwctl: gw-b-2: held: something\n1.43 sha256:" + bundle.Digest(digestOf(43)).Short() + " waits at gw-b-2: held: something\n" + strings.TrimPrefix(approve, "  ") + more + "\n" +
			"error: 1.43 is published, and held at 1 of 2 gateways\n"
	}
	unseen := statusOf(instance("gw-a-1", 43))
	unseen.Fleet = nil
	const brief, long = 300 * time.Millisecond, time.Minute
	for name, tt := range map[string]struct {
		then    []drift.Instance // what the other gateway runs, as the one that is asked sees it
		timeout time.Duration
		code    int
		want    string
	}{
		"at once":                           {[]drift.Instance{now}, long, 0, "gwctl: 2 of 2 gateways run 1.43\n"},
		"later":                             {[]drift.Instance{old, old, now}, long, 0, "gwctl: 2 of 2 gateways run 1.43\n"},
		"a later version":                   {[]drift.Instance{instance("gw-b-2", 50)}, long, 0, "gwctl: 2 of 2 gateways run 1.43\n"},
		"never":                             {[]drift.Instance{old}, brief, 1, "gwctl: gw-b-2: runs 1.42 " + short + "\nerror: waiting for 1.43 ran out after 300ms\n"},
		"refused":                           {[]drift.Instance{failing}, brief, 1, "gwctl: gw-b-2: runs 1.42 " + short + ", error key_unknown\nerror: waiting for 1.43 ran out after 300ms\n"},
		"off":                               {[]drift.Instance{off}, brief, 1, "gwctl: gw-b-2: runs 1.42 " + short + ", sync is off\nerror: waiting for 1.43 ran out after 300ms\n"},
		"held by a gate":                    {[]drift.Instance{old, waits(drift.HeldByGate)}, long, 4, heldText("")},
		"held by a gate and the window":     {[]drift.Instance{waits(drift.HeldByGate, drift.HeldByWindow)}, long, 4, heldText(" --any-time")},
		"held by the window until it opens": {[]drift.Instance{waits(drift.HeldByWindow), now}, long, 0, "gwctl: 2 of 2 gateways run 1.43\n"},
		"held by a dry run for too long":    {[]drift.Instance{waits(drift.HeldByDryRun)}, brief, 4, heldText(" --skip-dry-run")},
		"another candidate is held":         {[]drift.Instance{older}, brief, 1, "gwctl: gw-b-2: runs 1.42 " + short + "\nerror: waiting for 1.43 ran out after 300ms\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var says []*admin.Status
			for _, other := range tt.then {
				says = append(says, statusOf(instance("gw-a-1", 43), other))
			}
			code, stderr := waited(t, tt.timeout, asked(t, says...))
			if code != tt.code || stderr != tt.want {
				t.Errorf("exit code %d\n%s\nwant %d\n%s", code, stderr, tt.code, tt.want)
			}
		})
	}
	t.Run("each that is asked speaks for itself", func(t *testing.T) {
		a := asked(t, statusOf(instance("gw-a-1", 43), old)) // which has not heard yet that the other has followed
		b := asked(t, statusOf(now, instance("gw-a-1", 42)))
		if code, stderr := waited(t, long, a, b); code != 0 || stderr != "gwctl: 2 of 2 gateways run 1.43\n" {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
	})
	t.Run("Redis is away", func(t *testing.T) {
		url := asked(t, unseen)
		code, stderr := waited(t, long, url)
		if want := "gwctl: 1 of 1 gateways run 1.43\ngwctl: " + url + " cannot see the other gateways of its environment; nobody waited for them\n"; code != 0 || stderr != want {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
	})
	t.Run("one that cannot be asked is missing", func(t *testing.T) {
		code, stderr := waited(t, brief, asked(t, statusOf(instance("gw-a-1", 43), now)), "http://127.0.0.1:1")
		if code != 1 || !strings.Contains(stderr, "gwctl: http://127.0.0.1:1: ask gateway: ") || !strings.Contains(stderr, "ran out after") {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
	})
}

func TestLineOfProgress(t *testing.T) {
	w := wait{want: bundle.Position{Epoch: 1, Version: 43}, total: 3, missing: []missing{{name: "gw-b", why: `held: gate "doors"`}}}
	if got, want := w.line(), `2 of 3 run 1.43; gw-b: held: gate "doors"`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	w.total, w.missing = 9, slices.Repeat([]missing{{name: "gw\x1b[2J", why: "?"}}, 5)
	if got, want := w.line(), `4 of 9 run 1.43; gw?[2J: ?; gw?[2J: ?; gw?[2J: ?; and 2 more`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A watch ends when it is interrupted, and that is no failure.
func TestWatch(t *testing.T) {
	url := asked(t, statusOf(instance("gw-a-1", 42)))
	ctx, stop := context.WithCancel(t.Context())
	lines := make(chan string, 16)
	done := make(chan int)
	go func() { done <- run(ctx, []string{"status", "--gateway", url, "--watch"}, chunks(lines), chunks(nil)) }()
	if first := <-lines; !strings.Contains(first, url+": prod, 1 of 1 run 1.42 sha256:") {
		t.Errorf("first %q", first)
	}
	if second := <-lines; !strings.Contains(second, " gw-a-1: runs 1.42 ") {
		t.Errorf("second %q", second)
	}
	stop()
	if code := <-done; code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// chunks passes on what is written, piece by piece.
type chunks chan string

func (c chunks) Write(p []byte) (int, error) {
	if c != nil {
		c <- string(p)
	}
	return len(p), nil
}
