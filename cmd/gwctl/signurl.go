package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/internal/signedurl"
	"github.com/suuupra/gateway/runtime/secret"
)

func newSignURL() *cobra.Command {
	var o signURLOptions
	cmd := &cobra.Command{
		Use:   "sign-url URL --key-id ID --key env:NAME|file:/PATH [--expires 1h | --until TIME]",
		Short: "Make a URL that carries its own permission", Args: cobra.ExactArgs(1),
		Long: `sign-url prints the URL with an expiry and a signature in its query. Whoever has it may use it until then, on a route whose
policy signedUrl lists the key. Host, path and query are signed; with --prefix every path under it may be asked for, with any
query. The key is what the route's secretRef leads to: at least 32 bytes, of which one newline at the end does not count.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			grant, err := o.grant(time.Now(), cmd.Flags().Changed("expires"))
			if err != nil {
				return err
			}
			key, err := o.signingKey()
			if err != nil {
				return err
			}
			signed, err := signedurl.Sign(args[0], grant, key)
			if err != nil {
				return usage(err)
			}
			fmt.Fprintln(cmd.OutOrStdout(), signed)
			return nil
		},
	}
	cmd.Flags().StringVar(&o.keyID, "key-id", "", "id of the key, as the route lists it")
	cmd.Flags().StringVar(&o.key, "key", "", "where the key is: env:NAME or file:/absolute/path")
	cmd.Flags().DurationVar(&o.lifetime, "expires", time.Hour, "how long the URL is good")
	cmd.Flags().StringVar(&o.until, "until", "", "until when it is good, such as 2026-01-31T18:00:00Z (RFC 3339)")
	cmd.Flags().StringVar(&o.prefix, "prefix", "", "good for every path under this one, such as /videos/7/")
	cmd.Flags().StringArrayVar(&o.methods, "method", nil, "method it is good for, may be repeated (default GET and HEAD)")
	cmd.Flags().StringVar(&o.client, "ip", "", "the one client address that may use it (default any)")
	return cmd
}

// signURLOptions are the flags of sign-url.
type signURLOptions struct {
	keyID, key, until, prefix, client string
	methods                           []string
	lifetime                          time.Duration
}

// grant reads what is to be permitted. signedurl.Sign judges the rest.
func (o *signURLOptions) grant(now time.Time, expires bool) (*signedurl.Grant, error) {
	g := &signedurl.Grant{KeyID: o.keyID, Expires: now.Add(o.lifetime), Prefix: o.prefix, Methods: o.methods}
	var err error
	switch {
	case o.keyID == "" || o.key == "":
		return nil, usagef("--key-id and --key are required")
	case o.until != "" && expires:
		return nil, usagef("--expires and --until exclude each other")
	case o.until != "":
		if g.Expires, err = time.Parse(time.RFC3339, o.until); err != nil {
			return nil, usagef("--until is %q, must be a time such as 2026-01-31T18:00:00Z", o.until)
		}
		if !g.Expires.After(now) {
			return nil, usagef("--until is %q, which has passed", o.until)
		}
	case o.lifetime < time.Second:
		return nil, usagef("--expires is %s, must be at least 1s", o.lifetime)
	}
	if o.client != "" {
		if g.Client, err = netip.ParseAddr(o.client); err != nil || g.Client.Zone() != "" {
			return nil, usagef("--ip is %q, must be an IP address without a zone", o.client)
		}
	}
	return g, nil
}

// signingKey reads the key as gwrun does, so that both see the same bytes. No error repeats what --key says: with one "$" too many,
// that is the key.
func (o *signURLOptions) signingKey() (*signedurl.Key, error) {
	if !strings.HasPrefix(o.key, "env:") && !strings.HasPrefix(o.key, "file:/") {
		return nil, usagef("--key must be env:NAME or file:/absolute/path; a key on the command line can be read by everybody on this machine")
	}
	secrets := secret.New(slog.New(slog.DiscardHandler))
	defer secrets.Close()
	value, err := secrets.Get(o.key)
	if err != nil {
		return nil, fmt.Errorf("read what --key names: %w", errors.Unwrap(err))
	}
	return signedurl.NewKey(value)
}
