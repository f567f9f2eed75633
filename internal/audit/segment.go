package audit

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"github.com/suuupra/gateway/schema/bundle"
)

// Format is the version of the trails this package writes, and the only one it reads.
const Format = "gateway.suuupra.dev/audit/v1"

// opening is the first line of a segment. It ties the segment to the one before.
type opening struct {
	Format      string    `json:"format"`
	Segment     int64     `json:"segment"` // from 1, without a gap
	First       int64     `json:"first"`   // seq of the first record
	Environment string    `json:"environment"`
	Time        Time      `json:"time"`
	Previous    *previous `json:"previous,omitempty"` // absent in segment 1
}

// previous is how the segment before ended: with a footer, or in the middle of a line.
type previous struct {
	Head   bundle.Digest `json:"head"`             // of its last line before the footer
	Footer bundle.Digest `json:"footer,omitempty"` // of its footer, signature and all
	Torn   *torn         `json:"torn,omitempty"`
}

// torn describes what stands behind the last line of a segment whose writer was killed. The bytes stay where they are.
type torn struct {
	Bytes  int64         `json:"bytes"`
	Digest bundle.Digest `json:"digest"`
}

// footer is what is signed at the end of a segment.
type footer struct {
	Format      string        `json:"format"`
	Segment     int64         `json:"segment"`
	First       int64         `json:"first"`
	Last        int64         `json:"last"`
	Count       int64         `json:"count"`
	Environment string        `json:"environment"`
	Time        Time          `json:"time"`
	Head        bundle.Digest `json:"head"` // of the line before the footer
}

func parseOpening(line []byte) (*opening, error) {
	var o opening
	if err := decode(line, &o); err != nil {
		return nil, fmt.Errorf("it is not the first line of a segment: %w", err)
	}
	if o.Format != Format {
		return nil, fmt.Errorf("format is %q, must be %q; a newer program may have written it", o.Format, Format)
	}
	if o.Segment < 1 || o.First < 1 {
		return nil, errors.New("segments and records are counted from 1")
	}
	if (o.Previous == nil) != (o.Segment == 1) || o.Segment == 1 && o.First != 1 {
		return nil, errors.New("only the first segment follows none, and begins with record 1")
	}
	if p := o.Previous; p != nil {
		if (p.Footer == "") == (p.Torn == nil) || p.Torn != nil && p.Torn.Bytes < 1 {
			return nil, errors.New("the segment before must have ended with a footer or in the middle of a line")
		}
	}
	return &o, nil
}

func parseFooter(payload []byte) (*footer, error) {
	var f footer
	if err := decode(payload, &f); err != nil {
		return nil, fmt.Errorf("footer: %w", err)
	}
	if f.Format != Format {
		return nil, fmt.Errorf("footer: format is %q, must be %q", f.Format, Format)
	}
	if f.First < 1 || f.Last < f.First || f.Count != f.Last-f.First+1 {
		return nil, fmt.Errorf("footer: records %d to %d cannot be %d", f.First, f.Last, f.Count)
	}
	return &f, nil
}

var segmentName = regexp.MustCompile(`^audit-([0-9]{8,18})\.jsonl$`)

// nameOf is the name of a segment's file. Names sort like numbers up to segment 99,999,999, which takes a rotation a second for three
// years.
func nameOf(segment int64) string { return fmt.Sprintf("audit-%08d.jsonl", segment) }

// numberOf reads the name of a segment's file; ok is false for other files.
func numberOf(name string) (segment int64, ok bool) {
	m := segmentName.FindStringSubmatch(name)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	return n, err == nil && n > 0 && nameOf(n) == name
}
