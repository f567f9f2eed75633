package redisstate

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// mode is how the servers behind a URL stand together.
type mode string

const (
	standalone mode = "standalone"
	sentinel   mode = "sentinel"
	cluster    mode = "cluster"
)

// location is a URL taken apart. Nothing but secrets() may tell what the passwords are.
type location struct {
	mode       mode
	tls        *tls.Config // nil: none
	addrs      []string    // host:port; of the Sentinels in mode sentinel
	master     string      // mode sentinel: the name that the Sentinels know the master by
	db         int
	user, pass string
	// The Sentinels have credentials of their own.
	sentinelUser, sentinelPass string
	poolSize                   int // 0: the default
}

// secrets are what must not show in anything that is said.
func (l *location) secrets() []string { return []string{l.pass, l.sentinelPass} }

// String is the location without credentials.
func (l *location) String() string {
	out := string(l.mode) + " " + strings.Join(l.addrs, ",")
	if l.master != "" {
		out += " master " + l.master
	}
	return out
}

// maxAddrs bounds the list of servers, and maxCA the file of authorities.
const (
	maxAddrs = 64
	maxCA    = 1 << 20
	maxPool  = 4096
	maxDB    = 1 << 20
)

// parse takes a URL apart. Its errors never quote the URL, or a part of it that a mistake in the password could end up in: a "/" or
// "@" that is not percent-encoded moves the rest of the password into what looks like the address. That is also why url.Parse is of no
// use here, and because it takes no list of addresses.
func parse(raw string) (*location, error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return nil, errors.New("it has no scheme: write redis://host:6379")
	}
	l, port := &location{}, "6379"
	scheme, form, formed := strings.Cut(scheme, "+")
	switch {
	case !formed:
		l.mode = standalone
	case form == "cluster":
		l.mode = cluster
	case form == "sentinel":
		l.mode, port = sentinel, "26379"
	}
	if l.mode == "" || scheme != "redis" && scheme != "rediss" {
		return nil, errors.New("its scheme is none of redis, rediss, redis+cluster, rediss+cluster, redis+sentinel and rediss+sentinel")
	}
	if scheme == "rediss" {
		l.tls = &tls.Config{MinVersion: tls.VersionTLS12} // the name to verify is that of each server dialled
	}
	if strings.ContainsAny(rest, "# \t\r\n") {
		return nil, errors.New("it holds a space or a \"#\": percent-encode what is special in a password")
	}
	rest, query, _ := strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		if err := l.credentials(authority[:at]); err != nil {
			return nil, err
		}
		authority = authority[at+1:]
	}
	if err := l.addresses(authority, port); err != nil {
		return nil, err
	}
	if err := l.path(path); err != nil {
		return nil, err
	}
	return l, l.options(query)
}

func (l *location) credentials(info string) (err error) {
	user, pass, _ := strings.Cut(info, ":")
	if l.user, err = url.PathUnescape(user); err == nil {
		l.pass, err = url.PathUnescape(pass)
	}
	if err != nil || strings.ContainsAny(info, "@/") {
		return errors.New("its user or password is not percent-encoded")
	}
	if l.pass == "" && info != "" {
		return errors.New("it has a user without a password: write redis://user:password@host, or redis://:password@host without a user")
	}
	return nil
}

func (l *location) addresses(list, port string) error {
	parts := strings.Split(list, ",")
	if len(parts) > maxAddrs {
		return fmt.Errorf("it has %d addresses; %d are allowed", len(parts), maxAddrs)
	}
	if l.mode == standalone && len(parts) > 1 {
		return fmt.Errorf("it has %d addresses: only redis+cluster and redis+sentinel take more than one", len(parts))
	}
	for i, part := range parts {
		if !strings.Contains(part[strings.LastIndexByte(part, ']')+1:], ":") {
			part += ":" + port
		}
		host, p, err := net.SplitHostPort(part)
		n, bad := strconv.ParseUint(p, 10, 16)
		if err != nil || bad != nil || n == 0 || host == "" || strings.ContainsAny(host, "%\\") {
			return fmt.Errorf("address %d of %d is not host:port; percent-encode what is special in a password", i+1, len(parts))
		}
		l.addrs = append(l.addrs, net.JoinHostPort(host, p))
	}
	return nil
}

// path is /DB, of Sentinel /MASTER or /MASTER/DB; a cluster has none.
func (l *location) path(path string) error {
	db := path
	if l.mode == sentinel {
		var err error
		name, rest, _ := strings.Cut(path, "/")
		if l.master, err = url.PathUnescape(name); err != nil || l.master == "" {
			return errors.New("it does not name the master: write redis+sentinel://host:26379/MASTER")
		}
		db = rest
	}
	if db == "" {
		return nil
	}
	n, err := strconv.Atoi(db)
	if err != nil || n < 0 || n > maxDB {
		return errors.New("its path is not the number of a database; percent-encode what is special in a password")
	}
	if l.mode == cluster && n != 0 {
		return fmt.Errorf("it names database %d: a cluster has database 0 alone", n)
	}
	l.db = n
	return nil
}

// errUnknownOption does not say which: after a "?" in a password that is not percent-encoded it would be the rest of that.
var errUnknownOption = errors.New("it has an option that is none of ca, poolSize and, of Sentinel, sentinelUser and sentinelPassword")

// options reads what stands after the "?".
func (l *location) options(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("what stands after its \"?\" is not percent-encoded")
	}
	for name, all := range values {
		value := all[0]
		switch name {
		case "ca":
			err = l.trust(value)
		case "poolSize":
			if l.poolSize, err = strconv.Atoi(value); err != nil || l.poolSize < 1 || l.poolSize > maxPool {
				err = fmt.Errorf("its option poolSize must be a number from 1 to %d", maxPool)
			}
		case "sentinelUser":
			l.sentinelUser = value
		case "sentinelPassword":
			l.sentinelPass = value
		default:
			err = errUnknownOption
		}
		if err != nil {
			return err
		}
		if len(all) > 1 || value == "" {
			return fmt.Errorf("its option %s must have one value", name)
		}
		if strings.HasPrefix(name, "sentinel") && l.mode != sentinel {
			return errUnknownOption
		}
	}
	if l.sentinelUser != "" && l.sentinelPass == "" {
		return errors.New("its option sentinelUser needs sentinelPassword")
	}
	return nil
}

// trust reads the certificates of authorities from a file; they stand in place of the system's.
func (l *location) trust(file string) error {
	if l.tls == nil {
		return errors.New("its option ca needs TLS: write rediss in place of redis")
	}
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("read its option ca: %w", err)
	}
	defer func() { _ = f.Close() }()
	pem, err := io.ReadAll(io.LimitReader(f, maxCA+1))
	if err != nil {
		return fmt.Errorf("read its option ca: %w", err)
	}
	l.tls.RootCAs = x509.NewCertPool()
	if len(pem) > maxCA || !l.tls.RootCAs.AppendCertsFromPEM(pem) {
		return fmt.Errorf("its option ca names %s, which is no PEM file of certificates", file)
	}
	return nil
}
