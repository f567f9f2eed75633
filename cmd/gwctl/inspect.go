package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
)

func newInspect() *cobra.Command {
	var env, format string
	var routes bool
	cmd := &cobra.Command{
		Use: "inspect BUNDLE", Short: "Show what is in a bundle, without verifying it", Args: cobra.ExactArgs(1),
		Long: `inspect shows the manifest and channel of a bundle, and with --routes its compiled content. It checks no signature:
use gwctl verify for that.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if format != "text" && format != "json" {
				return usagef("--format is %q, must be text or json", format)
			}
			raw, err := fetchBundle(cmd.Context(), args[0], env)
			if err != nil {
				return err
			}
			v, err := bundle.Peek(raw)
			if err != nil {
				return err
			}
			if has := v.Bundle.Manifest.Environment; env != "" && has != env {
				return fmt.Errorf("%s is for environment %q, not %q", args[0], has, env)
			}
			if format == "json" {
				return inspectJSON(cmd, v, routes)
			}
			return inspectText(cmd, v, routes)
		},
	}
	cmd.Flags().StringVar(&env, "env", "", "environment, where the place holds several")
	cmd.Flags().StringVar(&format, "format", "text", "text or json")
	cmd.Flags().BoolVar(&routes, "routes", false, "also show the compiled routes")
	return cmd
}

// program is a compiled program as it is printed.
type program struct {
	Environment string        `json:"environment"`
	Gateway     ir.Gateway    `json:"gateway"`
	Upstreams   []ir.Upstream `json:"upstreams"`
	Routes      []ir.Route    `json:"routes"`
	Origins     ir.Origins    `json:"origins"`
}

func inspectJSON(cmd *cobra.Command, v *bundle.Verdict, routes bool) error {
	doc := struct {
		Digest   bundle.Digest    `json:"digest"`
		SignedBy []string         `json:"signedBy"`
		Verified bool             `json:"verified"`
		Manifest *bundle.Manifest `json:"manifest"`
		Channel  *bundle.Channel  `json:"channel,omitempty"`
		Program  *program         `json:"program,omitempty"`
	}{Digest: v.Bundle.Digest(), SignedBy: v.Bundle.SignedBy(), Manifest: &v.Bundle.Manifest, Channel: v.Channel}
	if routes {
		p, err := ir.Unpack(v.Bundle)
		if err != nil {
			return err
		}
		doc.Program = (*program)(p)
	}
	enc := json.NewEncoder(cmd.OutOrStdout())
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(doc)
}

func inspectText(cmd *cobra.Command, v *bundle.Verdict, routes bool) error {
	m, w := &v.Bundle.Manifest, cmd.OutOrStdout()
	fmt.Fprintf(w, "digest       %s\ncontent      %s\nname         %s\nenvironment  %s\ncommit       %s\ncompiler     %s\nmin runtime  %s\nkinds        %v\nsigned by    %v (not verified)\n",
		v.Bundle.Digest(), m.ContentDigest, m.Name, m.Environment, commitText(m.Source), m.Compiler.Version, m.MinRuntime, m.Kinds, v.Bundle.SignedBy())
	if c := v.Channel; c != nil {
		fmt.Fprintf(w, "channel      %d.%d, issued %s, expires %s\n", c.Epoch, c.Version, c.IssuedAt.UTC().Format(time.RFC3339), c.ExpiresAt.UTC().Format(time.RFC3339))
		if c.Hold != nil {
			fmt.Fprintf(w, "hold         %q by %q\n", c.Hold.Reason, c.Hold.By)
		}
	}
	fmt.Fprintf(w, "stats        %s, %s, %s in %s\n", count(m.Stats.Routes, "route"), count(m.Stats.Upstreams, "upstream"),
		count(m.Stats.Bytes, "byte"), count(len(m.Shards), "shard"))
	for _, s := range m.Shards {
		fmt.Fprintf(w, "  %-24s %-11s %s %8d bytes %6d objects\n", s.Path, s.Kind, s.Digest.Short(), s.Size, s.Objects)
	}
	if !routes {
		return nil
	}
	p, err := ir.Unpack(v.Bundle)
	if err != nil {
		return err
	}
	for i := range p.Routes {
		r := &p.Routes[i]
		fmt.Fprintf(w, "  %-32s %s%s%s %v -> %s\n", r.ID, r.Match.Host, r.Match.Path, r.Match.PathRegex, r.Match.Methods, r.Target.Upstream)
	}
	return nil
}
