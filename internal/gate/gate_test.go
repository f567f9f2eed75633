package gate

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
)

var (
	now  = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC) // a Thursday
	from = bundle.DigestOf([]byte("from"))
	to   = bundle.DigestOf([]byte("to"))
)

func approval(key string, codes ...string) Approved {
	return Approved{Key: key, Approval: bundle.Approval{Manifest: to, Base: from, Risks: codes}}
}

func risk(code, severity string) Risk {
	return Risk{Code: code, Severity: severity, Message: "the route is open"}
}

// text is what a verdict says, in short.
func text(v Verdict) string {
	var out []string
	for _, r := range v.Refusals {
		out = append(out, fmt.Sprintf("%s %d/%d %s", r.Rule, r.Have, r.Want, strings.Join(r.Codes, ",")))
	}
	return strings.Join(out, "; ")
}

func TestJudge(t *testing.T) {
	doors := ir.Gate{ID: "doors", Risks: []string{"security"}, Approvals: 2}
	limits := ir.Gate{ID: "limits", Risks: []string{"LIMIT_RAISED"}, Tolerate: 1, RaisePercent: 50, Approvals: 1}
	rules := func(gates ...ir.Gate) *ir.GitOps {
		r := ir.DefaultGitOps()
		r.Gates = gates
		return r
	}
	auth, raise := risk("AUTH_REMOVED", "security"), risk("LIMIT_RAISED", "availability")
	much, little := raise, raise
	much.RaisedPercent, little.RaisedPercent = 51, 50

	for name, c := range map[string]struct {
		change    Change
		rules     *ir.GitOps
		approvals []Approved
		want      string
		by        []string
	}{
		"no gates":                          {Change{Risks: []Risk{auth}}, rules(), nil, "", nil},
		"a risk the gate is about":          {Change{Risks: []Risk{auth}}, rules(doors), nil, `gate "doors" 0/2 AUTH_REMOVED`, nil},
		"a risk it is not about":            {Change{Risks: []Risk{raise}}, rules(doors), nil, "", nil},
		"nothing was in force":              {Change{Base: "none", Risks: []Risk{auth}}, rules(doors), nil, "", nil},
		"back to what was":                  {Change{Back: true, Risks: []Risk{auth}, Ask: true}, rules(doors), nil, "", nil},
		"approved by two":                   {Change{Risks: []Risk{auth}}, rules(doors), []Approved{approval("b", "AUTH_REMOVED"), approval("a", "AUTH_REMOVED")}, "", []string{"a", "b"}},
		"approved by one, twice":            {Change{Risks: []Risk{auth}}, rules(doors), []Approved{approval("a", "AUTH_REMOVED"), approval("a", "AUTH_REMOVED", "X")}, `gate "doors" 1/2 AUTH_REMOVED`, []string{"a"}},
		"another risk is approved":          {Change{Risks: []Risk{auth}}, rules(doors), []Approved{approval("a", "HOST_WIDENED"), approval("b", "HOST_WIDENED")}, `gate "doors" 0/2 AUTH_REMOVED`, nil},
		"one of two risks is approved":      {Change{Risks: []Risk{auth, risk("HOST_WIDENED", "security")}}, rules(doors), []Approved{approval("a", "HOST_WIDENED"), approval("b", "HOST_WIDENED", "AUTH_REMOVED")}, `gate "doors" 1/2 AUTH_REMOVED,HOST_WIDENED`, []string{"b"}},
		"another bundle is approved":        {Change{Candidate: bundle.DigestOf([]byte("x")), Risks: []Risk{auth}}, rules(doors), []Approved{approval("a", "AUTH_REMOVED"), approval("b", "AUTH_REMOVED")}, `gate "doors" 0/2 AUTH_REMOVED`, nil},
		"another step to it is approved":    {Change{Base: bundle.DigestOf([]byte("x")), Risks: []Risk{auth}}, rules(doors), []Approved{approval("a", "AUTH_REMOVED"), approval("b", "AUTH_REMOVED")}, `gate "doors" 0/2 AUTH_REMOVED`, nil},
		"one more than tolerated":           {Change{Risks: []Risk{much, much}}, rules(limits), nil, `gate "limits" 0/1 LIMIT_RAISED`, nil},
		"as many as tolerated":              {Change{Risks: []Risk{much}}, rules(limits), nil, "", nil},
		"small raises do not count":         {Change{Risks: []Risk{little, little, much}}, rules(limits), nil, "", nil},
		"raises of unknown size do":         {Change{Risks: []Risk{raise, raise}}, rules(limits), nil, `gate "limits" 0/1 LIMIT_RAISED`, nil},
		"two gates":                         {Change{Risks: []Risk{auth, much, much}}, rules(doors, limits), []Approved{approval("a", "LIMIT_RAISED")}, `gate "doors" 0/2 AUTH_REMOVED`, []string{"a"}},
		"a fifth of the routes":             {Change{RoutesBefore: 10, RoutesRemoved: 2}, rules(), nil, "", nil},
		"more than a fifth":                 {Change{RoutesBefore: 10, RoutesRemoved: 3}, rules(), nil, "maxRoutesRemovedPercent 0/1 ROUTES_REMOVED_MANY", nil},
		"more than a fifth, approved":       {Change{RoutesBefore: 10, RoutesRemoved: 3}, rules(), []Approved{approval("a", "ROUTES_REMOVED_MANY")}, "", []string{"a"}},
		"two of three":                      {Change{RoutesBefore: 3, RoutesRemoved: 2}, rules(), nil, "", nil},
		"three of four":                     {Change{RoutesBefore: 4, RoutesRemoved: 3}, rules(), nil, "maxRoutesRemovedPercent 0/1 ROUTES_REMOVED_MANY", nil},
		"none may go":                       {Change{RoutesBefore: 1000, RoutesRemoved: 1}, &ir.GitOps{}, nil, "maxRoutesRemovedPercent 0/1 ROUTES_REMOVED_MANY", nil},
		"all may go":                        {Change{RoutesBefore: 3, RoutesRemoved: 3}, &ir.GitOps{MaxRoutesRemovedPercent: 100}, nil, "", nil},
		"no route is left":                  {Change{Risks: []Risk{risk(Empty, "availability")}}, rules(), nil, "every environment 0/1 EMPTY_CONFIG", nil},
		"no route asks for a credential":    {Change{Risks: []Risk{risk(NoAuthLeft, "security")}}, rules(), nil, "every environment 0/1 NO_AUTH_LEFT", nil},
		"each change is asked for":          {Change{Ask: true}, rules(), nil, "sync gated 0/1 ", nil},
		"each change is asked for, and has": {Change{Ask: true}, rules(), []Approved{approval("a")}, "", []string{"a"}},
	} {
		switch c.change.Base {
		case "none":
			c.change.Base = ""
		case "":
			c.change.Base = from
		}
		if c.change.Candidate == "" {
			c.change.Candidate = to
		}
		v := Judge(c.change, c.rules, c.approvals, now)
		if got := text(v); got != c.want || v.Open() != (c.want == "") || !slices.Equal(v.Approvers, c.by) {
			t.Errorf("%s: %q by %q, want %q by %q", name, got, v.Approvers, c.want, c.by)
		}
	}
}

func TestVerify(t *testing.T) {
	key, err := bundle.GenerateKey(bundle.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	entry, err := bundle.TrustKeyOf(key.Public(), bundle.RoleApprover)
	if err != nil {
		t.Fatal(err)
	}
	file, err := bundle.TrustFile{Keys: []bundle.TrustKey{entry}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	trust, err := bundle.ParseTrust(file)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(expires time.Time) []byte {
		data, err := bundle.SignApproval(bundle.Approval{
			Name: "shop", Environment: "prod", Manifest: to, Base: from, Reason: "x", IssuedAt: bundle.TimeOf(now.Add(-time.Hour)), ExpiresAt: bundle.TimeOf(expires),
		}, key)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	good, bad := Verify([][]byte{sign(now), []byte("{}"), sign(now.Add(time.Second))}, bundle.Check{Trust: trust, Environment: "prod", Now: now})
	if len(good) != 1 || good[0].Key != key.Public().ID() || good[0].Manifest != to || len(bad) != 2 {
		t.Errorf("good %+v, bad %v", good, bad)
	}
}
