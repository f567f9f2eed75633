package activate

import "log/slog"

// Refused takes note of a candidate that was refused before it could be offered: its channel or manifest did not pass
// Precheck, or its bytes were not those of their digests. The running bundle stays.
func (a *Activator) Refused(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refused(err)
}

// Confirmed takes note that the source has nothing but what serves, or waits: whatever was refused before is gone from it.
func (a *Activator) Confirmed() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.status.Failure == nil {
		return
	}
	a.status.Failure = nil
	a.o.Metrics.ActivationRecovered()
	a.o.Log.Info("the source no longer offers what was refused")
}

// refused notes why the newest candidate does not serve. It is logged once, however often it is offered.
func (a *Activator) refused(err error) {
	reason := Reason(err)
	a.o.Metrics.ActivationFailed(reason)
	if f := a.status.Failure; f == nil || f.Message != err.Error() {
		a.status.Failure = &Failure{Reason: reason, Message: err.Error(), Since: a.o.Now()}
		a.o.Log.Error("a new bundle was refused", slog.Bool("serving", a.current != nil), slog.String("reason", reason), slog.Any("error", err))
		e := Event{Reason: reason, Error: err.Error()}
		if a.current != nil {
			e.Before = a.current.Info.Digest
		}
		a.tell(e)
	}
}
