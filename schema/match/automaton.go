package match

import (
	"regexp/syntax"
	"slices"
)

// automaton is a regular expression as a nondeterministic automaton over the characters of normalised paths. Two
// expressions overlap exactly if the product of their automata reaches a final state, which a search decides, and the way
// there is a path that both match. Guessing sample strings would miss what this proves.
type automaton struct {
	prog *syntax.Prog
	sets []charSet // per instruction: the characters it consumes
	memo map[position][]uint32
	work int // instructions looked at for memo

	seen []int // per instruction: the closure that came by last
	turn int   // counts closures
}

// position is an instruction and the assertions that hold before it.
type position struct {
	pc    uint32
	holds syntax.EmptyOp
}

// charSet holds characters under 128: a normalised path has no others.
type charSet [2]uint64

func (s charSet) has(c byte) bool { return s[c>>6]&(1<<(c&63)) != 0 }

func newAutomaton(prog *syntax.Prog) *automaton {
	a := &automaton{prog: prog, sets: make([]charSet, len(prog.Inst)), memo: map[position][]uint32{}, seen: make([]int, len(prog.Inst))}
	for i := range prog.Inst {
		in := &prog.Inst[i]
		switch in.Op {
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			for _, c := range pathAlphabet {
				if matchesRune(in, rune(c)) {
					a.sets[i][c>>6] |= 1 << (c & 63)
				}
			}
		}
	}
	return a
}

func matchesRune(in *syntax.Inst, r rune) bool {
	switch in.Op {
	case syntax.InstRuneAny:
		return true
	case syntax.InstRuneAnyNotNL:
		return r != '\n'
	}
	return in.MatchRune(r)
}

// pathAlphabet is what normalised paths are made of, in the order in which witnesses prefer them.
var pathAlphabet = []byte("abcdefghijklmnopqrstuvwxyz0123456789/ABCDEFGHIJKLMNOPQRSTUVWXYZ-_.~:@!$&'()*+,=%")

// before is what stands left of a position: it decides "^" and "\b".
type before uint8

const (
	atStart before = iota
	afterWord
	afterOther
)

// conditions returns the empty-width assertions that hold between what is before and the next character, which is 0 at
// the end.
func (b before) conditions(next byte) syntax.EmptyOp {
	r1, r2 := rune(' '), rune(next)
	switch {
	case b == atStart:
		r1 = -1
	case b == afterWord:
		r1 = 'a'
	}
	if next == 0 {
		r2 = -1
	}
	return syntax.EmptyOpContext(r1, r2)
}

// reach returns the consuming and final instructions that pc leads to while the assertions hold.
func (a *automaton) reach(pc uint32, holds syntax.EmptyOp) []uint32 {
	at := position{pc, holds}
	out, ok := a.memo[at]
	if !ok {
		a.turn++
		out = a.closure(pc, holds, nil)
		a.memo[at] = out
	}
	return out
}

// closure appends the consuming and final instructions that pc leads to while the conditions hold.
func (a *automaton) closure(pc uint32, holds syntax.EmptyOp, out []uint32) []uint32 {
	if a.seen[pc] == a.turn {
		return out
	}
	a.seen[pc] = a.turn
	a.work++
	in := &a.prog.Inst[pc]
	switch in.Op {
	case syntax.InstAlt, syntax.InstAltMatch:
		return a.closure(in.Arg, holds, a.closure(in.Out, holds, out))
	case syntax.InstCapture, syntax.InstNop:
		return a.closure(in.Out, holds, out)
	case syntax.InstEmptyWidth:
		if syntax.EmptyOp(in.Arg)&^holds == 0 {
			return a.closure(in.Out, holds, out)
		}
		return out
	case syntax.InstFail:
		return out
	}
	return append(out, pc)
}

// language is a set of paths as a deterministic automaton. State 0 is the start; next is false if no path of the set
// goes on that way.
type language interface {
	next(state uint16, c byte) (uint16, bool)
	accepts(state uint16) bool
}

// maxProductStates bounds one search. Ordinary pairs of expressions need a few hundred.
const maxProductStates = 100_000

// workPerState is how many ways on a state may have, on average, before a search is given up. Ordinary expressions have a
// few; repetitions of optional repetitions have as many as instructions, and a pair of those the square of that.
const workPerState = 8

type productState struct {
	pc     [2]uint32
	lang   uint16
	before before
}

type productStep struct {
	state  productState
	parent int32
	char   byte
}

// noSecond stands for the instructions of a second automaton where there is only one.
var noSecond = []uint32{0}

// intersect finds a path without counting the states visited.
func intersect(as []*automaton, lang language, budget int) (witness string, known bool) {
	witness, _, known = intersectCounted(as, lang, budget)
	return witness, known
}

// intersectCounted finds a shortest path that is in the language and that all automata (one or two) match. It returns "" and true
// if there is none, and false if the search was given up; states is what it cost: the states it visited, or more if they had
// more ways on than usual.
func intersectCounted(as []*automaton, lang language, budget int) (witness string, states int, known bool) {
	start := productState{}
	for i, a := range as {
		start.pc[i] = uint32(a.prog.Start)
	}
	work := 0
	for _, a := range as {
		work -= a.work
	}
	cost := func(steps []productStep) int {
		spent := work
		for _, a := range as {
			spent += a.work
		}
		return max(len(steps), spent/workPerState)
	}
	steps := []productStep{{state: start, parent: -1}}
	seen := map[productState]bool{start: true}
	nexts := [...]byte{0, 'a', '/'} // one for each way in which the next character bears on assertions
	for at := 0; at < len(steps); at++ {
		s := steps[at].state
		for _, next := range nexts {
			holds := s.before.conditions(next)
			var pcs [2][]uint32
			for i, a := range as {
				pcs[i] = a.reach(s.pc[i], holds)
			}
			if len(as) == 1 {
				pcs[1] = noSecond
			}
			if next == 0 {
				if lang.accepts(s.lang) && final(as, pcs) {
					return spell(steps, at), cost(steps), true
				}
				continue
			}
			work += len(pcs[0]) * len(pcs[1])
			if spent := cost(steps); spent > budget {
				return "", spent, false
			}
			for _, p := range pcs[0] {
				for _, q := range pcs[1] {
					steps = advance(steps, at, as, [2]uint32{p, q}, next == 'a', lang, seen)
				}
			}
		}
	}
	return "", cost(steps), true
}

func final(as []*automaton, pcs [2][]uint32) bool {
	for i, a := range as {
		if !slices.ContainsFunc(pcs[i], func(pc uint32) bool { return a.prog.Inst[pc].Op == syntax.InstMatch }) {
			return false
		}
	}
	return true
}

// advance adds the states one character further on, for the characters that are (or are not) word characters.
func advance(steps []productStep, at int, as []*automaton, pc [2]uint32, word bool, lang language, seen map[productState]bool) []productStep {
	from := steps[at].state
	set := as[0].sets[pc[0]]
	to := productState{before: afterOther}
	if word {
		to.before = afterWord
	}
	to.pc[0] = as[0].prog.Inst[pc[0]].Out
	if len(as) == 2 {
		other := as[1].sets[pc[1]]
		set[0], set[1] = set[0]&other[0], set[1]&other[1]
		to.pc[1] = as[1].prog.Inst[pc[1]].Out
	}
	if set == (charSet{}) {
		return steps
	}
	last := -1 // most characters lead to the same state of the language: look that one up once
	for _, c := range pathAlphabet {
		if !set.has(c) || syntax.IsWordChar(rune(c)) != word {
			continue
		}
		l, ok := lang.next(from.lang, c)
		if !ok || int(l) == last {
			continue
		}
		last, to.lang = int(l), l
		if seen[to] {
			continue
		}
		seen[to] = true
		steps = append(steps, productStep{state: to, parent: int32(at), char: c})
	}
	return steps
}

func spell(steps []productStep, at int) string {
	var out []byte
	for ; steps[at].parent >= 0; at = int(steps[at].parent) {
		out = append(out, steps[at].char)
	}
	slices.Reverse(out)
	return string(out)
}
