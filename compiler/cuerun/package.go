package cuerun

import (
	"bytes"
	"regexp"
)

var packageLine = regexp.MustCompile(`^package[ \t]+([\pL_$][\pL\pN_$]*)[ \t]*(?:[;/].*)?$`)

// packageClause returns the name in the package clause of a file, "" if there is none or it is the anonymous one. It reads
// line by line what comes before anything else: this process does not run CUE's parser on what people write.
func packageClause(text []byte) string {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || bytes.HasPrefix(line, []byte("//")) || line[0] == '@' {
			continue
		}
		if m := packageLine.FindSubmatch(line); m != nil && string(m[1]) != "_" {
			return string(m[1])
		}
		return ""
	}
	return ""
}
