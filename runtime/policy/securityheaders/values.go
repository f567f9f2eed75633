package securityheaders

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A browser ignores what it cannot read of these fields, or all of it, and says so on a console that nobody looks at. The values are
// therefore judged while they are compiled.

// oneOf takes the values that browsers know.
func oneOf(known ...string) func(string) *fault {
	return func(value string) *fault {
		if slices.Contains(known, value) {
			return nil
		}
		bad := &fault{code: "GW2102", what: fmt.Sprintf("is %q, must be %s", value, alternatives(append(slices.Clip(known), upstream)))}
		for _, k := range known {
			if strings.EqualFold(k, strings.TrimSpace(value)) {
				bad.hint = fmt.Sprintf("write %s", k)
			}
		}
		return bad
	}
}

func alternatives(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

func malformed(hint, format string, args ...any) *fault {
	return &fault{code: "GW2104", what: fmt.Sprintf(format, args...), hint: hint}
}

const (
	// preloadAge is the least max-age in seconds with which the lists that browsers ship take a host (https://hstspreload.org).
	preloadAge = 31536000
	// longestAge is about 68 years, the largest number of seconds that every browser can add to the time of day.
	longestAge = 1<<31 - 1
)

// judgeHSTS reads Strict-Transport-Security (RFC 6797 section 6.1). Browsers pass over directives that they do not know, so that a
// slip in one goes unnoticed: here it does not.
func judgeHSTS(value string) *fault {
	const example = `for example "max-age=31536000; includeSubDomains"`
	has, age := map[string]bool{}, uint64(0)
	for item := range strings.SplitSeq(value, ";") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		name, argument, valued := strings.Cut(item, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		switch {
		case name != "max-age" && name != "includesubdomains" && name != "preload":
			return malformed(example, "has %q, must consist of max-age, includeSubDomains and preload", item)
		case has[name]:
			return &fault{code: "GW2106", what: fmt.Sprintf("has %s twice: browsers ignore it altogether", name), hint: "keep one of them"}
		case valued != (name == "max-age"):
			return malformed(example, "has %q; max-age has a value, includeSubDomains and preload have none", item)
		}
		if has[name] = true; valued {
			var err error
			argument = strings.TrimSpace(argument)
			if n := len(argument); n > 2 && argument[0] == '"' && argument[n-1] == '"' {
				argument = argument[1 : n-1]
			}
			if age, err = strconv.ParseUint(argument, 10, 64); err != nil || argument[0] == '+' {
				return malformed(example, "has max-age %q, must be a whole number of seconds", argument)
			}
		}
	}
	switch {
	case !has["max-age"]:
		return malformed(example, "has no max-age, must say how many seconds it holds")
	case age > longestAge:
		return &fault{code: "GW2103", what: fmt.Sprintf("has max-age %d, must be at most %d", age, longestAge), hint: "31536000 is a year"}
	case has["preload"] && (!has["includesubdomains"] || age < preloadAge):
		return &fault{
			code: "GW3042", what: fmt.Sprintf("has preload, which needs includeSubDomains and a max-age of at least %d", preloadAge),
			hint: `write "max-age=31536000; includeSubDomains; preload", or leave preload out`,
		}
	}
	return nil
}

var (
	directiveName = regexp.MustCompile(`^[A-Za-z0-9-]+$`)
	sourceList    = regexp.MustCompile(`^(.*-src|.*-src-elem|.*-src-attr|base-uri|form-action|frame-ancestors)$`)
	bareKeyword   = regexp.MustCompile(`^(?i:none|self|unsafe-.*|strict-dynamic|wasm-unsafe-eval|report-sample|nonce-.*|sha(256|384|512)-.*)$`)
)

// judgeCSP finds what makes a Content-Security-Policy mean something else than it looks like (Content Security Policy Level 3, section
// 2.2): a directive that none is, one that is repeated, and a keyword without quotes, which is the name of a host. It does not know the
// directives: there are new ones all the time.
func judgeCSP(value string) *fault {
	directives := 0
	for one := range strings.SplitSeq(value, ",") {
		seen := map[string]bool{}
		for directive := range strings.SplitSeq(one, ";") {
			words := strings.Fields(directive)
			if len(words) == 0 {
				continue
			}
			directives++
			name := strings.ToLower(words[0])
			switch {
			case !directiveName.MatchString(name):
				return malformed("a directive is a name, a space, and its values, for example \"default-src 'self'\"",
					"has the directive %q, must be a name of letters, digits and \"-\"", words[0])
			case seen[name]:
				return &fault{code: "GW2106", what: fmt.Sprintf("has %s twice: browsers ignore the second one", name), hint: "put the values of both into one"}
			}
			if seen[name] = true; !sourceList.MatchString(name) {
				continue
			}
			for _, word := range words[1:] {
				if bareKeyword.MatchString(word) {
					return malformed(fmt.Sprintf("write '%s' in single quotes", word), "has %s in %s, which without quotes is the name of a host", word, name)
				}
			}
		}
	}
	if directives == 0 {
		return malformed("for example \"default-src 'self'\"", "has no directive")
	}
	return nil
}

// permissions is what Permissions-Policy may look like: a dictionary (RFC 9651 section 3.2) of features with those that may use them. A
// browser drops the whole field if it is anything else, such as the old Feature-Policy.
var permissions = func() *regexp.Regexp {
	const (
		member    = `(?:\*|self|"[!#-\[\]-~]+")`
		allowlist = `(?:` + member + `|\( *(?:` + member + `(?: +` + member + `)*)? *\))`
		feature   = `[a-z][a-z0-9-]*=` + allowlist + `(?: *; *report-to=[A-Za-z*"][A-Za-z0-9_*"-]*)?`
	)
	return regexp.MustCompile(`^` + feature + `(?: *, *` + feature + `)*$`)
}()

func judgePermissions(value string) *fault {
	if permissions.MatchString(value) {
		return nil
	}
	return malformed(`for example "camera=(), geolocation=(self \"https://maps.example.com\")"`,
		"is %q, must be a list of features, each with those that may use it: *, self, an origin in quotes, or several in brackets", value)
}
