package ir

// Forward holds the settings of the forward phase, in milliseconds; 0 switches a timeout off.
type Forward struct {
	Timeout       int64    `json:"timeout"`           // whole exchange, from the first request byte to the last response byte
	HeaderTimeout int64    `json:"headerTimeout"`     // from the request sent to the response header read
	IdleTimeout   int64    `json:"idleTimeout"`       // between two reads of the response body
	Retry         *Retry   `json:"retry,omitempty"`   // nil: none, beyond another endpoint for a failed connection
	Breaker       *Breaker `json:"breaker,omitempty"` // nil: none
	Priority      int64    `json:"priority,omitempty"`
}

// Priorities of requests when the gateway sheds load: the higher goes later. PriorityNormal is the zero value.
const (
	PriorityLow      int64 = -1
	PriorityNormal   int64 = 0
	PriorityHigh     int64 = 1
	PriorityCritical int64 = 2 // never shed
)

// Conditions under which an attempt is repeated.
const (
	RetryConnectFailure = "connectFailure" // no connection, or nothing was sent: harmless with any method
	RetryReset          = "reset"          // the connection ended before the response began, or what came was none
	RetryTimeout        = "timeout"        // the attempt's own timeout ran out before the response began
	RetryRefusedStream  = "refusedStream"  // HTTP/2: the server said it did not look at the request
	RetryStatus5xx      = "5xx"            // any 5xx status
	RetryStatusGateway  = "gatewayError"   // 502, 503, 504
	RetryStatus429      = "429"
)

// Retry says which failed attempts are repeated, and how often.
type Retry struct {
	Attempts      int64    `json:"attempts"` // repetitions beside the first attempt
	On            []string `json:"on"`       // conditions, sorted
	PerTryTimeout int64    `json:"perTryTimeout,omitempty"`
	BackoffBase   int64    `json:"backoffBase"` // milliseconds; doubles with each attempt, full jitter
	BackoffMax    int64    `json:"backoffMax"`
	// Methods that may be repeated after something was sent; others need an Idempotency-Key. Sorted.
	Methods       []string `json:"methods"`
	BudgetPercent int64    `json:"budgetPercent"` // retries under way, as a share of the upstream's requests under way
	BudgetMin     int64    `json:"budgetMin"`     // retries that are allowed whatever the share
}

// Breaker opens when too many exchanges of a route with its upstream fail or are slow. Times are milliseconds.
type Breaker struct {
	Window          int64 `json:"window"`          // rolling, in ten buckets
	MinimumCalls    int64 `json:"minimumCalls"`    // in the window, below which nothing is decided
	ErrorPercent    int64 `json:"errorPercent"`    // share of failed calls that opens
	SlowPercent     int64 `json:"slowPercent"`     // share of slow calls that opens; 0: off
	SlowCall        int64 `json:"slowCall"`        // to the response header; longer is slow
	OpenFor         int64 `json:"openFor"`         // the first time; doubles with each opening in a row
	MaxOpenFor      int64 `json:"maxOpenFor"`      //
	HalfOpenRampFor int64 `json:"halfOpenRampFor"` // in which 1, 2, 4, ... calls at a time are let through before it closes
}

// LoadShedding refuses requests while the gateway itself is short of processor time.
type LoadShedding struct {
	TargetDelay int64 `json:"targetDelay"` // milliseconds a runnable goroutine may wait before the gateway counts as overloaded
	MaxPercent  int64 `json:"maxPercent"`  // share of the requests of a priority that is refused at the worst
	MaxInFlight int64 `json:"maxInFlight"` // requests at a time beyond which everything but critical is refused; 0: no bound
}
