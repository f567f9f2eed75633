package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/internal/apikey"
	"github.com/suuupra/gateway/runtime/admin"
	"github.com/suuupra/gateway/runtime/apikeys"
)

func newKeys() *cobra.Command {
	cmd := &cobra.Command{
		Use: "keys COMMAND --gateway URL", Short: "Make, list, rotate and revoke API keys",
		Long: `keys administers the API keys that policy.auth.apiKey asks for, through the admin API of any one of the gateways that share a
Redis (credentials: gwctl login, GWCTL_TOKEN or GWRUN_ADMIN_TOKEN). A key is printed once, when it is made: the gateways keep a hash of its secret. Everything else
about a key goes by its id, the 16 characters before its last "_", which is no secret.`,
	}
	cmd.AddCommand(newKeysCreate(), newKeysList(), newKeysShow(), newKeysRotate(), newKeysFinish(), newKeysRevoke())
	return cmd
}

func newKeysCreate() *cobra.Command {
	var (
		f    gatewayFlags
		body admin.NewKey
	)
	cmd := &cobra.Command{
		Use: "create --gateway URL --owner NAME", Short: "Make an API key, and print it this once", Args: cobra.NoArgs,
		Long: `create makes a key for the environment of the gateway and prints it alone on standard output, so that it can go where it is
kept without passing a screen. Nobody can print it again.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			if body.Owner == "" {
				return usagef("--owner is required: whom the key is for")
			}
			var k admin.Key
			if err := f.call(cmd, http.MethodPost, "/admin/keys", nil, body, &k); err != nil {
				return err
			}
			return f.printSecret(cmd, &k)
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&body.Owner, "owner", "", "whom the key is for")
	cmd.Flags().StringVar(&body.Tenant, "tenant", "", "tenant whose routes the key is for, one that the gateway has routes of (default: all routes)")
	cmd.Flags().StringSliceVar(&body.Scopes, "scope", nil, "scope of the key; may be repeated")
	cmd.Flags().StringVar(&body.ExpiresIn, "expires-in", "", "how long the key is good, such as 90d or 12h (default: until it is revoked)")
	cmd.Flags().StringVar(&body.ExpiresAt, "expires-at", "", "when it ends, such as 2027-01-31T12:00:00Z")
	return cmd
}

func newKeysRotate() *cobra.Command {
	var (
		f       gatewayFlags
		overlap string
		force   bool
	)
	cmd := &cobra.Command{
		Use: "rotate ID --gateway URL", Short: "Give an API key a new secret beside the old one, and print the new key this once", Args: cobra.ExactArgs(1),
		Long: `rotate gives a key a new secret. The old one stays good for --overlap, in which whoever has it can change over; gwctl keys finish
ends it sooner. After a leak, --overlap 0s ends every older secret at once. While two secrets are good another rotation is refused
with exit code 5; --force makes it all the same.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := f.path(args[0], "rotate")
			if err != nil {
				return err
			}
			var k admin.Key
			if err := f.call(cmd, http.MethodPost, path, nil, admin.Rotation{Overlap: &overlap, Force: force}, &k); err != nil {
				return err
			}
			return f.printSecret(cmd, &k)
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&overlap, "overlap", "24h", "how long the old secret stays good: 0s to 30d")
	cmd.Flags().BoolVar(&force, "force", false, "rotate although two secrets are good")
	return cmd
}

func newKeysShow() *cobra.Command {
	return newKeysOne("show", "Show what is known of an API key", http.MethodGet, "")
}

func newKeysFinish() *cobra.Command {
	return newKeysOne("finish", "Finish a rotation: only the new secret stays good", http.MethodPost, "finish-rotation")
}

func newKeysRevoke() *cobra.Command {
	return newKeysOne("revoke", "End an API key, everywhere within two seconds", http.MethodDelete, "")
}

// newKeysOne makes a command that names a key and prints its record.
func newKeysOne(name, short, method, verb string) *cobra.Command {
	var f gatewayFlags
	cmd := &cobra.Command{
		Use: name + " ID --gateway URL", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := f.path(args[0], verb)
			if err != nil {
				return err
			}
			var k admin.Key
			if err := f.call(cmd, method, path, nil, nil, &k); err != nil {
				return err
			}
			if f.format == "json" {
				return writeJSON(cmd.OutOrStdout(), k.Record)
			}
			return writeRecord(cmd.OutOrStdout(), &k.Record)
		},
	}
	f.register(cmd)
	return cmd
}

func newKeysList() *cobra.Command {
	var f gatewayFlags
	cmd := &cobra.Command{
		Use: "list --gateway URL", Short: "List the API keys of the gateway's environment", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			records := []apikeys.Record{}
			query := url.Values{"limit": {"1000"}}
			for more := true; more; {
				var page admin.KeyPage
				if err := f.call(cmd, http.MethodGet, "/admin/keys", query, nil, &page); err != nil {
					return err
				}
				records = append(records, page.Keys...)
				if more = page.Next != nil; more {
					if *page.Next <= query.Get("after") { // each page begins behind the one before
						return errors.New("the gateway's list of keys does not end")
					}
					query.Set("after", *page.Next)
				}
			}
			if f.format == "json" {
				return writeJSON(cmd.OutOrStdout(), records)
			}
			return writeRecords(cmd.OutOrStdout(), records)
		},
	}
	f.register(cmd)
	return cmd
}

// path checks the flags and the id, and returns the path of what is done with a key.
func (f *gatewayFlags) path(id, verb string) (string, error) {
	if err := f.check(); err != nil {
		return "", err
	}
	if k, err := apikey.Parse(id); err == nil {
		return "", usagef("that is a whole key, which must not be typed where others can read it; its id is %s", k.ID)
	}
	if !apikey.IsID(id) {
		return "", usagef("the argument is not the id of an API key: 16 lower-case letters and digits, as gwctl keys list prints it") // it may be half a key
	}
	path := "/admin/keys/" + id
	if verb != "" {
		path += "/" + verb
	}
	return path, nil
}

// maxKeysAnswer bounds an answer about keys: a page of a thousand records as large as records can be.
const maxKeysAnswer = 64 << 20

// call sends an order, with a body unless it is nil, and reads what came of it.
func (f *gatewayFlags) call(cmd *cobra.Command, method, path string, query url.Values, body, into any) error {
	c := gatewayCall{method: method, path: path, query: query, limit: maxKeysAnswer}
	if body != nil {
		var err error
		if c.body, err = json.Marshal(body); err != nil {
			return err
		}
	}
	status, answer, err := callGateway(cmd.Context(), f.gateway, c)
	if err != nil {
		return err
	}
	if status >= 300 {
		return f.refused(status, answer)
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("read the gateway's answer: %w", err)
	}
	return nil
}

// refused says why an order was not carried out.
func (f *gatewayFlags) refused(status int, answer []byte) error {
	var problem struct{ Code, Detail string }
	if json.Unmarshal(answer, &problem) != nil || problem.Detail == "" {
		return gatewayRefused(f.gateway, status, answer)
	}
	err := fmt.Errorf("the gateway says: %s", cell(problem.Detail))
	switch {
	case status == http.StatusBadRequest, problem.Code == "no_such_key", problem.Code == "no_such_tenant":
		return usage(err)
	case status == http.StatusConflict:
		return &codeError{exitConflict, err}
	case status >= 500:
		return err
	}
	return gatewayRefused(f.gateway, status, answer)
}

// printSecret prints a key that nobody can print again.
func (f *gatewayFlags) printSecret(cmd *cobra.Command, k *admin.Key) error {
	if f.format == "json" {
		if err := writeJSON(cmd.OutOrStdout(), k); err != nil {
			return err
		}
	} else if _, err := fmt.Fprintln(cmd.OutOrStdout(), k.Key); err != nil {
		return err
	}
	r := &k.Record
	note := fmt.Sprintf("gwctl: key %s for %s", r.ID, cell(r.Owner))
	if !r.Expires.IsZero() {
		note += ", good until " + when(r.Expires)
	}
	if !r.OldSecrets.IsZero() {
		note += "; the old secret is good until " + when(r.OldSecrets)
	}
	_, err := fmt.Fprintln(cmd.ErrOrStderr(), note+"; it is shown this once")
	return err
}

func writeRecords(w io.Writer, records []apikeys.Record) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tSTATE\tOWNER\tTENANT\tSCOPES\tEXPIRES\tLAST USED")
	for i := range records {
		r := &records[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", cell(r.ID), cell(string(r.State)), cell(r.Owner), cell(r.Tenant), cell(strings.Join(r.Scopes, " ")), when(r.Expires), when(r.LastUsed))
	}
	return t.Flush()
}

func writeRecord(w io.Writer, r *apikeys.Record) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, line := range [][2]string{
		{"id", r.ID},
		{"state", string(r.State)},
		{"environment", r.Environment},
		{"owner", r.Owner},
		{"tenant", r.Tenant},
		{"scopes", strings.Join(r.Scopes, " ")},
		{"created", when(r.Created)},
		{"expires", when(r.Expires)},
		{"revoked", when(r.Revoked)},
		{"secrets", strconv.Itoa(r.Secrets)},
		{"old secrets until", when(r.OldSecrets)},
		{"last used", when(r.LastUsed)},
	} {
		fmt.Fprintf(t, "%s\t%s\n", line[0], cell(line[1]))
	}
	return t.Flush()
}

// cell is a text in a table. What a terminal would obey rather than show is quoted.
func cell(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		s = strconv.Quote(s)
	}
	return cmp.Or(s, "-")
}

func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}
