package keyset

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/suuupra/gateway/internal/jose"
)

// answer is what a fetch has brought.
type answer struct {
	set     *jose.Set
	skipped []jose.Skipped
	text    string
	fresh   time.Duration // how long it may be kept; negative: it does not say
}

// maxMetadata bounds the metadata of an issuer, in bytes.
const maxMetadata = 256 << 10

// fetch gets the key set, by way of the metadata if that is what is configured.
func (f *fetcher) fetch(ctx context.Context) (*answer, error) {
	at := f.source.JWKSURI
	if at == "" {
		var err error
		if at, err = f.discover(ctx); err != nil {
			return nil, err
		}
	}
	text, header, err := f.get(ctx, at, jose.MaxSet)
	if err != nil {
		return nil, fmt.Errorf("fetch the key set: %w", err)
	}
	set, skipped, err := jose.ParseSet(text)
	if err != nil {
		return nil, fmt.Errorf("read the key set: %w", err)
	}
	if set.Len() == 0 { // an issuer that empties its set has had an accident
		return nil, errors.New("the key set holds no key that can be used")
	}
	return &answer{set, skipped, string(text), freshness(header)}, nil
}

// discover reads where the keys are off the issuer's metadata. Metadata of another issuer could name anybody's keys (OpenID Connect
// Discovery 1.0, section 4.3).
func (f *fetcher) discover(ctx context.Context) (string, error) {
	text, _, err := f.get(ctx, f.source.DiscoveryURL, maxMetadata)
	if err != nil {
		return "", fmt.Errorf("fetch the issuer's metadata: %w", err)
	}
	var m map[string]json.RawMessage // not a struct, whose names would match in any case
	if err := json.Unmarshal(text, &m); err != nil {
		return "", errors.New("the issuer's metadata are no JSON object")
	}
	var issuer, at string
	if json.Unmarshal(m["issuer"], &issuer) != nil || issuer != f.source.Issuer {
		return "", fmt.Errorf("the metadata are those of issuer %.200q, not of %q", issuer, f.source.Issuer)
	}
	if json.Unmarshal(m["jwks_uri"], &at) != nil || at == "" {
		return "", errors.New("the issuer's metadata name no jwks_uri")
	}
	if err := checkURL(at, f.source.Private); err != nil {
		return "", fmt.Errorf("jwks_uri in the issuer's metadata: %w", err)
	}
	return at, nil
}

// get fetches one document. Redirects are refused: they would lead where nobody has looked.
func (f *fetcher) get(ctx context.Context, at string, most int64) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", "application/json, application/jwk-set+json")
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return nil, nil, fmt.Errorf("answered %d; redirects are not followed: configure the address it leads to", resp.StatusCode)
	case resp.StatusCode != http.StatusOK:
		return nil, nil, fmt.Errorf("answered %d", resp.StatusCode)
	case resp.Header.Get("Content-Encoding") != "":
		return nil, nil, errors.New("answered in a content encoding that was not asked for")
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err != nil {
		return nil, nil, err
	}
	if int64(len(text)) > most {
		return nil, nil, fmt.Errorf("answered more than %d bytes", most)
	}
	return text, resp.Header, nil
}

// freshness is how long an answer may be kept (RFC 9111, section 4.2.1), negative if it does not say.
func freshness(h http.Header) time.Duration {
	out := time.Duration(-1)
	for field := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			return 0
		case "max-age":
			seconds, err := strconv.ParseInt(strings.Trim(value, `"`), 10, 32)
			if err == nil && seconds >= 0 {
				out = time.Duration(seconds) * time.Second
			}
		}
	}
	if age, err := strconv.ParseInt(h.Get("Age"), 10, 32); err == nil && age > 0 && out > 0 {
		out = max(0, out-time.Duration(age)*time.Second)
	}
	return out
}
