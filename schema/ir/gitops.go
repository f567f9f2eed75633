package ir

// GitOps says how an environment takes changes. Each change is judged by the rules that were in force before it.
type GitOps struct {
	Sync                    string   `json:"sync"`                    // "off", "dry-run", "gated" or "auto": the most that gateways do by themselves
	Gates                   []Gate   `json:"gates,omitempty"`         // sorted by ID
	MaxRoutesRemovedPercent int64    `json:"maxRoutesRemovedPercent"` // that need no approval
	Windows                 []Window `json:"windows,omitempty"`       // sorted by ID
	DryRun                  *DryRun  `json:"dryRun,omitempty"`        // nil: live requests need not be asked
	// Webhooks are sorted by ID.
	Webhooks []Webhook `json:"webhooks,omitempty"`
}

// DefaultGitOps is what holds where nothing is written.
func DefaultGitOps() *GitOps { return &GitOps{Sync: "auto", MaxRoutesRemovedPercent: 20} }

// Rules are the gateway's rules for changes.
func (g *Gateway) Rules() *GitOps {
	if g.GitOps == nil {
		return DefaultGitOps()
	}
	return g.GitOps
}

// Gate asks for approvals of changes with certain risks.
type Gate struct {
	ID           string   `json:"id"`
	Risks        []string `json:"risks"`                  // codes and severities, sorted
	Tolerate     int64    `json:"tolerate,omitempty"`     // so many risks need no approval
	RaisePercent int64    `json:"raisePercent,omitempty"` // limits may be raised by so much without counting
	Approvals    int64    `json:"approvals"`
}

// Window is a span of time in which changes go live, or do not, once or again and again.
type Window struct {
	ID        string   `json:"id"`
	Deny      bool     `json:"deny,omitempty"`
	Days      []string `json:"days,omitempty"` // "mon" to "sun", in that order; empty: every day
	From      int64    `json:"from"`           // minutes since midnight
	For       int64    `json:"for"`            // milliseconds
	FirstDate string   `json:"firstDate,omitempty"`
	LastDate  string   `json:"lastDate,omitempty"`
	TimeZone  string   `json:"timeZone"`
}

// DryRun is what live requests must say about a new version. The maxima are parts of a million.
type DryRun struct {
	Percent        int64 `json:"percent"` // of the clients
	MinRequests    int64 `json:"minRequests"`
	MinDuration    int64 `json:"minDuration"` // milliseconds
	MaxDenyToAllow int64 `json:"maxDenyToAllow"`
	MaxAllowToDeny int64 `json:"maxAllowToDeny"`
	MaxOther       int64 `json:"maxOther"`
	CleanRuns      int64 `json:"cleanRuns"`
}

// DefaultDryRunPercent is the share of clients where nobody has said another.
const DefaultDryRunPercent = 10

// Webhook is where a forge tells of pushes.
type Webhook struct {
	ID         string   `json:"id"`
	Provider   string   `json:"provider"`
	SecretRefs []string `json:"secretRefs"`
	Repository string   `json:"repository"`
	Refs       []string `json:"refs,omitempty"` // sorted; empty: all
}

// Weekdays are the days of a window, in order.
func Weekdays() []string { return []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"} }
