package check

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

const (
	usagePath  = "/account-info/v3/api-usage/daily/private-apps"
	littleLeft = 10 // per cent of the day's calls
)

// quotaRow looks how many calls are left, of the day and of the window.
func (h *hubspotLook) quotaRow(ctx context.Context, a account) Row {
	row := Row{Check: "quota", Subject: "the account's calls", Result: OK}
	switch a.limited.PolicyName {
	case "":
	case "DAILY":
		row.Result, row.Seen = Failed, "all of the day's calls are used up"
		row.Remedy = "wait for midnight in the account's time zone, or raise the limit: HubSpot, Settings > Account " +
			"Defaults > API usage; tasksink holds meanwhile, and goes on by itself"
		return row
	default:
		row.Result, row.Seen = Warning, "all requests of the last 10 s are used up ("+a.limited.PolicyName+")"
		row.Remedy = "give tasksink a key of its own, because this limit belongs to the key: HubSpot, " + keyPlace +
			"; meanwhile tasksink takes what is left, and its part if all are tasksink's"
		return row
	}
	var seen []string
	number := func(name string) (int, bool) {
		n, err := strconv.Atoi(a.header.Get("X-HubSpot-RateLimit-" + name))
		return n, err == nil
	}
	daily, ok := number("Daily")
	left, told := number("Daily-Remaining")
	if !ok || !told {
		daily, left, ok = h.usage(ctx)
	}
	if ok {
		seen = append(seen, fmt.Sprintf("%d of %d calls a day are left", left, daily))
	}
	most, is10 := number("Max")
	if rest, told := number("Remaining"); told && is10 {
		seen = append(seen, fmt.Sprintf("%d of %d requests in 10 s", rest, most))
	}
	switch {
	case len(seen) == 0:
		return skip("quota", row.Subject, "HubSpot does not tell")
	case ok && left <= 0:
		row.Result, row.Remedy = Failed, "wait for midnight in the account's time zone, or raise the limit: HubSpot, "+
			"Settings > Account Defaults > API usage"
	case ok && left < daily*littleLeft/100:
		row.Result, row.Remedy = Warning, "all keys and apps of the account share them: see which ones use them in HubSpot, "+
			keyPlace+"; tasksink slows down to make them last until midnight"
	}
	row.Seen = strings.Join(seen, ", ")
	return row
}

// usage asks for the day's calls, which not all answers carry.
func (h *hubspotLook) usage(ctx context.Context) (daily, left int, told bool) {
	res, _, err := h.get(ctx, "the day's calls", usagePath)
	if err != nil || res.Status != http.StatusOK {
		return 0, 0, false
	}
	var body struct {
		Results []struct {
			UsageLimit   int `json:"usageLimit"`
			CurrentUsage int `json:"currentUsage"`
		} `json:"results"`
	}
	if json.Unmarshal(res.Body, &body) != nil || len(body.Results) == 0 || body.Results[0].UsageLimit <= 0 {
		return 0, 0, false
	}
	r := body.Results[0]
	return r.UsageLimit, r.UsageLimit - r.CurrentUsage, true
}
