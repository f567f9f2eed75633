package drift

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/suuupra/gateway/schema/bundle"
)

// Instance is what one gateway of an environment says of itself. Its field names are part of the admin API, and of what gateways of
// different versions read of each other: a field may be added, and none may change its meaning.
type Instance struct {
	Instance    string `json:"instance"`
	Environment string `json:"environment"`

	Version     int64      `json:"version"` // of the channel, with Epoch; both 0: nothing is running
	Epoch       int64      `json:"epoch"`
	Digest      string     `json:"digest"` // of the manifest; empty: nothing is running
	Commit      string     `json:"commit"`
	ActivatedAt *time.Time `json:"activatedAt,omitempty"` // of what is running

	Gwrun     string    `json:"gwrun"` // version of the program
	StartedAt time.Time `json:"startedAt"`
	Mode      string    `json:"mode"` // of sync: off, dry-run, gated, auto
	Waiting   *Waiting  `json:"waiting,omitempty"`
	Error     string    `json:"error,omitempty"` // code of what is wrong now
	Drift     []string  `json:"drift,omitempty"` // the classes it has detected
	At        time.Time `json:"at"`              // when it said so, by its own clock
	// SeenAt is when it said so by the clock of whoever shows it. No gateway says it of itself.
	SeenAt *time.Time `json:"seenAt,omitempty"`
}

// Waiting is a candidate that does not serve yet.
type Waiting struct {
	Version int64    `json:"version"`
	Epoch   int64    `json:"epoch"`
	Digest  string   `json:"digest"`
	Why     string   `json:"why"`  // short
	Held    []string `json:"held"` // by which kinds of rules: gate, window, dryRun, sync, other
}

// The kinds of rules that hold a candidate.
const (
	HeldByGate   = "gate"   // of gateway.gitops.gates: it asks for approvals
	HeldByWindow = "window" // it opens by itself
	HeldByDryRun = "dryRun" // live requests judge the candidate, or have something against it
	HeldBySync   = "sync"   // the mode of sync
	HeldByOther  = "other"  // a rule that every environment has
)

// HeldKinds are all kinds of rules that hold a candidate.
var HeldKinds = []string{HeldByGate, HeldByWindow, HeldByDryRun, HeldBySync, HeldByOther}

// The bounds of what a gateway says of itself, in bytes.
const (
	maxName   = 128
	maxWord   = 64
	maxWhy    = 240
	maxReport = 2048
)

var (
	instancePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]*$`)
	commitPattern   = regexp.MustCompile(`^[0-9a-f]*$`)
	wordPattern     = regexp.MustCompile(`^[A-Za-z0-9_.+-]*$`)
)

// Position is how far the channel of what runs is.
func (i *Instance) Position() bundle.Position {
	return bundle.Position{Epoch: i.Epoch, Version: i.Version}
}

// Runs says what is running in a few words, such as "1.42 ab12cd34ef56".
func (i *Instance) Runs() string {
	if i.Digest == "" {
		return "nothing"
	}
	return i.Position().String() + " " + bundle.Digest(i.Digest).Short()
}

// encode is the report as it is sent. The reason for which a candidate waits may be cut.
func (i Instance) encode() ([]byte, error) {
	i.SeenAt = nil
	if i.Waiting != nil {
		w := *i.Waiting
		w.Why = brief(w.Why)
		i.Waiting = &w
	}
	if err := i.check(); err != nil {
		return nil, fmt.Errorf("describe this gateway: %w", err)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false) // it is no page, and would be six times as long
	if err := enc.Encode(i); err != nil {
		return nil, fmt.Errorf("describe this gateway: %w", err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// decodeInstance reads what a gateway said, or somebody else who can write to Redis. Fields that are not known are those of a newer
// gateway.
func decodeInstance(name, environment string, data []byte) (Instance, error) {
	var i Instance
	if len(data) > maxReport {
		return Instance{}, fmt.Errorf("it has %d bytes, at most %d are read", len(data), maxReport)
	}
	if err := json.Unmarshal(data, &i); err != nil {
		return Instance{}, err
	}
	i.SeenAt = nil
	switch {
	case i.Instance != name:
		return Instance{}, fmt.Errorf("it is about %.64q", i.Instance)
	case i.Environment != environment:
		return Instance{}, fmt.Errorf("it is of environment %.64q", i.Environment)
	}
	return i, i.check()
}

func (i *Instance) check() error {
	switch {
	case len(i.Instance) > maxName || !instancePattern.MatchString(i.Instance):
		return fmt.Errorf("%.64q is not the name of a gateway", i.Instance)
	case !isWord(i.Mode), !isWord(i.Error), !isWord(i.Gwrun):
		return errors.New("mode, error or gwrun is no word")
	case len(i.Drift) > len(classes) || slices.ContainsFunc(i.Drift, func(c string) bool { return !slices.Contains(classes, c) }):
		return errors.New("drift names a class that is none")
	}
	if err := checkBundle(i.Epoch, i.Version, i.Digest, i.Commit); err != nil {
		return err
	}
	if w := i.Waiting; w != nil {
		if w.Digest == "" {
			return errors.New("what waits has no digest")
		}
		if len(w.Why) > maxWhy+len(cut) || !plain(w.Why) {
			return errors.New("the reason to wait is no short text")
		}
		if len(w.Held) > len(HeldKinds) || slices.ContainsFunc(w.Held, func(k string) bool { return !slices.Contains(HeldKinds, k) }) {
			return errors.New("held names a kind of rule that is none")
		}
		return checkBundle(w.Epoch, w.Version, w.Digest, "")
	}
	return nil
}

func checkBundle(epoch, version int64, digest, commit string) error {
	if digest == "" {
		if epoch != 0 || version != 0 || commit != "" {
			return errors.New("a version without a digest")
		}
		return nil
	}
	if _, err := bundle.ParseDigest(digest); err != nil {
		return fmt.Errorf("digest: %w", err)
	}
	if epoch < 0 || version < 0 || len(commit) > maxWord || !commitPattern.MatchString(commit) {
		return errors.New("epoch, version or commit is none")
	}
	return nil
}

func isWord(s string) bool { return len(s) <= maxWord && wordPattern.MatchString(s) }

// plain reports whether a text does nothing to a terminal that shows it.
func plain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

const cut = "..."

// brief makes a text one short line.
func brief(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) <= maxWhy {
		return s
	}
	return strings.ToValidUTF8(s[:maxWhy], "") + cut
}

// byName orders instances.
func byName(a, b Instance) int { return cmp.Compare(a.Instance, b.Instance) }
