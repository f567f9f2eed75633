package compression

import (
	"strings"

	"github.com/suuupra/gateway/runtime/httpmsg"
)

// maxCodings bounds how many codings of a request are looked at; nobody knows so many.
const maxCodings = 32

// choose returns the algorithm the client likes best; among those it likes alike, the first of the list. Nil: none, or plain is
// preferred (RFC 9110 section 12.5.3). Without the field nothing is compressed, although anything would be allowed: a client that
// does not say what it understands may not understand much.
func choose(fields []httpmsg.Field, algorithms []*algorithm) *algorithm {
	weights := make([]int, len(algorithms)) // in thousandths; -1: not named
	for i := range weights {
		weights[i] = -1
	}
	plain, other, seen := -1, -1, 0
	for i := range fields {
		if !strings.EqualFold(fields[i].Name, "Accept-Encoding") {
			continue
		}
		for item := range strings.SplitSeq(fields[i].Value, ",") {
			if seen++; seen > maxCodings {
				break
			}
			name, parameter, _ := strings.Cut(item, ";")
			name = strings.ToLower(strings.TrimSpace(name))
			w, ok := weight(parameter)
			if !ok {
				w = 0 // whatever it meant, it did not say so
			}
			switch name {
			case "identity":
				plain = w
			case "*":
				other = w
			default:
				for j, a := range algorithms {
					if name == a.name || name == a.alias {
						weights[j] = w
					}
				}
			}
		}
	}
	best, most := -1, 0
	for j, w := range weights {
		if w < 0 {
			w = other
		}
		if w > most {
			best, most = j, w
		}
	}
	if best < 0 || plain > most {
		return nil
	}
	return algorithms[best]
}

// weight reads the parameter of a coding: nothing, or q with up to three decimals (RFC 9110 section 12.4.2). It is in thousandths.
func weight(parameter string) (int, bool) {
	parameter = strings.TrimSpace(parameter)
	if parameter == "" {
		return 1000, true
	}
	name, value, _ := strings.Cut(parameter, "=")
	value = strings.TrimSpace(value)
	if !strings.EqualFold(strings.TrimSpace(name), "q") || value == "" || value[0] != '0' && value[0] != '1' {
		return 0, false
	}
	w, decimals := int(value[0]-'0')*1000, value[1:]
	if decimals == "" {
		return w, true
	}
	if decimals[0] != '.' || len(decimals) > 4 {
		return 0, false
	}
	for i, unit := 1, 100; i < len(decimals); i, unit = i+1, unit/10 {
		if decimals[i] < '0' || decimals[i] > '9' {
			return 0, false
		}
		w += int(decimals[i]-'0') * unit
	}
	return w, w <= 1000
}
