package gitclone

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing/format/packfile"

	"github.com/suuupra/gateway/internal/gitwatch"
)

// What a git server may send. A pack says in a few bytes what takes gigabytes to unpack, so both are bounded.
const (
	maxPack     = 256 << 20
	maxUnpacked = 2 << 30
	maxObject   = 32 << 20
	maxObjects  = 2_000_000
)

// limits are the bounds in force; tests of the bounds make them small.
type limits struct {
	pack, unpacked, object int64
	packs                  int // how many the clone keeps before it is made anew
}

func usualLimits() limits { return limits{maxPack, maxUnpacked, maxObject, maxPacks} }

// copyPack copies a pack as it arrives, up to the bound.
func (l limits) copyPack(w io.Writer, r io.Reader) error {
	n, err := io.Copy(w, io.LimitReader(r, l.pack+1))
	if err != nil {
		return fmt.Errorf("receive the pack: %w", err)
	}
	if n > l.pack {
		return &gitwatch.TooLarge{What: fmt.Sprintf("a pack of more than %d MiB", l.pack>>20)}
	}
	return nil
}

// measure looks at every object of a pack, one at a time, and adds up what they unpack to.
func (l limits) measure(r io.Reader) error {
	s := packfile.NewScanner(r)
	_, count, err := s.Header()
	if err != nil {
		return fmt.Errorf("read the pack: %w", err)
	}
	if count > maxObjects {
		return &gitwatch.TooLarge{What: fmt.Sprintf("more than %d objects in a pack", maxObjects)}
	}
	total := int64(0)
	for range count {
		h, err := s.NextObjectHeader()
		if err != nil {
			return fmt.Errorf("read the pack: %w", err)
		}
		sizes := []int64{h.Length}
		if h.Length >= 0 && h.Length <= l.object {
			w := &prefix{} // the scanner itself refuses an object longer than it says
			if _, _, err := s.NextObject(w); err != nil {
				return fmt.Errorf("read the pack: %w", err)
			}
			if h.Type.IsDelta() {
				size, err := deltaTarget(w.head)
				if err != nil {
					return err
				}
				sizes = append(sizes, size)
			}
		}
		for _, size := range sizes {
			if size < 0 || size > l.object {
				return &gitwatch.TooLarge{What: fmt.Sprintf("an object of more than %d MiB", l.object>>20)}
			}
			total += size
		}
		if total > l.unpacked {
			return &gitwatch.TooLarge{What: fmt.Sprintf("a pack of more than %d MiB once unpacked", l.unpacked>>20)}
		}
	}
	return nil
}

// prefix keeps the first bytes it is given, and drops the rest.
type prefix struct{ head []byte }

func (p *prefix) Write(b []byte) (int, error) {
	if n := 2*binary.MaxVarintLen64 - len(p.head); n > 0 {
		p.head = append(p.head, b[:min(n, len(b))]...)
	}
	return len(b), nil
}

// deltaTarget reads the size of what a delta makes, the second number of its header; -1 stands for more than fits.
func deltaTarget(head []byte) (int64, error) {
	_, n := binary.Uvarint(head)
	if n <= 0 {
		return 0, errors.New("read the pack: a delta without sizes")
	}
	size, m := binary.Uvarint(head[n:])
	if m == 0 {
		return 0, errors.New("read the pack: a delta without sizes")
	}
	if m < 0 || int64(size) < 0 {
		return -1, nil
	}
	return int64(size), nil
}
