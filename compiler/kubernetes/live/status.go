package live

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/suuupra/gateway/compiler/kubernetes"
)

// The condition that says whether gateways are told to run something, and its reasons.
const (
	programmed = "Programmed"

	reasonProgrammed = "Programmed"     // True
	reasonPending    = "Pending"        // False: it is on its way
	reasonInvalid    = "Invalid"        // False: nothing of it became a route, or a listener
	reasonNoCompile  = "DoesNotCompile" // False
	reasonKept       = "ChangedByHand"  // False: its file is somebody else's
	reasonUnread     = "UnsupportedValue"
	reasonUnknown    = "Unknown" // nobody says what is published
)

// maxMessage is what the API takes of the message of a condition, with room for a last word.
const maxMessage = 30_000

// verdicts is what is known about the objects at the end of a round.
type verdicts struct {
	result    *kubernetes.Result
	snapshot  *snapshot
	wish      *wish
	outcome   *outcome
	told      bool              // the destination has answered
	published *Publication      // nil: nothing is
	carried   func(string) bool // whether that holds a file
	ofBranch  bool              // whether its commit is of the branch
}

// clip shortens what a message quotes.
func clip(s string, most int) string {
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strings.ToValidUTF8(s, "")
}

func condition(kind string, status metav1.ConditionStatus, reason, message string, generation int64) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: clip(message, maxMessage), ObservedGeneration: generation}
}

// programmedBy is the condition Programmed of an object whose routes are in one file.
func (v *verdicts) programmedBy(ref kubernetes.Ref, generation int64) metav1.Condition {
	name := kubernetes.RouteFile(ref)
	_, has := v.wish.files[name]
	no := func(reason, message string) metav1.Condition {
		return condition(programmed, metav1.ConditionFalse, reason, message, generation)
	}
	switch {
	case v.outcome.failed[name] != "":
		return no(reasonNoCompile, "it does not compile, and what was there before stays: "+v.outcome.failed[name])
	case v.outcome.kept[name] != "":
		return no(reasonKept, fmt.Sprintf("%s stays as it is: %s", name, v.outcome.kept[name]))
	case !has || v.wish.owners[name] != ref:
		return no(reasonInvalid, "nothing of it became a route")
	}
	return v.whether(name, func() bool { return v.carried(name) }, generation)
}

// gatewayProgrammed is the condition of a Gateway, whose listeners are in gateway.yaml unless that is the work of people.
func (v *verdicts) gatewayProgrammed(accepted bool, generation int64) metav1.Condition {
	const name = listenersFile
	_, ours := v.wish.files[name]
	ours = ours && v.outcome.kept[name] == ""
	switch {
	case !accepted:
		return condition(programmed, metav1.ConditionFalse, reasonInvalid, "no listener is served", generation)
	case v.outcome.failed[name] != "":
		return condition(programmed, metav1.ConditionFalse, reasonNoCompile, v.outcome.failed[name], generation)
	}
	return v.whether(name, func() bool { return !ours && v.ofBranch || ours && v.carried(name) }, generation)
}

// whether says whether something is published.
func (v *verdicts) whether(name string, carried func() bool, generation int64) metav1.Condition {
	pending := func(message string) metav1.Condition {
		return condition(programmed, metav1.ConditionFalse, reasonPending, message, generation)
	}
	_, missing := v.wish.edits[name] // of the head, unless it was pushed
	switch {
	case missing && v.outcome.commit == "":
		return pending("it is not pushed yet: " + v.outcome.unpushed)
	case !v.told:
		return condition(programmed, metav1.ConditionUnknown, reasonUnknown,
			"it is in the branch; what is published is not known: gwctl translate was not told where (--to), or cannot read it", generation)
	case v.published == nil:
		return pending("it is in the branch, and nothing is published yet")
	case !carried():
		return pending(fmt.Sprintf("it is in the branch, and not in %s, which is published", v.published))
	}
	return condition(programmed, metav1.ConditionTrue, reasonProgrammed, v.published.String(), generation)
}

// customs are the conditions of Routes, by object.
func (v *verdicts) customs() map[kubernetes.Ref][]metav1.Condition {
	out := map[kubernetes.Ref][]metav1.Condition{}
	for _, s := range v.result.Status {
		if s.Route == nil {
			continue
		}
		generation := v.snapshot.raw[s.Object].GetGeneration()
		conditions := append([]metav1.Condition(nil), s.Route.Conditions...)
		if text := v.outcome.failed[kubernetes.RouteFile(s.Object)]; text != "" {
			conditions[0] = condition("Accepted", metav1.ConditionFalse, reasonNoCompile, text, generation)
		}
		out[s.Object] = append(conditions, v.programmedBy(s.Object, generation))
	}
	for ref, why := range v.snapshot.held {
		if ref.Kind == "Route" {
			generation := v.snapshot.raw[ref].GetGeneration()
			out[ref] = []metav1.Condition{
				condition("Accepted", metav1.ConditionFalse, "InvalidSpec", why, generation),
				condition(programmed, metav1.ConditionFalse, reasonInvalid, "it cannot be read, and what was there before stays", generation),
			}
		}
	}
	return out
}

// httpRoutes are our entries in the status of HTTPRoutes, by object.
func (v *verdicts) httpRoutes(gateway string) map[kubernetes.Ref][]gatewayv1.RouteParentStatus {
	out := map[kubernetes.Ref][]gatewayv1.RouteParentStatus{}
	for _, s := range v.result.Status {
		if s.HTTPRoute == nil {
			continue
		}
		p := v.programmedBy(s.Object, v.snapshot.raw[s.Object].GetGeneration())
		for _, parent := range s.HTTPRoute.Parents {
			parent.Conditions = append(append([]metav1.Condition(nil), parent.Conditions...), p)
			out[s.Object] = append(out[s.Object], parent)
		}
	}
	for ref, why := range v.snapshot.held {
		if ref.Kind != "HTTPRoute" {
			continue
		}
		generation := v.snapshot.raw[ref].GetGeneration()
		for _, p := range parentsOf(v.snapshot.parents[ref], ref.Namespace, gateway) {
			out[ref] = append(out[ref], gatewayv1.RouteParentStatus{
				ParentRef: p, ControllerName: kubernetes.ControllerName,
				Conditions: []metav1.Condition{
					condition("Accepted", metav1.ConditionFalse, reasonUnread, why, generation),
					condition(programmed, metav1.ConditionFalse, reasonInvalid, "it cannot be read, and what was there before stays", generation),
				},
			})
		}
	}
	return out
}
