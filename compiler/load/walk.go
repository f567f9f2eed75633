package load

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/gitignore"

	"github.com/suuupra/gateway/compiler/yamlpos"
	"github.com/suuupra/gateway/schema/diag"
)

// maxDirs bounds how deep folders may lie in one another.
const maxDirs = 32

// kind is what an entry of a folder is.
type kind uint8

const (
	file kind = iota
	folder
	link
	submodule
	special // a device, a socket, a pipe
)

// entry is one name in a folder.
type entry struct {
	name string
	kind kind
	size int64
	hash plumbing.Hash // of the blob; zero on disk
}

// source is where a config repository lies. Paths are slash-separated and relative to its root, which is ".".
type source interface {
	// list returns the entries of a folder, or an error that is errTooMany if it holds more than MaxFiles.
	list(dir string) ([]entry, error)
	// read returns the content of a regular file of at most yamlpos.MaxBytes, or errTooLarge.
	read(path string, e entry) ([]byte, error)
	// target returns what a symbolic link says.
	target(path string, e entry) (string, error)
}

var (
	errTooMany  = errors.New("too many files")
	errTooLarge = errors.New("file too large")
	errStop     = errors.New("stop") // a limit of the whole repository was reported
)

// walker applies the rules of the config repository to a source.
type walker struct {
	ctx      context.Context
	src      source
	diags    *diag.List
	listOnly bool // record the hashes of config files instead of reading them

	ignore     gitignore.Matcher
	ignoreFile []byte // content of .gwignore
	files      []RawFile
	tests      []RawFile
	hashes     map[string]plumbing.Hash // listOnly: blob of each config file
	seen       int                      // files met, also ones that are not read
	bytes      int64
	folded     map[string]string  // names as a file system that ignores case sees them
	listed     map[string][]entry // folders looked at while following links
}

// walk reads everything.
func (w *walker) walk() error {
	w.folded, w.listed, w.hashes = map[string]string{}, map[string][]entry{}, map[string]plumbing.Hash{}
	top, err := w.src.list(".")
	if errors.Is(err, errTooMany) {
		w.errorf("GW1006", "", "the folder holds more than %d files", MaxFiles)
		return nil
	} else if err != nil {
		return err
	}
	if err := w.readIgnore(top); err != nil {
		return err
	}
	for _, e := range top {
		if err := w.top(e); errors.Is(err, errStop) {
			return nil
		} else if err != nil {
			return err
		}
	}
	w.oneGatewayFile()
	return nil
}

func (w *walker) readIgnore(top []entry) error {
	i := slices.IndexFunc(top, func(e entry) bool { return e.name == ".gwignore" && e.kind == file })
	w.ignore = gitignore.NewMatcher(nil)
	if i < 0 {
		return nil
	}
	data, err := w.src.read(".gwignore", top[i])
	if errors.Is(err, errTooLarge) {
		w.tooLarge(".gwignore", top[i].size)
		return nil
	} else if err != nil {
		return err
	}
	w.ignoreFile = data
	var patterns []gitignore.Pattern
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "#") {
			patterns = append(patterns, gitignore.ParsePattern(line, nil))
		}
	}
	w.ignore = gitignore.NewMatcher(patterns)
	return nil
}

// ignored reports whether .gwignore names p.
func (w *walker) ignored(p string, e entry) bool {
	return w.ignore.Match(strings.Split(p, "/"), e.kind == folder)
}

// top handles one entry of the root. Outside the known folders nothing is read, but what looks like config that lies in
// the wrong place is an error.
func (w *walker) top(e entry) error {
	switch {
	case w.ignored(e.name, e):
		return nil
	case slices.Contains(folders, e.name):
		return w.entry(e.name, e, 1)
	case strings.TrimSuffix(e.name, path.Ext(e.name)) == "gateway" && taken(e.name):
		return w.entry(e.name, e, 1)
	case strings.HasPrefix(e.name, "."), slices.Contains(bystanders, e.name):
		return nil
	case e.kind == folder:
		return w.misspelt(e)
	case taken(strings.ToLower(e.name)):
		w.strayAtRoot(e.name)
	}
	return nil
}

func (w *walker) strayAtRoot(name string) {
	d := diag.Diagnostic{
		Code: "GW1003", Pos: filePos(name),
		Message: "no loader takes this file: at the root only gateway.yaml is read",
		Hint:    "move it into one of " + strings.Join(folders, "/, ") + "/, or name it in .gwignore",
	}
	stem := strings.ToLower(strings.TrimSuffix(name, path.Ext(name)))
	if diag.Suggest(stem, []string{"gateway"}) != "" {
		d.Hint = fmt.Sprintf("did you mean %q?", "gateway"+strings.ToLower(path.Ext(name)))
	} else if like := folderLike(stem); like != "" {
		d.Hint = fmt.Sprintf("move it to %s/%s, or name it in .gwignore", like, name)
	}
	w.diags.Add(d)
}

// folderLike returns the known folder somebody may have meant by name, or "".
func folderLike(name string) string {
	name = strings.ToLower(name)
	if n := nicknames[name]; n != "" {
		return n
	}
	return diag.Suggest(name, folders)
}

// misspelt reports a folder that is nearly a known one and holds config.
func (w *walker) misspelt(e entry) error {
	like := folderLike(e.name)
	if like == "" {
		return nil
	}
	first, err := w.firstConfig(e.name, 4)
	if err != nil || first == "" {
		return err
	}
	w.diags.Add(diag.Diagnostic{
		Code: "GW1004", Pos: filePos(first),
		Message: fmt.Sprintf("no loader reads the folder %q", e.name+"/"),
		Hint:    fmt.Sprintf("did you mean %q? otherwise name it in .gwignore", like+"/"),
	})
	return nil
}

// firstConfig finds a file that looks like config, at most depth folders down.
func (w *walker) firstConfig(dir string, depth int) (string, error) {
	entries, err := w.src.list(dir)
	if errors.Is(err, errTooMany) {
		return dir, nil
	} else if err != nil {
		return "", err
	}
	for _, e := range entries {
		p := dir + "/" + e.name
		switch {
		case strings.HasPrefix(e.name, "."), w.ignored(p, e):
		case e.kind == file && taken(strings.ToLower(e.name)):
			return p, nil
		case e.kind == folder && depth > 1:
			if found, err := w.firstConfig(p, depth-1); found != "" || err != nil {
				return found, err
			}
		}
	}
	return "", nil
}

// entry handles one entry at or below a known folder.
func (w *walker) entry(p string, e entry, depth int) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if skip, ok := w.checkName(p, e); skip || !ok {
		return nil
	}
	switch e.kind {
	case folder:
		return w.folder(p, depth)
	case submodule:
		w.hint("GW1013", p, "commit the files themselves", "a submodule is not part of this repository's content, its files are not read")
	case special:
		w.hint("GW1008", p, "remove it, or name it in .gwignore", "not a regular file")
	case link:
		target, at, ok, err := w.follow(p, e)
		if err != nil || !ok {
			return err
		}
		return w.file(p, target, at)
	default:
		return w.file(p, e, p)
	}
	return nil
}

func (w *walker) folder(p string, depth int) error {
	if slices.Contains(extensionsAndGateway, p) {
		w.hint("GW1002", p, "a folder cannot be called like a config file", "expected a file")
		return nil
	}
	if depth > maxDirs {
		w.errorf("GW1006", p, "folders lie more than %d deep in one another", maxDirs)
		return nil
	}
	entries, err := w.src.list(p)
	if errors.Is(err, errTooMany) {
		w.errorf("GW1006", p, "the folder holds more than %d files", MaxFiles)
		return errStop
	} else if err != nil {
		return err
	}
	for _, e := range entries {
		if child := p + "/" + e.name; !w.ignored(child, e) {
			if err := w.entry(child, e, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

var extensionsAndGateway = []string{"gateway.yaml", "gateway.yml", "gateway.json", "gateway.cue"}

// file takes the regular file e, which lies at at, as p. They differ if p is a link.
func (w *walker) file(p string, e entry, at string) error {
	test := strings.HasPrefix(p, "tests/")
	if !test && !w.accepts(p) {
		return nil
	}
	if w.seen++; w.seen > MaxFiles {
		w.errorf("GW1006", p, "the repository holds more than %d files", MaxFiles)
		return errStop
	}
	if w.listOnly {
		if !test {
			w.hashes[p] = e.hash
		}
		return nil
	}
	data, err := w.src.read(at, e)
	if errors.Is(err, errTooLarge) {
		w.tooLarge(p, e.size)
		return nil
	} else if err != nil {
		return err
	}
	if w.bytes += int64(len(data)); w.bytes > MaxTotal {
		w.errorf("GW1006", p, "the repository holds more than %d bytes", MaxTotal)
		return errStop
	}
	f := RawFile{Path: p, Data: data, Digest: sha256.Sum256(data), Layer: LayerOf(p)}
	if test {
		w.tests = append(w.tests, f)
	} else {
		w.files = append(w.files, f)
	}
	return nil
}

// accepts reports whether a config file may be called p, and says what is wrong if not.
func (w *walker) accepts(p string) bool {
	name := path.Base(p)
	if !taken(name) {
		hint := "rename it to end in .yaml, .yml, .json or .cue, or name it in .gwignore"
		if lower := strings.ToLower(name); taken(lower) {
			hint = fmt.Sprintf("rename it to %q: endings are lower case", lower)
		}
		w.hint("GW1002", p, hint, "no loader takes this file")
		return false
	}
	if message, hint := misplaced(p); message != "" {
		w.hint("GW1003", p, hint, "%s", message)
		return false
	}
	l := LayerOf(p)
	for what, name := range map[string]string{"environment": l.Environment, "tenant": l.Tenant} {
		if name != "" && !layerName.MatchString(name) {
			w.hint("GW1011", p, "use lower-case letters, digits, - and _", "%q cannot be the name of %s", name, article(what))
			return false
		}
	}
	return true
}

func article(word string) string {
	if word == "environment" {
		return "an " + word
	}
	return "a " + word
}

// oneGatewayFile reports gateway.yaml beside gateway.cue: which one counts must not be a guess.
func (w *walker) oneGatewayFile() {
	var found []string
	for _, f := range w.files {
		if !strings.Contains(f.Path, "/") {
			found = append(found, f.Path)
		}
	}
	for _, p := range found[min(1, len(found)):] {
		w.diags.Add(diag.Diagnostic{
			Code: "GW1012", Pos: filePos(p), Message: fmt.Sprintf("both %s and %s are present", found[0], p),
			Notes: []diag.Note{{Pos: filePos(found[0]), Message: "the other one"}}, Hint: "keep one of them",
		})
	}
}

func (w *walker) complainIfEmpty() {
	if len(w.files) == 0 && !w.diags.HasErrors() {
		w.hint("GW1001", "", "a config repository has a gateway.yaml and files in "+strings.Join(folders[:3], "/, ")+
			"/; is the path right?", "no config file was found")
	}
}

func (w *walker) result() *Tree {
	w.complainIfEmpty()
	byPath := func(a, b RawFile) int { return strings.Compare(a.Path, b.Path) }
	slices.SortFunc(w.files, byPath)
	slices.SortFunc(w.tests, byPath)
	environments, tenants := map[string]bool{}, map[string]bool{}
	for _, f := range w.files {
		environments[f.Layer.Environment], tenants[f.Layer.Tenant] = true, true
	}
	delete(environments, "")
	delete(tenants, "")
	return &Tree{
		Files: w.files, Tests: w.tests,
		Environments: slices.Sorted(maps.Keys(environments)), Tenants: slices.Sorted(maps.Keys(tenants)), Diags: *w.diags,
	}
}

func (w *walker) tooLarge(p string, size int64) {
	w.hint("GW1005", p, "split it: the objects of one kind may be spread over any number of files",
		"the file has %d bytes, at most %d are read", size, yamlpos.MaxBytes)
}

func (w *walker) errorf(code diag.Code, p, format string, args ...any) {
	w.hint(code, p, "", format, args...)
}

func (w *walker) hint(code diag.Code, p, hint, format string, args ...any) {
	w.diags.Add(diag.Diagnostic{Code: code, Pos: filePos(p), Message: fmt.Sprintf(format, args...), Hint: hint})
}
