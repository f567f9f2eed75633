package live

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/suuupra/gateway/compiler/kubernetes"
	"github.com/suuupra/gateway/internal/gitclone"
	"github.com/suuupra/gateway/internal/gitsend"
)

// Verdict is what a compiler says about a commit.
type Verdict struct {
	Mistakes []Mistake // the first of them; none: it compiles, with every environment
	Text     string    // for people, where no mistake says more
}

// Mistake is one thing that is wrong.
type Mistake struct {
	Files []string // that take part, the one to mend first
	Text  string
}

const (
	pushAttempts  = 5  // while others push
	checkAttempts = 16 // while files that do not compile are left out, one by one at worst
)

// branch keeps the files of a live source in a branch. Everything else in it is other people's.
type branch struct {
	clone          *gitclone.Clone
	folder, source string
	check          func(context.Context, string) (Verdict, error)
	confirm        time.Duration
	now            func() time.Time
	log            *slog.Logger

	read  map[string]map[string][]byte // files by commit, of the two commits that were read last
	doubt *doubt
	last  string   // head and wish that came to nothing
	so    *outcome // what came of them
}

// doubt is a removal that has to be seen again.
type doubt struct {
	removed string
	since   time.Time
}

// outcome says what became of a wish.
type outcome struct {
	head     gitclone.Head
	commit   string            // that was pushed
	kept     map[string]string // files that are somebody else's: why
	failed   map[string]string // files that do not compile, and stay as they were: what is wrong
	invalid  bool              // the repository does not compile, for which no file of ours is to blame
	guarded  bool
	unpushed string // why nothing was pushed
	wish     *wish
}

// ownerOf names the object that a file comes from.
func (o *outcome) ownerOf(path string) string {
	if ref, ok := o.wish.owners[path]; ok {
		return ref.String()
	}
	return "-"
}

// listenersFile holds the listeners; where people have written it, they say what is listened on.
const listenersFile = "gateway.yaml"

// keptWanted are the files that are wanted otherwise and left as they are, but for that of the listeners, which most repositories have of
// their own.
func (o *outcome) keptWanted() []string {
	return slices.DeleteFunc(slices.Collect(maps.Keys(o.kept)), func(name string) bool { return name == listenersFile || o.wish.files[name] == nil })
}

// bring makes the branch hold what is wished for, as far as that compiles.
func (b *branch) bring(ctx context.Context, w *wish) (*outcome, error) {
	var refused *gitsend.Refused
	last := ""
	for range pushAttempts {
		head, err := b.clone.Fetch(ctx)
		switch {
		case err != nil:
			return nil, err
		case !head.IsBranch():
			return nil, errNoBranch
		case refused != nil && head.Commit == last: // nobody was faster: it has another reason, such as a protected branch
			return nil, fmt.Errorf("push: %w", refused)
		}
		last = head.Commit
		o, draft, err := b.prepare(ctx, head, w)
		if err != nil || draft == nil {
			return o, err
		}
		err = b.clone.Push(ctx, draft)
		switch {
		case err == nil:
			b.doubt = nil
			o.commit, o.head.Commit = draft.Commit, draft.Commit
			b.log.Info("translation pushed", "commit", draft.Commit, "files", len(o.wish.edits))
			return o, nil
		case errors.As(err, &refused), errors.Is(err, gitsend.ErrMoved):
			b.log.Info("somebody else pushed first", "head", head.Commit)
		default:
			return nil, err
		}
	}
	return nil, errors.New("push: the branch moves faster than it can be followed")
}

// prepare writes the commit that follows a head; nil if there is none to push.
func (b *branch) prepare(ctx context.Context, head gitclone.Head, w *wish) (*outcome, *gitclone.Draft, error) {
	have, err := b.files(head.Commit)
	if err != nil {
		return nil, nil, err
	}
	o := &outcome{head: head, kept: map[string]string{}, failed: map[string]string{}, wish: w}
	w.edits = b.edits(have, w, o.kept)
	if len(w.edits) == 0 {
		b.doubt = nil
		return o, nil, nil
	}
	if b.guard(have, w) {
		o.guarded = true
		o.unpushed = fmt.Sprintf("more than half of the routes would go at once; the list of objects must say so again in %s", b.confirm)
		return o, nil, nil
	}
	key := head.Commit + " " + w.digest()
	if key == b.last {
		so := *b.so
		so.wish = w
		return &so, nil, nil
	}
	draft, err := b.compiled(ctx, head, w, o)
	if err == nil && draft == nil {
		b.last, b.so = key, o
	}
	return o, draft, err
}

// compiled drafts the commit, and leaves out what does not compile: the mistake of one namespace must not stop the others.
func (b *branch) compiled(ctx context.Context, head gitclone.Head, w *wish, o *outcome) (*gitclone.Draft, error) {
	for range checkAttempts {
		draft, err := b.clone.Draft(head, b.folder, w.edits, w.message(), gitclone.Author{Name: "gwctl translate", Email: "gwctl@localhost"}, b.now())
		if err != nil {
			return nil, err
		}
		v, err := b.check(ctx, draft.Commit)
		if err != nil {
			return nil, fmt.Errorf("compile the translation: %w", err)
		}
		if len(v.Mistakes) == 0 && v.Text == "" {
			return draft, nil
		}
		if !o.blame(v.Mistakes) && !o.spareUpstreams(v.first()) && !o.spareRoutes(v.first()) {
			o.invalid = true
			o.unpushed = "the repository does not compile with it: " + v.first()
			return nil, nil
		}
		if len(w.edits) == 0 {
			return nil, nil
		}
	}
	o.invalid = true
	o.unpushed = "the repository does not compile with it, and leaving out what is to blame does not end"
	return nil, nil
}

// blame leaves out the files that mistakes are about, and reports whether there are any.
func (o *outcome) blame(mistakes []Mistake) (found bool) {
	for _, m := range mistakes {
		i := slices.IndexFunc(m.Files, func(f string) bool { _, edited := o.wish.edits[f]; return edited || o.failed[f] != "" })
		if i < 0 {
			continue
		}
		if f := m.Files[i]; o.failed[f] == "" {
			o.failed[f], found = m.Text, true
			delete(o.wish.edits, f)
		}
	}
	return found
}

// spareUpstreams leaves upstreams where they are that no route of ours needs any more: other people's files may still say something about
// them, and that must not keep a route alive whose object is gone.
func (o *outcome) spareUpstreams(mistake string) (found bool) {
	for f, data := range o.wish.edits {
		if data == nil && !isRoutes(f) {
			o.kept[f], found = "the repository does not compile without it: "+mistake, true
			delete(o.wish.edits, f)
		}
	}
	return found
}

// spareRoutes is the same for routes of objects that are gone, such as one that a patch of an environment still names: it must not stop
// what others change.
func (o *outcome) spareRoutes(mistake string) (found bool) {
	for f, data := range o.wish.edits {
		if data == nil {
			o.failed[f], found = "its object is gone, and the repository does not compile without it: "+mistake, true
			delete(o.wish.edits, f)
		}
	}
	return found
}

func (v *Verdict) first() string {
	if len(v.Mistakes) > 0 {
		return v.Mistakes[0].Text
	}
	return v.Text
}

// config reports whether a file may be one of a live source.
func config(name string) bool {
	if path.Ext(name) != ".yaml" {
		return false
	}
	top, _, _ := strings.Cut(name, "/")
	return name == listenersFile || top == "routes" || top == "upstreams" || top == "tenants"
}

// files reads what a commit holds. Two commits are kept: the head, and the one that is published.
func (b *branch) files(commit string) (map[string][]byte, error) {
	if have, ok := b.read[commit]; ok {
		return have, nil
	}
	have, err := b.clone.Files(commit, b.folder, config)
	if err != nil {
		return nil, err
	}
	if b.read == nil || len(b.read) > 1 {
		b.read = map[string]map[string][]byte{}
	}
	b.read[commit] = have
	return have, nil
}

// edits are what makes a head like a wish. What people have written, or changed, stays, and is in kept.
func (b *branch) edits(have map[string][]byte, w *wish, kept map[string]string) map[string][]byte {
	out := map[string][]byte{}
	for name, data := range w.files {
		old, there := have[name]
		source, own := kubernetes.Writer(old)
		switch {
		case w.held[name] || there && bytes.Equal(old, data):
		case there && !own:
			kept[name] = "it was not written by gwctl translate, or somebody has changed it since"
		case there && source != "" && source != b.source:
			kept[name] = fmt.Sprintf("it was written by another live source (%s)", source)
		default:
			out[name] = data
		}
	}
	for name, old := range have {
		if source, own := kubernetes.Writer(old); own && source == b.source && w.files[name] == nil && !w.held[name] {
			out[name] = nil
		}
	}
	return out
}

// guard reports whether a removal has to be seen again before it is believed. An API server that lists nothing, or an account that
// lost a right, looks as if all objects were gone.
func (b *branch) guard(have map[string][]byte, w *wish) bool {
	before, after := map[string]bool{}, map[string]bool{}
	for name, data := range have {
		if source, own := kubernetes.Writer(data); !own || source != b.source {
			continue
		}
		_, edited := w.edits[name]
		for _, id := range routeIDs(data) {
			before[id] = true
			after[id] = after[id] || !edited
		}
	}
	for _, data := range w.edits {
		for _, id := range routeIDs(data) {
			after[id] = true
		}
	}
	all := len(before)
	maps.DeleteFunc(before, func(id string, _ bool) bool { return after[id] })
	if len(before)*2 <= all {
		b.doubt = nil
		return false
	}
	removed := strings.Join(slices.Sorted(maps.Keys(before)), " ")
	if b.doubt == nil || b.doubt.removed != removed {
		b.doubt = &doubt{removed, b.now()}
		b.log.Warn("more than half of the routes would go", "routes", len(before), "of", all, "confirm", b.confirm)
	}
	return b.now().Sub(b.doubt.since) < b.confirm
}

// routeIDs are the ids of the routes in a file that translate wrote.
func routeIDs(data []byte) []string {
	var f struct {
		Routes []struct {
			ID string `yaml:"id"`
		} `yaml:"routes"`
	}
	if yaml.Unmarshal(data, &f) != nil {
		return nil // its digest is right, so that nobody but a defect of ours wrote it
	}
	var out []string
	for _, r := range f.Routes {
		out = append(out, r.ID)
	}
	return out
}

// digest tells wishes apart.
func (w *wish) digest() string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(w.edits)) {
		fmt.Fprintf(h, "%s\x00%t\x00%d\x00", name, w.edits[name] == nil, len(w.edits[name]))
		h.Write(w.edits[name])
	}
	return hex.EncodeToString(h.Sum(nil))
}
