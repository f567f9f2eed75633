package webhook

import (
	"errors"
	"strings"

	"github.com/suuupra/gateway/internal/gitwatch"
)

// push is what is read out of a payload.
type push struct {
	repositories []string // addresses of the repository, as the forge writes them
	name         string   // project/repository, for a forge that gives no addresses
	changes      []change
	other        bool // it is no push after all
}

type change struct{ ref, commit string }

// read parses a payload, and holds what is in it to what a push must have.
func (p *provider) read(body []byte) (*push, error) {
	payload, err := parse(body, p.shape)
	if err != nil {
		return nil, err
	}
	out, err := p.pushed(payload)
	if err != nil || out.other {
		return out, err
	}
	out.repositories = nonEmpty(out.repositories)
	if len(out.repositories) == 0 && out.name == "" {
		return nil, errors.New("the payload names no repository")
	}
	for i := range out.changes {
		c := &out.changes[i]
		if !strings.HasPrefix(c.ref, "refs/") {
			return nil, errors.New("the payload names no ref such as refs/heads/main")
		}
		if _, err := gitwatch.ParseRef(c.ref); err != nil {
			return nil, errors.New("a ref of the payload cannot be the name of a ref (git check-ref-format)")
		}
		c.commit = commit(c.commit)
	}
	return out, nil
}

// of reports whether the push is to the repository, host/path as normalise has it.
func (p *push) of(repository string) bool {
	for _, address := range p.repositories {
		if is, ok := normalise(address); ok && is == repository {
			return true
		}
	}
	return len(p.repositories) == 0 && strings.HasSuffix(repository, "/"+strings.ToLower(p.name))
}

func nonEmpty(all []string) []string {
	out := all[:0]
	for _, s := range all {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}

// commit is the id of a commit, SHA-1 or SHA-256; empty for anything else, and for the zeros that stand for none.
func commit(s string) string {
	if (len(s) != 40 && len(s) != 64) || strings.Trim(s, "0123456789abcdef") != "" || strings.Trim(s, "0") == "" {
		return ""
	}
	return s
}

// GitHub, Gitea and Forgejo.
var refShape = object(map[string]*shape{
	"ref": leaf, "after": leaf,
	"repository": object(map[string]*shape{"clone_url": leaf, "html_url": leaf, "ssh_url": leaf, "git_url": leaf}),
})

func refPushed(v any) (*push, error) {
	return &push{
		repositories: []string{
			word(v, "repository", "clone_url"), word(v, "repository", "html_url"), word(v, "repository", "ssh_url"), word(v, "repository", "git_url"),
		},
		changes: []change{{word(v, "ref"), word(v, "after")}},
	}, nil
}

var gitlabShape = object(map[string]*shape{
	"event_name": leaf, "object_kind": leaf, "ref": leaf, "after": leaf,
	"project":    object(map[string]*shape{"git_http_url": leaf, "git_ssh_url": leaf, "web_url": leaf}),
	"repository": object(map[string]*shape{"git_http_url": leaf, "git_ssh_url": leaf, "homepage": leaf}),
})

func gitlabPushed(v any) (*push, error) {
	// A system hook sends all that happens, and says what it is in the payload alone.
	event := word(v, "event_name")
	if event == "" {
		event = word(v, "object_kind") // all that older versions send
	}
	if event != "push" && event != "tag_push" {
		return &push{other: true}, nil
	}
	return &push{
		repositories: []string{
			word(v, "project", "git_http_url"), word(v, "project", "git_ssh_url"), word(v, "project", "web_url"),
			word(v, "repository", "git_http_url"), word(v, "repository", "git_ssh_url"), word(v, "repository", "homepage"),
		},
		changes: []change{{word(v, "ref"), word(v, "after")}},
	}, nil
}

var (
	bitbucketRef   = object(map[string]*shape{"type": leaf, "name": leaf, "target": object(map[string]*shape{"hash": leaf})})
	bitbucketShape = object(map[string]*shape{
		"repository": object(map[string]*shape{
			"full_name": leaf, "slug": leaf, // Cloud; Data Center
			"project": object(map[string]*shape{"key": leaf}),
			"links": object(map[string]*shape{
				"html":  object(map[string]*shape{"href": leaf}),        // Cloud
				"clone": array(object(map[string]*shape{"href": leaf})), // Data Center
			}),
		}),
		"push":    object(map[string]*shape{"changes": array(object(map[string]*shape{"new": bitbucketRef, "old": bitbucketRef}))}),
		"changes": array(object(map[string]*shape{"refId": leaf, "toHash": leaf})),
	})
)

func bitbucketPushed(v any) (*push, error) {
	p := &push{}
	if at(v, "push") != nil {
		p.repositories = append(p.repositories, word(v, "repository", "links", "html", "href"))
		if name := word(v, "repository", "full_name"); name != "" {
			p.repositories = append(p.repositories, "https://bitbucket.org/"+name)
		}
		for _, c := range list(v, "push", "changes") {
			p.changes = append(p.changes, bitbucketChange(c)...)
		}
		return p, nil
	}
	for _, link := range list(v, "repository", "links", "clone") {
		p.repositories = append(p.repositories, word(link, "href"))
	}
	if key, slug := word(v, "repository", "project", "key"), word(v, "repository", "slug"); key != "" && slug != "" {
		p.name = key + "/" + slug
	}
	for _, c := range list(v, "changes") {
		p.changes = append(p.changes, change{word(c, "refId"), word(c, "toHash")})
	}
	return p, nil
}

// bitbucketChange reads a change of Bitbucket Cloud. A ref that was deleted has nothing new.
func bitbucketChange(c any) []change {
	for _, side := range []string{"new", "old"} {
		name, hash := word(c, side, "name"), word(c, side, "target", "hash")
		if side == "old" {
			hash = ""
		}
		switch word(c, side, "type") {
		case "branch":
			return []change{{"refs/heads/" + name, hash}}
		case "tag", "annotated_tag":
			return []change{{"refs/tags/" + name, hash}}
		}
	}
	return nil
}

var genericShape = object(map[string]*shape{"repository": leaf, "ref": leaf, "commit": leaf})

func genericPushed(v any) (*push, error) {
	return &push{repositories: []string{word(v, "repository")}, changes: []change{{word(v, "ref"), word(v, "commit")}}}, nil
}
