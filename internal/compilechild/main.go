package compilechild

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Main is called first in main, before flags are read. If the arguments (os.Args) are not those of a child it returns;
// otherwise it compiles what standard input asks for, answers on standard output, and ends the process.
func Main(args []string, compile func(context.Context, Request) (Response, error)) {
	if len(args) != 2 || args[1] != Argument {
		return
	}
	if err := child(os.Stdin, os.Stdout, compile); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func child(in io.Reader, out io.Writer, compile func(context.Context, Request) (Response, error)) error {
	var o order
	if err := decode(in, maxRequest, &o); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	if o.Memory <= 0 || o.Timeout <= 0 {
		return errors.New("request: memory and timeout must be positive")
	}
	sacrifice()
	debug.SetMemoryLimit(o.Memory - o.Memory/8) // collect hard before giving up
	go watchMemory(uint64(o.Memory), func() { os.Exit(exitMemory) })
	ctx, cancel := context.WithTimeout(context.Background(), o.Timeout)
	defer cancel()
	resp, err := compile(ctx, o.Request)
	if err != nil {
		resp = Response{Error: clip(err.Error())}
	}
	resp.Text = clip(resp.Text)
	resp.Mistakes = resp.Mistakes[:min(len(resp.Mistakes), MaxMistakes)]
	data, err := json.Marshal(resp)
	if err != nil {
		return fmt.Errorf("response: %w", err)
	}
	if _, err := out.Write(data); err != nil {
		return fmt.Errorf("response: %w", err)
	}
	return nil
}

// clip keeps a text well below the bound of a response.
func clip(s string) string {
	const most = 64 << 10
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// watchMemory calls over once the process holds more memory than it may. It looks at what the Go runtime has from the
// system and not given back; nothing in a compiler allocates outside it.
func watchMemory(limit uint64, over func()) {
	samples := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"},
	}
	ticker := time.NewTicker(checkMemory)
	defer ticker.Stop()
	for {
		metrics.Read(samples)
		if samples[0].Value.Uint64()-samples[1].Value.Uint64() > limit {
			over()
			return
		}
		<-ticker.C
	}
}

func strict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the value")
	}
	return nil
}
