package drift

import (
	"strings"
	"testing"
	"time"
)

func TestWriteText(t *testing.T) {
	since := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		report Report
		want   string
	}{
		"before the first check": {
			Report{State: Unknown, Repository: "/srv/config", Ref: "HEAD", CommitsBehind: -1, CommitsAhead: -1, ContentDiffers: Maybe},
			"unknown: it is not known how many commits behind, the compiled content was not compared\n" +
				"--- running (none)\n+++ HEAD (none) of /srv/config\n",
		},
		"in sync": {
			Report{State: InSync, Repository: "https://h/x", Ref: "refs/heads/main", Head: "aa", Running: "aa", ContentDiffers: No, HeadValid: true},
			"in sync: the compiled content is the same\n--- running aa\n+++ refs/heads/main aa of https://h/x\n",
		},
		"drift": {
			Report{
				State: Drifted, Repository: "https://h/x", Subdirectory: "gw", Ref: "refs/heads/main", Head: "bb", Running: "aa",
				CommitsBehind: 2, CommitsAhead: 1, CommitsAtLeast: true, Diverged: true, ContentDiffers: Yes, HeadValid: true,
				Files:      []File{{"gw/a.yaml", "modified"}, {"gw/b.yaml", "added"}, {"gw/\x1b[31m.yaml", "removed"}},
				OtherFiles: 1, CompilerDiffers: true, RunningDirty: true,
			},
			"drift: at least 2 commits behind, 1 commit ahead, the running commit is not in the history of the ref, the compiled content differs\n" +
				"--- running aa\n+++ refs/heads/main bb of https://h/x//gw\n~ gw/a.yaml\n+ gw/b.yaml\n- \"gw/\\x1b[31m.yaml\"\n" +
				"  1 more file that is not configuration, or not listed\n" +
				"note: another version of the compiler made what runs; the commits were compared as compiled here\n" +
				"note: what runs was built from a work tree that was not committed\n",
		},
		"invalid and stale": {
			Report{
				State: InvalidHead, Repository: "/srv", Ref: "HEAD", Head: "bb", Running: "aa", CommitsBehind: 1, ContentDiffers: Yes,
				DiagnosticText: "a.yaml:1:1: error GW1001: x\nb\n", Error: "ask for the ref: refused", Stale: true, StaleSince: &since,
			},
			"invalid head: 1 commit behind\n--- running aa\n+++ HEAD bb of /srv\n" +
				"the head does not compile:\n  a.yaml:1:1: error GW1001: x\n  b\n" +
				"error: ask for the ref: refused\nthe repository could not be read since 2026-05-01 12:00:00Z; this is what was known then\n",
		},
	} {
		var b strings.Builder
		if err := c.report.WriteText(&b); err != nil || b.String() != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, b.String(), c.want)
		}
	}
}
