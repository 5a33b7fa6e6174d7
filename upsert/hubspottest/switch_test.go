package hubspottest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// TestFoldIDs: ids that differ by case and surrounding blanks are one object, which keeps its first spelling.
func TestFoldIDs(t *testing.T) {
	for _, fold := range []bool{true, false} {
		s := hubspottest.New(hubspottest.Config{FoldIDs: fold, EchoTrace: true})
		_, _, first := ask(t, s, batch(input("Task-Ä", "t-1", when)))
		status, _, second := ask(t, s, batch(input(" task-ä ", "t-2", when, `"hs_task_subject":"x"`)))
		result := func(answer map[string]any) map[string]any { return answer["results"].([]any)[0].(map[string]any) }
		a, b := result(first), result(second)
		key := b["properties"].(map[string]any)["external_task_id"]
		want := map[bool]string{true: "Task-Ä", false: " task-ä "}[fold]
		if status != 200 || (a["id"] == b["id"]) != fold || b["new"] == fold || key != want ||
			b["objectWriteTraceId"] != "t-2" {
			t.Errorf("fold %v: first %v, second %v", fold, a, b)
		}
		held := s.Objects()
		if (len(held) == 1) != fold || fold && held["external_task_id\x00Task-Ä"]["hs_task_subject"] != "x" {
			t.Errorf("fold %v: HubSpot holds %v", fold, held)
		}
		if j := s.Journal(); j[1].ID != " task-ä " || (j[0].HubSpotID == j[1].HubSpotID) != fold {
			t.Errorf("fold %v: journal %v", fold, j)
		}
		status, _, twice := ask(t, s, batch(input("n", "t-3", when), input("N", "t-4", when)))
		message := fmt.Sprint(twice["message"])
		if (status == 400) != fold || fold && !strings.Contains(message, "Duplicate IDs found in batch input: [N]") {
			t.Errorf("fold %v: twice in a batch is answered %d %s", fold, status, message)
		}
	}
}

// TestDatedPaths: each path is there, and only on 2026-09 an administrator's requirements refuse an input.
func TestDatedPaths(t *testing.T) {
	rule := hubspottest.Requirement{If: "hs_task_status", Is: "COMPLETED", Then: "hs_task_body"}
	done := batch(input("a", "t-a", when, `"hs_task_status":"COMPLETED"`), input("b", "t-b", when))
	for at, want := range map[string]int{
		"/crm/v3/objects/tasks/batch/upsert":      200,
		"/crm/v3/objects/0-27/batch/upsert":       200,
		"/crm/objects/2025-09/tasks/batch/upsert": 200,
		"/crm/objects/2025-09/0-27/batch/upsert":  200,
		"/crm/objects/2026-03/tasks/batch/upsert": 200,
		"/crm/objects/2026-09/tasks/batch/upsert": 207,
		"/crm/objects/2026-09/0-27/batch/upsert":  207,
		"/crm/objects/2025-03/tasks/batch/upsert": 404,
		"/crm/objects/v3/tasks/batch/upsert":      404,
		"/crm/2026-09/objects/tasks/batch/upsert": 404,
		"/crm/objects/2026-09/0-1/batch/upsert":   404,
	} {
		s := hubspottest.New(hubspottest.Config{Conditional: []hubspottest.Requirement{rule}})
		status, _, answer := askAt(t, s, http.MethodPost, at, "x", done)
		if status != want || len(s.Journal()) != map[int]int{200: 2, 207: 1}[want] {
			t.Errorf("%s: %d %v", at, status, answer)
		}
	}
}

// TestConditional: the form of the refusal, what satisfies the requirement, and the 200 that names errors.
func TestConditional(t *testing.T) {
	const newest = "/crm/objects/2026-09/tasks/batch/upsert"
	rule := hubspottest.Requirement{If: "hs_task_status", Is: "COMPLETED", Then: "hs_task_body"}
	done := input("a", "t-a", when, `"hs_task_status":"COMPLETED"`)
	for _, in200 := range []bool{false, true} {
		s := hubspottest.New(hubspottest.Config{Conditional: []hubspottest.Requirement{rule}, ErrorsIn200: in200})
		send := func(inputs ...string) (int, map[string]any) {
			status, _, answer := askAt(t, s, http.MethodPost, newest, "x", batch(inputs...))
			return status, answer
		}
		status, answer := send(done, input("b", "t-b", when))
		want := map[bool]int{true: 200, false: 207}[in200]
		if status != want || answer["numErrors"] != 1.0 || len(answer["results"].([]any)) != 1 {
			t.Fatalf("%d %v, want %d", status, answer, want)
		}
		e := answer["errors"].([]any)[0].(map[string]any)
		nested := e["errors"].([]any)[0].(map[string]any)
		if e["category"] != "VALIDATION_ERROR" || fmt.Sprint(e["context"]) != "map[objectWriteTraceId:[t-a]]" ||
			nested["code"] != "MISSING_CONDITIONAL_REQUIRED_PROPERTY" || nested["message"] == "" ||
			fmt.Sprint(nested["context"]) != "map[propertyName:[hs_task_body]]" ||
			strings.Contains(e["message"].(string), "hs_task_body") {
			t.Errorf("error %v", e)
		}
		status, answer = send(input("a", "", when, `"hs_task_status":"COMPLETED"`), input("b", "", when))
		if said := fmt.Sprint(answer["errors"]); status != 400 || !strings.Contains(said, "MISSING_CONDITIONAL") {
			t.Errorf("without trace ids: %d %v", status, answer)
		}
		if status, answer = send(input("a", "t-a", when, `"hs_task_status":"COMPLETED","hs_task_body":"b"`)); status != 200 ||
			answer["errors"] != nil {
			t.Errorf("with the body: %d %v", status, answer)
		}
		if status, answer = send(done); status != 200 || answer["errors"] != nil {
			t.Errorf("the task has a body already: %d %v", status, answer)
		}
		s.Inject(hubspottest.Fault{Items: hubspottest.Every("CONFLICT"), Times: 1})
		if status, _, answer = ask(t, s, batch(done)); status != 207 {
			t.Errorf("v3 names errors in a %d: %v", status, answer)
		}
		if _, answer = send(input("a", "t-a", `"hs_task_status":"COMPLETED","hs_task_body":""`)); answer["errors"] == nil {
			t.Errorf("the body is cleared: %v", answer)
		}
	}
}

// TestArchive: a task that is archived is no longer held, and a switch decides what an upsert by its id does.
func TestArchive(t *testing.T) {
	const archive = "/crm/v3/objects/tasks/batch/archive"
	for does, want := range map[string]struct {
		status               int
		same, archived, held bool // the same HubSpot id; the result says archived; the account holds the task
	}{"": {200, false, false, true}, "new": {200, false, false, true}, "restore": {200, true, false, true},
		"keep": {200, true, true, false}, "refuse": {404, false, false, false}} {
		s := hubspottest.New(hubspottest.Config{OnArchived: does})
		result := func(answer map[string]any) map[string]any {
			if results, _ := answer["results"].([]any); len(results) == 1 {
				return results[0].(map[string]any)
			}
			return map[string]any{"archived": false}
		}
		_, _, answer := ask(t, s, batch(input("a", "", when)))
		first := result(answer)
		status, _, _ := askAt(t, s, http.MethodPost, archive, "x", batch(fmt.Sprintf(`{"id":%q},{"id":"7"}`, first["id"])))
		if status != 204 || len(s.Objects()) != 0 || fmt.Sprint(s.Archived()) != fmt.Sprintf("[%s]", first["id"]) {
			t.Errorf("%q: %d, the account holds %v, archived %v", does, status, s.Objects(), s.Archived())
		}
		status, _, answer = ask(t, s, batch(input("a", "", when)))
		second := result(answer)
		if status != want.status || (second["id"] == first["id"]) != want.same || second["archived"] != want.archived ||
			(len(s.Objects()) == 1) != want.held {
			t.Errorf("%q: %d %v, the account holds %v", does, status, answer, s.Objects())
		}
	}
	s := hubspottest.New(hubspottest.Config{Token: "secret", Scopes: []string{"crm.objects.contacts.read"}})
	if status, _, _ := askAt(t, s, http.MethodPost, archive, "secret", batch(`{"id":"1"}`)); status != 403 {
		t.Errorf("without the scope: %d", status)
	}
}
