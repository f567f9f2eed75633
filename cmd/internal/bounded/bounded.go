// Package bounded reads files that users name on a command line. It must not be used for what others control while it is
// read: it follows links.
package bounded

import (
	"fmt"
	"io"
	"os"
)

// ReadFile reads a file of at most limit bytes: a name may lead to a device that never ends.
func ReadFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return data, nil
}
