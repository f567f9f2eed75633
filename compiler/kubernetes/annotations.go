package kubernetes

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "github.com/suuupra/gateway/schema/v1"
)

// treatment is what becomes of an annotation.
type treatment string

const (
	translated treatment = "translated" // it is said in the config
	tuned      treatment = "no need"    // it tunes the other proxy, and changes nothing for clients and servers
	unsaid     treatment = "not said"   // its routes are there, without it
	refused    treatment = "refused"    // its rules are left out whole: without it they would be open, or wrong
)

// annotation is one entry of the allow-list.
type annotation struct {
	treatment treatment
	// does says how it is translated, or what to do in its place. It is in docs/kubernetes.md, word by word.
	does string
	// harmless are values under which it says nothing, such as "false".
	harmless []string
	// read takes the value of one that is translated. Annotations are read as data, never pasted into anything: an error names
	// what was found and what is allowed.
	read func(s *settings, value string) error
}

// settings is what the annotations of one object say, as typed data.
type settings struct {
	policy v1.RoutePolicy
	tune   tuning

	aliases []string
	regex   bool
	rewrite *string
	cors    corsSettings
	limits  limitSettings

	sslSecret *Ref // what to believe, and who to be, towards the servers

	plainToo bool // requests in plain text are served, not redirected
	blocked  bool // something that is refused stands there: rules are closed
}

const (
	nginxPrefix   = "nginx.ingress.kubernetes.io/"
	traefikPrefix = "traefik.ingress.kubernetes.io/"
	classKey      = "kubernetes.io/ingress.class"
)

// neutral are prefixes of annotations that tools keep on objects for themselves. Nothing that routes requests reads them.
var neutral = []string{
	"kubectl.kubernetes.io/", "meta.helm.sh/", "helm.sh/", "argocd.argoproj.io/", "app.kubernetes.io/", "fluxcd.io/", "kustomize.toolkit.fluxcd.io/",
	"cert-manager.io/", "acme.cert-manager.io/", "external-dns.alpha.kubernetes.io/", "field.cattle.io/", "deployment.kubernetes.io/", "config.kubernetes.io/",
}

// vendors are parts of the names of annotations by which other controllers are configured.
var vendors = []string{
	"ingress.kubernetes.io/", "haproxy.org/", "nginx.org/", "konghq.com/", "projectcontour.io/", "zalando.org/", "getambassador.io/",
	"networking.gke.io/", "ingress.bluemix.net/", "traefik.io/", "cilium.io/", "apisix.apache.org/",
}

// annotations reads the annotations of an Ingress, or those of a Service a rule points at, and reports each that is not translated.
func (t *translator) annotations(of Ref, all map[string]string, s *settings) {
	for _, key := range slices.Sorted(maps.Keys(all)) {
		field := "metadata.annotations[" + key + "]"
		name, nginx := strings.CutPrefix(key, nginxPrefix)
		table := nginxAnnotations
		if !nginx {
			table = traefikAnnotations
			if name, nginx = strings.CutPrefix(key, traefikPrefix); !nginx {
				t.foreign(of, field, key, s)
				continue
			}
		}
		a, known := lookup(table, name)
		if !known {
			s.blocked = true
			t.find(Finding{
				Grade: Omitted, Reason: "UnknownAnnotation", Object: of, Field: field,
				Message: fmt.Sprintf("%s is not known; it may be a protection, so the rules are left out", key),
				Instead: "remove it if it has no meaning, or write the routes by hand",
			})
			continue
		}
		t.annotation(of, field, name, a, strings.TrimSpace(all[key]), s)
	}
}

// lookup finds an annotation, or the family it belongs to ("router.tls.domains.*").
func lookup(table map[string]annotation, name string) (annotation, bool) {
	if a, ok := table[name]; ok {
		return a, true
	}
	for prefix := name; ; {
		i := strings.LastIndexByte(prefix, '.')
		if i < 0 {
			return annotation{}, false
		}
		prefix = prefix[:i]
		if a, ok := table[prefix+".*"]; ok {
			return a, true
		}
	}
}

func (t *translator) annotation(of Ref, field, name string, a annotation, value string, s *settings) {
	if slices.Contains(a.harmless, strings.ToLower(value)) {
		return
	}
	f := Finding{Object: of, Field: field, Instead: a.does}
	switch a.treatment {
	case translated:
		err := a.read(s, value)
		if err == nil {
			return
		}
		s.blocked = true
		f.Grade, f.Reason, f.Instead = Omitted, "UnsupportedValue", "change the value, or write the routes by hand"
		f.Message = fmt.Sprintf("%s is %q: %s", name, clip(value), err)
	case tuned:
		f.Grade, f.Reason, f.Message, f.Instead = Note, "NotNeeded", name+" is not needed here", a.does
	case unsaid:
		f.Grade, f.Reason, f.Message = Differs, "UnsupportedAnnotation", name+" cannot be said; the routes are there without it"
	case refused:
		s.blocked = true
		f.Grade, f.Reason, f.Message = Omitted, "UnsupportedAnnotation", name+" cannot be said; its rules are left out"
	}
	t.find(f)
}

// foreign reports annotations of neither controller.
func (t *translator) foreign(of Ref, field, key string, s *settings) {
	switch {
	case key == classKey || slices.ContainsFunc(neutral, func(p string) bool { return strings.HasPrefix(key, p) }):
	case of.Kind == "Ingress" && slices.ContainsFunc(vendors, func(v string) bool { return strings.Contains(key, v) }):
		s.blocked = true
		t.find(Finding{
			Grade: Omitted, Reason: "UnknownAnnotation", Object: of, Field: field,
			Message: key + " configures another controller; it may be a protection, so the rules are left out",
			Instead: "remove it if it has no meaning any more, or write the routes by hand",
		})
	case of.Kind == "Ingress":
		t.find(Finding{Grade: Note, Reason: "UnknownAnnotation", Object: of, Field: field, Message: key + " is not read"})
	}
}

// clip shortens a value for a message.
func clip(s string) string {
	if r := []rune(s); len(r) > 64 {
		return string(r[:64]) + "..."
	}
	return s
}

// corsSettings are the cors-* annotations, which hold together with enable-cors only.
type corsSettings struct {
	enabled                           bool
	origins, methods, headers, expose []string
	noCredentials                     bool
	maxAge                            *v1.Duration
}

// limitSettings are the limit-* annotations.
type limitSettings struct{ perSecond, perMinute, multiplier int64 }

// finish puts together what several annotations say between them.
func (t *translator) finish(of Ref, s *settings) {
	if s.cors.enabled {
		s.policy.Cors = t.cors(of, &s.cors)
	}
	if r := s.policy.Retry; r != nil && slices.Contains(r.On, "timeout") {
		// ingress-nginx bounds each attempt, and not all of them together.
		r.PerTryTimeout, s.policy.Timeout = new(v1.Duration(60_000)), new(v1.Duration(0))
		if s.policy.Timeouts != nil {
			r.PerTryTimeout = s.policy.Timeouts.Header
		}
	}
	s.policy.RateLimit = s.limits.policy()
	if s.policy.RateLimit != nil {
		t.find(Finding{
			Grade: Note, Reason: "SharedLimit", Object: of, Field: "metadata.annotations",
			Message: "limits count for all gateways together and answer 429; ingress-nginx counts in each replica and answers 503",
		})
	}
	if s.sslSecret != nil {
		dir := t.secretDir(s.sslSecret.Namespace, s.sslSecret.Name)
		s.tune.ca, s.tune.cert, s.tune.key = dir+"ca.crt", dir+"tls.crt", dir+"tls.key"
		t.find(Finding{
			Grade: Note, Reason: "SecretNeeded", Object: of, Field: "metadata.annotations[" + nginxPrefix + "proxy-ssl-secret]",
			Message: fmt.Sprintf("the gateway reads secret %s/%s from %sca.crt, tls.crt and tls.key", s.sslSecret.Namespace, s.sslSecret.Name, strings.TrimPrefix(dir, "file:")),
			Instead: "mount it there, for instance as a volume of gwrun's pod",
		})
	}
	if s.tune.scheme == "https" && s.tune.ca == "" {
		t.find(Finding{
			Grade: Note, Reason: "VerifiedBackend", Object: of, Field: "metadata.annotations",
			Message: "the certificates of its servers are verified with the system's roots; ingress-nginx takes any certificate unless told otherwise",
			Instead: "set tls.ca and tls.sni of the upstream to what signs the servers' certificates, and the name in them",
		})
	}
}

// cors fills in what ingress-nginx takes where nothing is said.
func (t *translator) cors(of Ref, c *corsSettings) *v1.CORS {
	out := &v1.CORS{
		AllowOrigins: c.origins, AllowMethods: c.methods, AllowHeaders: fieldNames(c.headers), ExposeHeaders: fieldNames(c.expose),
		AllowCredentials: !c.noCredentials, MaxAge: c.maxAge,
	}
	if len(out.AllowOrigins) == 0 {
		out.AllowOrigins = []string{"*"}
	}
	if len(out.AllowMethods) == 0 {
		out.AllowMethods = []string{"GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"}
	}
	if len(out.AllowHeaders) == 0 {
		out.AllowHeaders = []string{"DNT", "User-Agent", "X-Requested-With", "If-Modified-Since", "Cache-Control", "Content-Type", "Range", "Authorization"}
	}
	if out.MaxAge == nil {
		out.MaxAge = new(v1.Duration(maxDuration))
	}
	// Browsers take no credentials to an origin of "*" (Fetch, "CORS protocol and credentials"), whatever else the answer says.
	if out.AllowCredentials && slices.Contains(out.AllowOrigins, "*") {
		out.AllowCredentials, out.AllowOrigins = false, []string{"*"}
		t.find(Finding{
			Grade: Note, Reason: "CorsCredentials", Object: of, Field: "metadata.annotations",
			Message: `credentials are not allowed together with the origin "*": browsers refuse the pair`,
			Instead: "list the origins in cors-allow-origin",
		})
	}
	return out
}

func (l *limitSettings) policy() *v1.RateLimit {
	multiplier := cmp.Or(l.multiplier, 5)
	var list []v1.Limit
	for _, one := range []struct {
		id             string
		rate, interval int64
	}{{"per-second", l.perSecond, 1000}, {"per-minute", l.perMinute, 60_000}} {
		if one.rate > 0 {
			list = append(list, v1.Limit{
				ID: one.id, TokensPerInterval: new(one.rate), IntervalMs: new(one.interval), Burst: new(one.rate * multiplier), Key: []string{"ip"},
			})
		}
	}
	if len(list) == 0 {
		return nil
	}
	return &v1.RateLimit{Limits: list}
}
