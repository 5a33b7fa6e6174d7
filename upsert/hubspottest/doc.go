// Package hubspottest is a simulator of HubSpot's batch upsert of tasks: a real HTTP handler that keeps the objects,
// a journal of every write in order, a rolling rate window, and faults on demand.
//
// It answers as the endpoint's published description and recorded answers of the real one do: the order of the
// checks, the bodies, the headers. It judges inputs by itself: it imports nothing of the program that it tests.
//
// # Use
//
// Use New as an http.Handler in a test's server, or in memory. It starts no goroutine. All times are time.Now's, so
// it runs in a testing/synctest bubble. What it shuffles and what faults pick at random follows Config.Seed.
//
// # Switches
//
// Where the real endpoint's behaviour is unknown or varies, a field of Config chooses:
//   - EchoTrace and EchoKey: what results say of the input that they answer
//   - IgnoreTrace: one bad input sinks the batch although every input has a trace id
//   - FoldIDs: ids are compared without case and surrounding blanks
//   - OnArchived: what an upsert by the id of an archived task does
//   - Conditional: what an administrator requires; the path 2026-09 refuses inputs for it, older paths do not
//   - ErrorsIn200: on 2026-09 an answer that names errors is a 200, not a 207
//   - MaxBody: a proxy in front of HubSpot refuses larger requests
//
// # Faults
//
// Inject adds a Fault. Match, Times, For and Share say when it strikes. A fault that strikes a whole request replaces
// or spoils the answer; only the first one that matches does. A fault with Items or Omit strikes chosen inputs; all of
// these add up, and the rest of the batch is judged and written as usual.
//
//	Fault{Status: 413, Body: JSONError(413, "PAYLOAD_TOO_LARGE", "too large", nil)} // refused by HubSpot
//	Fault{Status: 502, Body: Page(502, "Bad Gateway"), For: time.Minute, Share: 0.5} // half of them fail for a minute
//	Fault{Match: Has("task-7"), Hang: true}       // no answer to a batch that holds task-7
//	Fault{Reset: true, AfterWrite: true}          // written, and then the connection is cut
//	Fault{BatchStatus: "COMPLETE"}                // 200, no results, nothing written
//	Fault{BatchStatus: "CANCELED"}                // the same; also PENDING and PROCESSING
//	Fault{Status: 204}                            // no body
//	Fault{Status: 200, Body: "{}"}                // a body that says nothing
//	Fault{Items: Every("CONFLICT"), ItemShare: 0.01} // one input in a hundred is named with a conflict
//	Fault{Omit: func(in Input) bool { return in.ID == "task-7" }} // task-7 is in neither list of the answer
package hubspottest
