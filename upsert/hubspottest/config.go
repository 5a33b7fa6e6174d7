package hubspottest

import "time"

// Config is what a simulated account is like.
type Config struct {
	Token        string        // the bearer token that it accepts; empty: any, or with App that app's only
	App          *App          // nil: no OAuth
	IDProperties []string      // properties of tasks with unique values; nil: external_task_id
	Archived     []string      // properties of tasks that were archived
	Scopes       []string      // what the token may do; nil: read and write tasks
	Limit        int           // requests in a window; 0: unlimited
	Window       time.Duration // 0: 10 s
	Daily        int           // calls a day; 0: unlimited
	TimeZone     string        // of the account; empty: UTC. The day's calls are counted from its midnight
	Latency      time.Duration // of each answer that is no fault's; SetLatency changes it
	EchoTrace    bool          // results carry objectWriteTraceId
	EchoKey      string        // how results echo the key: "sent" (also if empty), "normalized", "none"
	IgnoreTrace  bool          // as if no input had a trace id: the first bad one sinks the batch
	FoldIDs      bool          // ids that differ only by case and surrounding blanks are one object
	OnArchived   string        // an upsert to an archived task: "new" (also if empty), "restore", "keep", "refuse"
	Conditional  []Requirement // what the account's administrator requires; v3 and older dates ignore it
	ErrorsIn200  bool          // on 2026-09 an answer that names errors is a 200 instead of a 207
	MaxBody      int           // bytes of a request that the proxy in front of HubSpot lets through; 0: unlimited
	Seed         uint64        // of the order of results, and of what Share and ItemShare pick

	// Warn is the category of a warning in the input's result; empty: it has none.
	Warn func(in Input) (category string)

	Lean bool // for measuring: cheap, keeps and judges little; see lean.go
	// with Lean: told of each answered request, and of the ids it wrote; valid during the call
	Observe func(req Request, ids [][]byte)
}

// Requirement is an administrator's rule: an input that sets the property If to Is must set the property Then, too,
// unless the task has it already.
type Requirement struct {
	If, Is, Then string
}
