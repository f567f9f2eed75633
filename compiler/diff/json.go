package diff

import (
	"encoding/json"
	"fmt"
	"io"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// FormatVersion is the version of the JSON form. It grows when a field changes its meaning or goes; new fields do not
// change it.
const FormatVersion = 1

// document is the JSON form.
type document struct {
	FormatVersion int      `json:"formatVersion"`
	Summary       summary  `json:"summary"`
	Before        Side     `json:"before"`
	After         Side     `json:"after"`
	Objects       []Object `json:"objects"`
	Effects       []Effect `json:"effects"`
	Risks         []Risk   `json:"risks"`
}

type summary struct {
	Text         string `json:"text"`
	Added        int    `json:"added"`
	Removed      int    `json:"removed"`
	Changed      int    `json:"changed"`
	Renamed      int    `json:"renamed"`
	Security     int    `json:"securityRisks"`
	Availability int    `json:"availabilityRisks"`
	Cost         int    `json:"costRisks"`
	Notice       int    `json:"notices"`
}

// WriteJSON writes the report for programs: indented, in a stable order, values whole and as they are compiled. Whatever
// a terminal would not print as a character is escaped.
func (r *Report) WriteJSON(w io.Writer) error {
	doc := document{
		FormatVersion: FormatVersion, Before: r.Before, After: r.After,
		Objects: append([]Object{}, r.Objects...), Effects: append([]Effect{}, r.Effects...), Risks: append([]Risk{}, r.Risks...),
		Summary: summary{
			Text: r.Summary(), Added: r.Count(Added), Removed: r.Count(Removed), Changed: r.Count(Changed), Renamed: r.Count(Renamed),
			Security: r.RisksOf(Security), Availability: r.RisksOf(Availability), Cost: r.RisksOf(Cost), Notice: r.RisksOf(Notice),
		},
	}
	raw, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	_, err = w.Write(append(escaped(raw), '\n'))
	return err
}

// escaped writes the characters of JSON that are no text as \u escapes. Outside strings JSON is ASCII.
func escaped(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); {
		c, n := utf8.DecodeRune(raw[i:])
		switch {
		case c == '\n' || c < utf8.RuneSelf && c != 0x7f, unicode.IsPrint(c):
			out = append(out, raw[i:i+n]...)
		case c > 0xffff:
			a, b := utf16.EncodeRune(c)
			out = fmt.Appendf(out, `\u%04x\u%04x`, a, b)
		default:
			out = fmt.Appendf(out, `\u%04x`, c)
		}
		i += n
	}
	return out
}
