package live

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/suuupra/gateway/compiler/kubernetes"
)

// Bounds on what is written back.
const (
	writeAttempts   = 5
	maxErrors       = 3   // that a message quotes
	maxEvents       = 20  // of one object in a round
	maxEventsRound  = 500 // of all of them
	tellTimeout     = 5 * time.Minute
	eventsAgain     = 50 * time.Minute // the API server forgets an Event after an hour
	maxEventMessage = 1000
	component       = "gwctl-translate"
)

// tell writes status and Events, where they change. It goes on after an object that cannot be written.
func (w *Watcher) tell(ctx context.Context, v *verdicts) error {
	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	now := metav1.NewTime(w.opts.Now().Truncate(time.Second))
	routes, customs := v.httpRoutes(w.opts.Translate.Gateway), v.customs()
	var problems []error
	for _, ref := range sortedRefs(v.snapshot.raw) {
		var edit func(map[string]any) bool
		switch ref.Kind {
		case "HTTPRoute":
			edit = func(status map[string]any) bool {
				return editParents(status, routes[ref], ref.Namespace, w.opts.Translate.Gateway, now)
			}
		case "Route":
			if customs[ref] == nil {
				continue // of a namespace that is left out
			}
			edit = func(status map[string]any) bool { return editConditions(status, customs[ref], now) }
		default:
			edit = v.editStatus(ref, now)
		}
		if edit == nil {
			continue
		}
		if err := w.cluster.writeStatus(ctx, v.snapshot, ref, edit); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", ref, err))
		}
	}
	problems = append(problems, w.events(ctx, v, now)...)
	if n := len(problems) - maxErrors; n > 0 {
		problems = append(problems[:maxErrors], fmt.Errorf("and %d more", n))
	}
	return errors.Join(problems...)
}

// editStatus makes the status of a Gateway or a class; nil for what has none of ours.
func (v *verdicts) editStatus(ref kubernetes.Ref, now metav1.Time) func(map[string]any) bool {
	i := slices.IndexFunc(v.result.Status, func(s kubernetes.Status) bool { return s.Object == ref })
	if i < 0 {
		return nil
	}
	switch s := v.result.Status[i]; {
	case s.GatewayClass != nil:
		return func(status map[string]any) bool { return editConditions(status, s.GatewayClass.Conditions, now) }
	case s.Gateway != nil:
		return func(status map[string]any) bool { return v.editGateway(status, ref, s.Gateway, now) }
	}
	return nil
}

func (v *verdicts) editGateway(status map[string]any, ref kubernetes.Ref, want *gatewayv1.GatewayStatus, now metav1.Time) bool {
	generation := v.snapshot.raw[ref].GetGeneration()
	accepted := len(want.Conditions) > 0 && want.Conditions[0].Status == metav1.ConditionTrue
	p := v.gatewayProgrammed(accepted, generation)
	changed := editConditions(status, append(slices.Clone(want.Conditions), p), now)
	var old []gatewayv1.ListenerStatus
	decode(status["listeners"], &old)
	listeners := slices.Clone(want.Listeners)
	same := len(old) == len(listeners)
	for i := range listeners {
		l := &listeners[i]
		own := p
		if !isServed(l) {
			own = condition(programmed, metav1.ConditionFalse, reasonInvalid, "the listener is not served", generation)
		}
		var before gatewayv1.ListenerStatus
		if j := slices.IndexFunc(old, func(o gatewayv1.ListenerStatus) bool { return o.Name == l.Name }); j >= 0 {
			before = old[j]
		}
		merged, differs := merge(before.Conditions, append(slices.Clone(l.Conditions), own), now)
		l.Conditions = merged
		same = same && !differs && before.AttachedRoutes == l.AttachedRoutes && len(before.SupportedKinds) == len(l.SupportedKinds)
	}
	if same {
		return changed
	}
	status["listeners"] = encode(listeners)
	return true
}

// isServed reports whether a listener takes requests, by its conditions.
func isServed(l *gatewayv1.ListenerStatus) bool {
	for _, c := range l.Conditions {
		if c.Type == string(gatewayv1.ListenerConditionConflicted) == (c.Status == metav1.ConditionTrue) {
			return false
		}
	}
	return true
}

// editParents replaces our entries in the status of an HTTPRoute: those about the Gateway that is translated. The others are those of
// other controllers, or of another live source.
func editParents(status map[string]any, want []gatewayv1.RouteParentStatus, namespace, gateway string, now metav1.Time) bool {
	list, _ := status["parents"].([]any)
	var others []any
	var old []gatewayv1.RouteParentStatus
	for _, entry := range list {
		var p gatewayv1.RouteParentStatus
		decode(entry, &p)
		if p.ControllerName == kubernetes.ControllerName && refersTo(&p.ParentRef, namespace, gateway) {
			old = append(old, p)
		} else {
			others = append(others, entry)
		}
	}
	same := len(old) == len(want)
	var own []any
	for _, p := range want {
		var before []metav1.Condition
		key := fmt.Sprint(encode(p.ParentRef))
		if i := slices.IndexFunc(old, func(o gatewayv1.RouteParentStatus) bool { return fmt.Sprint(encode(o.ParentRef)) == key }); i >= 0 {
			before = old[i].Conditions
		} else {
			same = false
		}
		var differs bool
		p.Conditions, differs = merge(before, p.Conditions, now)
		same = same && !differs
		own = append(own, encode(p))
	}
	if same {
		return false
	}
	status["parents"] = append(append([]any{}, others...), own...)
	return true
}

// editConditions replaces the conditions of a status.
func editConditions(status map[string]any, want []metav1.Condition, now metav1.Time) bool {
	var old []metav1.Condition
	decode(status["conditions"], &old)
	merged, differs := merge(old, want, now)
	if differs {
		status["conditions"] = encode(merged)
	}
	return differs
}

// merge keeps the time of the last transition where there was none, and reports whether anything differs. A condition Programmed that
// holds keeps the bundle it named first: each publication would otherwise write every object.
func merge(old, want []metav1.Condition, now metav1.Time) (out []metav1.Condition, differs bool) {
	differs = len(old) != len(want)
	for _, c := range want {
		c.LastTransitionTime = now
		i := slices.IndexFunc(old, func(o metav1.Condition) bool { return o.Type == c.Type })
		if i < 0 {
			differs = true
			out = append(out, c)
			continue
		}
		before := old[i]
		if before.Status == c.Status {
			c.LastTransitionTime = before.LastTransitionTime
		}
		if c.Type == programmed && c.Status == metav1.ConditionTrue && before.Status == c.Status && before.ObservedGeneration == c.ObservedGeneration {
			c.Message = before.Message
		}
		differs = differs || before.Status != c.Status || before.Reason != c.Reason || before.Message != c.Message || before.ObservedGeneration != c.ObservedGeneration
		out = append(out, c)
	}
	return out, differs
}

// encode and decode turn typed values into what unstructured objects hold, and back. What does not fit is left empty: it is then written
// anew.
func encode(v any) any {
	data, err := utiljson.Marshal(v)
	if err != nil {
		panic(err) // the types of the API have a form
	}
	var out any
	if err := utiljson.Unmarshal(data, &out); err != nil {
		panic(err)
	}
	return out
}

func decode(from, into any) {
	if data, err := utiljson.Marshal(from); err == nil && from != nil {
		_ = utiljson.Unmarshal(data, into)
	}
}

// writeStatus writes a status if edit changes it, on top of what is there by then. An object that has been changed meanwhile is left to
// the next round, which judges it as it is.
func (c *cluster) writeStatus(ctx context.Context, s *snapshot, ref kubernetes.Ref, edit func(map[string]any) bool) error {
	o := s.raw[ref]
	client := c.dynamic.Resource(c.served[ref.Kind]).Namespace(ref.Namespace)
	generation := o.GetGeneration()
	for range writeAttempts {
		o = o.DeepCopy()
		status, _, _ := unstructured.NestedMap(o.Object, "status")
		if status == nil {
			status = map[string]any{}
		}
		if !edit(status) {
			return nil
		}
		o.Object["status"] = status
		_, err := client.UpdateStatus(ctx, o, metav1.UpdateOptions{FieldManager: component})
		if !apierrors.IsConflict(err) {
			if apierrors.IsNotFound(err) {
				return nil
			}
			return err
		}
		o, err = client.Get(ctx, ref.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			return err
		case o.GetGeneration() != generation:
			return nil
		}
	}
	return nil // others write to it all the time; the next round tries again
}

// notice is something to tell about an object that no condition says.
type notice struct{ reason, message string }

// events writes a Warning for each thing that was left out, once until the API server has forgotten it.
func (w *Watcher) events(ctx context.Context, v *verdicts, now metav1.Time) (problems []error) {
	all := v.notices()
	for key, at := range w.told {
		if now.Sub(at) > eventsAgain {
			delete(w.told, key)
		}
	}
	left := maxEventsRound
	for _, ref := range sortedRefs(all) {
		of := v.snapshot.raw[ref]
		if of == nil {
			continue
		}
		for _, n := range all[ref][:min(len(all[ref]), maxEvents)] {
			sum := sha256.Sum256(fmt.Appendf(nil, "%s|%s|%s", of.GetUID(), n.reason, n.message))
			key := hex.EncodeToString(sum[:8])
			if _, done := w.told[key]; done {
				continue
			}
			if left--; left < 0 {
				return problems // the next round goes on
			}
			if err := w.cluster.event(ctx, of, ref, n, key, now); err != nil {
				problems = append(problems, fmt.Errorf("event for %s: %w", ref, err))
				continue
			}
			w.told[key] = now.Time
		}
	}
	return problems
}

// notices are what the report says about objects, but for notes.
func (v *verdicts) notices() map[kubernetes.Ref][]notice {
	out := map[kubernetes.Ref][]notice{}
	for i := range v.result.Findings {
		f := &v.result.Findings[i]
		if f.Grade == kubernetes.Note {
			continue
		}
		message := f.Message
		if f.Field != "" {
			message = f.Field + ": " + message
		}
		if f.Instead != "" {
			message += "; " + f.Instead
		}
		out[f.Object] = append(out[f.Object], notice{f.Reason, message})
	}
	for name, text := range v.outcome.failed {
		if ref, ok := v.wish.owners[name]; ok {
			out[ref] = append(out[ref], notice{reasonNoCompile, "what was there before stays: " + text})
		}
	}
	for name, why := range v.outcome.kept {
		if ref, ok := v.wish.owners[name]; ok {
			out[ref] = append(out[ref], notice{reasonKept, name + " stays as it is: " + why})
		}
	}
	for ref, why := range v.snapshot.held {
		out[ref] = append(out[ref], notice{reasonUnread, "what was there before stays: " + why})
	}
	return out
}

var eventResource = schema.GroupVersionResource{Version: "v1", Resource: "events"}

// event writes one Event. Its name follows from what it says, so that it is written once, whoever else runs.
func (c *cluster) event(ctx context.Context, of *unstructured.Unstructured, ref kubernetes.Ref, n notice, key string, now metav1.Time) error {
	namespace := ref.Namespace
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	e := &corev1.Event{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Event"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("%.200s.%s", ref.Name, key)},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: of.GetAPIVersion(), Kind: ref.Kind, Namespace: ref.Namespace, Name: ref.Name, UID: of.GetUID(), ResourceVersion: of.GetResourceVersion(),
		},
		Type: corev1.EventTypeWarning, Reason: n.reason, Message: clip(n.message, maxEventMessage), Count: 1,
		FirstTimestamp: now, LastTimestamp: now, Source: corev1.EventSource{Component: component}, ReportingController: kubernetes.ControllerName,
	}
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(e)
	if err != nil {
		return err
	}
	_, err = c.dynamic.Resource(eventResource).Namespace(namespace).Create(ctx, &unstructured.Unstructured{Object: object}, metav1.CreateOptions{FieldManager: component})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}
