package manifest

import (
	"encoding/json"
	"regexp"
	"sort"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/suuupra/gateway/schema/diag"
)

// Bounds on one object, of which etcd itself takes 1.5 MiB, and on all of them. Aliases count as what they stand for, so that a few lines
// cannot ask for all memory there is.
const (
	maxDepth    = 100
	maxNodes    = 200_000
	maxObject   = 4 << 20
	maxAll      = 4 * MaxBytes
	maxAllNodes = 20_000_000
)

// converter writes a node as JSON, and remembers where each value stands.
type converter struct {
	r     *reader
	json  []byte
	ends  []int64 // of the values in json, ascending
	where []*yaml.Node
	nodes int
}

// at is the place of the value that ends at or after an offset in the JSON.
func (c *converter) at(offset int64) diag.Pos {
	i := sort.Search(len(c.ends), func(i int) bool { return c.ends[i] >= offset })
	if i == len(c.ends) {
		i--
	}
	return c.r.pos(c.where[i])
}

func (c *converter) fail(n *yaml.Node, format string, args ...any) bool {
	c.r.diags.Errorf(codeRead, c.r.pos(n), "", format, args...)
	return false
}

// value appends a node. False: it has no form in JSON, and that was reported.
func (c *converter) value(n *yaml.Node, depth int) bool {
	c.nodes++
	switch {
	case c.nodes > maxNodes:
		return c.fail(n, "an object holds more than %d values", maxNodes)
	case len(c.json) > maxObject:
		return c.fail(n, "an object holds more than %d MiB", maxObject>>20)
	case depth > maxDepth:
		return c.fail(n, "values lie in values more than %d deep", maxDepth)
	}
	ok := true
	switch n.Kind {
	case yaml.AliasNode:
		return c.value(n.Alias, depth+1)
	case yaml.MappingNode:
		ok = c.mapping(n, depth)
	case yaml.SequenceNode:
		c.json = append(c.json, '[')
		for i, item := range n.Content {
			if i > 0 {
				c.json = append(c.json, ',')
			}
			if !c.value(item, depth+1) {
				return false
			}
		}
		c.json = append(c.json, ']')
	default:
		ok = c.scalar(n)
	}
	c.ends, c.where = append(c.ends, int64(len(c.json))), append(c.where, n)
	return ok
}

func (c *converter) mapping(n *yaml.Node, depth int) bool {
	seen := map[string]bool{}
	c.json = append(c.json, '{')
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		switch {
		case key.Kind != yaml.ScalarNode:
			return c.fail(key, "a name of a field must be text; a template has to be rendered first, such as with helm template")
		case key.Tag == "!!merge":
			return c.fail(key, "merge keys (<<) are not read: repeat the fields")
		case seen[key.Value]:
			return c.fail(key, "the field %q is there twice", key.Value)
		}
		seen[key.Value] = true
		if i > 0 {
			c.json = append(c.json, ',')
		}
		c.text(key.Value)
		c.json = append(c.json, ':')
		if !c.value(n.Content[i+1], depth+1) {
			return false
		}
	}
	c.json = append(c.json, '}')
	return true
}

// oldTruth is plain text that Kubernetes, which reads YAML 1.1, takes for a truth value, and YAML 1.2 does not.
var oldTruth = regexp.MustCompile(`^(?:[yY]|yes|Yes|YES|[nN]|no|No|NO|on|On|ON|off|Off|OFF)$`)

func (c *converter) scalar(n *yaml.Node) bool {
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0 && n.Tag == "!!str" && oldTruth.MatchString(n.Value) {
		return c.fail(n, "%s without quotes is a truth value to Kubernetes and text to YAML 1.2: write true or false, or put it in quotes", n.Value)
	}
	if n.Tag == "!!str" {
		c.text(n.Value)
		return true
	}
	var v any
	if err := n.Decode(&v); err != nil {
		return c.fail(n, "%q is no value: %s", n.Value, err)
	}
	switch v := v.(type) {
	case string:
		c.text(v)
	case time.Time: // YAML 1.1 has times, JSON does not
		c.text(n.Value)
	case nil, bool, int, int64, uint64, float64:
		data, err := json.Marshal(v)
		if err != nil { // .inf and .nan
			return c.fail(n, "%q is no number", n.Value)
		}
		c.json = append(c.json, data...)
	default:
		return c.fail(n, "%q is no value that JSON has", n.Value)
	}
	return true
}

func (c *converter) text(s string) {
	data, _ := json.Marshal(s) // text always has a form
	c.json = append(c.json, data...)
}
