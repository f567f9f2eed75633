package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/internal/overlay"
	"github.com/suuupra/gateway/runtime/admin"
	"github.com/suuupra/gateway/schema/bundle"
)

func newOverlay() *cobra.Command {
	cmd := &cobra.Command{
		Use: "overlay COMMAND --gateway URL", Short: "Change a few objects of a running gateway for a while",
		Long: `overlay lays small changes over what is published, and takes them away: for the hour in which something burns. An overlay is compiled
and signed here, by a key with the role overlay, and ends by itself; gateways show it as drift of the class live, and gwctl drift export
makes a commit of it. Gateways that share a Redis have the same overlays.`,
	}
	cmd.AddCommand(newOverlayApply(), newOverlayList(), newOverlayShow(), newOverlayRemove())
	return cmd
}

func newOverlayList() *cobra.Command {
	var f gatewayFlags
	cmd := &cobra.Command{
		Use: "list --gateway URL", Short: "List the overlays of an environment", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			list, err := fetchOverlays(cmd.Context(), f.gateway)
			if err != nil {
				return err
			}
			if f.format == "json" {
				return writeJSON(cmd.OutOrStdout(), admin.OverlayList{Overlays: list})
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tSTATE\tEXPIRES\tBY\tOBJECTS\tREASON")
			for i := range list {
				o := &list[i]
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", o.ID, stateOf(o), o.ExpiresAt.UTC().Format(time.RFC3339), cell(o.By), cell(strings.Join(o.Objects, " ")), cell(o.Reason))
			}
			return w.Flush()
		},
	}
	f.register(cmd)
	return cmd
}

func stateOf(o *admin.Overlay) string {
	if o.Why == "" {
		return string(o.State)
	}
	return string(o.State) + ": " + cell(o.Why)
}

func newOverlayShow() *cobra.Command {
	var f gatewayFlags
	cmd := &cobra.Command{
		Use: "show ID --gateway URL", Short: "Show an overlay, and the patch it was made from", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := f.overlay(cmd, args[0])
			if err != nil {
				return err
			}
			if f.format == "json" {
				return writeJSON(cmd.OutOrStdout(), o)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "gwctl: %s is %s until %s, by %s: %s\n", o.ID, stateOf(o), o.ExpiresAt.UTC().Format(time.RFC3339), cell(o.By), cell(o.Reason))
			fmt.Fprintf(cmd.ErrOrStderr(), "gwctl: signed by key %s; it changes %s; if the repository changes them, too: %s\n", cell(o.Key), cell(strings.Join(o.Objects, ", ")), o.Strategy)
			fmt.Fprint(cmd.OutOrStdout(), printable(o.Patch))
			return nil
		},
	}
	f.register(cmd)
	return cmd
}

func newOverlayRemove() *cobra.Command {
	var f gatewayFlags
	cmd := &cobra.Command{
		Use: "remove ID --gateway URL", Short: "Take an overlay away: what is published serves again", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := f.overlay(cmd, args[0])
			if err != nil {
				return err
			}
			call := gatewayCall{method: http.MethodDelete, path: "/admin/overlays/" + o.ID, ifMatch: string(o.Version), limit: 1 << 20}
			if _, err := orderOverlay(cmd.Context(), f.gateway, call); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "removed %s\n", o.ID)
			return nil
		},
	}
	f.register(cmd)
	return cmd
}

func fetchOverlays(ctx context.Context, gateway string) ([]admin.Overlay, error) {
	body, err := askGateway(ctx, gateway, "/admin/overlays", 4<<20)
	if err != nil {
		return nil, err
	}
	var list admin.OverlayList
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("read the gateway's overlays: %w", err)
	}
	for i := range list.Overlays {
		if err := believable(gateway, &list.Overlays[i]); err != nil {
			return nil, err
		}
	}
	return list.Overlays, nil
}

// believable judges what becomes a part of paths, or is compared with words of ours.
func believable(gateway string, o *admin.Overlay) error {
	states := []overlay.State{overlay.Active, overlay.Done, overlay.Aside}
	if !bundle.IsOverlayID(o.ID) || !slices.Contains(states, o.State) || o.Strategy != "" && !slices.Contains(bundle.Strategies(), o.Strategy) {
		return fmt.Errorf("the gateway at %s tells of an overlay %q, %q, %q that cannot be", redacted(gateway), o.ID, o.State, o.Strategy)
	}
	return nil
}

// overlay is the one that a command is about.
func (f *gatewayFlags) overlay(cmd *cobra.Command, id string) (*admin.Overlay, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	return findOverlay(cmd.Context(), f.gateway, id)
}

func findOverlay(ctx context.Context, gateway, id string) (*admin.Overlay, error) {
	list, err := fetchOverlays(ctx, gateway)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list, func(o admin.Overlay) bool { return o.ID == id })
	if i < 0 {
		var known []string
		for _, o := range list {
			known = append(known, o.ID)
		}
		return nil, fmt.Errorf("there is no overlay %q at %s; there are %d: %s", id, redacted(gateway), len(list), strings.Join(known, ", "))
	}
	return &list[i], nil
}

// orderOverlay gives an order about an overlay, and says what a refusal means.
func orderOverlay(ctx context.Context, gateway string, call gatewayCall) (*admin.Overlay, error) {
	status, body, err := callGateway(ctx, gateway, call)
	if err != nil {
		return nil, err
	}
	switch status {
	case http.StatusOK, http.StatusCreated:
		var o admin.Overlay
		if err := json.Unmarshal(body, &o); err != nil {
			return nil, fmt.Errorf("read the gateway's answer: %w", err)
		}
		return &o, believable(gateway, &o)
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, gatewayRefused(gateway, status, body)
	}
	var problem struct{ Code string }
	code := exitInternal
	if json.Unmarshal(body, &problem) == nil {
		switch {
		case problem.Code == "":
			return nil, gatewayRefused(gateway, status, body)
		case problem.Code == "overlay_without_effect" || problem.Code == "too_many_overlays":
			code = exitRefused
		case status == http.StatusUnprocessableEntity:
			code = exitTrust
		case status == http.StatusConflict || status == http.StatusPreconditionFailed:
			code = exitConflict
		}
	}
	return nil, &codeError{code, fmt.Errorf("the gateway at %s refused: %s", redacted(gateway), detailOf(body))}
}

// printable is a text of several lines without what a terminal would obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// idOf is the name of an overlay that is made from a file.
func idOf(file string) string {
	return strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
}

var errOverlayKind = errors.New("the patch has to be a YAML or JSON file of the configuration language")

func strategies() string {
	var out []string
	for _, s := range bundle.Strategies() {
		out = append(out, string(s))
	}
	return strings.Join(out, ", ")
}
