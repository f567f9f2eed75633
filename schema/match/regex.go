package match

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// maxRegex bounds the text of a pathRegex in bytes; maxRegexProgram bounds what it compiles to, because "x{1000}{9}" is
// short and costs memory and time in every gateway.
const (
	maxRegex        = 1024
	maxRegexProgram = 4096 // instructions

	// maxRegexStates bounds the search for a path that it matches: "(a?){300}" is short, too, and each of its instructions
	// leads to all that follow. Every route with such an expression would cost that several times over.
	maxRegexStates = 20_000
)

// ParseRegex checks a pathRegex (RE2 syntax, matched against the whole normalised path) and compiles it anchored at both
// ends. An expression that no path can match is an error too. The error is a *PatternError.
func ParseRegex(s string) (*regexp.Regexp, error) {
	fail := func(offset int, problem, hint string) (*regexp.Regexp, error) {
		return nil, &PatternError{Field: "pathRegex", Code: CodeRegex, Value: s, Offset: offset, Problem: problem, Hint: hint}
	}
	if len(s) > maxRegex {
		return fail(maxRegex, fmt.Sprintf("a pathRegex has at most %d bytes", maxRegex), "")
	}
	prog, err := compileProgram(s)
	if err != nil {
		problem, offset, hint := err.Error(), 0, "the syntax is RE2: no look-around, no back-references"
		if se, ok := err.(*syntax.Error); ok {
			problem, offset = se.Code.String(), max(strings.Index(s, se.Expr), 0)
			if se.Expr != "" && se.Expr != s {
				problem += fmt.Sprintf(" in %q", se.Expr)
			}
		}
		return fail(offset, problem, hint)
	}
	tooLarge := func() (*regexp.Regexp, error) {
		return fail(0, "is too large once its repetitions are written out", "use fewer or smaller repetition counts")
	}
	if len(prog.Inst) > maxRegexProgram {
		return tooLarge()
	}
	switch w, known := intersect([]*automaton{newAutomaton(prog)}, anyPath{}, maxRegexStates); {
	case !known:
		return tooLarge()
	case w == "":
		hint := `it is matched against the whole path, which starts with "/"`
		return fail(0, "matches no normalised path", hint)
	}
	return regexp.Compile(anchored(s))
}

// anchored makes an expression match whole paths only. The group keeps an alternation together.
func anchored(s string) string { return `\A(?:` + s + `)\z` }

func compileProgram(s string) (*syntax.Prog, error) {
	re, err := syntax.Parse(s, syntax.Perl) // s alone first, so that messages quote what was written
	if err != nil {
		return nil, err
	}
	return syntax.Compile(re.Simplify())
}

// LiteralPrefix returns text that every path matched by a pathRegex starts with. It may be "", and is so for an expression
// that does not parse.
func LiteralPrefix(expr string) string {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return ""
	}
	prefix, _ := literalPrefix(re.Simplify())
	return prefix
}

// literalPrefix returns the text every match starts with, and whether it is all of every match.
func literalPrefix(re *syntax.Regexp) (string, bool) {
	switch re.Op {
	case syntax.OpBeginText, syntax.OpEmptyMatch:
		return "", true
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase != 0 {
			return "", false
		}
		return string(re.Rune), true
	case syntax.OpCapture:
		return literalPrefix(re.Sub[0])
	case syntax.OpPlus:
		prefix, _ := literalPrefix(re.Sub[0])
		return prefix, false
	case syntax.OpConcat:
		var b strings.Builder
		for _, sub := range re.Sub {
			prefix, whole := literalPrefix(sub)
			b.WriteString(prefix)
			if !whole {
				return b.String(), false
			}
		}
		return b.String(), true
	}
	return "", false
}

// wholeLiteral returns the only path an expression matches, if it is a plain literal.
func wholeLiteral(expr string) (string, bool) {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return "", false
	}
	return literalPrefix(re.Simplify())
}
