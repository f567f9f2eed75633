package httptarget

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/suuupra/gateway/runtime/httpmsg"
)

// slowClient is a ResponseWriter whose client takes a 1xx response when it likes.
type slowClient struct {
	httpmsg.ResponseWriter
	takes chan error

	mu   sync.Mutex
	took []string
}

func (w *slowClient) Informational(_ int, h *httpmsg.Header) error {
	err := <-w.takes
	w.mu.Lock()
	defer w.mu.Unlock()
	w.took = append(w.took, h.Get("Link"))
	return err
}

func hinting(t *testing.T, w *slowClient) *stream2 {
	s := &stream2{c: &call{ctx: t.Context(), w: w}}
	s.ctx, s.cancel = context.WithCancelCause(t.Context())
	s.timer = time.AfterFunc(time.Hour, s.timeUp)
	return s
}

func link(name string) *httpmsg.Header {
	return &httpmsg.Header{Fields: []httpmsg.Field{{Name: "Link", Value: name}}}
}

// TestHintsDoNotHoldUpTheConnection has a client take nothing while the upstream sends 1xx responses: who reads the connection goes
// on, and the client gets all of them, in order, before the response.
func TestHintsDoNotHoldUpTheConnection(t *testing.T) {
	w := &slowClient{takes: make(chan error)}
	s := hinting(t, w)
	for _, name := range []string{"a", "b", "c"} {
		if err := s.pass(103, link(name)); err != nil { // it returns, though nothing was taken
			t.Fatal(err)
		}
	}
	if err := s.pass(100, nil); err != nil {
		t.Fatal(err)
	}
	go func() {
		for range 3 {
			w.takes <- nil
		}
	}()
	s.settle()
	if got := strings.Join(w.took, ""); got != "abc" || !s.c.informed {
		t.Errorf("the client got %q before the response, informed %v", got, s.c.informed)
	}
	if err := s.pass(103, link("d")); err != errFlood {
		t.Errorf("after the response: %v", err)
	}
}

// TestHintsOfAClientThatHasGone ends the stream.
func TestHintsOfAClientThatHasGone(t *testing.T) {
	w := &slowClient{takes: make(chan error, 2)}
	s := hinting(t, w)
	w.takes <- errors.New("gone")
	if err := s.pass(103, link("a")); err != nil {
		t.Fatal(err)
	}
	<-s.ctx.Done()
	s.settle()
	if err := s.explain(errors.New("cancelled")); !s.c.ownFault(err) {
		t.Errorf("%v is the upstream's fault", err)
	}
}

// TestHintsWithoutEnd are refused, and so is a switch of protocols, which HTTP/2 does not have.
func TestHintsWithoutEnd(t *testing.T) {
	w := &slowClient{takes: make(chan error, 100)}
	for range 100 {
		w.takes <- nil
	}
	s := hinting(t, w)
	if err := s.pass(101, nil); err != errUnexpected {
		t.Errorf("101: %v", err)
	}
	for i := 1; i < maxInformational; i++ {
		if err := s.pass(103, link("a")); err != nil {
			t.Fatalf("number %d: %v", i, err)
		}
	}
	if err := s.pass(103, link("a")); err != errFlood {
		t.Errorf("one more: %v", err)
	}
	s.settle()
}
