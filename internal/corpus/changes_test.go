package corpus_test

import "time"

// bad is a change that must not reach traffic, and where it must be stopped.
type bad struct {
	name string
	edit edit
	at   station
	by   string
	// behind is what stops it if whoever makes the change has changed the tests as well: "gates: doors: AUTH_REMOVED", or "traffic" for
	// nothing. Only where a test stops it first.
	behind string
	fine   edit      // a harmless neighbour, which must reach traffic; nil: none is natural
	when   time.Time // that it is applied; zero: begin
}

// class is changes of one sort.
type class struct {
	name    string
	changes []bad
}

var classes = []class{
	{"typos", typos},
	{"dangling references", dangling},
	{"routes that hide others", hidden},
	{"authentication dropped", dropped},
	{"authentication weakened", weakened},
	{"matchers and networks widened", widened},
	{"limits raised or removed", limits},
	{"resilience removed", resilience},
	{"targets and TLS", targetsAndTLS},
	{"the gateway itself", gatewayItself},
	{"environments and secrets", environments},
	{"rules loosened", loosened},
	{"removals", removals},
	{"what no rule names", unnamed},
}
