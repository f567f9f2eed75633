package diag

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf16"
	"unicode/utf8"
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
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(escapeJSON(b.Bytes()))
	return err
}

// escapeJSON writes what a terminal would obey, or show in another order, as an escape: reports end up in build logs. Such
// characters stand inside strings only, so the value stays the same.
func escapeJSON(data []byte) []byte {
	risky := func(r rune) bool { return r != '\n' && r != utf8.RuneError && unsafe(r) }
	if bytes.IndexFunc(data, risky) < 0 {
		return data
	}
	out := make([]byte, 0, len(data)+64)
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if !risky(r) {
			out = append(out, data[:size]...)
		} else if r > 0xffff {
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		} else {
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		data = data[size:]
	}
	return out
}
