// Package cuerun evaluates the CUE files people write, in a child process. CUE has no limit of its own: a file of a few
// hundred bytes can ask for hours and for all memory there is. So the program starts itself again as a child that gets
// the files on its standard input, may open nothing, and is stopped when a file asks for too much; what is then reported
// names the file. The process that compiles never evaluates CUE itself.
//
// A file without a package clause is evaluated alone; the files of one folder with the same package clause are unified
// and become one, which takes the place of the first of them. Only regular fields are exported, after defaults. Imports
// are limited to builtin packages that compute; nothing is loaded from modules, files, tags or the environment.
package cuerun

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"time"

	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/compiler/yamlpos"
	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

// Limits bound what the files of one package, or one file without a package clause, may cost.
type Limits struct {
	CPU    time.Duration
	Wall   time.Duration
	Memory int64 // bytes of the child process
	Output int64 // bytes of the result of one child
	Nodes  int   // values in one result
}

// DefaultLimits are those of the design.
func DefaultLimits() Limits {
	return Limits{CPU: 10 * time.Second, Wall: 30 * time.Second, Memory: 1 << 30, Output: 64 << 20, Nodes: 500_000}
}

// maxCulprits is after how many files that ask for too much the others are not tried any more.
const maxCulprits = 3

// Evaluator evaluates CUE files. It is safe for concurrent use.
type Evaluator struct {
	limits  Limits
	program string // started as the child; "" is this one
}

// New returns an Evaluator with the default limits. The program must call Child first thing in main.
func New() *Evaluator { return NewWithLimits(DefaultLimits()) }

// NewWithLimits returns an Evaluator with other limits.
func NewWithLimits(l Limits) *Evaluator { return &Evaluator{limits: l} }

// Evaluate evaluates files and returns a root for each file or package that is valid, under the path of its first file.
// What is wrong with the others is in diags. An error means that the child process could not be run.
func (e *Evaluator) Evaluate(ctx context.Context, files []load.RawFile, diags *diag.List) (map[string]*schema.Node, error) {
	if os.Getenv(guard) != "" {
		return nil, errors.New("evaluate CUE: this process is itself a child, which must call cuerun.Child in main")
	}
	roots := map[string]*schema.Node{}
	pending := groups(files, diags)
	for culprits := 0; len(pending) > 0; culprits++ {
		if culprits == maxCulprits {
			for _, g := range pending {
				diags.Add(diag.Diagnostic{
					Code: "GW1509", Pos: g.pos(), Message: "not evaluated, because other CUE files asked for too much",
					Hint: "mend those first",
				})
			}
			return roots, nil
		}
		done, failure, err := e.batch(ctx, pending, roots, diags)
		if err != nil {
			return nil, err
		}
		if failure == nil {
			break
		}
		diags.Add(failure.diagnostic(pending[done], e.limits))
		pending = pending[done+1:]
	}
	return roots, nil
}

// group is what is evaluated together.
type group struct {
	Package string     `json:"package,omitempty"`
	Files   []wireFile `json:"files"`
}

type wireFile struct {
	Path string `json:"path"`
	Data []byte `json:"data"`
}

func (g group) pos() diag.Pos { return diag.Pos{File: g.Files[0].Path} }

// groups sorts the files into packages. Text that no editor shows faithfully is refused here, as in YAML.
func groups(files []load.RawFile, diags *diag.List) []group {
	var out []group
	at := map[[2]string]int{}
	sorted := slices.Clone(files)
	slices.SortFunc(sorted, func(a, b load.RawFile) int { return compare(a.Path, b.Path) })
	for _, f := range sorted {
		text, ok := yamlpos.Text(f.Path, f.Data, diags)
		if !ok {
			continue
		}
		name := packageClause(text)
		w := wireFile{Path: f.Path, Data: text}
		if name == "" {
			out = append(out, group{Files: []wireFile{w}})
			continue
		}
		key := [2]string{path.Dir(f.Path), name}
		if i, ok := at[key]; ok {
			out[i].Files = append(out[i].Files, w)
			continue
		}
		at[key] = len(out)
		out = append(out, group{Package: name, Files: []wireFile{w}})
	}
	return out
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// failure is why a child stopped before its time.
type failure struct {
	limit string // "cpu", "wall", "memory", "output", or "crash"
}

func (f *failure) diagnostic(g group, l Limits) diag.Diagnostic {
	d := diag.Diagnostic{Code: "GW1507", Pos: g.pos(), Hint: "look for a definition that contains itself, and for large disjunctions and comprehensions"}
	switch f.limit {
	case "cpu":
		d.Message = fmt.Sprintf("the file takes more than %s of CPU to evaluate", l.CPU)
	case "wall":
		d.Message = fmt.Sprintf("the file takes more than %s to evaluate", l.Wall)
	case "memory":
		d.Message = fmt.Sprintf("the file takes more than %d MiB of memory to evaluate", l.Memory>>20)
	case "output":
		d.Message = fmt.Sprintf("the file makes more than %d MiB of config", l.Output>>20)
	default:
		d.Code, d.Message, d.Hint = "GW1508", "the evaluation of this file crashed", "write it in a simpler way, or as YAML"
	}
	for _, other := range g.Files[1:] {
		d.Notes = append(d.Notes, diag.Note{Pos: diag.Pos{File: other.Path}, Message: "evaluated together, they are one package"})
	}
	return d
}
