package telemetry

import (
	"net/http"
	"strconv"
	"strings"
)

// The method label takes one of these values. Any other method counts as "other": the set must not grow by what a client
// thinks up.
const (
	methodGet = iota
	methodHead
	methodPost
	methodPut
	methodPatch
	methodDelete
	methodOptions
	methodConnect
	methodTrace
	methodOther
	methodCount
)

func methodLabel(i int) string {
	return [methodCount]string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions, http.MethodConnect, http.MethodTrace, "other",
	}[i]
}

func methodIndex(method string) int {
	switch method {
	case http.MethodGet:
		return methodGet
	case http.MethodHead:
		return methodHead
	case http.MethodPost:
		return methodPost
	case http.MethodPut:
		return methodPut
	case http.MethodPatch:
		return methodPatch
	case http.MethodDelete:
		return methodDelete
	case http.MethodOptions:
		return methodOptions
	case http.MethodConnect:
		return methodConnect
	case http.MethodTrace:
		return methodTrace
	}
	return methodOther
}

// A status label is the code itself if it is registered with IANA (or is 499, the client left before the answer), the class
// such as "5xx" if it is not, and "other" outside 100 to 599: an upstream that makes up codes cannot make up series.
const (
	statusLowest  = 100
	statusHighest = 599
)

// StatusClientGone is the status in metrics and records of a request whose client went away before its response began.
const StatusClientGone = 499

// statusTable maps a code to the index of its label, and back. It is built once per Metrics.
type statusTable struct {
	index  [statusHighest - statusLowest + 1]uint8
	labels []string // the last one is "other"
}

// statusSlots bounds the number of labels: the registered codes, 499, five classes and "other".
const statusSlots = 72

func newStatusTable() *statusTable {
	t := &statusTable{}
	var class [6]uint8
	for c := 1; c <= 5; c++ {
		class[c] = uint8(len(t.labels))
		t.labels = append(t.labels, strconv.Itoa(c)+"xx")
	}
	for code := statusLowest; code <= statusHighest; code++ {
		t.index[code-statusLowest] = class[code/100]
		if http.StatusText(code) != "" || code == StatusClientGone {
			t.index[code-statusLowest] = uint8(len(t.labels))
			t.labels = append(t.labels, strconv.Itoa(code))
		}
	}
	t.labels = append(t.labels, "other")
	return t
}

func (t *statusTable) slot(status int) int {
	if status < statusLowest || status > statusHighest {
		return len(t.labels) - 1
	}
	return int(t.index[status-statusLowest])
}

// clean makes a configured name fit to be a label value: the exposition format is UTF-8.
func clean(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
