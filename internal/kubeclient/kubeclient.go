// Package kubeclient is the way to a Kubernetes API server: who it is and who asks, from a kubeconfig or a pod's service account, with
// bounds on what it may send. It must not know any kind of object.
package kubeclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Options say which API server, and how it is reached.
type Options struct {
	Kubeconfig string // file; empty asks with the service account of the pod
	UserAgent  string
	MaxAnswer  int64                                                   // bytes of one list, or of one watch, which is then begun anew
	Dial       func(context.Context, string, string) (net.Conn, error) // nil dials whatever the kubeconfig names
	QPS        float32                                                 // requests a second; 0 is client-go's default
	Burst      int
}

// Client is what clients of client-go are made of.
type Client struct {
	Config *rest.Config
	HTTP   *http.Client
}

// New makes a client of what is on disk now: credentials change there. It connects to nothing yet.
func New(o Options) (*Client, error) {
	var config *rest.Config
	var err error
	if o.Kubeconfig != "" {
		config, err = clientcmd.BuildConfigFromFlags("", o.Kubeconfig)
	} else {
		config, err = rest.InClusterConfig()
	}
	if err == nil {
		err = rest.LoadTLSFiles(config) // else client-go looks after the files in a goroutine that nobody can end
	}
	if err != nil {
		return nil, fmt.Errorf("read the way to the Kubernetes API: %w", err)
	}
	config.Dial, config.UserAgent, config.QPS, config.Burst = o.Dial, o.UserAgent, o.QPS, o.Burst
	config.DisableCompression = true
	config.WarningHandler = rest.NoWarnings{}                                // they would be logged past the program's log
	config.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil } // none from the environment either
	config.Wrap(func(base http.RoundTripper) http.RoundTripper { return &guard{base, o.MaxAnswer} })
	client := &Client{Config: config}
	if client.HTTP, err = rest.HTTPClientFor(config); err != nil {
		return nil, fmt.Errorf("make Kubernetes client: %w", err)
	}
	// The credentials are added below the client, to whatever request it makes: one to another server must not be made.
	client.HTTP.CheckRedirect = func(*http.Request, []*http.Request) error { return errors.New("the API server redirects") }
	return client, nil
}

// Close lets go of connections that nobody uses.
func (c *Client) Close() { utilnet.CloseIdleConnectionsFor(c.HTTP.Transport) }

// guard keeps an API server from sending without end, and from saying when it is asked again: client-go would wait for a
// Retry-After of any length.
type guard struct {
	base http.RoundTripper
	most int64
}

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := g.base.RoundTrip(r)
	if err == nil {
		resp.Header.Del("Retry-After")
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, g.most), resp.Body}
	}
	return resp, err
}

// WrappedRoundTripper lets client-go find the connections to close.
func (g *guard) WrappedRoundTripper() http.RoundTripper { return g.base }
