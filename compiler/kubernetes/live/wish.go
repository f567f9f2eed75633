package live

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/suuupra/gateway/compiler/kubernetes"
)

// maxNamed bounds the objects that a commit message names.
const maxNamed = 50

// wish is what a translation wants a branch to hold.
type wish struct {
	files    map[string][]byte         // every file, by path
	owners   map[string]kubernetes.Ref // the object of each file of routes
	held     map[string]bool           // files of objects that cannot be read: they stay as they are
	versions map[kubernetes.Ref]string // resourceVersions
	edits    map[string][]byte         // what a head lacks of it: nil takes a file away
}

func newWish(r *kubernetes.Result, s *snapshot, source string) (*wish, error) {
	w := &wish{files: map[string][]byte{}, owners: map[string]kubernetes.Ref{}, held: map[string]bool{}, versions: s.versions}
	for i := range r.Files {
		data, err := r.Files[i].Encode(source)
		if err != nil {
			return nil, err
		}
		w.files[r.Files[i].Path] = data
	}
	for i := range r.Routes {
		w.owners[r.Routes[i].File] = r.Routes[i].Object
	}
	for ref := range s.held {
		name := kubernetes.RouteFile(ref)
		w.held[name], w.owners[name] = true, ref
	}
	return w, nil
}

// message says which objects a commit comes from.
func (w *wish) message() string {
	var changed, gone, files []string
	for _, name := range slices.Sorted(maps.Keys(w.edits)) {
		ref, known := w.owners[name]
		switch {
		case known:
			changed = append(changed, fmt.Sprintf("%s, resourceVersion %s", ref, cmp.Or(w.versions[ref], "unknown")))
		case w.edits[name] == nil && isRoutes(name):
			gone = append(gone, fmt.Sprintf("%s: its object is gone, or has no route any more", name))
		default:
			files = append(files, name)
		}
	}
	title := fmt.Sprintf("kubernetes: %d changed, %d gone", len(changed), len(gone))
	if len(changed)+len(gone) == 0 {
		title = "kubernetes: services and listeners"
	}
	lines := slices.Concat(changed, gone, files)
	if n := len(lines) - maxNamed; n > 0 {
		lines = append(lines[:maxNamed], fmt.Sprintf("and %d more", n))
	}
	return title + "\n\n" + strings.Join(lines, "\n") + "\n"
}

// isRoutes reports whether a file is one of routes.
func isRoutes(name string) bool {
	parts := strings.Split(name, "/")
	return parts[0] == "routes" || parts[0] == "tenants" && len(parts) > 2 && parts[2] == "routes"
}

// sortedRefs are the keys of a map, in order.
func sortedRefs[V any](m map[kubernetes.Ref]V) []kubernetes.Ref {
	return slices.SortedFunc(maps.Keys(m), func(a, b kubernetes.Ref) int { return cmp.Compare(a.String(), b.String()) })
}
