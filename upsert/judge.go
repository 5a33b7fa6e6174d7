package upsert

import (
	"bytes"
	"cmp"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tasksink/tasksink/dlq"
	"github.com/tasksink/tasksink/upsert/hubspot"
)

const (
	longestRetryAfter = 24 * time.Hour   // an account's move between regions takes that long at the most
	foreignRetryAfter = 15 * time.Minute // of an answer that is not HubSpot's
)

// class is what an answer says of a whole request.
type class int

const (
	classJudged   class = iota // the body speaks for each input: Verdicts
	classRefused               // nothing was written: one of the records is bad, or nothing passes
	classConflict              // 409, another call may have created the object: once more, then as classRefused
	classFailed                // HubSpot is not reached, or one of the records breaks it
	classTooLarge              // a page with status 413: as classFailed, and the size is remembered
	classLocked                // 423
	classLimited               // 429 of the window: wait RetryAfter, or the window where it is 0
	classDaily                 // 429 DAILY: hold
	classAuth                  // 401: read the token again, hold
	classMoving                // 477: hold for RetryAfter
	classLogin                 // HubSpot's token endpoint refuses with another status than 401: hold
)

// row is one line of the table that judge goes by: the first row that fits an answer counts. docs/answers.md shows it.
type row struct {
	status string // as the page shows it
	fits   func(status int) bool
	own    bool // only in HubSpot's own JSON
	class  class
	says   string
	then   string
}

func is(statuses ...int) func(int) bool {
	return func(s int) bool { return slices.Contains(statuses, s) }
}

// table says of each answer whose fault it may be. No word of a message decides anything here.
var table = []row{
	{"2xx", func(s int) bool { return s/100 == 2 }, false, classJudged,
		"The body speaks for each input.",
		"See below. A body that is not JSON, or too long, is a failure."},
	{"401", is(401), false, classAuth,
		"The credential is refused.",
		"All wait (hold `auth`). tasksink reads the credential again and asks after 0.5 s, then every 5 s."},
	{"423", is(423), false, classLocked,
		"HubSpot holds a lock.",
		"The batch goes again after 2 s, or after Retry-After. It speaks against nobody."},
	{"429", is(429), false, classLimited,
		"Too many requests.",
		"The pace stops as long as Retry-After says, or for a window, and slows down; more than a minute is the hold " +
			"`limited`. With the policy `DAILY` all wait for the next day (hold `daily`)."},
	{"477", is(477), false, classMoving,
		"The account moves to another region.",
		"All wait as long as Retry-After says, or 10 s, and one small request asks (hold `migrating`)."},
	{"407, 408, 3xx, 5xx", func(s int) bool { return s/100 == 3 || s/100 >= 5 || s == 407 || s == 408 }, false,
		classFailed,
		"HubSpot is not reached, or one of the records breaks it.",
		"A failure: see below."},
	{"409", is(409), true, classConflict,
		"Another call may have created the object at the same moment.",
		"The batch goes once more after 500 ms, then it counts as refused."},
	{"any other 4xx", func(s int) bool { return s/100 == 4 }, true, classRefused,
		"HubSpot wrote nothing: one of the records is bad, or nothing passes.",
		"A refusal: see below."},
	{"413", is(413), false, classTooLarge,
		"Something before HubSpot finds the request too large.",
		"A failure, and the size is remembered: see below."},
	{"anything else", func(int) bool { return true }, false, classFailed,
		"It is not HubSpot that answers.",
		"A failure: see below."},
}

// judge says what an answer means for the inputs of its request. It judges the body, not the status alone: a 207 and
// a dated 200 can both carry refusals, and a 200 can leave results out.
func judge(inputs []input, status int, header http.Header, body []byte) judgement {
	// A request has inputs of one idProperty only.
	property, books := inputs[0][0].IDProperty, booksPool.Get().(*books)
	defer books.close()
	if status/100 == 2 {
		if b, ok := readResults(body, property, len(inputs), books.results[:0]); ok {
			books.results = b.results
			return books.account(inputs, b)
		}
	}
	b, readable := parse(body, property, status, len(inputs))
	readable = readable || status/100 == 2 && len(bytes.TrimSpace(body)) == 0
	own := readable && b.fromHubSpot()
	i := slices.IndexFunc(table, func(r row) bool { return r.fits(status) && (own || !r.own) })
	longest := foreignRetryAfter
	if own {
		longest = longestRetryAfter
	}
	a := judgement{Class: table[i].class, Status: status, RetryAfter: hubspot.RetryAfter(header, time.Now(), longest),
		What: describe(status, header, b, body, own)}
	switch a.Class {
	case classJudged:
		if readable {
			return books.account(inputs, b)
		}
		a.Class, a.Reason = classFailed, dlq.Reason{Category: categoryUnexpectedPage, Code: "UNREADABLE_ANSWER",
			Message: a.What}
		return a
	case classFailed, classTooLarge:
		a.Reason = dlq.Reason{Category: failureCategory(status, own), Code: "HTTP_" + strconv.Itoa(status),
			Message: cut(cmp.Or(string(b.Message), a.What), maxMessage), CorrelationID: b.reason().CorrelationID}
		return a
	case classLimited:
		if b.PolicyName == "DAILY" {
			a.Class = classDaily
		}
	case classLocked:
		a.RetryAfter = max(2*time.Second, a.RetryAfter)
	}
	a.Reason = b.reason()
	a.Reason.Category = cmp.Or(a.Reason.Category, "HTTP_"+strconv.Itoa(status)) // malformed JSON has none
	a.idProperty = misfit(string(b.Message))
	a.scopes = b.scopes()
	if b.Message != "" && (a.idProperty || speaksOfAll(status) && a.Reason.Category != "VALIDATION_ERROR") {
		a.What += ": " + cut(string(b.Message), maxWords)
	} else if words := strings.TrimSpace(a.Reason.Code + " " + a.Reason.Property); words != "" {
		a.What += ": " + words
	}
	return a
}

// speaksOfAll tells the statuses whose messages speak of the account, its rights or the path, and may be shown. Others
// quote the token or a record.
var speaksOfAll = is(http.StatusPaymentRequired, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed)

// misfit tells HubSpot's two messages about an idProperty that does not fit the account. Only their fixed beginning
// counts: the rest of any message may quote a record.
func misfit(message string) bool {
	return strings.HasPrefix(message, "Unable to perform update/upsert by non-unique ") ||
		strings.HasPrefix(message, "Cannot upsert a ")
}

// Categories of records that fail again and again while others pass.
const (
	categoryUnanswered     = "UNRESOLVED"            // HubSpot answers, but not for the record
	categoryServerError    = "SERVER_ERROR"          // HubSpot fails whenever it gets the record, or does not answer
	categoryFirewall       = "FORBIDDEN_BY_FIREWALL" // a page with status 403
	categoryUnexpectedPage = "UNEXPECTED_PAGE"       // any other answer that is not HubSpot's
)

func failureCategory(status int, own bool) string {
	switch {
	case status/100 == 5 || status == http.StatusRequestTimeout || own:
		return categoryServerError
	case status == http.StatusForbidden:
		return categoryFirewall
	default:
		return categoryUnexpectedPage
	}
}

var title = regexp.MustCompile(`(?is)<title[^>]*>\s*(.*?)\s*</title>`)

const (
	maxWords   = 200  // bytes of HubSpot's message, in a description
	maxTitle   = 80   // characters of a page's title, in a description
	titleReach = 4096 // bytes of a page that are searched for it
)

// scopes are those that a refusal names. HubSpot puts them into different places, as a list, or all into one string.
func (b answerBody) scopes() (all []string) {
	for _, name := range []string{"requiredGranularScopes", "requiredScopes", "missingScopes"} {
		for _, words := range b.Context.list(name) {
			for _, scope := range scopeName.FindAllString(words, mostScopes) {
				if !slices.Contains(all, scope) && len(all) < mostScopes {
					all = append(all, scope)
				}
			}
		}
	}
	return all
}

const mostScopes = 10 // that a hold names

// scopeName is such as crm.objects.contacts.write.
var scopeName = regexp.MustCompile(`[a-z][a-z0-9_-]{0,40}(\.[a-z0-9_-]{1,60}){1,5}`)

// describe tells people what came: the status, and HubSpot's own words, or what kind of a page it was. The description
// is for holds, which escape it.
func describe(status int, header http.Header, b answerBody, body []byte, own bool) string {
	what := fmt.Sprintf("HTTP %d", status)
	if own {
		words := cmp.Or(string(b.Category), string(b.ErrorType), string(b.PolicyName))
		if words != "" {
			what += " " + words
		}
		if b.CorrelationID != "" {
			what += " (correlation id " + string(b.CorrelationID) + ")"
		}
		return what
	}
	kind, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	what += ", not HubSpot's answer but " + cmp.Or(cut(kind, maxTitle), "a body without a content type")
	if m := title.FindSubmatch(body[:min(len(body), titleReach)]); m != nil {
		what += fmt.Sprintf(" with the title %q", cut(string(m[1]), maxTitle))
	}
	return what
}
