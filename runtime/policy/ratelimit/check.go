package ratelimit

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
)

// most is the longest time a bucket may take to fill, in nanoseconds: 73 years. gcra has the same.
const most = int64(1) << 61

// limitID is the form of a limit's name. It stands in quotes in response fields, where nothing of it may need to be escaped.
var limitID = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,127}$`)

// keyPart is the form of a part of a key, as the schema has it; names of header fields are in lower case.
var keyPart = regexp.MustCompile("^(ip|user|tenant|key|route|header:[-!#$%&'*+.^_`|~0-9a-z]{1,128}|claim:[a-zA-Z0-9_.:/-]{1,256})$")

// check judges a plan as if it had come from anywhere: it decides what is counted, and what goes into response fields.
func (p *Plan) check() error {
	switch {
	case len(p.Limits) == 0 || len(p.Limits) > maxLimits:
		return fmt.Errorf("there are %d limits, must be 1 to %d", len(p.Limits), maxLimits)
	case !slices.Contains([]string{onErrorLocal, onErrorOpen, onErrorClosed}, p.OnError):
		return fmt.Errorf("onError %q is not known", p.OnError)
	case !slices.Contains([]string{headersStandard, headersLegacy, headersNone}, p.Headers):
		return fmt.Errorf("headers %q is not known", p.Headers)
	case p.Replicas < 1 || p.Replicas > maxReplicas:
		return fmt.Errorf("replicas is %d, must be 1 to %d", p.Replicas, maxReplicas)
	}
	for i := range p.Limits {
		l := &p.Limits[i]
		if err := l.check(); err != nil {
			return fmt.Errorf("limit %q: %w", l.ID, err)
		}
		for j := range p.Limits[:i] {
			switch o := &p.Limits[j]; {
			case o.ID == l.ID:
				return fmt.Errorf("limit %q is there twice", l.ID)
			case l.Scope != "" && l.alike(o):
				return fmt.Errorf("limits %q and %q have one bucket", o.ID, l.ID)
			}
		}
	}
	return nil
}

func (l *Limit) check() error {
	for _, n := range []struct {
		field        string
		is, min, max int64
	}{
		{"tokensPerInterval", l.TokensPerInterval, 1, maxTokens},
		{"intervalMs", l.IntervalMs, minIntervalMs, maxIntervalMs},
		{"burst", l.Burst, 1, maxTokens},
		{"cost", l.Cost, 1, min(maxCost, l.Burst)},
		{"localPercent", l.LocalPercent, 0, maxPercent},
	} {
		if n.is < n.min || n.is > n.max {
			return fmt.Errorf("%s is %d, must be %d to %d", n.field, n.is, n.min, n.max)
		}
	}
	switch b := l.bucket(); {
	case !limitID.MatchString(l.ID):
		return errors.New("the id is malformed")
	case l.Scope != "" && !limitID.MatchString(l.Scope):
		return fmt.Errorf("scope %q is malformed", l.Scope)
	case !b.Fits(l.Cost):
		return fmt.Errorf("burst is %d, must be at most %d", l.Burst, most/b.Every)
	case len(l.Key) == 0:
		return errors.New("there is no key")
	case !slices.IsSorted(l.Key) || len(slices.Compact(slices.Clone(l.Key))) < len(l.Key):
		return errors.New("the parts of key are not sorted, or one is there twice")
	}
	for _, name := range l.Key {
		if !keyPart.MatchString(name) {
			return fmt.Errorf("key %q is not known", name)
		}
	}
	return nil
}
