package kubernetes

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	v1 "github.com/suuupra/gateway/schema/v1"
)

func (s *settings) ip() *v1.IPRules {
	if s.policy.IP == nil {
		s.policy.IP = &v1.IPRules{}
	}
	return s.policy.IP
}

func readAllow(s *settings, value string) error {
	nets, err := networks(value)
	if err != nil {
		return err
	}
	// Both spellings of the annotation may be there; ingress-nginx takes one of them, and it is not said which. Together is safer.
	if have := s.ip().Allow; have != nil && !slices.Equal(have, nets) {
		return errors.New("allowlist-source-range and whitelist-source-range are both there, and differ; must be one of them")
	}
	s.ip().Allow = nets
	return nil
}

func readDeny(s *settings, value string) (err error) {
	nets, err := networks(value)
	if err == nil {
		s.ip().Deny = nets
	}
	return err
}

func readBackendProtocol(s *settings, value string) error {
	switch strings.ToUpper(value) {
	case "HTTP":
	case "HTTPS":
		s.tune.scheme = "https"
	case "GRPC":
		s.tune.scheme, s.tune.protocol = "http", "http2"
	case "GRPCS":
		s.tune.scheme, s.tune.protocol = "https", "http2"
	default:
		return errors.New("must be HTTP, HTTPS, GRPC or GRPCS")
	}
	return nil
}

func readServersScheme(s *settings, value string) error {
	switch value {
	case "http":
		s.tune.scheme = "http"
	case "https":
		s.tune.scheme = "https"
	case "h2c":
		s.tune.scheme, s.tune.protocol = "http", "http2"
	default:
		return errors.New("must be http, https or h2c")
	}
	return nil
}

func readEnableCORS(s *settings, value string) (err error) {
	s.cors.enabled, err = truth(value)
	return err
}

func readCORSCredentials(s *settings, value string) error {
	on, err := truth(value)
	s.cors.noCredentials = !on
	return err
}

func readCORSOrigins(s *settings, value string) (err error) {
	s.cors.origins, err = each(strings.ToLower(value), originForm, `an origin such as https://app.example.com, or "*"`)
	if slices.Contains(s.cors.origins, "*") {
		s.cors.origins = []string{"*"}
	}
	return err
}

func readCORSMethods(s *settings, value string) (err error) {
	s.cors.methods, err = each(value, methodForm, "a method in capitals")
	return err
}

func readCORSHeaders(s *settings, value string) (err error) {
	s.cors.headers, err = each(value, headerForm, "a header name")
	return err
}

func readCORSExpose(s *settings, value string) (err error) {
	s.cors.expose, err = each(value, headerForm, "a header name")
	return err
}

func readCORSMaxAge(s *settings, value string) error {
	n, err := number(value, 0, 1<<31-1)
	if err == nil {
		s.cors.maxAge = new(v1.Duration(min(n*1000, maxDuration)))
	}
	return err
}

func readBurst(s *settings, value string) (err error) {
	s.limits.multiplier, err = number(value, 1, 1000)
	return err
}

func readPerMinute(s *settings, value string) (err error) {
	s.limits.perMinute, err = number(value, 0, 1_000_000)
	return err
}

func readPerSecond(s *settings, value string) (err error) {
	s.limits.perSecond, err = number(value, 0, 1_000_000)
	return err
}

func readLoadBalance(s *settings, value string) error {
	strategy, ok := map[string]string{"round_robin": "roundRobin", "ewma": "leastLatency"}[value]
	if !ok {
		return errors.New("must be round_robin or ewma")
	}
	s.tune.balance = &v1.LoadBalancing{Strategy: strategy} // upstream-hash-by, which is read later, comes before it
	return nil
}

func readBodySize(s *settings, value string) error {
	n, err := size(value)
	if err != nil {
		return err
	}
	if n == 0 {
		n = maxSize
	}
	s.policy.BodyLimit = &v1.BodyLimit{MaxBytes: n}
	return nil
}

func readConnectTimeout(s *settings, value string) (err error) {
	s.tune.connectTimeout, err = seconds(value)
	return err
}

func readReadTimeout(s *settings, value string) error {
	d, err := seconds(value)
	if err != nil {
		return err
	}
	s.policy.Timeouts = &v1.ForwardTimeouts{Header: d, Idle: d}
	s.policy.Timeout = new(v1.Duration(0))
	return nil
}

func (s *settings) retry() *v1.Retry {
	if s.policy.Retry == nil {
		s.policy.Retry = &v1.Retry{}
	}
	return s.policy.Retry
}

func readNextUpstream(s *settings, value string) error {
	words := strings.Fields(value)
	if len(words) == 1 && words[0] == "off" {
		s.retry().Attempts = new(int64(0))
		return nil
	}
	statuses := 0
	var on []string
	for _, word := range words {
		switch word {
		case "error":
			on = append(on, "connectFailure", "refusedStream", "reset")
		case "invalid_header":
			on = append(on, "reset")
		case "timeout":
			on = append(on, "connectFailure", "timeout") // finish says how long an attempt may take
		case "http_502", "http_503", "http_504":
			if statuses++; statuses == 3 {
				on = append(on, "gatewayError")
			}
		case "http_429":
			on = append(on, "429")
		case "non_idempotent":
			s.retry().Methods = []string{"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "POST", "PATCH"}
		default:
			return fmt.Errorf("%q cannot be said; known are error, timeout, invalid_header, http_502 http_503 http_504 (together), http_429, non_idempotent and off", clip(word))
		}
	}
	slices.Sort(on)
	on = slices.Compact(on)
	switch {
	case statuses%3 != 0:
		return errors.New("must have all of http_502, http_503 and http_504, or none")
	case len(on) == 0:
		return errors.New("must say what is tried again")
	}
	s.retry().On = on
	return nil
}

func readTries(s *settings, value string) error {
	n, err := number(value, 0, 11)
	if err != nil {
		return err
	}
	if n == 0 {
		n = 11 // without a bound, of which 10 repetitions come nearest
	}
	if r := s.retry(); r.Attempts == nil { // proxy-next-upstream: off was read before
		r.Attempts = new(n - 1)
	}
	return nil
}

func readSSLName(s *settings, value string) error {
	if !isHost(value) {
		return errors.New("must be a host name")
	}
	s.tune.sni = value
	return nil
}

func readSSLSecret(s *settings, value string) error {
	m := secretForm.FindStringSubmatch(value)
	if m == nil {
		return errors.New("must be namespace/name of a secret")
	}
	s.sslSecret = &Ref{Kind: "Secret", Namespace: m[1], Name: m[3]}
	return nil
}

func readRewrite(s *settings, value string) error {
	if !strings.HasPrefix(value, "/") {
		return errors.New("must begin with a slash")
	}
	s.rewrite = &value
	return nil
}

func readAliases(s *settings, value string) error {
	names, err := list(strings.ToLower(value))
	for _, name := range names {
		if !isHost(name) {
			return fmt.Errorf("%q is not a host name without wildcards", clip(name))
		}
	}
	s.aliases = names
	return err
}

func readServiceUpstream(s *settings, value string) (err error) {
	s.tune.clusterIP, err = truth(value)
	return err
}

// hashVariable is one variable of nginx that says who somebody is.
var hashVariable = regexp.MustCompile(`^\$(?:\{(\w+)\}|(\w+))`)

func readHashBy(s *settings, value string) error {
	var parts []v1.HashPart
	for rest := value; rest != ""; {
		m := hashVariable.FindStringSubmatch(rest)
		if m == nil {
			return errors.New("must be made of variables alone")
		}
		rest = rest[len(m[0]):]
		name := m[1] + m[2]
		switch field, arg, _ := strings.Cut(name, "_"); {
		case name == "remote_addr" || name == "binary_remote_addr":
			parts = append(parts, v1.HashPart{IP: true})
		case field == "http" && arg != "" && !endsHere(strings.ReplaceAll(arg, "_", "-")):
			parts = append(parts, v1.HashPart{Header: strings.ReplaceAll(arg, "_", "-")})
		case field == "cookie" && arg != "":
			parts = append(parts, v1.HashPart{Cookie: arg})
		case field == "arg" && arg != "":
			parts = append(parts, v1.HashPart{Query: arg})
		default:
			return fmt.Errorf("$%s cannot be hashed on; known are $remote_addr, $http_<header>, $cookie_<name> and $arg_<parameter>", clip(name))
		}
	}
	if len(parts) == 0 || len(parts) > 8 {
		return errors.New("must be one to eight variables")
	}
	s.tune.balance = &v1.LoadBalancing{Strategy: "ringHash", HashOn: parts}
	return nil
}

func readVhost(s *settings, value string) error {
	if !isHostHeader(value) {
		return errors.New("must be a plain host name")
	}
	s.tune.host = value
	return nil
}

func readUseRegex(s *settings, value string) (err error) {
	s.regex, err = truth(value)
	return err
}

func readSSLRedirect(s *settings, value string) error {
	on, err := truth(value)
	s.plainToo = !on
	return err
}
