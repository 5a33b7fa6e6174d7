package hubspottest

import (
	"encoding/json"
	"fmt"
	"html"
	"math/rand/v2"
	"net/http"
	"strings"
)

type answer struct {
	status int
	body   []byte
}

func jsonAnswer(status int, body any) answer {
	b, err := json.Marshal(body)
	if err != nil {
		return answer{500, []byte(err.Error())}
	}
	return answer{status, b}
}

// JSONError is the body of HubSpot's Error, for Fault.Body. As HubSpot does, a 429 names the policy (DAILY,
// TEN_SECONDLY_ROLLING) instead of a category: category is that policy then.
func JSONError(status int, category, message string, context map[string][]string) (body string) {
	return string(failure(status, category, message, context).body)
}

// failure is the answer with HubSpot's Error.
func failure(status int, category, message string, context map[string][]string) answer {
	return jsonAnswer(status, errorFields(status, category, message, context))
}

func errorFields(status int, category, message string, context map[string][]string) map[string]any {
	e := map[string]any{"status": "error", "message": message, "correlationId": correlationID()}
	switch {
	case status == http.StatusTooManyRequests:
		e["errorType"], e["policyName"] = "RATE_LIMIT", category
		e["groupName"] = "publicapi:private-apps:calls-per-ten-seconds"
	case category != "":
		e["category"] = category
	}
	if context != nil {
		e["context"] = context
	}
	return e
}

// Page is what a proxy answers, for Fault.Body: HTML that holds no field of HubSpot's.
func Page(status int, title string) (body string) {
	heading := html.EscapeString(fmt.Sprint(status, " ", title))
	return strings.ReplaceAll("<html>\r\n<head><title>HEADING</title></head>\r\n<body>\r\n"+
		"<center><h1>HEADING</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n", "HEADING", heading)
}

func correlationID() string {
	n := rand.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", uint32(n), uint16(n>>32), n>>52, n>>44&0xfff,
		rand.Uint64()&0xffffffffffff)
}

func write(w http.ResponseWriter, a answer) {
	if w.Header().Get("Content-Type") == "" && a.status != http.StatusNoContent {
		w.Header().Set("Content-Type", "application/json;charset=utf-8")
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // a client that went away is no concern of ours
}
