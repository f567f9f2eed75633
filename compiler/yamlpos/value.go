package yamlpos

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

// scalar resolves a value that is neither a map nor a list.
func (r *resolver) scalar(n *yaml.Node) (*schema.Node, extent) {
	node := r.newNode()
	node.Kind, node.Str = schema.String, n.Value
	column, width := r.place(n)
	node.Pos, node.Width = r.src.pos(n.Line, column), width

	tagged := n.Style&yaml.TaggedStyle != 0
	switch {
	case tagged && n.Tag != "!!str":
		r.taggedScalar(n, node)
	case n.Style&yaml.DoubleQuotedStyle != 0:
		r.checkEscapes(n, node.Pos)
	case n.Style == 0:
		if n.Tag != "!!str" || mayMean(n.Value) {
			r.plainScalar(n, node)
		}
	}
	return node, extent{nodes: 1, end: column + width}
}

// mayMean reports whether a scalar yaml.v3 takes for a string may still be something else to us or to other parsers.
func mayMean(s string) bool {
	return len(s) <= len("false") || s[0] >= '0' && s[0] <= '9' || s[0] == '-' || s[0] == '+' || s[0] == '.'
}

func (r *resolver) plainScalar(n *yaml.Node, node *schema.Node) {
	p := plain(n.Value)
	if p.code != "" {
		r.report(diag.Diagnostic{Code: p.code, Pos: node.Pos, Width: node.Width, Message: p.message, Hint: p.hint(n.Value)})
	}
	set(node, p)
}

func set(node *schema.Node, p reading) {
	node.Kind, node.Bool, node.Int, node.Float = p.kind, p.b, p.i, p.f
	if p.kind != schema.String {
		node.Str = ""
	}
}

// taggedScalar resolves a scalar with a tag other than !!str, e.g. !!int "5".
func (r *resolver) taggedScalar(n *yaml.Node, node *schema.Node) {
	kinds := map[string]schema.Kind{"!!null": schema.Null, "!!bool": schema.Bool, "!!int": schema.Int, "!!float": schema.Float}
	want, core := kinds[n.Tag]
	if !core {
		r.checkTag(n, "")
		return
	}
	p := plain(n.Value)
	if p.kind == schema.Int && want == schema.Float {
		p.kind, p.f = schema.Float, float64(p.i)
	}
	if p.kind == want || p.code != "" {
		if p.code != "" {
			r.report(diag.Diagnostic{Code: p.code, Pos: node.Pos, Width: node.Width, Message: p.message})
		}
		set(node, p)
		return
	}
	r.report(diag.Diagnostic{
		Code: "GW1109", Pos: node.Pos, Width: node.Width,
		Message: fmt.Sprintf("%q is tagged %s but is %s", n.Value, n.Tag, p.kind), Hint: "remove the tag",
	})
}

// checkTag reports a tag that is not the one the value has anyway.
func (r *resolver) checkTag(n *yaml.Node, own string) {
	if n.Style&yaml.TaggedStyle == 0 || n.Tag == own {
		return
	}
	r.report(diag.Diagnostic{
		Code: "GW1109", Pos: r.src.pos(n.Line, n.Column), Width: utf8.RuneCountInString(n.Tag),
		Message: fmt.Sprintf("the tag %s is not allowed, values are plain data", n.Tag), Hint: "remove the tag",
	})
}

// checkEscapes reports characters an escape puts into a value or a name.
func (r *resolver) checkEscapes(n *yaml.Node, pos diag.Pos) {
	if d, bad := hiddenIn(n.Value); bad {
		d.Pos, d.Width = pos, 1
		r.report(d)
	}
}

// CheckValue reports what Decode would not let a string hold, however it was written: "\x00", "\u202e". Such characters
// end up in logs and headers.
func CheckValue(n *schema.Node, diags *diag.List) {
	if d, bad := hiddenIn(n.Str); bad {
		d.Pos, d.Width = n.Pos, n.Width
		diags.Add(d)
	}
}

func hiddenIn(s string) (diag.Diagnostic, bool) {
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c < 0x7f || c == '\n' || c == '\t' || c == '\r' {
			i++
			continue
		}
		ch, size := utf8.DecodeRuneInString(s[i:])
		if d, bad := hidden(ch, size); bad && d.Code != "GW1024" {
			if d.Code == "GW1021" {
				d.Message = "the value is not UTF-8"
			} else {
				d.Message += ", not even as an escape"
			}
			return d, true
		}
		i += size
	}
	return diag.Diagnostic{}, false
}

// place returns the column at which the value of a scalar starts, past its tag and anchor, and how many runes of that
// line it spans.
func (r *resolver) place(n *yaml.Node) (column, width int) {
	rest := r.src.from(n.Line, n.Column)
	column = n.Column
	if len(rest) > 0 && (rest[0] == '!' || rest[0] == '&') && n.Value != "" {
		skipped := properties(rest)
		if skipped >= len(rest) {
			return column, utf8.RuneCount(rest)
		}
		if n.Style&yaml.TaggedStyle == 0 && bytes.IndexByte(rest[:skipped], '!') >= 0 { // yaml.v3 keeps no trace of it
			r.report(diag.Diagnostic{
				Code: "GW1109", Pos: r.src.pos(n.Line, column), Width: 1,
				Message: "the tag ! is not allowed, values are plain data", Hint: "remove the tag",
			})
		}
		column += utf8.RuneCount(rest[:skipped])
		rest = rest[skipped:]
	}
	switch {
	case n.Style&yaml.DoubleQuotedStyle != 0:
		return column, quotedWidth(rest, '"')
	case n.Style&yaml.SingleQuotedStyle != 0:
		return column, quotedWidth(rest, '\'')
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return column, 1
	case len(rest) >= len(n.Value) && string(rest[:len(n.Value)]) == n.Value:
		if r.src.ascii {
			return column, len(n.Value)
		}
		return column, utf8.RuneCountInString(n.Value)
	}
	return column, utf8.RuneCount(bytes.TrimRight(rest, " \t")) // it goes on in the next line
}

// quotedWidth counts the runes up to and with the closing quote, or to the end of the line.
func quotedWidth(text []byte, quote byte) int {
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '\\' && quote == '"':
			i++
		case text[i] == quote && quote == '\'' && i+1 < len(text) && text[i+1] == quote:
			i++
		case text[i] == quote:
			return utf8.RuneCount(text[:i+1])
		}
	}
	return utf8.RuneCount(bytes.TrimRight(text, " \t"))
}
