// Package bucket says what may be asked of the buckets of policy.State, so that whoever keeps them refuses the same. It keeps none.
package bucket

import (
	"fmt"

	"github.com/suuupra/gateway/internal/gcra"
	"github.com/suuupra/gateway/runtime/policy"
)

// Most is how many buckets one Take may ask.
const Most = 64

// Check says what is wrong with the buckets of one Take. Their names are not in the error: clients choose them.
func Check(buckets []policy.Bucket) error {
	if len(buckets) > Most {
		return fmt.Errorf("take from %d buckets at once: at most %d can be asked", len(buckets), Most)
	}
	for i := range buckets {
		b := &buckets[i]
		if !Shape(b).Fits(b.Cost) {
			return fmt.Errorf("bucket %d of %d: burst %d, one token each %s and cost %d cannot be calculated with", i+1, len(buckets), b.Burst, b.Every, b.Cost)
		}
		if b.Cost > b.Burst {
			return fmt.Errorf("bucket %d of %d: cost %d is more than its burst of %d", i+1, len(buckets), b.Cost, b.Burst)
		}
		// All or nothing is decided on what each bucket holds; the second of two with one name would not see what the first takes.
		for j := range i {
			if buckets[j].Name == b.Name {
				return fmt.Errorf("buckets %d and %d of %d are the same", j+1, i+1, len(buckets))
			}
		}
	}
	return nil
}

// Shape is a bucket without its name.
func Shape(b *policy.Bucket) gcra.Bucket { return gcra.Bucket{Every: int64(b.Every), Burst: b.Burst} }
