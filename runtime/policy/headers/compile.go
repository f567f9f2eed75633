package headers

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/suuupra/gateway/internal/facts"
	"github.com/suuupra/gateway/internal/headerfield"
	"github.com/suuupra/gateway/internal/template"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/v1"
)

func compile(c *policy.CompileContext, s *v1.HeaderTransforms) *Plan {
	names := facts.Of(c.Match.Path)
	p := &Plan{
		Request:  (&direction{c, "request", ofRequest, names}).edits(s.Request),
		Response: (&direction{c, "response", ofResponse, names}).edits(s.Response),
	}
	if p.Request == nil && p.Response == nil {
		c.Report(diag.Warning, "GW3041", "", "add remove, set or add to request or response", "headers changes nothing")
		return nil
	}
	return p
}

// direction compiles the edits of requests, or those of responses.
type direction struct {
	*policy.CompileContext
	field     string
	forbidden func(name string) (problem, hint string)
	names     *facts.Names
}

func (d *direction) edits(s *v1.HeaderEdits) *Edits {
	if s == nil {
		return nil
	}
	e := &Edits{Remove: slices.Sorted(slices.Values(s.Remove)), Set: s.Set, Add: s.Add}
	if e.empty() {
		return nil
	}
	set := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(e.Set)) {
		field := d.field + ".set." + name
		d.name(field, name)
		d.value(field, e.Set[name])
		folded := headerfield.Fold(name)
		if other, twice := set[folded]; twice {
			d.Report(diag.Error, "GW3040", field, "keep one of them", "the field %q is set as %q too: many servers take both names for one", name, other)
		}
		set[folded] = name
	}
	for i, name := range s.Remove {
		field := fmt.Sprintf("%s.remove[%d]", d.field, i)
		d.name(field, name)
		if other, twice := set[headerfield.Fold(name)]; twice {
			d.Report(diag.Warning, "GW3041", field, "leave it out of remove",
				"the field %q is set too, in place of those that are there", other)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.Add)) {
		field := d.field + ".add." + name
		d.name(field, name)
		d.value(field, e.Add[name])
	}
	return e
}

func (d *direction) name(field, name string) {
	if problem, hint := d.forbidden(name); problem != "" {
		d.Report(diag.Error, "GW3040", field, hint, "%s", problem)
	}
}

func (d *direction) value(field, text string) {
	t, err := parse(d.names, text)
	if err != nil {
		hint := ""
		if bad, ok := errors.AsType[*template.Error](err); ok {
			hint = bad.Hint
		}
		d.Report(diag.Error, "GW2104", field, hint, "%s", err)
		return
	}
	for _, name := range t.Names() {
		if path, ok := facts.ClaimPath(name); ok && !d.Beside("auth.jwt") {
			d.Report(diag.Error, "GW3042", field, "add auth.jwt", "the claim %s is known only with auth.jwt beside headers", path)
		}
	}
}

var errLiteral = errors.New("the value must be ASCII, without control characters, and without spaces at its ends")

// parse reads the template of a value. What is literal in it must be fit for a field, as what is filled in will be.
func parse(names *facts.Names, text string) (*template.Template, error) {
	t, err := template.Parse(text, names.Check)
	if err != nil {
		return nil, err
	}
	if sample, _ := t.Expand(func(string) (string, bool) { return "x", true }); !headerfield.IsValue(sample) {
		return nil, errLiteral
	}
	return t, nil
}

// ofRequest says why a field of requests cannot be changed, "" if it can, and what to do instead.
func ofRequest(name string) (problem, hint string) {
	switch folded := headerfield.Fold(name); {
	case folded == "host":
		return "Host says whom the request is for, and is written by the gateway itself", "set host of the upstream"
	case httpmsg.IsForwarding(folded):
		return fmt.Sprintf("the field %q is written by the gateway itself, and says where the request came from", name), "use a field of another name"
	}
	return ofResponse(name)
}

// ofResponse is ofRequest for responses.
func ofResponse(name string) (problem, hint string) {
	if headerfield.OfConnection(name) {
		return fmt.Sprintf("the field %q belongs to the connection, which the gateway looks after itself", name), "leave it out"
	}
	return "", ""
}
