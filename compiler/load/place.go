package load

import (
	"path"
	"regexp"
	"strings"

	"github.com/suuupra/gateway/schema"
)

// folders are the folders of a config repository.
var folders = []string{"routes", "upstreams", "policies", "tenants", "environments", "tests"}

// extensions are the endings a loader takes.
var extensions = []string{".yaml", ".yml", ".json", ".cue"}

// nicknames are words people use for a folder that no edit distance brings close to it.
var nicknames = map[string]string{
	"env": "environments", "envs": "environments", "stage": "environments", "stages": "environments",
	"policy": "policies", "tenancy": "tenants", "backend": "upstreams", "backends": "upstreams",
}

// bystanders are files of the product itself which may lie beside the config without being part of it.
var bystanders = []string{"trust.json", "gwrun.yaml", "gwrun.yml", "gwrun.json"}

// layerName is what an environment or a tenant may be called: it becomes a part of paths, metrics and key scopes.
var layerName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// LayerOf says which patch step the file at path, relative to the root of the config repository, belongs to.
func LayerOf(path string) schema.Layer {
	parts := strings.Split(path, "/")
	var l schema.Layer
	switch {
	case len(parts) > 2 && parts[0] == "tenants":
		l.Tenant = parts[1]
	case len(parts) > 2 && parts[0] == "environments":
		l.Environment = parts[1]
		if len(parts) > 4 && parts[2] == "tenants" {
			l.Tenant = parts[3]
		}
	}
	return l
}

// misplaced explains why no layer takes a config file that lies at path, or returns "".
func misplaced(path string) (message, hint string) {
	parts := strings.Split(path, "/")
	switch {
	case parts[0] == "environments" && len(parts) == 2:
		return "a file in environments/ belongs to no environment", "move it to environments/<environment>/"
	case parts[0] == "tenants" && len(parts) == 2:
		return "a file in tenants/ belongs to no tenant", "move it to tenants/<tenant>/"
	case parts[0] == "environments" && len(parts) == 4 && parts[2] == "tenants":
		return "a file in environments/<environment>/tenants/ belongs to no tenant", "move it to environments/" + parts[1] + "/tenants/<tenant>/"
	case parts[0] == "tenants" && len(parts) > 3 && parts[2] == "environments":
		return "a tenant has no environments of its own, the file would apply to all of them",
			"move it to environments/" + parts[3] + "/tenants/" + parts[1] + "/"
	}
	return "", ""
}

// taken reports whether a loader takes files with this name.
func taken(name string) bool {
	ext := path.Ext(name)
	for _, e := range extensions {
		if ext == e && len(name) > len(e) {
			return true
		}
	}
	return false
}
