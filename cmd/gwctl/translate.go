package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/compiler/kubernetes"
	"github.com/suuupra/gateway/compiler/kubernetes/manifest"
	"github.com/suuupra/gateway/schema/diag"
)

type translateFlags struct {
	name        string
	opts        kubernetes.Options
	out, report string
	force       bool
	live        liveFlags
}

func newTranslate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "translate", Short: "Bring the configuration of other gateways into a config repository",
	}
	cmd.AddCommand(newTranslateKubernetes("ingress", "Translate Ingress objects, with the annotations of ingress-nginx"),
		newTranslateKubernetes("gateway-api", "Translate Gateway API objects: Gateway and HTTPRoute"),
		newTranslateKubernetes("route", "Translate Routes of gateway.suuupra.dev, the custom resource of this gateway"))
	return cmd
}

func newTranslateKubernetes(name, short string) *cobra.Command {
	f := translateFlags{name: name}
	own := map[string]string{
		"ingress":     " [--ingress-class NAME]",
		"gateway-api": " [--gateway NS/NAME]",
	}[name]
	cmd := &cobra.Command{
		Use:   name + " FILE|DIR... " + strings.TrimSpace(own+" [--namespace NS] [--out DIR [--force]] [--report text|json] | --watch|--once --repo URL[#BRANCH] [--to DEST --env E --trust trust.json]"),
		Short: short,
		Long: short + `.

It reads Kubernetes manifests (YAML with any number of documents and lists, or JSON; a folder means the .yaml, .yml and .json files
in and below it, "-" standard input), and writes files of a config repository: with --out into that folder, else to standard output.
Give it the Services, Namespaces and ReferenceGrants the rules refer to as well. Files that are there already are replaced only if
translate wrote them and nobody changed them since, unless --force.

The report on standard error, or with --out on standard output, says which rule became which route, and names everything that could
not be said, with a reason and what to do instead: nothing is dropped silently. A rule of which any part cannot be said is left out
whole; where a more general route would take its requests, a route that refuses everybody stands in its place. docs/kubernetes.md has
the tables. Exit code 0 means that everything was said, 2 that something was not.

` + liveHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.live.watch || f.live.once {
				return f.follow(cmd, args)
			}
			return f.do(cmd, args)
		},
	}
	switch name {
	case "ingress":
		cmd.Flags().StringVar(&f.opts.IngressClass, "ingress-class", "", "only Ingresses of this class; needed if there are several, and with --watch")
	case "gateway-api":
		cmd.Flags().StringVar(&f.opts.Gateway, "gateway", "", "the Gateway to translate, as namespace/name; needed if there are several, and with --watch")
	}
	cmd.Flags().StringSliceVar(&f.opts.Namespaces, "namespace", nil, "only rules of this namespace; may be repeated")
	cmd.Flags().StringVar(&f.opts.ClusterDomain, "cluster-domain", "cluster.local", "DNS domain of the cluster")
	cmd.Flags().StringVar(&f.out, "out", "", "folder of a config repository to write to")
	cmd.Flags().BoolVar(&f.force, "force", false, "with --out: replace files that translate did not write, too")
	cmd.Flags().StringVar(&f.report, "report", "text", "form of the report: text or json")
	f.live.register(cmd, name)
	return cmd
}

var (
	gatewayName = regexp.MustCompile(`^[a-z0-9.-]+/[a-z0-9.-]+$`)
	dnsLabel    = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	domainName  = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)
)

func (f *translateFlags) usage() error {
	switch {
	case f.report != "text" && f.report != "json":
		return usagef("--report is %q, must be text or json", f.report)
	case f.force && f.out == "":
		return usagef("--force goes with --out")
	case f.opts.Gateway != "" && !gatewayName.MatchString(f.opts.Gateway):
		return usagef("--gateway is %q, must be namespace/name", f.opts.Gateway)
	case slices.ContainsFunc(f.opts.Namespaces, func(ns string) bool { return !dnsLabel.MatchString(ns) }):
		return usagef("--namespace is %q, must be the name of a namespace", strings.Join(f.opts.Namespaces, ","))
	case !domainName.MatchString(f.opts.ClusterDomain):
		return usagef("--cluster-domain is %q, must be a DNS name", f.opts.ClusterDomain)
	}
	return nil
}

func (f *translateFlags) do(cmd *cobra.Command, args []string) error {
	if err := f.usage(); err != nil {
		return err
	}
	if len(args) == 0 {
		return usagef("got 0 arguments, usage: %s; or give --watch to follow a cluster", cmd.UseLine())
	}
	if name := f.live.changed(cmd); name != "" {
		return usagef("--%s goes with --watch or --once", name)
	}
	files, err := readManifests(cmd.InOrStdin(), args)
	if err != nil {
		return err
	}
	var diags diag.List
	objects := manifest.Read(files, &diags)
	if diags.HasErrors() {
		return refuseManifests(cmd, files, diags.Sorted())
	}
	f.choose(cmd, objects)
	result := kubernetes.Translate(objects, f.opts)
	if err := f.write(cmd, result); err != nil {
		return err
	}
	report := cmd.OutOrStdout()
	if f.out == "" {
		report = cmd.ErrOrStderr() // the files are the data
	}
	write := result.Text
	if f.report == "json" {
		write = result.JSON
	}
	if err := write(report); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	if result.IsComplete() {
		return nil
	}
	if f.report == "text" || f.out != "" { // else the report is on standard error, for programs
		fmt.Fprintln(cmd.ErrOrStderr(), "gwctl: not everything could be said; see the report")
	}
	return &silentError{exitDifferences}
}

// choose keeps to the objects of this command.
func (f *translateFlags) choose(cmd *cobra.Command, o *kubernetes.Objects) {
	if f.name != "ingress" {
		f.leave(cmd, len(o.Ingresses), "Ingress object", "ingress")
		o.Ingresses, o.IngressClasses = nil, nil
	}
	if f.name != "gateway-api" {
		f.leave(cmd, len(o.Gateways)+len(o.HTTPRoutes), "Gateway API object", "gateway-api")
		o.GatewayClasses, o.Gateways, o.HTTPRoutes = nil, nil, nil
	}
	if f.name != "route" {
		f.leave(cmd, len(o.Routes), "Route", "route")
		o.Routes = nil
	}
}

// leave says that objects are the business of the other command.
func (f *translateFlags) leave(cmd *cobra.Command, n int, what, other string) {
	if n > 0 && (f.report == "text" || f.out != "") {
		fmt.Fprintf(cmd.ErrOrStderr(), "gwctl: %s left to gwctl translate %s\n", count(n, what), other)
	}
}

func refuseManifests(cmd *cobra.Command, files []manifest.File, diags []diag.Diagnostic) error {
	source := func(path string) []byte {
		if i := slices.IndexFunc(files, func(f manifest.File) bool { return f.Path == path }); i >= 0 {
			return files[i].Data
		}
		return nil
	}
	if err := diag.Text(cmd.ErrOrStderr(), diag.Report{Diagnostics: diags, Source: source, Files: len(files)}); err != nil {
		return err
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "gwctl: nothing was translated")
	return &silentError{exitInvalid}
}

// readManifests reads the named files, and those in and below the named folders.
func readManifests(stdin io.Reader, args []string) ([]manifest.File, error) {
	var files []manifest.File
	left := int64(manifest.MaxBytes)
	read := func(path string, r io.Reader) error {
		data, err := io.ReadAll(io.LimitReader(r, left+1))
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		if left -= int64(len(data)); left < 0 {
			return &codeError{exitInvalid, fmt.Errorf("the manifests hold more than %d MiB; translate them in parts", manifest.MaxBytes>>20)}
		}
		files = append(files, manifest.File{Path: path, Data: data})
		return nil
	}
	open := func(path string) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return read(path, f)
	}
	for _, arg := range args {
		if arg == "-" {
			if err := read("-", stdin); err != nil {
				return nil, err
			}
			continue
		}
		paths, err := manifestsBelow(arg)
		if err != nil {
			return nil, err
		}
		for _, p := range paths {
			if err := open(p); err != nil {
				return nil, err
			}
		}
	}
	return files, nil
}

// manifestsBelow lists the manifests in and below a folder, in order; a file is itself. Links are not followed.
func manifestsBelow(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var out []string
	err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && p != path:
			return fs.SkipDir
		case d.Type().IsRegular() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(p)):
			out = append(out, p)
		}
		return nil
	})
	if err == nil && len(out) == 0 {
		err = usagef("%s holds no .yaml, .yml or .json file", path)
	}
	return out, err
}

// write writes the files, all of them or, if one may not be replaced, none.
func (f *translateFlags) write(cmd *cobra.Command, r *kubernetes.Result) error {
	encoded := make([][]byte, len(r.Files))
	for i := range r.Files {
		var err error
		if encoded[i], err = r.Files[i].Encode(""); err != nil {
			return err
		}
		if f.out == "" {
			if _, err := fmt.Fprintf(cmd.OutOrStdout(), "---\n# %s\n%s", r.Files[i].Path, encoded[i]); err != nil {
				return fmt.Errorf("write files: %w", err)
			}
		}
	}
	if f.out == "" {
		return nil
	}
	if err := os.MkdirAll(f.out, 0o755); err != nil {
		return err
	}
	// A root: a link in the folder must not lead a file out of it.
	root, err := os.OpenRoot(f.out)
	if err != nil {
		return err
	}
	defer root.Close()
	changed := make([]bool, len(r.Files))
	for i := range r.Files {
		if changed[i], err = f.mayWrite(root, r.Files[i].Path, encoded[i]); err != nil {
			return err
		}
	}
	for i, file := range r.Files {
		if !changed[i] {
			continue
		}
		if err := root.MkdirAll(filepath.Dir(file.Path), 0o755); err != nil {
			return err
		}
		if err := root.WriteFile(file.Path, encoded[i], 0o644); err != nil {
			return err
		}
	}
	return f.stale(cmd, root, r)
}

// mayWrite reports whether a file is to be written. One that is somebody's work is refused.
func (f *translateFlags) mayWrite(root *os.Root, path string, data []byte) (bool, error) {
	have, err := readWritten(root, path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case err != nil:
		return false, err
	case bytes.Equal(have, data):
		return false, nil
	case kubernetes.IsOwn(have) || f.force:
		return true, nil
	}
	return false, &codeError{exitRefused, fmt.Errorf(
		"%s exists, and translate did not write it as it is now; translate into another folder, or use --force", filepath.Join(f.out, path))}
}

// readWritten reads a file as far as translate may have written it: a longer one is somebody else's.
func readWritten(root *os.Root, path string) ([]byte, error) {
	f, err := root.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, manifest.MaxBytes))
}

// stale names files of an earlier translation that this one does not write: their objects may be gone, or translated elsewhere.
func (f *translateFlags) stale(cmd *cobra.Command, root *os.Root, r *kubernetes.Result) error {
	return fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != ".":
			return fs.SkipDir
		case !d.Type().IsRegular() || filepath.Ext(path) != ".yaml",
			slices.ContainsFunc(r.Files, func(file kubernetes.File) bool { return file.Path == path }):
			return nil
		}
		data, err := readWritten(root, path)
		if err == nil && kubernetes.IsOwn(data) {
			fmt.Fprintf(cmd.ErrOrStderr(), "gwctl: %s was written by an earlier translation and not by this one; remove it if its objects are gone\n", filepath.Join(f.out, path))
		}
		return err
	})
}
