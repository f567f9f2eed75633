// Package toolchain is the compiler with every kind of policy and target this version has: what gwctl and gwrun compile
// with. It must hold no logic of its own.
package toolchain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/suuupra/gateway/compiler"
	"github.com/suuupra/gateway/compiler/cuerun"
	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/internal/build"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/policy/all"
	"github.com/suuupra/gateway/runtime/target"
	targets "github.com/suuupra/gateway/runtime/target/all"
	"github.com/suuupra/gateway/runtime/upstream/dialguard"
	"github.com/suuupra/gateway/schema/v1"
)

// Options say how to compile.
type Options struct {
	Cache   bool // keep decoded files in the user's cache directory
	OnStage func(stage, environment string, took time.Duration)
}

// New returns the compiler.
func New(o Options) *compiler.Compiler {
	opts := compiler.Options{Kinds: all.Kinds(), CUE: cuerun.New(), Dial: dialguard.Check, OnStage: o.OnStage}
	for _, t := range targets.Kinds() {
		opts.Targets = append(opts.Targets, t.TargetKind)
	}
	if o.Cache {
		opts.Cache = openCache()
	}
	return compiler.New(opts)
}

// Kinds are the policies, in pipeline order.
func Kinds() []policy.Kind { return all.Kinds() }

// Targets are the kinds of target.
func Targets() []target.Kind { return targets.Kinds() }

// openCache opens the cache of this build of the compiler. Without a home directory, or with a disk that is full, there is
// none, and everything still works.
func openCache() *compiler.Cache {
	dir := os.Getenv("GWCTL_CACHE")
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return nil
		}
		dir = filepath.Join(base, "gwctl")
	}
	salt := append([]byte(build.Version+"\x00"+identity()+"\x00"), v1.JSONSchema()...)
	c, err := compiler.OpenCache(dir, salt)
	if err != nil {
		return nil
	}
	c.Prune(time.Now())
	return c
}

// identity tells this program from one built from other sources with the same version.
func identity() string {
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprint(info.Size(), info.ModTime().UnixNano())
}

// Load reads a config repository: a directory, or with a revision the tree of that revision in the git repository the
// directory belongs to.
func Load(ctx context.Context, path, rev string) (*load.Tree, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open repository: %w", err)
	}
	if !info.IsDir() {
		return nil, errors.New("open repository: " + path + " is not a directory")
	}
	if rev != "" {
		return load.Git(ctx, path, rev)
	}
	return load.Dir(ctx, path)
}
