// Package gcra is the generic cell rate algorithm (ITU-T I.371), a token bucket that needs one number for each bucket: the
// theoretical arrival time, at which the bucket will be full again. It knows no clock and stores nothing.
package gcra

// Bucket is the shape of a token bucket. All times are in nanoseconds.
type Bucket struct {
	Every int64 // time in which one token comes; at least 1
	Burst int64 // tokens that fit; at least 1
}

// Taken is the outcome of Take.
type Taken struct {
	Full      int64 // when the bucket is full again: what has to be kept until then, and can be forgotten after
	Granted   bool
	Remaining int64 // tokens left
	Retry     int64 // time until there are as many tokens as were asked for; 0 if granted, -1 if that is more than fit
}

// Take asks for cost tokens at the time now of a bucket that will be full at full (0, or any time in the past: it is). A refusal
// takes nothing. Cost 0 looks.
func (b Bucket) Take(full, now, cost int64) Taken {
	full = max(full, now)
	size := b.Burst * b.Every
	missing := min(full-now, size) // in time; more than size can be missing only after the bucket was made smaller
	full = now + missing
	want := cost * b.Every
	if want <= size-missing {
		return Taken{Full: full + want, Granted: true, Remaining: (size - missing - want) / b.Every}
	}
	t := Taken{Full: full, Remaining: (size - missing) / b.Every, Retry: want - (size - missing)}
	if want > size {
		t.Retry = -1
	}
	return t
}

// Fits reports whether the numbers can be calculated with: none of the products overflows.
func (b Bucket) Fits(cost int64) bool {
	const most = int64(1) << 61
	return b.Every >= 1 && b.Burst >= 1 && cost >= 0 && b.Burst <= most/b.Every && cost <= most/b.Every
}
