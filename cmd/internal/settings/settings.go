// Package settings reads what a program is told: from a file, from environment variables and from flags, by one table. A flag wins over
// the environment, which wins over the file.
package settings

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Setting binds one name to one field of C.
type Setting[C any] struct {
	Name, Usage, Default string
	Secret               bool // not a flag: a command line is visible to every user of the machine
	Key                  bool // a private key: the name of a file, or in the environment the key itself
	Boolean              bool // a flag that may stand alone
	List                 bool // in the file, a list of texts means the same as they do with commas in between
	Set                  func(*C, string) error
}

// Table is all settings of a program.
type Table[C any] struct {
	Prefix string // of the environment variables, such as "GWRUN_"
	All    []Setting[C]
	// Filled says that a setting which is given must not be empty.
	Filled bool
	// Other are fields of the file that are no settings.
	Other map[string]Reader[C]
}

// Field is how a setting is spelt in the file.
func (s *Setting[C]) Field() string {
	parts := strings.Split(s.Name, "-")
	for i := range parts[1:] {
		parts[i+1] = strings.ToUpper(parts[i+1][:1]) + parts[i+1][1:]
	}
	return strings.Join(parts, "")
}

// Variable is the environment variable of a setting.
func (t *Table[C]) Variable(s *Setting[C]) string {
	return t.Prefix + strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_"))
}

// Register makes the flags.
func (t *Table[C]) Register(fs *pflag.FlagSet) {
	for i := range t.All {
		switch s := &t.All[i]; {
		case s.Boolean:
			fs.Bool(s.Name, s.Default == "true", s.Usage+" ("+t.Variable(s)+")")
		case !s.Secret:
			fs.String(s.Name, s.Default, s.Usage+" ("+t.Variable(s)+")")
		}
	}
}

// ValueError is values that cannot be used: all of them, a line each.
type ValueError struct{ err error }

func (e *ValueError) Error() string { return e.err.Error() }

// PEMBegin is how a private key begins. None may stand where every user of the machine, or of a repository, reads it.
const PEMBegin = "-----BEGIN"

// Load reads the file (if path is set), the environment and the flags, and reports everything that is wrong: as a *ValueError, as a
// *FileError where the file is none, or as the error of reading it.
func (t *Table[C]) Load(path string, flags *pflag.FlagSet, environ func(string) (string, bool)) (*C, error) {
	c, file := new(C), map[string]string{}
	if path != "" {
		var err error
		if file, err = t.read(path, c); err != nil {
			return nil, err
		}
	}
	var problems []error
	for i := range t.All {
		s := &t.All[i]
		value, from, inline := s.Default, "", false
		if v, ok := file[s.Field()]; ok {
			value, from = v, path+": "+s.Field()
		}
		if v, ok := environ(t.Variable(s)); ok {
			value, from, inline = v, t.Variable(s), true
		}
		if f := flags.Lookup(s.Name); f != nil && f.Changed {
			value, from, inline = f.Value.String(), "--"+s.Name, false
		}
		switch {
		case from == "" && value == "":
		case value == "" && t.Filled:
			problems = append(problems, fmt.Errorf("%s is empty", from))
		case s.Key && !inline && strings.Contains(value, PEMBegin):
			problems = append(problems, fmt.Errorf("%s holds a key itself: name a file, or put the key into %s", from, t.Variable(s)))
		default:
			if err := s.Set(c, value); err != nil {
				problems = append(problems, fmt.Errorf("%s %w", cmp.Or(from, "--"+s.Name), err))
			}
		}
	}
	if len(problems) > 0 {
		return nil, &ValueError{errors.Join(problems...)}
	}
	return c, nil
}

// Text takes any text.
func Text[C any](field func(*C) *string) func(*C, string) error {
	return func(c *C, v string) error { *field(c) = v; return nil }
}

// OneOf takes one of some words.
func OneOf[C any](field func(*C) *string, allowed ...string) func(*C, string) error {
	return func(c *C, v string) error {
		if !slices.Contains(allowed, v) {
			return fmt.Errorf("is %q, must be one of %s", v, strings.Join(allowed, ", "))
		}
		*field(c) = v
		return nil
	}
}

// Duration takes a duration that is not too short.
func Duration[C any](field func(*C) *time.Duration, least time.Duration) func(*C, string) error {
	return func(c *C, v string) error {
		d, err := time.ParseDuration(v)
		if err != nil || d < least {
			return fmt.Errorf("is %q, must be a duration of at least %s such as 30s", v, least)
		}
		*field(c) = d
		return nil
	}
}

// Bool takes true or false.
func Bool[C any](field func(*C) *bool) func(*C, string) error {
	return func(c *C, v string) error {
		if v != "true" && v != "false" {
			return fmt.Errorf("is %q, must be true or false", v)
		}
		*field(c) = v == "true"
		return nil
	}
}

// Addresses takes addresses to listen on, with commas in between.
func Addresses[C any](field func(*C) *string) func(*C, string) error {
	return func(c *C, v string) error {
		for a := range strings.SplitSeq(v, ",") {
			if _, _, err := net.SplitHostPort(a); v != "" && err != nil {
				return fmt.Errorf("is %q, must be host:port, or :port for every interface", v)
			}
		}
		*field(c) = v
		return nil
	}
}
