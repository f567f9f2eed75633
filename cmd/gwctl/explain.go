package main

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/cmd/internal/toolchain"
	"github.com/suuupra/gateway/compiler/diff"
	"github.com/suuupra/gateway/runtime/simulate"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/match"
)

var (
	codePattern = regexp.MustCompile(`^GW\d{4}$`)
	urlPattern  = regexp.MustCompile(`^(/|(?i:https?|wss?)://)`)
	// tokenPattern is a token of RFC 9110: a method, or the name of a header.
	tokenPattern = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
	// headingPattern and refusalPattern are what is read of the manual of refusals: where a row stands, and its cells.
	headingPattern = regexp.MustCompile(`^(##+) (.+)$`)
	refusalPattern = regexp.MustCompile("^\\| (\\d{3}) \\| `([a-z0-9_]+)` \\| (.+) \\| (.+) \\|$")
)

// refusalManual is docs/refusals.md, which is out of reach of go:embed; a test holds the copy to it, and make golden renews it.
//
//go:embed refusals.md
var refusalManual string

func newExplain() *cobra.Command {
	var (
		repo              repositoryFlags
		env, path, format string
		headers           []string
	)
	cmd := &cobra.Command{
		Use: "explain METHOD URL | explain CODE", Short: "Say which route takes a request, and why; or what a diagnostic means", Args: cobra.RangeArgs(1, 2),
		Long: `explain METHOD URL compiles the repository (--path) and prints the route that takes the request, the near misses with the
reason each lost, and the file, line and column of every setting that holds for it. It asks the same router that serves traffic.

explain CODE prints the meaning of a diagnostic, such as GW4004, or of a code that the gateway answers with, such as key_invalid.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return explainCode(cmd.OutOrStdout(), args[0])
			}
			if format != "text" && format != "json" {
				return usagef("--format is %q, must be text or json", format)
			}
			if !tokenPattern.MatchString(args[0]) {
				return usagef("%q is not a method such as GET", args[0])
			}
			if !urlPattern.MatchString(args[1]) {
				return usagef("%q is neither a URL such as https://api.example.com/users nor a path such as /users", args[1])
			}
			pairs, err := headerPairs(headers)
			if err != nil {
				return usage(err)
			}
			request, err := simulate.ParseRequest(args[0], args[1], pairs)
			if err != nil {
				return usage(err)
			}
			r, err := repo.open(cmd.Context(), path)
			if err != nil {
				return err
			}
			p, err := r.compile(cmd.ErrOrStderr(), env)
			if err != nil {
				return err
			}
			ex, err := simulate.Explain(p, toolchain.Kinds(), request)
			if err != nil {
				return err
			}
			if format == "json" {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				enc.SetEscapeHTML(false)
				return enc.Encode(ex)
			}
			return writeExplanation(cmd.OutOrStdout(), ex)
		},
	}
	repo.register(cmd)
	cmd.Flags().StringVar(&env, "env", "", "environment (default: the base)")
	cmd.Flags().StringVar(&path, "path", ".", "the config repository")
	cmd.Flags().StringVar(&format, "format", "text", "text or json")
	cmd.Flags().StringArrayVarP(&headers, "header", "H", nil, `request header, "Name: value"; may be repeated`)
	return cmd
}

func headerPairs(lines []string) ([]ir.Pair, error) {
	var out []ir.Pair
	for _, l := range lines {
		name, value, ok := strings.Cut(l, ":")
		if !ok || !tokenPattern.MatchString(strings.TrimSpace(name)) {
			return nil, fmt.Errorf("--header is %q, must be \"Name: value\"", l)
		}
		out = append(out, ir.Pair{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)})
	}
	return out, nil
}

// explainCode explains a code of either kind, whatever its case.
func explainCode(w io.Writer, text string) error {
	if code := strings.ToUpper(text); codePattern.MatchString(code) {
		return explainDiagnostic(w, diag.Code(code))
	}
	all := refusals(refusalManual)
	codes := make([]string, len(all))
	found := 0
	for i, r := range all {
		codes[i] = r.code
		if r.code != strings.ToLower(text) {
			continue
		}
		if found++; found > 1 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s: %s\n\nStatus: %s\nFrom: %s\nFix: %s\n", r.code, r.meaning, r.status, r.from, r.fix)
	}
	if found > 0 {
		return nil
	}
	if near := diag.Suggest(text, codes); near != "" {
		return usagef("there is no code %q; did you mean %q?", text, near)
	}
	return usagef("give a method and a URL, or a code such as GW4004 or key_invalid")
}

func explainDiagnostic(w io.Writer, code diag.Code) error {
	for _, e := range diag.Explanations() {
		if e.Code != code {
			continue
		}
		fmt.Fprintf(w, "%s: %s\n\nWhy: %s\nFix: %s\n", e.Code, e.Title, e.Why, e.Fix)
		for _, ex := range []struct{ title, text string }{{"Wrong", e.Bad}, {"Right", e.Good}} {
			if ex.text != "" {
				fmt.Fprintf(w, "\n%s:\n  %s\n", ex.title, strings.ReplaceAll(ex.text, "\n", "\n  "))
			}
		}
		return nil
	}
	return usagef("there is no diagnostic %s", code)
}

// refusal is a row of the manual: one meaning of a code, which may have several, from different parts of the gateway.
type refusal struct{ from, status, code, meaning, fix string }

// refusals reads the rows of the manual, each with the headings it stands under.
func refusals(manual string) []refusal {
	var (
		out       []refusal
		area, sub string
	)
	for line := range strings.Lines(manual) {
		line = strings.TrimSuffix(line, "\n")
		if m := headingPattern.FindStringSubmatch(line); m != nil {
			if sub = ", " + m[2]; m[1] == "##" {
				area, sub = m[2], ""
			}
		} else if m := refusalPattern.FindStringSubmatch(line); m != nil {
			out = append(out, refusal{from: area + sub, status: m[1], code: m[2], meaning: m[3], fix: m[4]})
		}
	}
	return out
}

func writeExplanation(w io.Writer, ex *simulate.Explanation) error {
	fmt.Fprintf(w, "%s\n", requestLine(&ex.Request))
	switch {
	case ex.Winner != nil:
		writeWinner(w, ex.Winner)
	case ex.Status != 0:
		fmt.Fprintf(w, "  no route: %d, %s\n", ex.Status, ex.Reason)
	default:
		fmt.Fprintf(w, "  %s\n", ex.Reason)
	}
	if len(ex.Misses) > 0 {
		fmt.Fprintln(w, "\nnear misses")
		for _, m := range ex.Misses {
			fmt.Fprintf(w, "  %-28s %s%s\n", m.Route, strings.Join(m.Why, "; "), at(m.Origin))
		}
	}
	return nil
}

func writeWinner(w io.Writer, win *simulate.Winner) {
	fmt.Fprintf(w, "  route %s%s\n", win.Route, at(win.Origin))
	for _, p := range win.Params {
		fmt.Fprintf(w, "  {%s} = %s\n", p.Name, p.Value)
	}
	fmt.Fprintln(w, "\npipeline")
	for i, s := range win.Pipeline {
		fmt.Fprintf(w, "  %d. %-12s %s\n", i+1, s.Phase, cmp.Or(s.Policy, s.Does)) // a policy's settings follow, with their lines
	}
	fmt.Fprintln(w, "\nsettings")
	width := 0
	lines := make([]string, len(win.Settings))
	for i, s := range win.Settings {
		lines[i] = s.Field + " = " + readable(s)
		width = max(width, utf8.RuneCountInString(lines[i]))
	}
	for i, s := range win.Settings {
		where := "default"
		if s.Origin != nil {
			where = s.Origin.String()
		}
		fmt.Fprintf(w, "  %-*s  %s\n", width, lines[i], where)
	}
}

// readable is the value of a setting; those of policies are JSON.
func readable(s simulate.Setting) string {
	if !strings.HasPrefix(s.Field, "policy.") {
		return s.Value
	}
	d := json.NewDecoder(strings.NewReader(s.Value))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil || d.More() {
		return s.Value // such as 30s
	}
	return diff.Show(v)
}

func at(pos *diag.Pos) string {
	if pos == nil {
		return ""
	}
	return "  (" + pos.String() + ")"
}

func requestLine(r *match.Request) string {
	line := r.Method + " " + r.Host + r.Path
	if r.RawQuery != "" {
		line += "?" + r.RawQuery
	}
	return line
}
