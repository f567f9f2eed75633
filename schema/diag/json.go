package diag

import (
	"encoding/json"
	"io"
)

// formatVersion is raised when a field of the JSON form changes its meaning or goes away.
const formatVersion = 1

type jsonReport struct {
	FormatVersion int              `json:"formatVersion"`
	Version       string           `json:"version,omitempty"`
	Files         int              `json:"files"`
	Errors        int              `json:"errors"`
	Warnings      int              `json:"warnings"`
	Diagnostics   []jsonDiagnostic `json:"diagnostics"`
}

type jsonDiagnostic struct {
	Severity    string     `json:"severity"`
	Code        Code       `json:"code"`
	File        string     `json:"file,omitempty"`
	Line        int        `json:"line,omitempty"`
	Column      int        `json:"column,omitempty"`
	Width       int        `json:"width,omitempty"`
	Path        string     `json:"path,omitempty"`
	Message     string     `json:"message"`
	Hint        string     `json:"hint,omitempty"`
	Environment string     `json:"environment,omitempty"`
	Notes       []jsonNote `json:"notes,omitempty"`
}

type jsonNote struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
}

// JSON prints diagnostics for programs. The form is stable: fields are only added.
func JSON(w io.Writer, r Report) error {
	out := jsonReport{
		FormatVersion: formatVersion, Version: r.Version, Files: r.Files, Errors: r.Errors(), Warnings: r.Warnings(),
		Diagnostics: make([]jsonDiagnostic, 0, len(r.Diagnostics)),
	}
	for i := range r.Diagnostics {
		d := &r.Diagnostics[i]
		j := jsonDiagnostic{
			Severity: d.Severity.String(), Code: d.Code, File: d.Pos.File, Line: d.Pos.Line, Column: d.Pos.Col, Width: d.Width,
			Path: d.Path, Message: d.Message, Hint: d.Hint, Environment: d.Env,
		}
		for _, n := range d.Notes {
			j.Notes = append(j.Notes, jsonNote{n.Pos.File, n.Pos.Line, n.Pos.Col, n.Message})
		}
		out.Diagnostics = append(out.Diagnostics, j)
	}
	return writeJSON(w, out)
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
