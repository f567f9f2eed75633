package v1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v5"

	"github.com/suuupra/gateway/schema"
)

// Verdict says whether the JSON Schema accepts n as a complete object of a definition, "File" included. It is what editors
// and other tools see; Validate comes to the same verdict with positions and in less time, and a test holds it to this one.
// One difference is known: JSON Schema takes 1.0 for a whole number, Validate does not.
func Verdict(def string, n *schema.Node) error {
	s := compiled()[def]
	if s == nil {
		return fmt.Errorf("no definition %q", def)
	}
	return s.Validate(n.Any())
}

// compiled holds the schema of each definition. Nothing is ever loaded from elsewhere.
var compiled = sync.OnceValue(func() map[string]*jsonschema.Schema {
	const url = "https://gateway.suuupra.dev/schema/v1.json"
	c := jsonschema.NewCompiler()
	c.Draft = jsonschema.Draft2020
	c.LoadURL = func(string) (io.ReadCloser, error) { return nil, errors.New("schemas are not loaded from elsewhere") }
	if err := c.AddResource(url, bytes.NewReader(jsonSchema)); err != nil {
		panic("v1: embedded schema: " + err.Error())
	}
	out := map[string]*jsonschema.Schema{}
	for name := range shapes() {
		at := url + "#/$defs/" + name
		if name == "File" {
			at = url
		}
		out[name] = c.MustCompile(at)
	}
	return out
})
