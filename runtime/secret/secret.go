// Package secret resolves secret references: the configuration names where a secret lies, never what it is. It reads from the
// machine the gateway runs on, and tells when what it read has changed. It must not put a value into an error, a log line or
// a metric; references are no secrets.
package secret

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/suuupra/gateway/schema/v1"
)

// MaxSize is how large a secret may be, in bytes: a certificate chain takes some thousands.
const MaxSize = 1 << 20

// Store reads secrets, and watches those that somebody wants to hear about. It caches nothing: what Get returns is what there
// is.
type Store struct {
	log *slog.Logger

	mu      sync.Mutex
	files   map[string]*file // watched, by path
	held    map[*held]struct{}
	closed  bool
	begin   sync.Once
	stop    chan struct{}
	polling sync.WaitGroup
}

// New makes a store. It must be closed.
func New(log *slog.Logger) *Store {
	return &Store{log: log, files: map[string]*file{}, held: map[*held]struct{}{}, stop: make(chan struct{})}
}

// Get returns the secret that ref names, byte for byte: "env:NAME" is an environment variable of the gateway, "file:/path" a
// regular file with an absolute path. What gwrun itself is told in GWRUN_ variables is no secret of a bundle's. One that is absent, empty or larger than MaxSize is an error. Errors name the reference.
func (s *Store) Get(ref string) ([]byte, error) {
	value, err := read(ref)
	if err != nil {
		return nil, fmt.Errorf("secret %s: %w", ref, err)
	}
	return value, nil
}

// variable is what a name of an environment variable looks like (POSIX.1-2017, section 8.1).
var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

var errEmpty = errors.New("is empty")

// wellFormed reports what is wrong with a reference, whatever is behind it.
func wellFormed(ref string) error {
	if name, ok := strings.CutPrefix(ref, "env:"); ok {
		if err := checkVariable(ref, name); err != nil {
			return fmt.Errorf("secret %s: %w", ref, err)
		}
		return nil
	}
	if _, err := pathOf(ref); err != nil {
		return fmt.Errorf("secret %s: %w", ref, err)
	}
	return nil
}

// checkVariable says why a reference to a variable is none that a bundle may give.
func checkVariable(ref, name string) error {
	switch {
	case !variable.MatchString(name):
		return errors.New("is no name of an environment variable")
	case v1.IsOwnSecret(ref): // a bundle may come from elsewhere than the compiler, which refuses it too
		return errors.New("is a variable of the gateway's own")
	}
	return nil
}

func read(ref string) ([]byte, error) {
	if name, ok := strings.CutPrefix(ref, "env:"); ok {
		if err := checkVariable(ref, name); err != nil {
			return nil, err
		}
		value, set := os.LookupEnv(name)
		switch {
		case !set:
			return nil, errors.New("the environment variable is not set")
		case value == "":
			return nil, errEmpty
		case len(value) > MaxSize:
			return nil, errTooLarge
		}
		return []byte(value), nil
	}
	path, err := pathOf(ref)
	if err != nil {
		return nil, err
	}
	return readFile(path)
}

// pathOf is the path in a file reference.
func pathOf(ref string) (string, error) {
	path, ok := strings.CutPrefix(ref, "file:")
	if !ok {
		return "", errors.New(`must begin with "env:" or "file:"`)
	}
	if !filepath.IsAbs(path) {
		return "", errors.New("the path must be absolute")
	}
	return path, nil
}

var errTooLarge = fmt.Errorf("is larger than %d bytes", MaxSize)

// readFile reads a regular file. A pipe or a device may never end, and opening one may already have an effect, so its kind is
// looked at before it is opened, and again after: the name may lead somewhere else by then.
func readFile(path string) ([]byte, error) {
	if err := regular(os.Stat(path)); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|nonBlocking, 0)
	if err != nil {
		return nil, cause(err)
	}
	defer func() { _ = f.Close() }() // only read
	if err := regular(f.Stat()); err != nil {
		return nil, err
	}
	value, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	switch {
	case err != nil:
		return nil, cause(err)
	case len(value) > MaxSize:
		return nil, errTooLarge
	case len(value) == 0:
		return nil, errEmpty
	}
	return value, nil
}

func regular(info fs.FileInfo, err error) error {
	if err != nil {
		return cause(err)
	}
	if !info.Mode().IsRegular() {
		return errors.New("is no regular file")
	}
	return nil
}

// cause drops the operation and the path, which the reference tells already.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
