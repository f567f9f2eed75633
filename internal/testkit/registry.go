package testkit

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory" // the storage it runs on
	"github.com/sirupsen/logrus"
)

// OCIRegistry is the reference registry, in this process, with its content in memory.
type OCIRegistry struct {
	URL  string // http://host:port
	Host string // host:port, as in oci://host:port/repository
}

// Registry starts a registry that takes pushes from anyone, and stops it when the test ends.
func Registry(tb testing.TB) *OCIRegistry {
	tb.Helper()
	logrus.SetOutput(io.Discard) // the registry logs each request to the process's logger
	config := &configuration.Configuration{Storage: configuration.Storage{
		"inmemory":    configuration.Parameters{},
		"delete":      configuration.Parameters{"enabled": true},
		"maintenance": configuration.Parameters{"uploadpurging": map[any]any{"enabled": false}},
	}}
	config.HTTP.Secret = "not a secret: signs the state of uploads" // else it logs that it made one up
	config.Log.AccessLog.Disabled = true
	config.Validation.Disabled = true
	app := handlers.NewApp(tb.Context(), config)
	s := httptest.NewServer(app)
	tb.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
		if err := app.Shutdown(); err != nil {
			tb.Errorf("stop registry: %v", err)
		}
	})
	return &OCIRegistry{URL: s.URL, Host: strings.TrimPrefix(s.URL, "http://")}
}
