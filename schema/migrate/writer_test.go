package migrate_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/suuupra/gateway/schema"
)

// writer writes nodes as people write YAML: in both styles, with comments and blank lines wherever they may stand, names in any
// order, and quotes where nobody asked for them.
type writer struct {
	rng      *rand.Rand
	json     bool
	plain    bool // no comments, no oddities
	comments int
	out      strings.Builder
}

func (w *writer) chance(percent int) bool { return !w.plain && w.rng.IntN(100) < percent }

// document writes a file.
func (w *writer) document(root *schema.Node) []byte {
	if w.json {
		w.flow(root, 0, w.chance(70))
		w.out.WriteString("\n")
	} else {
		if w.chance(20) {
			w.note(0)
			w.out.WriteString("\n")
		}
		if w.chance(15) {
			w.out.WriteString("---" + map[bool]string{true: " # begin"}[w.chance(30)] + "\n")
		}
		if w.chance(10) {
			w.flow(root, 0, w.chance(50))
			w.out.WriteString("\n")
		} else {
			w.block(root, 0, false)
		}
		if w.chance(20) {
			w.note(0)
		}
	}
	s := w.out.String()
	if w.chance(10) {
		s = strings.TrimSuffix(s, "\n")
	}
	if w.chance(20) {
		s = strings.ReplaceAll(s, "\n", "\r\n")
	}
	if w.chance(20) {
		s = "\ufeff" + s
	}
	return []byte(s)
}

func pad(n int) string { return strings.Repeat(" ", n) }

// note writes comment lines.
func (w *writer) note(in int) {
	for range 1 + w.rng.IntN(2) {
		w.comments++
		fmt.Fprintf(&w.out, "%s# note %d, with \"quotes\": and {brackets]\n", pad(in), w.comments)
	}
}

// tail ends a line.
func (w *writer) tail() {
	if w.chance(20) {
		w.comments++
		fmt.Fprintf(&w.out, "%s# tail %d", pad(1+w.rng.IntN(3)), w.comments)
	}
	w.out.WriteString("\n")
	if w.chance(8) {
		w.out.WriteString("\n")
	}
}

func (w *writer) fields(n *schema.Node) []schema.Field {
	out := slices.Clone(n.Fields)
	if w.chance(15) {
		w.rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	}
	return out
}

func (w *writer) block(n *schema.Node, in int, inline bool) {
	for i, f := range w.fields(n) {
		if i > 0 || !inline {
			if w.chance(15) {
				w.note(in)
			}
			w.out.WriteString(pad(in))
		}
		w.out.WriteString(w.name(f.Name) + ":")
		w.value(f.Value, in)
	}
}

// value writes what stands behind a name.
func (w *writer) value(v *schema.Node, in int) {
	small := len(v.Items)+len(v.Fields) == 0
	switch {
	case v.Kind != schema.Map && v.Kind != schema.List:
		s := w.scalar(v, in, true)
		if w.out.WriteString(" " + s); strings.HasPrefix(s, "|") { // a comment behind it would be part of it
			w.out.WriteString("\n")
			return
		}
		w.tail()
	case small || w.chance(25):
		w.out.WriteString(" ")
		w.flow(v, in, w.chance(20))
		w.tail()
	case v.Kind == schema.Map:
		w.tail()
		w.block(v, in+2+2*w.rng.IntN(2), false)
	default:
		w.tail()
		w.list(v, in+2*w.rng.IntN(2))
	}
}

func (w *writer) list(n *schema.Node, in int) {
	for _, item := range n.Items {
		if w.chance(15) {
			w.note(in)
		}
		w.out.WriteString(pad(in) + "-")
		switch {
		case item.Kind == schema.Map && len(item.Fields) > 0 && w.chance(10):
			w.tail()
			w.block(item, in+2, false)
		case item.Kind == schema.Map && len(item.Fields) > 0 && !w.chance(20):
			deep := 1 + w.rng.IntN(2)
			w.out.WriteString(pad(deep))
			w.block(item, in+1+deep, true)
		case item.Kind == schema.Map || item.Kind == schema.List:
			w.out.WriteString(" ")
			w.flow(item, in, false)
			w.tail()
		default:
			w.out.WriteString(" " + w.scalar(item, in, false))
			w.tail()
		}
	}
}

func (w *writer) flow(n *schema.Node, in int, lines bool) {
	open, closing := "{", "}"
	if n.Kind == schema.List {
		open, closing = "[", "]"
	}
	w.out.WriteString(open)
	space := map[bool]string{true: " "}[w.chance(60)]
	sep := func(i int) {
		if i > 0 {
			w.out.WriteString(",")
		}
		switch {
		case lines:
			w.out.WriteString("\n" + pad(in+2))
		case i > 0 && (w.plain || w.json || w.chance(95)):
			w.out.WriteString(" ")
		case i > 0:
			w.out.WriteString("  ")
		default:
			w.out.WriteString(space)
		}
	}
	one := func(v *schema.Node) {
		if v.Kind == schema.Map || v.Kind == schema.List {
			w.flow(v, in+2, lines && w.chance(70))
			return
		}
		w.out.WriteString(w.scalar(v, in, false))
	}
	for i, f := range w.fields(n) {
		sep(i)
		w.out.WriteString(w.name(f.Name) + ": ")
		one(f.Value)
	}
	for i, v := range n.Items {
		sep(i)
		one(v)
	}
	if lines && len(n.Items)+len(n.Fields) > 0 {
		w.out.WriteString("\n" + pad(in))
	} else {
		w.out.WriteString(space)
	}
	w.out.WriteString(closing)
}

var safe = regexp.MustCompile(`^[a-zA-Z/$][a-zA-Z0-9_./$-]*$`)

func plainWord(s string) bool {
	return safe.MatchString(s) && !slices.Contains([]string{"yes", "no", "on", "off", "y", "n", "true", "false", "null"}, strings.ToLower(s))
}

func (w *writer) name(s string) string {
	if w.json || !safe.MatchString(s) || w.chance(5) {
		return strconv.Quote(s)
	}
	return s
}

func (w *writer) scalar(n *schema.Node, in int, own bool) string {
	switch n.Kind {
	case schema.Null:
		return "null"
	case schema.Bool:
		return strconv.FormatBool(n.Bool)
	case schema.Int:
		return strconv.FormatInt(n.Int, 10)
	case schema.Float:
		return strconv.FormatFloat(n.Float, 'f', -1, 64)
	}
	quotedText, _ := json.Marshal(n.Str)
	switch {
	case !w.json && own && !strings.HasPrefix(n.Str, "gateway.") && len(n.Str) > 20 && plainWord(n.Str[:1]) && !strings.ContainsAny(n.Str, "\n") && w.chance(50):
		return "|-\n" + pad(in+2) + n.Str // only behind a name, where the line ends
	case !w.json && plainWord(n.Str) && !w.chance(10):
		return n.Str
	case !w.json && !strings.ContainsAny(n.Str, "'\n\\\"") && w.chance(30):
		return "'" + n.Str + "'"
	}
	return string(quotedText)
}
