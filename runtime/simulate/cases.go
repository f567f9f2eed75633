package simulate

import (
	"fmt"
	"slices"
	"time"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/v1"
)

// Case is one request test: requests and what is expected of them. It is immutable.
type Case struct {
	File string
	Name string
	Pos  diag.Pos // of the name

	spec v1.Test
	node *schema.Node
	at   time.Time // what the clock says at the beginning
}

// Cases reads the tests of files with which v1.ValidateTests has found nothing wrong, in the order in which they stand there.
func Cases(files []schema.File) ([]*Case, error) {
	var out []*Case
	for _, f := range files {
		list := f.Root.Get("tests")
		if list == nil {
			continue
		}
		for i, n := range list.Items {
			c := &Case{File: f.Path, node: n}
			var bad diag.List
			if v1.Decode(n, fmt.Sprintf("tests[%d]", i), &c.spec, &bad); bad.Len() > 0 {
				return nil, fmt.Errorf("%s: %s", bad.Sorted()[0].Pos, bad.Sorted()[0].Message)
			}
			c.spec.ApplyDefaults()
			c.Name, c.Pos = c.spec.Name, n.Get("name").Pos
			var err error
			if c.at, err = time.Parse(time.RFC3339, c.spec.At); err != nil {
				return nil, fmt.Errorf("%s: %w", c.Pos, err)
			}
			out = append(out, c)
		}
	}
	return out, nil
}

// In reports whether the test is for an environment; "" is the base, in which a test is that names no environment.
func (c *Case) In(environment string) bool {
	return len(c.spec.Environments) == 0 || slices.Contains(c.spec.Environments, environment)
}

// place is where a field of the test stands, such as "requests[0].expect.status", or what is around it.
func (c *Case) place(field string) diag.Pos {
	if n := c.node.At(field); n != nil {
		return n.Pos
	}
	return c.Pos
}
