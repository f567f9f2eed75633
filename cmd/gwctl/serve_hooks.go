package main

import (
	"errors"
	"fmt"

	"github.com/suuupra/gateway/cmd/internal/settings"
	"github.com/suuupra/gateway/internal/webhook"
	"github.com/suuupra/gateway/runtime/secret"
	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

// hookConfig is one webhook, as serve.yaml has it.
type hookConfig struct {
	ID, Provider string
	SecretRefs   []string // env:NAME or file:/path; two while a secret is rotated
	Refs         []string // none: the branch that is watched
	Insecure     bool
}

// hookFields are the names of a webhook's fields.
var hookFields = []string{"id", "provider", "secretRefs", "refs", "insecure"}

// readHooks reads the list of webhooks. What its values must be is for package webhook to say.
func readHooks(c *serveConfig, f schema.Field, diags *diag.List) {
	if f.Value.Kind != schema.List {
		diags.Errorf("GW2101", f.Value.Pos, f.Name, "%s is %s, must be a list", f.Name, f.Value.Kind)
		return
	}
	for i, item := range f.Value.Items {
		at := fmt.Sprintf("%s[%d]", f.Name, i)
		if item.Kind != schema.Map {
			diags.Errorf("GW2101", item.Pos, at, "%s is %s, must be a map", at, item.Kind)
			continue
		}
		var h hookConfig
		for _, field := range item.Fields {
			h.read(field, at+"."+field.Name, diags)
		}
		c.Hooks = append(c.Hooks, h)
	}
}

func (h *hookConfig) read(f schema.Field, path string, diags *diag.List) {
	want, words := schema.String, "text"
	switch f.Name {
	case "id", "provider":
	case "secretRefs":
		h.SecretRefs = settings.Texts(f, path, diags)
		return
	case "refs":
		h.Refs = settings.Texts(f, path, diags)
		return
	case "insecure":
		want, words = schema.Bool, "true or false"
	default:
		settings.Unknown(f, path, hookFields, diags)
		return
	}
	if f.Value.Kind != want {
		diags.Errorf("GW2101", f.Value.Pos, path, "%s is %s, must be %s", path, f.Value.Kind, words)
		return
	}
	switch f.Name {
	case "id":
		h.ID = f.Value.Str
	case "provider":
		h.Provider = f.Value.Str
	case "insecure":
		h.Insecure = f.Value.Bool
	}
}

// webhooks are the hooks of the repository that is watched. A secret is read for each delivery, and its reference is judged now.
func (c *serveConfig) webhooks(repository string, secrets *secret.Store) ([]webhook.Hook, error) {
	var out []webhook.Hook
	var wrong []error
	for i := range c.Hooks {
		h := &c.Hooks[i]
		hook := webhook.Hook{ID: h.ID, Provider: webhook.Provider(h.Provider), Insecure: h.Insecure, Repository: repository, Refs: h.Refs}
		if len(hook.Refs) == 0 && c.RepoRef != "" && c.RepoRef != "HEAD" {
			hook.Refs = []string{c.RepoRef}
		}
		for _, ref := range h.SecretRefs {
			if _, err := secrets.Get(ref); err != nil { // the forge's deliveries would all be refused
				wrong = append(wrong, fmt.Errorf("webhook %.80q: %w", h.ID, err))
			}
			hook.Secrets = append(hook.Secrets, func() ([]byte, error) { return secrets.Get(ref) })
		}
		out = append(out, hook)
	}
	return out, errors.Join(wrong...)
}
