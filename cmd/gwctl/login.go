package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/suuupra/gateway/cmd/internal/bounded"
	"github.com/suuupra/gateway/runtime/admin"
	"github.com/suuupra/gateway/runtime/admin/access"
)

func newLogin() *cobra.Command {
	var (
		gateway, user, file string
		hash, plain         bool
	)
	cmd := &cobra.Command{
		Use: "login --gateway URL --user NAME", Short: "Log in to a gateway's admin API, or hash a password", Args: cobra.NoArgs,
		Long: `login asks for a password on the terminal, or takes it from --password-file or GWCTL_PASSWORD, and keeps the session in the user's
configuration directory, where nobody else can read it. Other commands with --gateway use and renew it, unless GWRUN_ADMIN_TOKEN or
GWCTL_TOKEN holds a token. GWCTL_TOKEN is for pipelines: a token of the identity provider that gateway.admin.oidc names.

With --hash-password it talks to nobody, and prints the hash of a new password: the secret that passwordHash of gateway.admin.users refers to.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if hash {
				if gateway != "" || user != "" {
					return usagef("--hash-password talks to no gateway: leave --gateway and --user out")
				}
				return hashPassword(cmd, file)
			}
			u, err := loginURL(gateway, plain)
			if err != nil {
				return err
			}
			if user == "" {
				return usagef("--user is required: the name to log in with")
			}
			password, err := readPassword(cmd.ErrOrStderr(), file, fmt.Sprintf("Password of %s at %s: ", cell(user), u.Redacted()))
			if err != nil {
				return err
			}
			return logIn(cmd, u, admin.Login{Username: user, Password: password})
		},
	}
	cmd.Flags().StringVar(&gateway, "gateway", "", "URL of the gateway's admin API")
	cmd.Flags().StringVar(&user, "user", "", "name to log in with")
	cmd.Flags().StringVar(&file, "password-file", "", "file that holds the password")
	cmd.Flags().BoolVar(&plain, "insecure", false, "send the password in the clear, by http to another machine")
	cmd.Flags().BoolVar(&hash, "hash-password", false, "print the hash of a password, and do nothing else")
	return cmd
}

func newLogout() *cobra.Command {
	var gateway string
	cmd := &cobra.Command{
		Use: "logout --gateway URL", Short: "End the session with a gateway", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			u, err := gatewayURL(gateway)
			if err != nil {
				return err
			}
			return logOut(cmd, u)
		},
	}
	cmd.Flags().StringVar(&gateway, "gateway", "", "URL of the gateway's admin API")
	return cmd
}

// loginURL is a gateway that a password may be sent to: by TLS, or without leaving the machine.
func loginURL(text string, plain bool) (*url.URL, error) {
	if text == "" {
		return nil, usagef("--gateway is required: the URL of the gateway's admin API")
	}
	u, err := gatewayURL(text)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "http" && !plain && !loopback(u.Hostname()) {
		return nil, usagef("by http to %s everybody on the way could read the password; use https, a tunnel to localhost, or --insecure", cell(u.Hostname()))
	}
	return u, nil
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback() || strings.EqualFold(host, "localhost")
}

// readPassword takes a password from a file, the environment, or the terminal, where it is not shown.
func readPassword(prompt io.Writer, file, question string) (string, error) {
	if file != "" {
		raw, err := bounded.ReadFile(file, access.MaxPassword+2)
		if err != nil {
			return "", fmt.Errorf("read password: %w", err)
		}
		// A newline at its end, which editors and shells put there, is not part of it.
		return string(bytes.TrimSuffix(bytes.TrimSuffix(raw, []byte("\n")), []byte("\r"))), nil
	}
	if password := os.Getenv("GWCTL_PASSWORD"); password != "" {
		return password, nil
	}
	in := int(os.Stdin.Fd())
	if !term.IsTerminal(in) {
		return "", usagef("there is no terminal to ask for the password on; use --password-file or GWCTL_PASSWORD")
	}
	if _, err := io.WriteString(prompt, question); err != nil {
		return "", err
	}
	raw, err := term.ReadPassword(in)
	fmt.Fprintln(prompt)
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	return string(raw), nil
}

// hashPassword prints the hash of a password. On a terminal it is asked for twice: nobody sees what is typed.
func hashPassword(cmd *cobra.Command, file string) error {
	password, err := readPassword(cmd.ErrOrStderr(), file, "New password: ")
	if err != nil {
		return err
	}
	if file == "" && os.Getenv("GWCTL_PASSWORD") == "" {
		again, err := readPassword(cmd.ErrOrStderr(), "", "The same again: ")
		if err != nil {
			return err
		}
		if again != password {
			return usagef("the two passwords differ")
		}
	}
	h, err := access.HashPassword(password)
	if err != nil {
		return usage(err)
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), h)
	return err
}

func logIn(cmd *cobra.Command, gateway *url.URL, who admin.Login) error {
	body, err := json.Marshal(who)
	if err != nil {
		return err
	}
	status, answer, err := sendGateway(cmd.Context(), gateway, gatewayCall{method: http.MethodPost, path: "/admin/login", body: body, limit: maxSessionFile}, "")
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return loginRefused(gateway, status, answer)
	}
	var tokens admin.Tokens
	if err := json.Unmarshal(answer, &tokens); err != nil || tokens.AccessToken == "" || tokens.RefreshToken == "" {
		return errors.New("read the gateway's answer: it holds no session")
	}
	if err := saveSession(gateway, &tokens); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.ErrOrStderr(), "gwctl: logged in to %s as %s until %s\n", gateway.Redacted(), cell(tokens.Session.User), when(tokens.Session.Expires))
	return err
}

// loginRefused says why there is no session.
func loginRefused(gateway *url.URL, status int, answer []byte) error {
	var problem struct{ Code, Detail string }
	if json.Unmarshal(answer, &problem) != nil || problem.Detail == "" {
		return gatewayRefused(gateway.String(), status, answer)
	}
	err := fmt.Errorf("the gateway says: %s", cell(problem.Detail))
	switch {
	case problem.Code == "unauthorized": // the path is not there, so that it asks for credentials
		return fmt.Errorf("nobody logs in to the gateway at %s; are there gateway.admin.users?", gateway.Redacted())
	case status == http.StatusNotFound:
		return gatewayRefused(gateway.String(), status, answer)
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusTooManyRequests:
		return &codeError{exitRefused, err}
	}
	return err
}

// logOut ends a session here whatever the gateway says: whoever logs out must not stay logged in on this machine.
func logOut(cmd *cobra.Command, gateway *url.URL) error {
	s, err := loadSession(gateway)
	if err != nil {
		return errors.Join(err, dropSession(gateway))
	}
	if s == nil {
		_, err := fmt.Fprintf(cmd.ErrOrStderr(), "gwctl: there is no session with %s\n", gateway.Redacted())
		return err
	}
	token := s.AccessToken
	status, _, err := sendGateway(cmd.Context(), gateway, gatewayCall{method: http.MethodPost, path: "/admin/logout", limit: maxSessionFile}, token)
	if err == nil && status == http.StatusUnauthorized { // the access token has expired; the session may live
		var c credential
		if c, err = renew(cmd.Context(), gateway, token); err == nil {
			status, _, err = sendGateway(cmd.Context(), gateway, gatewayCall{method: http.MethodPost, path: "/admin/logout", limit: maxSessionFile}, c.bearer)
		}
		if refused := (*codeError)(nil); errors.As(err, &refused) && refused.code == exitRefused {
			status, err = http.StatusOK, nil // it had ended
		}
	}
	if e := dropSession(gateway); e != nil {
		return errors.Join(err, e)
	}
	switch {
	case err != nil:
		return fmt.Errorf("the session is forgotten here; at the gateway it ends by itself at %s: %w", when(s.Session.Expires), err)
	case status != http.StatusOK:
		return fmt.Errorf("the session is forgotten here; at the gateway it ends by itself at %s: it answered %d %s", when(s.Session.Expires), status, http.StatusText(status))
	}
	_, err = fmt.Fprintf(cmd.ErrOrStderr(), "gwctl: logged out of %s\n", gateway.Redacted())
	return err
}
