package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
)

// side is one of the two things a diff compares.
type side struct {
	cmd  *cobra.Command
	repo *repositoryFlags
	env  string

	opened []*repository // that were compiled, in their order
}

// both resolves the two sides. Without --env, what has to be compiled is compiled for the environment of the other side.
func (s *side) both(a, b string) (before, after *ir.Program, err error) {
	if s.env == "" && compiles(a) && !compiles(b) {
		after, before, err = s.both(b, a)
		return before, after, err
	}
	if before, err = s.program(a); err != nil {
		return nil, nil, err
	}
	if s.env == "" && !compiles(a) && compiles(b) {
		s.env = before.Environment
	}
	after, err = s.program(b)
	return before, after, err
}

// compiles reports whether a name stands for a config repository, in contrast to something compiled.
func compiles(name string) bool {
	return !strings.Contains(name, "://") && !strings.HasSuffix(name, ".gwb") && !isLayout(name)
}

// program resolves what a user names: a directory, a .gwb file or a folder of bundles, a place with a scheme, a running
// gateway, or a git revision of the repository in the current directory.
func (s *side) program(name string) (*ir.Program, error) {
	ctx := s.cmd.Context()
	switch {
	case strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://"):
		return s.remote(ctx, name)
	case strings.Contains(name, "://") || strings.HasSuffix(name, ".gwb") || isLayout(name):
		return s.bundle(ctx, name)
	case isDir(name):
		return s.compile(ctx, name, name, "")
	}
	p, err := s.compile(ctx, name, ".", name)
	if err != nil && !errors.As(err, new(*silentError)) {
		return nil, fmt.Errorf("%q is no directory, bundle or address; as a revision: %w", name, err)
	}
	return p, err
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// isLayout tells a folder of bundles from a config repository.
func isLayout(path string) bool {
	_, err := os.Stat(filepath.Join(path, "oci-layout"))
	return err == nil
}

func (s *side) compile(ctx context.Context, name, path, rev string) (*ir.Program, error) {
	flags := *s.repo
	flags.rev = rev
	repo, err := flags.open(ctx, path)
	if err != nil {
		return nil, err
	}
	s.opened = append(s.opened, repo)
	p, err := repo.compile(s.cmd.ErrOrStderr(), s.env)
	if err != nil { // the diagnostics name files, which both sides have
		fmt.Fprintf(s.cmd.ErrOrStderr(), "gwctl: %s does not compile\n", name)
	}
	return p, err
}

func (s *side) bundle(ctx context.Context, name string) (*ir.Program, error) {
	raw, err := fetchBundle(ctx, name, s.env)
	if err != nil {
		return nil, err
	}
	return unpack(raw)
}

// remote is a running gateway, or a web server that bundles were published to.
func (s *side) remote(ctx context.Context, url string) (*ir.Program, error) {
	raw, err := fetchRunning(ctx, url)
	if errors.Is(err, errNoGateway) {
		return s.bundle(ctx, url)
	}
	if err != nil {
		return nil, err
	}
	return unpack(raw)
}

func unpack(raw *bundle.Raw) (*ir.Program, error) {
	v, err := bundle.Peek(raw)
	if err != nil {
		return nil, err
	}
	return unpackBundle(v.Bundle)
}

func unpackBundle(b *bundle.Bundle) (*ir.Program, error) {
	p, err := ir.Unpack(b)
	if err != nil {
		return nil, fmt.Errorf("unpack bundle: %w", err)
	}
	return p, nil
}
