package drift

import (
	"time"

	"github.com/suuupra/gateway/runtime/telemetry"
)

// State is the answer in one word.
type State string

// The states.
const (
	InSync         State = "in_sync"          // the head of the ref is what runs
	BehindNoChange State = "behind_no_change" // another commit, the same compiled content: nothing to do
	Drifted        State = "drift"            // the head compiles to something else than what runs
	InvalidHead    State = "invalid_head"     // the head does not compile, so it could not be what runs
	Unknown        State = "unknown"          // not compared yet, or not comparable
)

// Answer is a yes or no that may not be known.
type Answer string

// The answers.
const (
	Maybe Answer = "unknown"
	No    Answer = "no"
	Yes   Answer = "yes"
)

// File is one file that differs between the running commit and the head.
type File struct {
	Path   string `json:"path"`   // from the root of the git repository
	Change string `json:"change"` // added, modified, removed: what the head did
}

// Report is the outcome of one comparison between what runs and the tracked ref. Its field names are part of the admin
// API. A check that could not be made leaves the facts of the last one in place and says so in Stale and Error.
type Report struct {
	CheckedAt    time.Time `json:"checkedAt"` // of the last comparison that could be made; zero before the first
	Repository   string    `json:"repository"`
	Ref          string    `json:"ref"` // in full, once it has been seen: refs/heads/main
	Subdirectory string    `json:"subdirectory,omitempty"`
	Environment  string    `json:"environment"`

	State State     `json:"state"`
	Since time.Time `json:"since"` // when State was first seen

	Head          string    `json:"head"`     // commit
	HeadTime      time.Time `json:"headTime"` // when it was committed, says its author
	Running       string    `json:"running"`  // commit
	RunningDigest string    `json:"runningDigest"`
	RunningDirty  bool      `json:"runningDirty,omitempty"` // built from a work tree that was not committed

	CommitsBehind int `json:"commitsBehind"` // reachable from the head and not from the running commit; -1: not known
	CommitsAhead  int `json:"commitsAhead"`  // the other way round; -1: not known
	// CommitsAtLeast says that counting stopped at a bound, or where a shallow clone ends: there may be more.
	CommitsAtLeast bool `json:"commitsAtLeast,omitempty"`
	// Diverged says that the running commit is not in the history of the ref: it was rewritten or reset, or the bundle was
	// built from another branch.
	Diverged bool `json:"diverged,omitempty"`

	Files        []File `json:"files"`                  // config files below the subdirectory
	OtherFiles   int    `json:"otherFiles"`             // how many more files differ
	FilesAtLeast bool   `json:"filesAtLeast,omitempty"` // the list and the count are cut off
	FilesKnown   bool   `json:"filesKnown"`             // false: the running commit is not at hand to compare with

	ContentDiffers Answer `json:"contentDiffers"`
	// CompilerDiffers says that the running commit, compiled here, is not what runs: another version compiled it. The head
	// was then compared with the running commit as compiled here.
	CompilerDiffers bool   `json:"compilerDiffers,omitempty"`
	HeadValid       bool   `json:"headValid"` // whether the head compiles; says nothing while ContentDiffers is unknown
	Diagnostics     int    `json:"diagnostics,omitempty"`
	DiagnosticText  string `json:"diagnosticText,omitempty"` // the first ones, when the head does not compile

	Error      string     `json:"error,omitempty"`      // why the last check could not be made, or not to its end
	Stale      bool       `json:"stale,omitempty"`      // the facts above are those of CheckedAt, and could not be renewed
	StaleSince *time.Time `json:"staleSince,omitempty"` // the first check that failed
}

// Metrics is the report as the metrics carry it.
func (r *Report) Metrics() telemetry.Drift {
	return telemetry.Drift{CheckedAt: r.CheckedAt, CommitsBehind: r.CommitsBehind}
}
