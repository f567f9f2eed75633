package webhook

import "strings"

// provider is how one kind of forge writes a delivery.
type provider struct {
	scheme scheme
	event  []string // where the kind of event stands, the preferred field first; none: all deliveries are pushes
	push   []string // the events that are pushes
	ping   []string // the events that only test the webhook
	// deliveries is where the id of the delivery stands, the preferred field first. Where always is set the forge never leaves it
	// out, so that one without is a replay that hides its id.
	deliveries []string
	always     bool
	shape      *shape
	pushed     func(payload any) (*push, error)
}

type eventKind int

const (
	eventOther eventKind = iota
	eventPush
	eventPing
)

var providers = map[Provider]*provider{
	GitHub: {
		scheme: signed(field{"X-Hub-Signature-256", "sha256="}),
		event:  []string{"X-GitHub-Event"}, push: []string{"push"}, ping: []string{"ping"},
		deliveries: []string{"X-GitHub-Delivery"}, always: true,
		shape: refShape, pushed: refPushed,
	},
	GitLab: {
		scheme: gitlab,
		event:  []string{"X-Gitlab-Event"}, push: []string{"Push Hook", "Tag Push Hook", "System Hook"},
		deliveries: []string{"webhook-id", "Idempotency-Key", "X-Gitlab-Event-UUID"},
		shape:      gitlabShape, pushed: gitlabPushed,
	},
	Gitea: {
		scheme: signed(field{"X-Gitea-Signature", ""}, field{"X-Hub-Signature-256", "sha256="}),
		event:  []string{"X-Gitea-Event"}, push: []string{"push"},
		deliveries: []string{"X-Gitea-Delivery"}, always: true,
		shape: refShape, pushed: refPushed,
	},
	Forgejo: {
		scheme: signed(field{"X-Forgejo-Signature", ""}, field{"X-Gitea-Signature", ""}, field{"X-Hub-Signature-256", "sha256="}),
		event:  []string{"X-Forgejo-Event", "X-Gitea-Event"}, push: []string{"push"},
		deliveries: []string{"X-Forgejo-Delivery", "X-Gitea-Delivery"}, always: true,
		shape: refShape, pushed: refPushed,
	},
	Bitbucket: {
		scheme: signed(field{"X-Hub-Signature", "sha256="}),
		event:  []string{"X-Event-Key"}, push: []string{"repo:push", "repo:refs_changed"}, ping: []string{"diagnostics:ping"},
		deliveries: []string{"X-Request-UUID", "X-Request-Id"},
		shape:      bitbucketShape, pushed: bitbucketPushed,
	},
	Generic: {
		scheme:     signed(field{"X-Signature", "sha256="}),
		deliveries: []string{"X-Delivery"},
		shape:      genericShape, pushed: genericPushed,
	},
}

func (p *provider) kind(event string) eventKind {
	switch {
	case len(p.event) == 0:
		return eventPush
	case event == "":
		return eventOther
	}
	for _, name := range p.push {
		if event == name {
			return eventPush
		}
	}
	for _, name := range p.ping {
		if event == name {
			return eventPing
		}
	}
	return eventOther
}

// delivery is the id of a delivery; empty if the forge may leave it out, and has.
func (p *provider) delivery(h Header) (id string, ok bool) {
	id, single := one(h, p.deliveries...)
	if id == "" && !p.always {
		return "", true
	}
	return id, single && isDelivery(id)
}

// isDelivery reports whether a text can be the id of a delivery: those are UUIDs, some in braces, and words.
func isDelivery(s string) bool {
	return s != "" && len(s) <= 128 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_:{}", r)
	})
}
