package v1

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

// What the tests of one file send at most, repetitions included: a count with a few digits too many must not keep a build server busy
// for days.
const (
	maxTestRequests = 100_000
	maxTestBodies   = 256 << 20 // bytes, of bodySize
)

// ValidateTests reports everything that is wrong with a file under tests/: the shape of its tests, and what needs more than one field
// to be said. Whether a test fits the configuration, and the configuration the test, is not its business.
func ValidateTests(n *schema.Node, diags *diag.List) {
	w := walker{diags: &diag.List{}}
	w.testFile(n, &loc{index: -1})
	if w.diags.Len() > 0 {
		hideSecrets(w.diags, diags)
	}
}

func (w *walker) testFile(n *schema.Node, root *loc) {
	if CheckAPIVersion(n, []string{APIVersion}, w.diags) == "" && n.Get("apiVersion") != nil {
		return
	}
	file := shapes()["File"]
	for i := range n.Fields {
		f := &n.Fields[i]
		here := &loc{up: root, def: file.Name, name: f.Name, index: -1}
		switch field := file.Map.Field(f.Name); {
		case f.Name == "apiVersion":
		case f.Name == "tests":
			if w.value(field.Shape, f.Value, here) {
				w.tests(f.Value, here)
			}
		case field != nil:
			w.diags.Add(diag.Diagnostic{
				Code: "GW1003", Pos: f.Pos, Width: width(f.Name), Path: here.String(),
				Message: fmt.Sprintf("%s stands in a file under tests/, which takes no part in the configuration", f.Name),
				Hint:    "a file under tests/ holds apiVersion and tests; move it to routes/, upstreams/ or policies/, or to gateway.yaml",
			})
		case closest(f.Name, []string{"apiVersion"}) == "" || n.Get("apiVersion") != nil: // else said already
			w.unknownField(file, n, f, root)
		}
	}
	CheckSecrets(n, root.name, w.diags)
}

// misplacedTests refuses tests in a file of the configuration: nobody would run them.
func (w *walker) misplacedTests(f *schema.Field, here *loc) {
	w.diags.Add(diag.Diagnostic{
		Code: "GW1003", Pos: f.Pos, Width: width(f.Name), Path: here.String(),
		Message: "tests stand in a file of the configuration, where gwctl test does not look for them",
		Hint:    "move them to a file of their own under tests/",
	})
}

// tests judges a list of tests whose shapes are right.
func (w *walker) tests(list *schema.Node, where *loc) {
	seen := map[string]*schema.Node{}
	var requests, bodies int64
	for i, n := range list.Items {
		here := &loc{up: where, index: i}
		name := n.Get("name")
		if first := seen[name.Str]; first != nil {
			d := at("GW2106", name, &loc{up: here, name: "name", index: -1}, "two tests have the name %s", shown(name))
			d.Notes = []diag.Note{{Pos: first.Pos, Message: "the first one is here"}}
			w.diags.Add(d)
		} else {
			seen[name.Str] = name
		}
		w.testMoment(n.Get("at"), &loc{up: here, name: "at", index: -1})
		w.stub(n.Get("upstream"), &loc{up: here, name: "upstream", index: -1})
		steps := n.Get("requests")
		for j, step := range steps.Items {
			asked, sent := requests, bodies
			requests, bodies = requests+timesOf(step), bodies+timesOf(step)*bodySizeOf(step)
			here := &loc{up: &loc{up: here, name: "requests", index: -1}, index: j}
			if requests > maxTestRequests && asked <= maxTestRequests {
				w.tooMuch(step, here, "%d requests, must be at most %d", requests, maxTestRequests)
			}
			if bodies > maxTestBodies && sent <= maxTestBodies {
				w.tooMuch(step, here, "%d bytes of filler, must be at most %d", bodies, maxTestBodies)
			}
			w.step(step, here)
		}
	}
}

func (w *walker) tooMuch(n *schema.Node, where *loc, format string, args ...any) {
	d := at("GW2103", n, where, "up to here the tests of this file send "+format, args...)
	d.Hint = "lower times or bodySize, or spread the tests over several files"
	w.diags.Add(d)
}

func timesOf(step *schema.Node) int64 {
	if n := step.Get("times"); n != nil {
		return n.Int
	}
	return 1
}

func bodySizeOf(step *schema.Node) int64 {
	switch n := step.At("send.bodySize"); {
	case n == nil:
		return 0
	case n.Kind == schema.Int:
		return n.Int
	default:
		size, _ := ParseSize(n.Str) // its shape is right
		return int64(size)
	}
}

// testMoment knows the calendar, which no pattern does.
func (w *walker) testMoment(n *schema.Node, where *loc) {
	if n == nil {
		return
	}
	moment, err := time.Parse(time.RFC3339, n.Str)
	switch year := moment.UTC().Year(); {
	case err != nil:
		d := at("GW2104", n, where, "at is %s, which is no time", shown(n))
		d.Hint = "write a time as in RFC 3339, such as 2026-01-01T12:00:00Z"
		w.diags.Add(d)
	case year < 1970 || year > 2200: // nanoseconds since 1970 end in 2262
		w.diags.Add(at("GW2103", n, where, "at is %s, must be from 1970 to 2200", shown(n)))
	}
}

func (w *walker) step(n *schema.Node, where *loc) {
	send := &loc{up: where, name: "send", index: -1}
	request := n.Get("send")
	w.clientAddress(request.Get("from"), &loc{up: send, name: "from", index: -1})
	w.messageHeaders(request.Get("headers"), &loc{up: send, name: "headers", index: -1}, true)
	w.stub(n.Get("upstream"), &loc{up: where, name: "upstream", index: -1})
	w.either(request, send, "body", "bodySize")
	for _, name := range []string{"token", "signed"} {
		if s := request.Get(name); s != nil {
			here := &loc{up: send, name: name, index: -1}
			w.clientAddress(s.Get("ip"), &loc{up: here, name: "ip", index: -1})
			w.either(s, here, "expiresIn", "expired")
		}
	}
	expect := n.Get("expect")
	at := &loc{up: where, name: "expect", index: -1}
	w.says(expect, at)
	w.contradiction(expect, at)
	if f := expect.Get("forwarded"); f != nil {
		w.says(f, &loc{up: at, name: "forwarded", index: -1})
		w.contradiction(f, &loc{up: at, name: "forwarded", index: -1})
	}
	w.unreached(expect, at)
}

// stub judges what the servers answer.
func (w *walker) stub(n *schema.Node, where *loc) {
	if n == nil {
		return
	}
	w.messageHeaders(n.Get("headers"), &loc{up: where, name: "headers", index: -1}, false)
	for _, name := range []string{"status", "headers", "body"} {
		w.either(n, where, name, "fails")
	}
}

// either refuses two fields that say contradictory things.
func (w *walker) either(n *schema.Node, where *loc, a, b string) {
	first, second := n.Field(a), n.Field(b)
	if first == nil || second == nil {
		return
	}
	if second.Pos.Compare(first.Pos) < 0 {
		first, second = second, first
	}
	w.diags.Add(diag.Diagnostic{
		Code: "GW3040", Pos: second.Pos, Width: width(second.Name), Path: (&loc{up: where, name: second.Name, index: -1}).String(),
		Message: fmt.Sprintf("%s has both %s and %s, which exclude each other", where.short(), a, b),
		Notes:   []diag.Note{{Pos: first.Pos, Message: first.Name + " is here"}}, Hint: "drop one of the two",
	})
}

func (w *walker) clientAddress(n *schema.Node, where *loc) {
	if n == nil {
		return
	}
	if a, err := netip.ParseAddr(n.Str); err != nil || a.Zone() != "" {
		w.diags.Add(at("GW2123", n, where, "%s is %s, must be an IP address", where.short(), shown(n)))
	}
}

// messageHeaders refuses fields that the tester writes itself, and one name in two spellings: a map has no order.
func (w *walker) messageHeaders(n *schema.Node, where *loc, request bool) {
	if n == nil {
		return
	}
	seen := map[string]*schema.Field{}
	for i := range n.Fields {
		f := &n.Fields[i]
		lower := strings.ToLower(f.Name)
		d := diag.Diagnostic{Pos: f.Pos, Width: width(f.Name), Path: (&loc{up: where, name: f.Name, index: -1}).String()}
		switch first := seen[lower]; {
		case first != nil:
			d.Code = "GW2106"
			d.Message = fmt.Sprintf("header %s is given twice, names do not differ by case", quoted(f.Name))
			d.Notes = []diag.Note{{Pos: first.Pos, Message: "the first one is here"}}
		case request && lower == "host":
			d.Code = "GW2127"
			d.Message = "the header Host cannot be given here"
			d.Hint = "write the host in url"
		case slices.Contains(framingHeaders(), lower):
			d.Code = "GW2127"
			d.Message = fmt.Sprintf("the header %s cannot be given here: it follows from the body", quoted(f.Name))
		default:
			seen[lower] = f
			continue
		}
		w.diags.Add(d)
	}
}

// framingHeaders say where a message ends, or ask the other side to wait; a test has the one way of sending there is.
func framingHeaders() []string {
	return []string{"content-length", "transfer-encoding", "expect", "connection", "upgrade", "keep-alive", "te", "trailer"}
}

// says wants an expectation to say something: an empty one passes whatever happens.
func (w *walker) says(n *schema.Node, where *loc) {
	if len(n.Fields) == 0 {
		d := at("GW2032", n, where, "%s is empty: a test that expects nothing shows nothing", where.short())
		d.Hint = knownFields(shapes()[map[string]string{"expect": "TestExpectation", "forwarded": "TestForwarded"}[where.name]])
		w.diags.Add(d)
	}
}

// contradiction finds a header that shall be there and shall not.
func (w *walker) contradiction(n *schema.Node, where *loc) {
	headers, absent := n.Get("headers"), n.Get("absent")
	if headers == nil || absent == nil {
		return
	}
	for i, item := range absent.Items {
		for j := range headers.Fields {
			if f := &headers.Fields[j]; strings.EqualFold(f.Name, item.Str) {
				d := at("GW3040", item, &loc{up: &loc{up: where, name: "absent", index: -1}, index: i}, "%s stands in headers and in absent", shown(item))
				d.Notes = []diag.Note{{Pos: f.Pos, Message: "it is expected here"}}
				d.Hint = "drop one of the two"
				w.diags.Add(d)
			}
		}
	}
}

// unreached finds expectations of what reaches an upstream beside one that nothing does.
func (w *walker) unreached(n *schema.Node, where *loc) {
	if reached := n.Get("reached"); reached != nil && !reached.Bool {
		w.either(n, where, "forwarded", "reached")
		w.either(n, where, "upstream", "reached")
	}
}
