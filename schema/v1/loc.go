package v1

import (
	"strconv"
	"strings"

	"github.com/suuupra/gateway/schema"
)

// loc is where a value stands, as a chain up to the object under validation. It becomes text only for a diagnostic.
type loc struct {
	up    *loc
	def   string // the definition whose field this is, "" elsewhere
	name  string // of a field; of the root, the path the caller gave
	index int    // of an element of a list, else -1
}

// String spells the path as the author would: routes[3].matcher.headers["x y"].
func (l *loc) String() string {
	var b strings.Builder
	l.write(&b)
	return b.String()
}

func (l *loc) write(b *strings.Builder) {
	if l.up == nil {
		b.WriteString(l.name)
		return
	}
	l.up.write(b)
	switch {
	case l.index >= 0:
		b.WriteString("[" + strconv.Itoa(l.index) + "]")
	case !plainName(l.name) || len(l.name) > 128:
		b.WriteString("[" + quoted(l.name) + "]")
	default:
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(l.name)
	}
}

// short names the value within a sentence: the last field, with the index below it.
func (l *loc) short() string {
	switch {
	case l.index >= 0 && l.up != nil:
		return l.up.short() + "[" + strconv.Itoa(l.index) + "]"
	case l.up == nil:
		if i := strings.LastIndexByte(l.name, '.'); i >= 0 {
			return l.name[i+1:]
		}
		if l.name == "" {
			return "the file"
		}
	case !plainName(l.name) || len(l.name) > 128:
		return quoted(l.name)
	}
	return l.name
}

func plainName(s string) bool {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-' && r != '$' {
			return false
		}
	}
	return s != ""
}

// object names a struct within a sentence: by its id if it has one, else by its place.
func (l *loc) object(def string, n *schema.Node) string {
	if id := n.Get("id").Text(); id != "" && len(id) <= 128 {
		return lowerFirst(def) + " " + strconv.Quote(id)
	}
	if l.up == nil && l.name == "" && def != "File" {
		return "the " + lowerFirst(def)
	}
	return l.short()
}

func lowerFirst(s string) string {
	if s == "" {
		return "object"
	}
	return strings.ToLower(s[:1]) + s[1:]
}
