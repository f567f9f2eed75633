package admin

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/suuupra/gateway/internal/jose"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/schema/ir"
)

// maxBody bounds the body of an order, in bytes.
const maxBody = 64 << 10

// readJSON reads a body that is one JSON object, or says what is wrong with it. Its type must be said: a page of somebody else's can have
// a browser send a body of some other type without asking first (the Fetch standard, section 2.2.2).
func readJSON(r *httpmsg.Request, into any) *httpmsg.Response { return readJSONUpTo(r, into, maxBody) }

// readJSONUpTo is readJSON for a body of another size, in bytes.
func readJSONUpTo(r *httpmsg.Request, into any, limit int64) *httpmsg.Response {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return problem(http.StatusUnsupportedMediaType, "unsupported_media_type", "the body must have Content-Type: application/json")
	}
	if r.Body == nil {
		return badBody("there is none")
	}
	tooLarge := problem(http.StatusRequestEntityTooLarge, "body_too_large", fmt.Sprintf("the body is larger than %d KiB", limit>>10))
	if r.ContentLength > limit {
		return tooLarge
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	var broken *httpmsg.Error
	switch {
	case errors.As(err, &broken):
		return problem(broken.Status, broken.Code, broken.Detail)
	case err != nil:
		return badBody("it broke off")
	case int64(len(body)) > limit:
		return tooLarge
	}
	var mistyped *json.UnmarshalTypeError
	if err := ir.DecodeStrict(body, into); errors.As(err, &mistyped) {
		return badBody(cmp.Or(mistyped.Field, "it") + " is of the wrong type: " + mistyped.Value)
	} else if err != nil {
		return badBody(strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := jose.Object(body); err != nil { // of two members with one name, whoever reads it elsewhere may take the other one
		return badBody(err.Error())
	}
	return nil
}

func badBody(why string) *httpmsg.Response {
	return problem(http.StatusBadRequest, "bad_body", "the body is not the JSON object that is wanted here: "+why)
}

func invalidRequest(detail string) *httpmsg.Response {
	return problem(http.StatusBadRequest, "invalid_request", detail)
}

// noBody refuses a body where none is wanted: whoever sends one believes that it has an effect.
func noBody(r *httpmsg.Request) *httpmsg.Response {
	if r.Body == nil || r.ContentLength == 0 {
		return nil
	}
	if r.ContentLength < 0 {
		var one [1]byte
		if n, err := io.ReadFull(r.Body, one[:]); n == 0 && errors.Is(err, io.EOF) {
			return nil
		}
	}
	return problem(http.StatusBadRequest, "bad_body", "no body is wanted here")
}

// precondition judges If-Match (RFC 9110 section 13.1.1) for an order that changes what has the entity tag current. Without the field
// two people who change the same thing at a time would not notice (428, RFC 6585 section 3). A star is refused too: it would match
// whatever somebody else has just written.
func precondition(r *httpmsg.Request, current string) *httpmsg.Response {
	if !r.Header.Has("If-Match") {
		return problem(http.StatusPreconditionRequired, "precondition_required", "say which version this changes: If-Match with the ETag of the one you have read")
	}
	for tag := range strings.SplitSeq(strings.Join(r.Header.Values("If-Match"), ","), ",") {
		if strings.TrimSpace(tag) == current && current != "" {
			return nil
		}
	}
	return problem(http.StatusPreconditionFailed, "precondition_failed", "it has changed since; read it again")
}
