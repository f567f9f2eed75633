package corpus_test

import "time"

// loosened are rules about changes that ask for less: a change is judged by those before it.
var loosened = []bad{
	{
		name: "a gate taken out", at: gates, by: "doors: GATES_LOOSENED",
		edit: rules("      - { id: doors, risks: [security], approvals: 2 }\n", ""),
		fine: rules("      - { id: doors, risks: [security], approvals: 2 }\n", "      - { id: entrance, risks: [security], approvals: 2 }\n"),
	},
	{
		name: "the other gate taken out", at: gates, by: "doors: GATES_LOOSENED",
		edit: rules("      - { id: uptime, risks: [availability], raisePercent: 50 }\n", ""),
	},
	{
		name: "one approval in place of two", at: gates, by: "doors: GATES_LOOSENED",
		edit: rules("approvals: 2", "approvals: 1"),
		fine: rules("approvals: 2", "approvals: 3"),
	},
	{
		name: "a risk taken out of a gate", at: gates, by: "doors: GATES_LOOSENED",
		edit: rules("risks: [availability]", "risks: [LIMIT_RAISED, LIMIT_REMOVED]"),
		fine: rules("risks: [availability]", "risks: [availability, cost]"),
	},
	{
		name: "risks tolerated", at: gates, by: "doors: GATES_LOOSENED",
		edit: rules("risks: [security], approvals: 2", "risks: [security], tolerate: 5, approvals: 2"),
	},
	{
		name: "higher raises", at: gates, by: "doors: GATES_LOOSENED",
		edit: rules("raisePercent: 50", "raisePercent: 500"),
		fine: rules("raisePercent: 50", "raisePercent: 20"),
	},
	{
		name: "all routes may go", at: gates, by: "doors: GATES_LOOSENED",
		edit: rules("maxRoutesRemovedPercent: 20", "maxRoutesRemovedPercent: 100"),
		fine: rules("maxRoutesRemovedPercent: 20", "maxRoutesRemovedPercent: 5"),
	},
	{
		name: "changes on Fridays", at: gates, by: "doors: GATES_LOOSENED",
		edit: rules("days: [mon, tue, wed, thu]", "days: [mon, tue, wed, thu, fri]"),
		fine: rules("\n    dryRun:", "\n      - { id: easter, kind: deny, firstDate: 2027-03-26, lastDate: 2027-03-29 }\n    dryRun:"),
	},
	{
		name: "changes at any time", at: gates, by: "doors: GATES_LOOSENED",
		edit: rules("      - { id: office, kind: allow, days: [mon, tue, wed, thu], from: \"08:00\", for: 9h }\n", ""),
	},
	{
		name: "changes in the holidays", at: gates, by: "doors: GATES_LOOSENED",
		edit: rules("      - { id: holidays, kind: deny, firstDate: 2026-12-20, lastDate: 2027-01-03 }\n", ""),
	},
	{
		name: "shorter holidays", at: gates, by: "doors: GATES_LOOSENED",
		edit: rules("lastDate: 2027-01-03", "lastDate: 2026-12-27"),
	},
	{
		name: "no dry run", at: gates, by: "doors: GATES_LOOSENED",
		edit: rules("    dryRun: { percent: 100, minRequests: 150, minDuration: 10m, maxOther: 50000, cleanRuns: 1 }\n", ""),
	},
	{
		name: "a dry run on fewer clients", at: gates, by: "doors: GATES_LOOSENED",
		edit: rules("percent: 100", "percent: 1"),
	},
	{
		name: "a dry run on fewer requests", at: gates, by: "doors: GATES_LOOSENED",
		edit: rules("minRequests: 150", "minRequests: 0"),
		fine: rules("minRequests: 150", "minRequests: 200"),
	},
	{
		name: "a shorter dry run", at: gates, by: "doors: GATES_LOOSENED",
		edit: rules("minDuration: 10m", "minDuration: 1s"),
	},
	{
		name: "a dry run that lets doors open", at: gates, by: "doors: GATES_LOOSENED",
		edit: rules("maxOther: 50000", "maxDenyToAllow: 1000000, maxOther: 50000"),
	},
	{
		name: "a dry run that lets doors close", at: gates, by: "doors: GATES_LOOSENED",
		edit: rules("maxOther: 50000", "maxAllowToDeny: 1000000, maxOther: 50000"),
	},
	{
		name: "a dry run that lets the rest pass", at: gates, by: "doors: GATES_LOOSENED",
		edit: rules("maxOther: 50000", "maxOther: 1000000"),
	},
	{
		name: "a dry run that need not be clean", at: gates, by: "doors: GATES_LOOSENED",
		edit: rules("cleanRuns: 1", "cleanRuns: 0"),
	},
	{
		name: "rules gone and a door open in one step", at: requestTests, by: "users need a token", behind: "gates: doors: AUTH_REMOVED, GATES_LOOSENED",
		edit: edits(rules("      - { id: doors, risks: [security], approvals: 2 }\n", ""), in("routes/users.yaml", "use: [resilient]", "use: [resilient, public]")),
	},
	{
		name: "a gate for a risk there is not", at: validation, by: "GW2102",
		edit: rules("risks: [security]", "risks: [secrity]"),
	},
	{
		name: "a harmless change on a Friday", at: gates, by: "windows: OUTSIDE_WINDOW", when: time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC),
		edit: in("routes/users.yaml", "timeout: 10s", "timeout: 9s"),
		fine: in("routes/users.yaml", "timeout: 10s", "timeout: 9s"),
	},
	{
		name: "a harmless change at night", at: gates, by: "windows: OUTSIDE_WINDOW", when: time.Date(2026, 11, 24, 22, 0, 0, 0, time.UTC),
		edit: in("routes/users.yaml", "timeout: 10s", "timeout: 9s"),
	},
	{
		name: "a harmless change in the holidays", at: gates, by: "windows: OUTSIDE_WINDOW", when: time.Date(2026, 12, 22, 10, 0, 0, 0, time.UTC),
		edit: in("routes/users.yaml", "timeout: 10s", "timeout: 9s"),
	},
}
