package load

import (
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/suuupra/gateway/schema/diag"
)

// keepers are files git itself is told things by; they hold no config and may lie anywhere.
var keepers = map[string]bool{".gitkeep": true, ".keep": true, ".gitignore": true, ".gitattributes": true}

// checkName looks at the last part of p. It reports skip for droppings of git, editors and desktops, and ok if the entry
// may be read.
func (w *walker) checkName(p string, e entry) (skip, ok bool) {
	if keepers[e.name] || dropping(e.name) {
		return true, true
	}
	if bad := badRune(e.name); bad != "" {
		w.hint("GW1009", printable(p), "rename it", "the name %q %s", e.name, bad)
		return false, false
	}
	if gitTwin(e.name) {
		w.hint("GW1009", p, "remove it", "%q is what git calls its own folder on some file systems", e.name)
		return false, false
	}
	if strings.HasPrefix(e.name, ".") {
		w.hint("GW1009", p, "rename it, or name it in .gwignore", "hidden files are not read")
		return false, false
	}
	folded := foldCase(p)
	if other, dup := w.folded[folded]; dup && other != p {
		w.diags.Add(diag.Diagnostic{
			Code: "GW1010", Pos: filePos(p),
			Message: fmt.Sprintf("%q and %q are the same name where case does not count", other, p),
			Notes:   []diag.Note{{Pos: filePos(other), Message: "the other one"}},
			Hint:    "rename one of them: on macOS and Windows only one can be checked out",
		})
		return false, false
	}
	w.folded[folded] = p
	return false, true
}

func filePos(p string) diag.Pos {
	if p == "" {
		p = "."
	}
	return diag.Pos{File: p}
}

// dropping reports whether a hidden file is one editors and desktops leave behind.
func dropping(name string) bool {
	return name == ".DS_Store" || strings.HasPrefix(name, ".#") ||
		strings.HasPrefix(name, ".") && len(path.Ext(name)) == 4 && strings.HasPrefix(path.Ext(name), ".sw")
}

// badRune says why a name cannot be shown safely or checked out everywhere, or returns "".
func badRune(name string) string {
	if !utf8.ValidString(name) {
		return "is not UTF-8"
	}
	for _, r := range name {
		switch {
		case r == '\\' || r == ':' || r == '*' || r == '?' || r == '"' || r == '<' || r == '>' || r == '|':
			return fmt.Sprintf("holds %q, which not every file system can store", r)
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == 0x2028 || r == 0x2029:
			return fmt.Sprintf("holds the invisible character %U", r)
		}
	}
	return ""
}

// gitTwin reports whether a file system may take name for ".git" (CVE-2014-9390, CVE-2019-1352).
func gitTwin(name string) bool {
	name = strings.ToLower(strings.TrimRight(name, ". "))
	return name == ".git" || name == "git~1"
}

// printable replaces what is not UTF-8 in a path.
func printable(p string) string { return strings.ToValidUTF8(p, "\uFFFD") }

// foldCase maps names that some file system takes for the same one to the same string.
func foldCase(p string) string { return strings.ToLower(strings.ToUpper(norm.NFC.String(p))) }
