package e2e_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

var loopIn = flag.String("record", "", "put the transcript of TestLoop into this document")

const (
	beginLoop = "<!-- loop -->\n"
	endLoop   = "<!-- end of loop -->"
)

// widest is how much of a line a transcript keeps, in bytes.
const widest = 800

// transcript is what people saw while a loop went round, in Markdown.
type transcript struct{ text strings.Builder }

// title begins a step.
func (tr *transcript) title(text string) { fmt.Fprintf(&tr.text, "\n### %s\n", text) }

// tells adds a paragraph.
func (tr *transcript) tells(format string, args ...any) {
	fmt.Fprintf(&tr.text, "\n"+format+"\n", args...)
}

// quotes adds lines as somebody saw them: no more than so many.
func (tr *transcript) quotes(head, text string, lines int) {
	fmt.Fprintf(&tr.text, "\n```text\n")
	if head != "" {
		fmt.Fprintln(&tr.text, head)
	}
	all := strings.Split(strings.Trim(text, "\n"), "\n")
	for i, line := range all {
		if i == lines {
			fmt.Fprintf(&tr.text, "... (%d more lines)\n", len(all)-i)
			break
		}
		if len(line) > widest {
			line = strings.ToValidUTF8(line[:widest], "") + "..."
		}
		fmt.Fprintln(&tr.text, line)
	}
	fmt.Fprintln(&tr.text, "```")
}

// shows runs gwctl, wants an exit code, and keeps what it said.
func (r *tour) shows(code, lines int, args ...string) result {
	r.t.Helper()
	got := r.exits(code, args...)
	said := r.named(got.out + got.err)
	if code != 0 {
		said = strings.TrimRight(said, "\n") + fmt.Sprintf("\n(exit code %d)", code)
		lines++
	}
	words := make([]string, len(args))
	for i, a := range args {
		if words[i] = a; strings.ContainsAny(a, " \"") {
			words[i] = "'" + a + "'"
		}
	}
	r.script.quotes("$ "+r.named("gwctl "+strings.Join(words, " ")), said, lines)
	return got
}

var (
	// loopback is an address of this machine, which says nothing to a reader.
	loopback = regexp.MustCompile(`(?:http://)?127\.0\.0\.1:\d+`)
	// rowOf is the beginning of a row of gwctl status, whose columns are as wide as names that were replaced.
	rowOf = regexp.MustCompile(`(?m)^  (INSTANCE|gw-[a-z](?: \*)?) +(VERSION|\d)`)
)

// named replaces what belongs to this run by names that a reader understands.
func (l *loop) named(text string) string {
	pairs := []string{l.keys, "keys", l.to, "oci://registry.example.com/shop", l.repo.URL, "https://git.example.com/shop.git"}
	for k, g := range l.gateways {
		if g == nil {
			continue
		}
		if l.posts[k].audit != "" {
			pairs = append(pairs, l.posts[k].audit, "trail")
		}
		name := gatewayName(k)
		pairs = append(pairs, g.admin, "http://"+name+":9090")
		if st := g.tryStatus(); st.Instance != "" {
			pairs = append(pairs, st.Instance, name)
		}
	}
	text = loopback.ReplaceAllString(strings.NewReplacer(pairs...).Replace(text), "http://app:8080")
	return rowOf.ReplaceAllStringFunc(text, func(row string) string {
		m := rowOf.FindStringSubmatch(row)
		return fmt.Sprintf("  %-8s  %s", m[1], m[2])
	})
}

// gatewayName is what a gateway is called before readers.
func gatewayName(k int) string { return "gw-" + string(rune('a'+k)) }

// record logs the transcript, and puts it into the document if one was asked for.
func (tr *transcript) record(t *testing.T) {
	t.Helper()
	text := strings.TrimLeft(tr.text.String(), "\n") + "\n"
	t.Logf("\n%s", text)
	if *loopIn == "" || t.Failed() {
		return
	}
	doc, err := os.ReadFile(*loopIn)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, found := strings.Cut(string(doc), beginLoop)
	_, foot, closed := strings.Cut(rest, endLoop)
	if !found || !closed {
		t.Fatalf("%s has no place for the transcript: %q and %q", *loopIn, beginLoop, endLoop)
	}
	if err := os.WriteFile(*loopIn, []byte(head+beginLoop+"\n"+text+endLoop+foot), 0o644); err != nil {
		t.Fatal(err)
	}
}
