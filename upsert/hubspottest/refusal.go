package hubspottest

import (
	"encoding/json"
	"net/http"
)

// refusal is why an input is bad.
type refusal struct {
	category string
	message  string
	context  map[string][]string
	details  []detail // nil: the answer has none
}

// detail is HubSpot's ErrorDetail.
type detail struct {
	Message string              `json:"message"`
	Code    string              `json:"code"`
	Context map[string][]string `json:"context"`
}

// invalid is the refusal of an input for its properties' values. All problems of one input make one refusal.
func invalid(problems []problem) *refusal {
	list, err := json.Marshal(problems)
	if err != nil {
		list = []byte(err.Error())
	}
	return &refusal{category: "VALIDATION_ERROR", message: "Property values were not valid: " + string(list)}
}

// namedWith is what HubSpot says of an input that a fault names; s.mu is held.
func (s *Server) namedWith(category string, in wireInput) *refusal {
	bad := &refusal{category: category}
	switch category {
	case "VALIDATION_ERROR":
		bad = invalid([]problem{{Message: *in.ID + " was not one of the allowed options", Error: "INVALID_OPTION",
			Name: "hs_task_type"}})
	case "OBJECT_NOT_FOUND":
		bad.message = "Could not get some TASK objects, they may be deleted or not exist. Check that ids are valid."
	case "CONFLICT", "OBJECT_ALREADY_EXISTS":
		id := "1000" // that of an object that another program has just written
		if o := s.objects[s.key(in)]; o != nil {
			id = o.id
		}
		bad.message = "Task already exists. Existing ID: " + id
		bad.context = map[string][]string{"existingId": {id}}
	case "INTERNAL_ERROR":
		bad.message = "Please retry operation"
	case "RATE_LIMITS":
		bad.message = "You have reached your ten_secondly_rolling limit."
	case "SERVICE_UNAVAILABLE":
		bad.message = "The service is temporarily unavailable"
	default:
		bad.message = "The object could not be written"
	}
	return bad
}

// status is that of an answer whose whole batch one input sank.
func (bad *refusal) status() int {
	switch bad.category {
	case "CONFLICT", "OBJECT_ALREADY_EXISTS":
		return http.StatusConflict
	case "OBJECT_NOT_FOUND":
		return http.StatusNotFound
	case "RATE_LIMITS":
		return http.StatusTooManyRequests
	case "INTERNAL_ERROR", "INTERNAL_SERVER_ERROR":
		return http.StatusInternalServerError
	case "SERVICE_UNAVAILABLE":
		return http.StatusServiceUnavailable
	default:
		return http.StatusBadRequest
	}
}

// sink is the answer to a batch that the refusal of one input sank.
func (bad *refusal) sink() answer {
	category := bad.category
	if category == "RATE_LIMITS" {
		category = "TEN_SECONDLY_ROLLING" // a 429 names the policy
	}
	e := errorFields(bad.status(), category, bad.message, bad.context)
	if bad.details != nil {
		e["errors"] = bad.details
	}
	return jsonAnswer(bad.status(), e)
}

// item is the refusal of one input among an answer's errors. Recorded ones have no links, and errors only with details.
func (bad *refusal) item(trace string) map[string]any {
	context := map[string][]string{"objectWriteTraceId": {trace}}
	for name, list := range bad.context {
		context[name] = list
	}
	e := map[string]any{"status": "error", "category": bad.category, "message": bad.message, "context": context}
	if bad.details != nil {
		e["errors"] = bad.details
	}
	return e
}
