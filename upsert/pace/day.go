package pace

import (
	"math"
	"sort"
	"time"

	"github.com/tasksink/tasksink/internal/hold"
)

const (
	// longestBatchWait is how long a batch may wait to fill when the day's calls run short. Only when that saves too
	// few of them, the pace itself slows down.
	longestBatchWait = 30 * time.Second

	planEvery   = time.Second // how often the forecast is made
	sampleEvery = time.Minute // arrivals are counted in these steps
	samplesKept = 10          // so that the recent arrivals are those of ten minutes
	// how often one asks whether there are calls again, while they seem used up; and how often for a while after the
	// presumed midnight, as HubSpot's clock is not ours
	askDaily     = 10 * time.Minute
	askMidnight  = time.Minute
	midnights    = 15 * time.Minute
	fewCalls     = 1000 // with fewer of the day left, a word that is stale is not trusted
	dailyReserve = 2    // calls of the day that are not planned for
)

// DayConfig says what the day allows.
type DayConfig struct {
	// follow HubSpot's daily headers; Calls caps them, or counts where they are absent
	Auto  bool
	Calls int                             // the account's calls a day; 0 with Auto: as HubSpot says; 0 without: unlimited
	Zone  *time.Location                  // whose midnight ends the account's day; nil: found out, UTC until then
	Wait  time.Duration                   // how long a batch waits to fill while there are calls enough
	Load  func() (lag int64, total int64) // records waiting for this replica, and those that ever came for it; may be nil
	Fill  int                             // records that a call carries at the most; 0: 100
}

// day keeps the calls that the account has in a day. While the forecast (recent arrivals until the day's end, and what
// waits already) fits into what is left, it restrains nothing. Otherwise it lets batches wait longer, so that each
// carries more, and if that does not suffice it spreads the calls over the rest of the day.
//
// A replica's part of what is left is the greater of its share of the partitions and its part of the requests that the
// account saw lately. If all replicas count on twice what there is, in sum, the rest shrinks as the square of the time
// that is left, and still does not end before the day does.
type day struct {
	cfg   DayConfig
	board *hold.Board

	zone  *time.Location // nil: unknown
	clock time.Duration  // the time of day, in UTC, at which the count was seen to begin anew; -1 if it was not
	began time.Time      // when the day did, if that was seen
	ends  time.Time      // the day's end

	at        time.Time // of HubSpot's last word; zero: there was none today
	limit     int       // the account's calls a day, as HubSpot says; 0 if it does not
	remaining int       // of them
	since     float64   // our own calls since that word
	own       float64   // our own calls of the day
	part      float64   // of the account's requests, lately ours

	samples []sample // of arrivals, oldest first
	planned time.Time
	wait    time.Duration // for a batch, by the plan
	gap     time.Duration // between two calls, by the plan; 0 = none
	out     bool          // the day's calls are used up
}

type sample struct {
	at    time.Time
	total int64
}

func newDay(cfg DayConfig, board *hold.Board) day {
	if cfg.Fill == 0 {
		cfg.Fill = 100
	}
	return day{cfg: cfg, board: board, zone: cfg.Zone, clock: -1, wait: cfg.Wait}
}

// SetZone says in whose midnight the account's day ends, once that is known.
func (p *Pace) SetZone(zone *time.Location) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.day.zone, p.day.ends = zone, time.Time{}
	p.stir()
}

// BatchWait is how long a batch should wait to fill, as the day's calls are now.
func (p *Pace) BatchWait() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.plan(time.Now())
	return p.day.wait
}

// limited tells whether the day has a limit that we know of.
func (d *day) limited() bool {
	return d.cfg.Calls > 0 || d.cfg.Auto && d.limit > 0
}

func (d *day) left() { d.since++; d.own++ }

// hearDay takes in what an answer says of the day. Answers overtake each other: of those that were out together the
// least counts. A count that has grown is a new day.
func (p *Pace) hearDay(t *Ticket, limit, remaining int, now time.Time) {
	d := &p.day
	d.turn(now)
	if limit <= 0 || remaining < 0 || !d.cfg.Auto && d.cfg.Calls == 0 {
		return
	}
	known := !d.at.IsZero()
	grown := known && remaining > d.remaining+limit/100
	if known && !grown && t.at.Before(d.at) && remaining >= d.remaining {
		return
	}
	if grown && d.zone == nil && limit == d.limit { // a limit that was raised is no midnight
		utc := now.UTC()
		d.clock = utc.Sub(utc.Truncate(24 * time.Hour)).Truncate(time.Minute)
		d.ends = time.Time{}
		d.turn(now)
	}
	if grown && d.zone != nil && d.ends.Sub(now) < midnights { // HubSpot's clock is ahead of ours
		d.begin(d.ends)
	}
	d.at, d.limit, d.remaining, d.since = now, limit, remaining, 0
	part := 0.0
	if own := len(p.stamps); own > 0 {
		part = float64(own) / float64(own+p.others.used)
	}
	d.part = d.part*0.9 + part*0.1
	d.planned = time.Time{}
}

// turn begins a new day when the old one has ended.
func (d *day) turn(now time.Time) {
	if now.Before(d.ends) {
		return
	}
	d.begin(now)
}

// begin begins the day that has the moment in it.
func (d *day) begin(now time.Time) {
	begun := !d.ends.IsZero()
	switch {
	case d.zone != nil:
		d.ends = midnight(now, d.zone)
	case d.clock >= 0:
		d.ends = now.UTC().Truncate(24 * time.Hour).Add(d.clock)
		if !d.ends.After(now) {
			d.ends = d.ends.Add(24 * time.Hour)
		}
	default:
		d.ends = now.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
	}
	if begun {
		d.began = now
		d.own, d.since, d.at, d.planned = 0, 0, time.Time{}, time.Time{}
		d.remaining = d.limit
	}
}

// midnight is when the day after now begins in a zone: with the first second of another date. The clock may leave
// midnight out there, or show it twice.
func midnight(now time.Time, zone *time.Location) time.Time {
	year, month, day := now.In(zone).Date()
	noon := time.Date(year, month, day, 12, 0, 0, 0, zone)
	return noon.Add(time.Second * time.Duration(sort.Search(2*24*3600, func(seconds int) bool {
		y, m, d := noon.Add(time.Duration(seconds) * time.Second).Date()
		return y != year || m != month || d != day
	})))
}

// asks tells whether HubSpot could say that there are calls again: not while the operator's own cap is used up, unless
// the day may have ended.
func (p *Pace) asks(now time.Time) bool {
	d := &p.day
	capped := float64(d.remaining-dailyReserve)*max(p.share(), d.part)-d.since >= 1
	return d.limit > 0 && (!capped || now.Sub(d.began) < midnights || d.zone == nil && d.clock < 0)
}

// askEvery is how often one asks HubSpot whether there are calls again.
func (d *day) askEvery(now time.Time) time.Duration {
	if now.Sub(d.began) < midnights {
		return askMidnight
	}
	return askDaily
}

// budget is how many calls are ours until the day ends.
func (p *Pace) budget() float64 {
	d, share := &p.day, p.share()
	calls := math.Inf(1)
	if d.limit > 0 {
		remaining := float64(d.remaining)
		if d.cfg.Calls > 0 { // the cap has been used as far as the account's calls were
			remaining = min(remaining, float64(d.cfg.Calls-(d.limit-d.remaining)))
		}
		calls = (remaining-dailyReserve)*max(share, d.part) - d.since
	} else if d.cfg.Calls > 0 {
		calls = float64(d.cfg.Calls)*share - d.own
	}
	return calls
}

// plan makes the forecast and draws its conclusions.
func (p *Pace) plan(now time.Time) {
	d := &p.day
	if now.Sub(d.planned) < planEvery {
		return
	}
	d.planned = now
	d.turn(now)
	lag, rate := d.load(now)
	d.wait, d.gap = d.cfg.Wait, 0
	if !d.limited() {
		return
	}
	budget, seconds := p.budget(), max(1, d.ends.Sub(now).Seconds())
	d.tell(budget < 1 && p.share() > 0)
	fill := float64(d.cfg.Fill)
	need := func(wait time.Duration) float64 { // calls until the day's end
		return rate*seconds/min(max(rate*wait.Seconds(), 1), fill) + float64(lag)/fill
	}
	if need(d.wait) <= budget {
		return
	}
	if live := (budget - float64(lag)/fill) / seconds; live > 0 {
		d.wait = max(d.wait, time.Duration(min(1/live, longestBatchWait.Seconds())*float64(time.Second)))
	} else {
		d.wait = max(d.wait, longestBatchWait)
	}
	if need(d.wait) > budget {
		d.gap = time.Duration(seconds / max(1, budget) * float64(time.Second))
	}
}

// load is what waits for us, and how much comes, in records and records a second.
func (d *day) load(now time.Time) (lag int64, rate float64) {
	if d.cfg.Load == nil {
		return 0, 0
	}
	lag, total := d.cfg.Load()
	if n := len(d.samples); n == 0 || now.Sub(d.samples[n-1].at) >= sampleEvery {
		d.samples = append(d.samples, sample{now, total})
		d.samples = d.samples[max(0, len(d.samples)-samplesKept-1):]
	}
	if first := d.samples[0]; now.Sub(first.at) >= sampleEvery/6 {
		rate = float64(total-first.total) / now.Sub(first.at).Seconds()
	}
	return lag, max(0, rate)
}

// untilDay says how long a request must wait for the day's sake.
func (p *Pace) untilDay(now time.Time) time.Duration {
	d := &p.day
	p.plan(now)
	if !d.limited() {
		return 0
	}
	alone := p.flying+p.held == 0
	budget := p.budget() - float64(p.held)
	switch {
	case budget < 1 && p.asks(now):
		if ask := d.at.Add(d.askEvery(now)).Sub(now); ask > 0 || !alone {
			return min(max(ask, time.Second), max(d.ends.Sub(now), time.Second), time.Minute)
		}
		return 0 // the limit may have been raised, and HubSpot's day may begin at another time: one may ask
	case budget < 1:
		return min(max(d.ends.Sub(now), time.Second), time.Minute)
	case !alone && budget < fewCalls && d.limit > 0 && now.Sub(d.at) >= wordLasts:
		return time.Millisecond * 100 // first hear how much others have left
	case d.gap > 0:
		return max(0, p.last.Add(d.gap).Sub(now))
	}
	return 0
}

const holdQuota = "quota" // the day's calls are used up as far as they are ours

func (d *day) tell(out bool) {
	if d.board == nil || out == d.out {
		return
	}
	d.out = out
	if out {
		d.board.Set(holdQuota, hold.All, "the account's calls of the day are used up; sending goes on at "+
			d.ends.Format(time.RFC3339),
			"wait, or raise the account's daily limit in HubSpot; see which other apps use it")
	} else {
		d.board.Clear(holdQuota, hold.All)
	}
}

// DayStatus is what a Pace shows of the day.
type DayStatus struct {
	Limit     int        `json:"limit"`              // the account's calls a day; 0 if nobody says
	Remaining int        `json:"remaining"`          // of them, as of HubSpot's last word
	Ours      int        `json:"ours"`               // calls that this replica counts on until the day ends
	ResetsAt  time.Time  `json:"resets_at"`          // when the count begins anew
	Zone      string     `json:"zone"`               // whose midnight that is: a time zone, "observed" or "assumed UTC"
	BatchWait float64    `json:"batch_wait_seconds"` // how long a batch waits to fill, stretched where the day's calls run short
	Gap       float64    `json:"gap_seconds"`        // between two calls, where even that does not suffice; else 0
	DrainedAt *time.Time `json:"drained_at"`         // when the backlog will be gone at the present pace; null if it grows, or there is none
}

// Daily tells where the day stands; nil if it has no limit.
func (p *Pace) Daily() *DayStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.plan(now)
	d := &p.day
	if !d.limited() {
		return nil
	}
	st := &DayStatus{Limit: d.limit, Remaining: d.remaining, Ours: max(0, int(p.budget())), ResetsAt: d.ends,
		BatchWait: d.wait.Seconds(), Gap: d.gap.Seconds()}
	if st.Limit == 0 {
		st.Limit, st.Remaining = d.cfg.Calls, max(0, d.cfg.Calls-int(d.own))
	}
	switch {
	case d.zone != nil:
		st.Zone = d.zone.String()
	case d.clock >= 0:
		st.Zone = "observed"
	default:
		st.Zone = "assumed UTC"
	}
	lag, rate := d.load(now)
	calls := p.limit * p.factor * p.share() / p.interval.Seconds()
	if d.gap > 0 {
		calls = min(calls, 1/d.gap.Seconds())
	}
	if drain := calls*float64(d.cfg.Fill) - rate; lag > 0 && drain > 0 && !p.unlimited {
		at := now.Add(time.Duration(float64(lag) / drain * float64(time.Second))).Truncate(time.Second)
		if d.out {
			at = at.Add(d.ends.Sub(now))
		}
		st.DrainedAt = &at
	}
	return st
}
