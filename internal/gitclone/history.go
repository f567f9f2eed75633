package gitclone

import (
	"container/heap"
	"context"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Relation is how a commit lies to an earlier head.
type Relation string

// The relations.
const (
	Same     Relation = "same"
	Forward  Relation = "forward"  // the earlier head is in its history: somebody pushed
	Back     Relation = "back"     // it is in the history of the earlier head: the branch was moved back
	Diverged Relation = "diverged" // neither: the history was rewritten, or the earlier head was on another branch
	Unknown  Relation = "unknown"  // the history is cut off, or too long to look through
)

// maxCommits bounds how many commits a comparison reads.
const maxCommits = 20_000

// Relate says how a commit of the clone lies to an earlier one, which need not be there: what was rewritten is not fetched.
func (c *Clone) Relate(ctx context.Context, earlier, commit string) (Relation, error) {
	if earlier == commit {
		return Same, nil
	}
	if !plumbing.IsHash(earlier) {
		return Unknown, nil
	}
	s, err := c.open()
	if err != nil {
		return Unknown, err
	}
	from, to := plumbing.NewHash(earlier), plumbing.NewHash(commit)
	if !s.has(from) {
		if s.shallow() {
			return Unknown, nil
		}
		return Diverged, nil
	}
	ahead, err := s.reaches(ctx, to, from)
	if err != nil || ahead == found {
		return Forward, err
	}
	behind, err := s.reaches(ctx, from, to)
	switch {
	case err != nil:
		return Unknown, err
	case behind == found:
		return Back, nil
	case ahead == undecided || behind == undecided:
		return Unknown, nil
	}
	return Diverged, nil
}

type answer int

const (
	undecided answer = iota
	found
	absent
)

// reaches looks for a commit in the history of another, newest first: most of the time it is the one before.
func (s *store) reaches(ctx context.Context, from, target plumbing.Hash) (answer, error) {
	seen, queue, cut := map[plumbing.Hash]bool{from: true}, commitQueue{}, false
	push := func(id plumbing.Hash) error {
		c, err := object.GetCommit(s.objects, id)
		if err != nil {
			return fmt.Errorf("read commit %s: %w", id, err)
		}
		heap.Push(&queue, c)
		return nil
	}
	if err := push(from); err != nil {
		return undecided, err
	}
	for len(queue) > 0 {
		if len(seen) > maxCommits {
			return undecided, nil
		}
		if err := ctx.Err(); err != nil {
			return undecided, err
		}
		c := heap.Pop(&queue).(*object.Commit)
		if c.Hash == target {
			return found, nil
		}
		if s.cut[c.Hash] {
			cut = true
			continue
		}
		for _, parent := range c.ParentHashes {
			if seen[parent] {
				continue
			}
			seen[parent] = true
			if err := push(parent); err != nil {
				return undecided, err
			}
		}
	}
	if cut {
		return undecided, nil
	}
	return absent, nil
}

// commitQueue hands out the newest commit first.
type commitQueue []*object.Commit

func (q commitQueue) Len() int           { return len(q) }
func (q commitQueue) Less(i, j int) bool { return q[i].Committer.When.After(q[j].Committer.When) }
func (q commitQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *commitQueue) Push(x any)        { *q = append(*q, x.(*object.Commit)) }

func (q *commitQueue) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return last
}
