package depot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/storage/memory"
)

// maxPackObjects bounds the objects of a pack: blobs of all listed bundles, trees, one commit.
const maxPackObjects = 1_000_000

func updateStorage(store *memory.Storage, r io.Reader) error {
	if err := packfile.UpdateObjectStorage(store, r); err != nil {
		return fmt.Errorf("read pack: %w", err)
	}
	return nil
}

// measurePack adds up what the objects of a pack unpack to, and refuses too much, without keeping any of them.
func measurePack(data []byte) (int64, error) {
	s := packfile.NewScanner(bytes.NewReader(data))
	_, count, err := s.Header()
	if err != nil {
		return 0, fmt.Errorf("read pack: %w", err)
	}
	if count > maxPackObjects {
		return 0, errTooMuch()
	}
	total := int64(0)
	for range count {
		h, err := s.NextObjectHeader()
		if err != nil {
			return 0, fmt.Errorf("read pack: %w", err)
		}
		if h.Length < 0 || h.Length > maxUnpacked {
			return 0, errTooMuch()
		}
		w := &measure{left: h.Length}
		if _, _, err := s.NextObject(w); err != nil {
			return 0, fmt.Errorf("read pack: %w", err)
		}
		total += h.Length
		if h.Type.IsDelta() {
			size, err := deltaTarget(w.head)
			if err != nil {
				return 0, err
			}
			total += size
		}
		if total > maxUnpacked {
			return 0, errTooMuch()
		}
	}
	return total, nil
}

// measure counts what it is given, against the length that was announced, and keeps the first bytes.
type measure struct {
	left int64
	head []byte
}

func (m *measure) Write(p []byte) (int, error) {
	if m.left -= int64(len(p)); m.left < 0 {
		return 0, errors.New("an object is longer than it says")
	}
	if n := 2*binary.MaxVarintLen64 - len(m.head); n > 0 {
		m.head = append(m.head, p[:min(n, len(p))]...)
	}
	return len(p), nil
}

// deltaTarget reads the size of what a delta produces: the second number of its header.
func deltaTarget(head []byte) (int64, error) {
	_, n := binary.Uvarint(head)
	if n <= 0 {
		return 0, errors.New("read pack: a delta without sizes")
	}
	target, m := binary.Uvarint(head[n:])
	if m <= 0 || target > maxUnpacked {
		return 0, errTooMuch()
	}
	return int64(target), nil
}
