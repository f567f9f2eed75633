package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progressDelay is how long work goes on before anybody is told: most of it is over by then.
const progressDelay = 400 * time.Millisecond

// progress shows a person what takes so long, on one line that goes away. It shows nothing to a file or a pipe.
type progress struct {
	w     io.Writer // nil: nobody is looking
	mu    sync.Mutex
	text  string
	shown bool
	timer *time.Timer
}

// startProgress begins; done must be called.
func startProgress(w io.Writer, text string) *progress {
	p := &progress{text: text}
	if !isTerminal(w) {
		return p
	}
	p.w = w
	p.timer = time.AfterFunc(progressDelay, p.show)
	return p
}

func (p *progress) show() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w != nil {
		p.shown = true
		fmt.Fprintf(p.w, "\r\x1b[Kgwctl: %s", p.text)
	}
}

// step says what is being done now.
func (p *progress) step(text string) {
	p.mu.Lock()
	p.text = text
	shown := p.shown
	p.mu.Unlock()
	if shown {
		p.show()
	}
}

// done takes the line away.
func (p *progress) done() {
	if p.timer != nil {
		p.timer.Stop()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
	p.w, p.shown = nil, false
}
