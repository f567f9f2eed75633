package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/suuupra/gateway/cmd/internal/bounded"
	"github.com/suuupra/gateway/runtime/admin"
)

// A session with a gateway is kept in the user's configuration directory, one file for each gateway, which nobody else can read.
const (
	maxSessionFile = 64 << 10
	renewAhead     = 30 * time.Second // of the end of an access token
	lockWait       = 20 * time.Second // for another gwctl that renews it: two gateway timeouts
)

// savedSession is what is kept of a login.
type savedSession struct {
	Gateway string `json:"gateway"`
	admin.Tokens
}

// sessionPath is where the session with a gateway is kept.
func sessionPath(gateway *url.URL) (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find the configuration directory: %w", err)
	}
	sum := sha256.Sum256([]byte(gatewayKey(gateway)))
	return filepath.Join(dir, "gwctl", "sessions", hex.EncodeToString(sum[:12])+".json"), nil
}

// gatewayKey is the URL of a gateway in one spelling, without credentials.
func gatewayKey(u *url.URL) string {
	return strings.ToLower(u.Scheme+"://"+u.Host) + strings.TrimRight(u.EscapedPath(), "/")
}

// loadSession reads the session with a gateway; nil if there is none.
func loadSession(gateway *url.URL) (*savedSession, error) {
	path, err := sessionPath(gateway)
	if err != nil { // a machine without a home, such as a pipeline's, has no sessions
		return nil, nil
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read session: %w", err)
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("others can read the session in %s; chmod 600 it, and log out and in again if they may have", path)
	}
	raw, err := bounded.ReadFile(path, maxSessionFile)
	if err != nil {
		return nil, fmt.Errorf("read session: %w", err)
	}
	s := &savedSession{}
	if err := json.Unmarshal(raw, s); err != nil || s.Gateway != gatewayKey(gateway) {
		return nil, fmt.Errorf("%s holds no session with this gateway; remove it, and log in again", path)
	}
	return s, nil
}

// saveSession keeps a session. The file is written beside and renamed, so that a crash leaves one that is whole.
func saveSession(gateway *url.URL, t *admin.Tokens) error {
	path, err := sessionPath(gateway)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(savedSession{gatewayKey(gateway), *t})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("keep session: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".session-") // readable by its owner alone
	if err != nil {
		return fmt.Errorf("keep session: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already after the rename
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("keep session: %w", err)
	}
	return nil
}

// dropSession forgets the session with a gateway.
func dropSession(gateway *url.URL) error {
	path, err := sessionPath(gateway)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget session: %w", err)
	}
	return nil
}

// credential is what shows a gateway who asks.
type credential struct {
	bearer string // empty: nothing
	saved  bool   // it is of a session, and can be renewed
}

// credentialFor is the token in the environment, or else that of the session with the gateway.
func credentialFor(ctx context.Context, gateway *url.URL) (credential, error) {
	for _, name := range []string{"GWRUN_ADMIN_TOKEN", "GWCTL_TOKEN"} {
		if token := os.Getenv(name); token != "" {
			return credential{bearer: token}, nil
		}
	}
	s, err := loadSession(gateway)
	if s == nil || err != nil {
		return credential{}, err
	}
	if time.Until(s.Expires) > renewAhead {
		return credential{s.AccessToken, true}, nil
	}
	return renew(ctx, gateway, s.AccessToken)
}

// renew refreshes the session with a gateway, unless another gwctl has done so since: to show one refresh token twice ends a session.
func renew(ctx context.Context, gateway *url.URL, old string) (credential, error) {
	path, err := sessionPath(gateway)
	if err != nil {
		return credential{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	lock := flock.New(path + ".lock")
	if ok, err := lock.TryLockContext(ctx, 20*time.Millisecond); err != nil || !ok {
		return credential{}, fmt.Errorf("wait for another gwctl that renews the session: %w", err)
	}
	defer func() { _ = lock.Unlock() }()
	s, err := loadSession(gateway)
	if s == nil || err != nil {
		return credential{}, err
	}
	if s.AccessToken != old && time.Until(s.Expires) > renewAhead {
		return credential{s.AccessToken, true}, nil
	}
	body, err := json.Marshal(admin.Refresh{RefreshToken: s.RefreshToken})
	if err != nil {
		return credential{}, err
	}
	status, answer, err := sendGateway(ctx, gateway, gatewayCall{method: http.MethodPost, path: "/admin/refresh", body: body, limit: maxSessionFile}, "")
	if err != nil {
		return credential{}, err
	}
	if status == http.StatusUnauthorized {
		if err := dropSession(gateway); err != nil {
			return credential{}, err
		}
		return credential{}, &codeError{exitRefused, fmt.Errorf("the session with %s has ended; log in again: gwctl login --gateway %s", gateway.Redacted(), gateway.Redacted())}
	}
	var next admin.Tokens
	if status != http.StatusOK {
		return credential{}, gatewayRefused(gateway.String(), status, answer)
	}
	if err := json.Unmarshal(answer, &next); err != nil {
		return credential{}, fmt.Errorf("read the gateway's answer: %w", err)
	}
	if err := saveSession(gateway, &next); err != nil {
		return credential{}, err
	}
	return credential{next.AccessToken, true}, nil
}
