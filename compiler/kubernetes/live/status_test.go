package live

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/suuupra/gateway/compiler/kubernetes"
)

var (
	then = metav1.NewTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	now  = metav1.NewTime(time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC))
)

// TestMerge writes what differs, and keeps the times of transitions that are none.
func TestMerge(t *testing.T) {
	c := func(kind, status, reason, message string, generation int64, at metav1.Time) metav1.Condition {
		return metav1.Condition{Type: kind, Status: metav1.ConditionStatus(status), Reason: reason, Message: message, ObservedGeneration: generation, LastTransitionTime: at}
	}
	yes := c("Accepted", "True", "Accepted", "", 1, then)
	first := c(programmed, "True", reasonProgrammed, "bundle 1.1 of commit abc1234", 1, then)
	for _, tt := range []struct {
		name      string
		old, want []metav1.Condition
		out       []metav1.Condition
		differs   bool
	}{
		{"the first", nil, []metav1.Condition{yes}, []metav1.Condition{c("Accepted", "True", "Accepted", "", 1, now)}, true},
		{"the same", []metav1.Condition{yes}, []metav1.Condition{yes}, []metav1.Condition{yes}, false},
		{"another generation", []metav1.Condition{yes}, []metav1.Condition{c("Accepted", "True", "Accepted", "", 2, now)}, []metav1.Condition{c("Accepted", "True", "Accepted", "", 2, then)}, true},
		{"another status", []metav1.Condition{yes}, []metav1.Condition{c("Accepted", "False", "X", "m", 1, now)}, []metav1.Condition{c("Accepted", "False", "X", "m", 1, now)}, true},
		{"one that is not said any more", []metav1.Condition{yes, first}, []metav1.Condition{yes}, []metav1.Condition{yes}, true},
		{"a later bundle", []metav1.Condition{first}, []metav1.Condition{c(programmed, "True", reasonProgrammed, "bundle 1.2 of commit def5678", 1, now)}, []metav1.Condition{first}, false},
		{
			"a bundle of another generation",
			[]metav1.Condition{first},
			[]metav1.Condition{c(programmed, "True", reasonProgrammed, "bundle 1.2 of commit def5678", 2, now)},
			[]metav1.Condition{c(programmed, "True", reasonProgrammed, "bundle 1.2 of commit def5678", 2, then)},
			true,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, differs := merge(tt.old, tt.want, now)
			if !reflect.DeepEqual(out, tt.out) || differs != tt.differs {
				t.Errorf("%v %t, want %v %t", out, differs, tt.out, tt.differs)
			}
		})
	}
}

// TestParents leaves the entries of other controllers, and those of ours about other Gateways, byte by byte.
func TestParents(t *testing.T) {
	entry := func(controller, name string) map[string]any {
		return map[string]any{
			"controllerName": controller, "parentRef": map[string]any{"namespace": "infra", "name": name, "newField": "x"},
			"conditions": []any{map[string]any{"type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}},
		}
	}
	others := []any{entry("example.com/other", "public"), entry(kubernetes.ControllerName, "internal")}
	status := map[string]any{"parents": append(append([]any{}, others...), entry(kubernetes.ControllerName, "public"))}
	infra := gatewayv1.Namespace("infra")
	ref := gatewayv1.ParentReference{Namespace: &infra, Name: "public"}
	want := []gatewayv1.RouteParentStatus{{
		ParentRef: ref, ControllerName: kubernetes.ControllerName, Conditions: []metav1.Condition{condition("Accepted", "False", "NoMatchingParent", "m", 3)},
	}}
	edit := func() bool { return editParents(status, want, "shop", "infra/public", now) }
	if !edit() || edit() {
		t.Error("it writes once, and then no more")
	}
	parents := status["parents"].([]any)
	if len(parents) != 3 || !reflect.DeepEqual(parents[:2], others) || !strings.Contains(fmt.Sprint(parents[2]), "NoMatchingParent") {
		t.Errorf("left %v", parents)
	}
	want = nil // it does not refer to the Gateway any more
	if !edit() || edit() || !reflect.DeepEqual(status["parents"], any(others)) {
		t.Errorf("left %v", status["parents"])
	}
}

// TestFingerprint changes with what is translated, and not with what is written back.
func TestFingerprint(t *testing.T) {
	object := func(edit func(*unstructured.Unstructured)) string {
		o := &unstructured.Unstructured{Object: map[string]any{}}
		o.SetGeneration(1)
		o.SetResourceVersion("10")
		edit(o)
		return fingerprint(o)
	}
	same := object(func(*unstructured.Unstructured) {})
	for name, tt := range map[string]struct {
		edit  func(*unstructured.Unstructured)
		alike bool
	}{
		"a status":     {func(o *unstructured.Unstructured) { o.SetResourceVersion("11"); o.Object["status"] = "x" }, true},
		"a spec":       {func(o *unstructured.Unstructured) { o.SetGeneration(2) }, false},
		"annotations":  {func(o *unstructured.Unstructured) { o.SetAnnotations(map[string]string{"a": "b"}) }, false},
		"labels":       {func(o *unstructured.Unstructured) { o.SetLabels(map[string]string{"a": "b"}) }, false},
		"its deletion": {func(o *unstructured.Unstructured) { o.SetDeletionTimestamp(&now) }, false},
		"a Service":    {func(o *unstructured.Unstructured) { o.SetGeneration(0) }, false},
	} {
		if got := object(tt.edit); (got == same) != tt.alike {
			t.Errorf("%s: %s, before %s", name, got, same)
		}
	}
}

// TestProgrammed finds out what a published commit carries.
func TestProgrammed(t *testing.T) {
	r := newRig(t, nil)
	w := r.wish(route("a", "/a") + route("b", "/b"))
	first := r.brings(w).commit
	edited := r.wish(route("a", "/a") + route("b", "/new"))
	second := r.brings(edited)
	digest := "of another program"
	p := programs{digest: func(context.Context, string) (string, error) { return digest, nil }}
	says := func(at *Publication, name string) metav1.Condition {
		t.Helper()
		carried, _, err := p.carried(t.Context(), r.branch, at, edited, second)
		if err != nil {
			t.Fatal(err)
		}
		v := &verdicts{wish: edited, outcome: second, told: true, published: at, carried: carried}
		return v.programmedBy(kubernetes.Ref{Kind: "HTTPRoute", Namespace: "shop", Name: name}, 4)
	}
	for _, tt := range []struct {
		name, route string
		at          *Publication
		digest      string
		want        string
	}{
		{"nothing is published", "a", nil, "x", "False Pending it is in the branch, and nothing is published yet"},
		{"the head", "b", &Publication{Version: "1.2", Commit: second.commit, Content: "y"}, "x", fmt.Sprintf("True Programmed bundle 1.2 of commit %.7s", second.commit)},
		{"an earlier commit that has it", "a", &Publication{Version: "1.1", Commit: first, Content: "y"}, "x", fmt.Sprintf("True Programmed bundle 1.1 of commit %.7s", first)},
		{"an earlier commit that has it otherwise", "b", &Publication{Version: "1.1", Commit: first, Content: "y"}, "x", fmt.Sprintf("False Pending it is in the branch, and not in bundle 1.1 of commit %.7s, which is published", first)},
		{"which comes to the same", "b", &Publication{Version: "1.1", Commit: first, Content: "y"}, "y", fmt.Sprintf("True Programmed bundle 1.1 of commit %.7s", first)},
		{"a commit of elsewhere", "a", &Publication{Version: "1.1", Commit: strings.Repeat("1", 40), Content: "y"}, "x", "False Pending it is in the branch, and not in bundle 1.1 of commit 1111111, which is published"},
		{"files of no commit", "a", &Publication{Version: "1.1", Content: "y"}, "x", "False Pending it is in the branch, and not in bundle 1.1 of no commit, which is published"},
		{"nothing became a route", "c", nil, "x", "False Invalid nothing of it became a route"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p.commit, digest = "", tt.digest
			c := says(tt.at, tt.route)
			if got := fmt.Sprintf("%s %s %s", c.Status, c.Reason, c.Message); got != tt.want || c.ObservedGeneration != 4 {
				t.Errorf("%s\nwant %s", got, tt.want)
			}
		})
	}
	v := &verdicts{wish: edited, outcome: second}
	if c := v.programmedBy(kubernetes.Ref{Kind: "HTTPRoute", Namespace: "shop", Name: "a"}, 4); c.Status != metav1.ConditionUnknown {
		t.Errorf("without a destination: %+v", c)
	}
}
