package drift

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/suuupra/gateway/schema/bundle"
)

// trustInterval is how often trust is judged.
const trustInterval = 10 * time.Second

// latePart of the lifetime of a channel is left when its expiry becomes drift: whoever publishes on a schedule renews it at half.
const latePart = 4

// TrustOptions are the settings of a TrustWatcher.
type TrustOptions struct {
	File        string // trust.json, for people
	Started     []byte // trust.json as this gateway has read it
	Environment string
	Read        func() ([]byte, error) // trust.json as it is now, bounded
	Running     func() bundle.Position // zero: nothing is running
	Archive     func() ([]byte, error) // what is running, byte for byte; asked when Running changes
	Report      func(*TrustReport)     // called after each judgement
	Now         func() time.Time
	Log         *slog.Logger
}

// TrustWatcher judges by what is trusted now what was activated before. It reloads nothing: which keys a gateway believes is read once,
// when it starts.
type TrustWatcher struct {
	o TrustOptions

	// Of the one judgement that runs at a time.
	at       bundle.Position
	envelope *envelopes // of what runs at that position
	err      error      // why there are none
	told     string

	mu   sync.Mutex
	last *TrustReport
}

// envelopes are what is signed of a bundle: all that depends on the trust file. The shards hang on their digests.
type envelopes struct {
	channel, manifest []byte
	issued, expires   time.Time
	keys              TrustKeys
}

// TrustKeys are the ids of the keys that signed what runs. Keys have no expiry of their own: the channel has.
type TrustKeys struct {
	Release []string `json:"release"`
	Channel []string `json:"channel"`
}

// TrustReport is how far what runs is trusted. Its field names are part of the admin API.
type TrustReport struct {
	CheckedAt time.Time  `json:"checkedAt"`
	ExpiresAt *time.Time `json:"expiresAt"` // of the channel; null: nothing is running
	Keys      *TrustKeys `json:"keys"`      // that signed what runs; null: nothing is running

	// Expiring says that a quarter of the channel's lifetime is left, or less; also when it has expired.
	Expiring bool `json:"expiring"`
	Expired  bool `json:"expired"`

	// FileChanged says that trust.json is not what this gateway has read at its start: a restart takes the new one.
	FileChanged bool `json:"fileChanged"`
	// FileError is why trust.json cannot be used as it is now: a restart would fail.
	FileError string `json:"fileError,omitempty"`
	// Refused is why trust.json, as it is now, would refuse what runs.
	Refused *Refusal `json:"refused,omitempty"`

	Error string `json:"error,omitempty"` // why what runs could not be judged
}

// Refusal is a reason of the bundle format, with its text.
type Refusal struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// NewTrustWatcher returns a TrustWatcher that has judged nothing yet.
func NewTrustWatcher(o TrustOptions) *TrustWatcher { return &TrustWatcher{o: o} }

// Last is the last report; nil before the first.
func (w *TrustWatcher) Last() *TrustReport {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// Run judges every ten seconds until ctx ends, and within a second when something else runs.
func (w *TrustWatcher) Run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var judged time.Time
	for {
		if now := w.o.Now(); now.Sub(judged) >= trustInterval || w.o.Running() != w.at {
			judged = now
			w.Check()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Check judges now.
func (w *TrustWatcher) Check() *TrustReport {
	r := w.judge(w.o.Now().UTC())
	w.mu.Lock()
	w.last = r
	w.mu.Unlock()
	w.tell(r)
	if w.o.Report != nil {
		w.o.Report(r)
	}
	return r
}

// tell logs once what has come up, and when it is gone. That a channel expires is logged elsewhere.
func (w *TrustWatcher) tell(r *TrustReport) {
	text := strings.Join(r.file(w.o.File), "; ")
	switch {
	case text == w.told:
	case text != "":
		w.o.Log.Warn("the trust file on disk does not fit what runs", slog.String("drift", text))
	default:
		w.o.Log.Info("the trust file on disk fits what runs again", slog.String("file", w.o.File))
	}
	w.told = text
}

func (w *TrustWatcher) judge(now time.Time) *TrustReport {
	r := &TrustReport{CheckedAt: now}
	raw, err := w.o.Read()
	var trust *bundle.Trust
	if err == nil {
		r.FileChanged = !bytes.Equal(raw, w.o.Started)
		trust, err = bundle.ParseTrust(raw)
	}
	if err != nil {
		r.FileChanged, r.FileError = true, brief(err.Error())
	}
	e, err := w.running()
	switch {
	case err != nil:
		r.Error = brief(err.Error())
		return r
	case e == nil:
		return r
	}
	r.ExpiresAt, r.Keys = &e.expires, &e.keys
	r.Expired = !now.Before(e.expires)
	r.Expiring = r.Expired || e.expires.Sub(now) <= e.expires.Sub(e.issued)/latePart
	if trust != nil {
		r.Refused = e.refusal(trust, w.o.Environment)
	}
	return r
}

// running returns what is signed of what runs; nil if nothing does.
func (w *TrustWatcher) running() (*envelopes, error) {
	at := w.o.Running()
	if at != w.at || w.err != nil {
		w.at, w.envelope, w.err = at, nil, nil
		if !at.IsZero() {
			w.envelope, w.err = w.read()
		}
	}
	return w.envelope, w.err
}

func (w *TrustWatcher) read() (*envelopes, error) {
	data, err := w.o.Archive()
	if err != nil {
		return nil, fmt.Errorf("read what runs: %w", err)
	}
	raw, err := bundle.DecodeArchive(data)
	if err != nil {
		return nil, fmt.Errorf("read what runs: %w", err)
	}
	e, err := open(raw)
	if err != nil {
		return nil, fmt.Errorf("read what runs: %w", err)
	}
	return e, nil
}

func open(raw *bundle.Raw) (*envelopes, error) {
	c, _, err := bundle.PeekChannel(raw.Channel) // it was verified when it was activated
	if err != nil {
		return nil, err
	}
	e := &envelopes{channel: raw.Channel, manifest: raw.Manifest, issued: c.IssuedAt.UTC(), expires: c.ExpiresAt.UTC()}
	if e.keys.Channel, err = bundle.ChannelSigners(raw.Channel); err != nil {
		return nil, err
	}
	e.keys.Release, err = bundle.ManifestSigners(raw.Manifest)
	return e, err
}

// refusal is what a trust file has against what runs; nil: nothing. Its age counts elsewhere.
func (e *envelopes) refusal(trust *bundle.Trust, environment string) *Refusal {
	check := bundle.Check{Trust: trust, Environment: environment, Retained: true}
	channel, _, err := bundle.VerifyChannel(e.channel, check)
	if err == nil {
		_, err = bundle.VerifyManifest(e.manifest, channel, check)
	}
	if err == nil {
		return nil
	}
	out := &Refusal{Message: brief(err.Error())}
	if refused := (*bundle.Error)(nil); errors.As(err, &refused) {
		out.Reason = string(refused.Reason)
	}
	return out
}

// file is what is wrong with the trust file, for people.
func (r *TrustReport) file(name string) []string {
	switch {
	case r.FileError != "":
		return []string{fmt.Sprintf("%s cannot be used as it is now, a restart would fail: %s", name, r.FileError)}
	case r.Refused != nil:
		return []string{fmt.Sprintf("%s, as it is now, refuses what runs: %s: %s", name, r.Refused.Reason, r.Refused.Message)}
	}
	return nil
}

// Class is the report as a class of drift, at a time.
func (r *TrustReport) Class(now time.Time) Class {
	out := Class{Class: ClassTrust, Known: r.Error == ""}
	switch {
	case !out.Known:
		out.Detail = r.Error
		return out
	case r.ExpiresAt == nil:
		out.Detail = "nothing is running"
	case r.Expired:
		out.Detail = "the channel has expired " + span(now.Sub(*r.ExpiresAt)) + " ago; publish it again with gwctl apply"
	default:
		out.Detail = "the channel expires in " + span(r.ExpiresAt.Sub(now))
	}
	if r.Expiring {
		out.Details = append(out.Details, out.Detail)
	}
	out.Details = append(out.Details, r.file("trust.json")...)
	switch {
	case len(out.Details) > 0:
		out.Detected, out.Detail = true, strings.Join(out.Details, "; ")
	case r.FileChanged:
		out.Detail += "; trust.json has changed and takes effect with a restart"
	}
	return out
}

// span is a duration as people say it.
func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return counted(int(d/(24*time.Hour)), "day", false)
	case d >= 2*time.Hour:
		return counted(int(d/time.Hour), "hour", false)
	case d >= 2*time.Minute:
		return counted(int(d/time.Minute), "minute", false)
	}
	return counted(int(d/time.Second), "second", false)
}
