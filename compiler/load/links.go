package load

import (
	"errors"
	"path"
	"slices"
	"strings"
)

// maxLinks bounds a chain of links.
const maxLinks = 8

// follow resolves the symbolic link at p by its text alone, the same way on disk and in git. A link may name a regular
// file of this repository. One that leaves it would let a commit read the machine that compiles it; one that names a
// folder, or passes through another link on the way, would give files a second path and a second layer.
func (w *walker) follow(p string, e entry) (target entry, at string, ok bool, err error) {
	at = p
	target = e
	for range maxLinks {
		text, err := w.src.target(at, target)
		if err != nil {
			return entry{}, "", false, err
		}
		next := path.Join(path.Dir(at), text)
		if text == "" || path.IsAbs(text) || strings.ContainsAny(text, "\\:\x00") || next == ".." || strings.HasPrefix(next, "../") ||
			slices.ContainsFunc(strings.Split(next, "/"), gitTwin) {
			w.hint("GW1007", p, "copy the file", "the link leaves the config repository: it points to %q", text)
			return entry{}, "", false, nil
		}
		found, why, err := w.find(next)
		if err != nil {
			return entry{}, "", false, err
		}
		if why != "" {
			w.hint("GW1008", p, "link to a file of this repository, or copy it", "the link points to %q, %s", text, why)
			return entry{}, "", false, nil
		}
		at, target = next, found
		if target.kind == file {
			return target, at, true, nil
		}
	}
	w.hint("GW1008", p, "link to the file itself", "the link leads through more than %d others", maxLinks)
	return entry{}, "", false, nil
}

// find looks a path up part by part, following no link. It says why the result cannot be linked to.
func (w *walker) find(p string) (found entry, why string, err error) {
	dir := "."
	parts := strings.Split(p, "/")
	for i, name := range parts {
		entries, ok := w.listed[dir]
		if !ok {
			entries, err = w.src.list(dir)
			if errors.Is(err, errTooMany) {
				return entry{}, "which lies in a folder with too many files", nil
			} else if err != nil {
				return entry{}, "", err
			}
			w.listed[dir] = entries
		}
		at := slices.IndexFunc(entries, func(e entry) bool { return e.name == name })
		if at < 0 {
			return entry{}, "which does not exist", nil
		}
		found = entries[at]
		last := i == len(parts)-1
		switch {
		case last && (found.kind == file || found.kind == link):
			return found, "", nil
		case last && found.kind == folder:
			return entry{}, "which is a folder", nil
		case found.kind == folder:
			dir = path.Join(dir, name)
		case !last && found.kind == link:
			return entry{}, "which leads through another link", nil
		default:
			return entry{}, "which is not a regular file", nil
		}
	}
	return entry{}, "which is a folder", nil
}
