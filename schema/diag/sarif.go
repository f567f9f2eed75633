package diag

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"slices"
)

// The part of SARIF 2.1.0 (OASIS) that code scanning reads.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool       sarifTool     `json:"tool"`
		ColumnKind string        `json:"columnKind"`
		Results    []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version,omitempty"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID    string    `json:"id"`
		Short sarifText `json:"shortDescription"`
		Full  sarifText `json:"fullDescription"`
		Help  sarifText `json:"help"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID       string            `json:"ruleId"`
		RuleIndex    int               `json:"ruleIndex"`
		Level        string            `json:"level"`
		Message      sarifText         `json:"message"`
		Locations    []sarifLocation   `json:"locations,omitempty"`
		Related      []sarifLocation   `json:"relatedLocations,omitempty"`
		Fingerprints map[string]string `json:"partialFingerprints"`
	}
	sarifLocation struct {
		Physical sarifPhysical `json:"physicalLocation"`
		Message  *sarifText    `json:"message,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn,omitempty"`
		EndColumn   int `json:"endColumn,omitempty"`
	}
)

// SARIF prints diagnostics as SARIF 2.1.0, for code scanning.
func SARIF(w io.Writer, r Report) error {
	known := map[Code]Explanation{}
	for _, e := range Explanations() {
		known[e.Code] = e
	}
	run := sarifRun{
		Tool:       sarifTool{sarifDriver{Name: "gwctl", Version: r.Version, Rules: []sarifRule{}}},
		ColumnKind: "unicodeCodePoints", Results: []sarifResult{},
	}
	seen := map[string]int{}
	for i := range r.Diagnostics {
		d := &r.Diagnostics[i]
		index := slices.IndexFunc(run.Tool.Driver.Rules, func(x sarifRule) bool { return x.ID == string(d.Code) })
		if index < 0 {
			e := known[d.Code]
			index = len(run.Tool.Driver.Rules)
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{
				ID: string(d.Code), Short: sarifText{orCode(e.Title, d.Code)}, Full: sarifText{orCode(e.Why, d.Code)}, Help: sarifText{orCode(e.Fix, d.Code)},
			})
		}
		run.Results = append(run.Results, sarifOf(d, index, seen))
	}
	return writeJSON(w, sarifLog{Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run}})
}

func orCode(text string, code Code) string {
	if text == "" {
		return string(code)
	}
	return text
}

func sarifOf(d *Diagnostic, rule int, seen map[string]int) sarifResult {
	message := d.Message + inEnvironment(d)
	if d.Hint != "" {
		message += "\n" + d.Hint
	}
	// The line is left out of the fingerprint, so that a result stays the same one when text above it grows.
	sum := sha256.Sum256([]byte(string(d.Code) + "\x00" + d.Pos.File + "\x00" + d.Path + "\x00" + d.Message))
	print := hex.EncodeToString(sum[:16])
	seen[print]++
	out := sarifResult{
		RuleID: string(d.Code), RuleIndex: rule, Level: d.Severity.String(), Message: sarifText{message},
		Fingerprints: map[string]string{"gwctl/v1": fmt.Sprintf("%s:%d", print, seen[print])},
	}
	if d.Pos.File != "" {
		out.Locations = []sarifLocation{sarifAt(d.Pos, d.Width, "")}
	}
	for _, n := range d.Notes {
		if n.Pos.File != "" {
			out.Related = append(out.Related, sarifAt(n.Pos, 0, n.Message))
		}
	}
	return out
}

func sarifAt(p Pos, width int, message string) sarifLocation {
	l := sarifLocation{Physical: sarifPhysical{Artifact: sarifArtifact{(&url.URL{Path: p.File}).EscapedPath()}}}
	if p.Line > 0 {
		l.Physical.Region = &sarifRegion{StartLine: p.Line, StartColumn: p.Col}
		if width > 0 && p.Col > 0 {
			l.Physical.Region.EndColumn = p.Col + width
		}
	}
	if message != "" {
		l.Message = &sarifText{message}
	}
	return l
}
