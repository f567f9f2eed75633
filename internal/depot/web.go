package depot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/suuupra/gateway/schema/bundle"
)

// transfers is how many blobs travel at a time.
const transfers = 8

// commitAttempts is how often a commit is tried again when others write to the same place, but not to the same channel.
const commitAttempts = 10

// web is an OCI image layout behind a web server. Any server of static files can be read from; one that takes PUT with
// If-Match and If-None-Match can be published to.
type web struct {
	base      *url.URL
	client    *http.Client
	transport *http.Transport
	user      string
	password  string
	token     string
	agent     string
}

func newWeb(l Location, o Options) *web {
	w := &web{base: l.url, transport: newTransport(l.plain), token: o.Credentials.WebToken, agent: o.UserAgent}
	w.client = &http.Client{Transport: w.transport, CheckRedirect: sameHost, Timeout: requestTimeout}
	if l.user != nil {
		w.user, w.password = l.login("", "")
		w.token = ""
	}
	return w
}

func (w *web) Close() error {
	w.transport.CloseIdleConnections()
	return nil
}

// do sends one request. The caller closes the body.
func (w *web) do(ctx context.Context, method, name string, header http.Header, data []byte) (*http.Response, error) {
	var reader io.Reader
	if data != nil {
		reader = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, w.base.JoinPath(name).String(), reader)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	switch {
	case w.token != "":
		req.Header.Set("Authorization", "Bearer "+w.token)
	case w.user != "":
		req.SetBasicAuth(w.user, w.password)
	}
	if w.agent != "" {
		req.Header.Set("User-Agent", w.agent)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return nil, transient(err)
	}
	return resp, nil
}

func (w *web) Look(ctx context.Context, _, last string) (View, error) {
	data, etag, err := w.index(ctx, last)
	if err != nil {
		return nil, w.explain("read "+indexName, err)
	}
	v, err := newIndexView(data, etag, w.read)
	if err != nil {
		return nil, w.explain("read "+indexName, err)
	}
	return v, nil
}

func (w *web) explain(operation string, err error) error {
	if errors.Is(err, ErrNotModified) {
		return ErrNotModified
	}
	return fmt.Errorf("%s at %s: %w", operation, w.base, err)
}

// index returns index.json with the server's ETag, or a digest in its place if the server gives none.
func (w *web) index(ctx context.Context, last string) ([]byte, string, error) {
	header := http.Header{}
	conditional := strings.HasPrefix(last, `"`) || strings.HasPrefix(last, `W/"`)
	if conditional {
		header.Set("If-None-Match", last)
	}
	resp, err := w.do(ctx, http.MethodGet, indexName, header, nil)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotModified && conditional:
		return nil, "", ErrNotModified
	case resp.StatusCode != http.StatusOK:
		return nil, "", statusError(resp)
	}
	data, err := body(resp, bundle.MaxIndex)
	if err != nil {
		return nil, "", err
	}
	etag := resp.Header.Get("ETag")
	if etag == "" || len(etag) > 1024 {
		etag = string(bundle.DigestOf(data))
	}
	if etag == last {
		return nil, "", ErrNotModified
	}
	return data, etag, nil
}

func blobName(d bundle.Digest) string { return "blobs/sha256/" + d.Hex() }

func (w *web) read(ctx context.Context, ref bundle.Ref) ([]byte, error) {
	resp, err := w.do(ctx, http.MethodGet, blobName(ref.Digest), nil, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, statusError(resp)
	}
	return body(resp, ref.Size)
}

func (w *web) put(ctx context.Context, name string, header http.Header, data []byte) error {
	header.Set("Content-Type", "application/octet-stream")
	resp, err := w.do(ctx, http.MethodPut, name, header, data)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return statusError(resp)
	}
	return nil
}

func (w *web) Prepare(ctx context.Context) error {
	err := w.put(ctx, "oci-layout", http.Header{"If-None-Match": {"*"}}, []byte(bundle.LayoutFile))
	if err != nil && !errors.Is(err, ErrConflict) { // it is there
		return w.explain("write oci-layout", err)
	}
	return nil
}

func (w *web) Put(ctx context.Context, ref bundle.Ref, data []byte) error {
	resp, err := w.do(ctx, http.MethodHead, blobName(ref.Digest), nil, nil)
	if err != nil {
		return w.explain("write blob", err)
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusOK && resp.ContentLength == ref.Size {
		return nil
	}
	err = w.put(ctx, blobName(ref.Digest), http.Header{"If-None-Match": {"*"}}, data)
	if err != nil && !errors.Is(err, ErrConflict) { // somebody else was faster
		return w.explain("write blob", err)
	}
	return nil
}

// Commit replaces index.json if it is still the one that was read. When only other channels moved it tries again.
func (w *web) Commit(ctx context.Context, c Commit) error {
	put := func(ref bundle.Ref, data []byte) error { return w.Put(ctx, ref, data) }
	if err := putImages(c, put); err != nil {
		return err
	}
	for range commitAttempts {
		header := http.Header{}
		var index *bundle.Index
		data, etag, err := w.index(ctx, "")
		switch {
		case errors.Is(err, ErrNotFound):
			header.Set("If-None-Match", "*")
		case err != nil:
			return w.explain("read "+indexName, err)
		case !strings.HasPrefix(etag, `"`):
			return w.explain("write "+indexName, errors.New("the server gives no strong ETag, so two writers could not be told apart"))
		default:
			header.Set("If-Match", etag)
			if index, err = bundle.ParseIndex(data); err != nil {
				return w.explain("read "+indexName, err)
			}
		}
		next, err := advance(index, c)
		if err != nil {
			return err
		}
		err = w.put(ctx, indexName, header, next)
		if !errors.Is(err, ErrConflict) {
			if err != nil {
				return w.explain("write "+indexName, err)
			}
			return nil
		}
	}
	return ErrConflict
}
