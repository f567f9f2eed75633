package drift

import (
	"container/heap"
	"context"
	"errors"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// maxCommits bounds how many commits one comparison reads; slop is how many of them may be read after the answer seems
// clear. Dates in commits are whatever their authors' clocks said, so a commit may turn up after its ancestors.
const (
	maxCommits = 20_000
	slop       = 256
)

// relation is how two commits lie to each other.
type relation struct {
	behind, ahead int // -1: not known
	atLeast       bool
	diverged      bool
}

// The colours of a commit: reachable from the head, from the running commit, or both.
const (
	fromHead = 1 << iota
	fromRunning
	fromBoth = fromHead | fromRunning
)

// painter walks the history from both commits at once, newest first, and paints every commit with where it is reachable
// from. It is done when all that is left to visit is reachable from both.
type painter struct {
	store  *store
	colour map[plumbing.Hash]int
	queued map[plumbing.Hash]bool
	queue  commitQueue
	open   int             // commits in the queue that are not fromBoth
	ends   []plumbing.Hash // commits whose parents a shallow clone lacks
}

// relate compares two commits. A running commit the store does not have is not in the history of the head, unless that
// history is cut off.
func relate(ctx context.Context, s *store, head, running plumbing.Hash) (relation, error) {
	if head == running {
		return relation{}, nil
	}
	unknown := relation{behind: -1, ahead: -1}
	if running.IsZero() {
		return unknown, nil
	}
	p := &painter{store: s, colour: map[plumbing.Hash]int{}, queued: map[plumbing.Hash]bool{}}
	if err := p.paint(head, fromHead); err != nil {
		return unknown, err
	}
	known := s.has(running)
	switch {
	case known:
		if err := p.paint(running, fromRunning); err != nil {
			return unknown, err
		}
	case !s.shallow():
		unknown.diverged = true
		return unknown, nil
	}
	complete, err := p.walk(ctx)
	if err != nil {
		return unknown, err
	}
	return p.judge(running, known, complete), nil
}

// judge draws the conclusions of a walk.
func (p *painter) judge(running plumbing.Hash, known, complete bool) relation {
	r := relation{}
	for _, colour := range p.colour {
		switch colour {
		case fromHead:
			r.behind++
		case fromRunning:
			r.ahead++
		}
	}
	headCut, runningCut := false, false
	for _, id := range p.ends {
		headCut = headCut || p.colour[id] == fromHead
		runningCut = runningCut || p.colour[id] == fromRunning
	}
	r.atLeast = !complete || headCut
	switch {
	case known && p.colour[running] == fromBoth: // an ancestor of the head, whatever lies further back
	case !known || r.atLeast: // where the histories meet has not been found
		r.ahead, r.atLeast = -1, true
	default:
		r.diverged = true
		if runningCut { // what the head has may be there, behind the cut
			r.behind = -1
		}
	}
	return r
}

// paint adds a colour to a commit and puts it in the queue if that is news.
func (p *painter) paint(id plumbing.Hash, colour int) error {
	old := p.colour[id]
	if old|colour == old {
		return nil
	}
	p.colour[id] = old | colour
	if p.queued[id] {
		if p.colour[id] == fromBoth {
			p.open--
		}
		return nil
	}
	c, err := object.GetCommit(p.store, id)
	if err != nil {
		return fmt.Errorf("read commit %s: %w", id, err)
	}
	p.queued[id] = true
	heap.Push(&p.queue, c)
	if p.colour[id] != fromBoth {
		p.open++
	}
	return nil
}

// walk reports whether it came to an end before the bound.
func (p *painter) walk(ctx context.Context) (complete bool, err error) {
	extra, settle := 0, false
	for visited := 0; p.queue.Len() > 0; visited++ {
		if p.open == 0 {
			extra++
			settle = settle || extra > slop
		}
		if visited >= maxCommits && !settle {
			if p.open > 0 {
				return false, nil
			}
			settle = true
		}
		if err := ctx.Err(); err != nil {
			return false, err
		}
		c := heap.Pop(&p.queue).(*object.Commit)
		colour := p.colour[c.Hash]
		p.queued[c.Hash] = false
		if colour != fromBoth {
			p.open--
		}
		if p.store.cut[c.Hash] {
			p.ends = append(p.ends, c.Hash)
			continue
		}
		for _, parent := range c.ParentHashes {
			if settle && p.colour[parent] == 0 {
				continue // nothing new; only what was painted too early is painted over
			}
			if err := p.paint(parent, colour); err != nil {
				return false, err
			}
		}
	}
	return true, nil
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

// missing reports whether an error says that an object is not there.
func missing(err error) bool { return errors.Is(err, plumbing.ErrObjectNotFound) }
