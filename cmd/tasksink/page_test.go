package main_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/segmentio/kafka-go"

	"github.com/tasksink/tasksink/cmd/tasksink/worker/page"
	"github.com/tasksink/tasksink/consumer"
	"github.com/tasksink/tasksink/internal/golden"
	"github.com/tasksink/tasksink/internal/kafkatest"
	"github.com/tasksink/tasksink/upsert/hubspottest"
)

// stage shows one scene after the other on the real page.
type stage struct {
	*httptest.Server
	mu   sync.Mutex
	now  scene
	away bool
}

func newStage(t *testing.T) *stage {
	s := &stage{}
	real := http.NewServeMux()
	page.Mount(real, page.NewHistory(nil))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.away {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		var answer any
		switch r.URL.Path {
		case "/status":
			answer = s.now.status
		case "/history":
			answer = map[string]any{"step_seconds": page.Step.Seconds(), "samples": s.now.history}
		default:
			real.ServeHTTP(w, r)
			return
		}
		body, err := json.Marshal(answer)
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(body) // the page may be closed by now
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *stage) play(now scene) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = now
}

// fail makes it answer as a proxy does whose worker is gone, or ends that.
func (s *stage) fail(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}

// TestPageStaged looks at the page of a worker that we only pretend to have.
func TestPageStaged(t *testing.T) {
	t.Parallel()
	b := startBrowser(t)
	for name, look := range map[string]func(*testing.T, *browser){"scenes": scenesOnPage, "partitions": partitionsOnPage,
		"asks": asksOnPage, "pictures": picturesOnPage} {
		t.Run(name, func(t *testing.T) { look(t, b) })
	}
}

// scenesOnPage: in each state of the worker the page says what stands in the golden, in the words that a reader sees;
// hostileText text in any place stays text; nothing jumps when the sentence changes; every text stands out from its
// ground, in light and in dark; and on a phone nothing is cut off or scrolls sideways.
func scenesOnPage(t *testing.T, b *browser) {
	s := newStage(t)
	var said strings.Builder
	first := 0.0 // where the chart begins
	for _, scene := range scenes() {
		s.play(scene)
		p := b.open(t, s.URL, 1280, 900, "light")
		p.says("#fresh", "03:20:00", 30*time.Second)
		fmt.Fprintf(&said, "# %s\n%s\n\n", scene.name, eval[string](p, words))
		if n := eval[int](p, "document.querySelectorAll('img, main script').length"); n != 0 {
			t.Errorf("%s: hostile text became %d elements", scene.name, n)
		}
		// Long words of a stranger aside, all sentences fit into the place that is kept for them.
		switch top := eval[float64](p, `document.querySelector("#chart").getBoundingClientRect().top`); {
		case first == 0:
			first = top
		case top != first && !strings.Contains(scene.name, "does not know") && !strings.Contains(scene.name, "hostile"):
			t.Errorf("%s: the chart is at %v, before it was at %v: the page jumps", scene.name, top, first)
		}
		for _, scheme := range []string{"light", "dark"} {
			p.prefers(scheme)
			for _, pale := range eval[[]string](p, contrast) {
				t.Errorf("%s, %s: %s", scheme, scene.name, pale)
			}
		}
		p.run(chromedp.EmulateViewport(360, 740))
		if w := eval[int](p, "document.documentElement.scrollWidth"); w > 360 {
			t.Errorf("%s: %d px wide on a phone of 360: %s", scene.name, w, eval[string](p,
				`[...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > 360).map((e) => e.tagName + "." + e.className + "#" + e.id).join(", ")`))
		}
		p.close()
	}
	golden.Compare(t, "page.golden", said.String())
}

// words are those of the page; of the partitions only those of which something is to be said.
const words = `[document.title, ...["#sentence", "#more", ".answers"].map((s) => document.querySelector(s).innerText),
	...[...document.querySelectorAll("#partitions-note, .sick, .why")].map((e) => e.innerText.replaceAll("\t", " ")),
	...["holds-title", "pace-title", "load-title", "dead-title"].map((id) => document.getElementById(id).closest("section").innerText)].join("\n").replace(/\n+/g, "\n")`

// contrast lists the elements with text of their own that is too pale, by WCAG's formula.
const contrast = `(() => {
	const parse = (c) => {
		const n = c.match(/[\d.]+/g).map(Number);
		return { rgb: n.slice(0, 3), a: n.length > 3 ? n[3] : 1 };
	};
	const light = (rgb) => rgb.map((v) => v / 255).map((v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
	const ground = (e) => {
		for (; e; e = e.parentElement) {
			const c = parse(getComputedStyle(e).backgroundColor);
			if (c.a === 1) return c.rgb;
		}
		return [255, 255, 255];
	};
	const own = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim() !== "");
	const shown = (e) => own(e) && e.getClientRects().length > 0 && !e.closest("noscript");
	return [...document.querySelectorAll("body *, #chart text")].filter(shown).flatMap((e) => {
		const style = getComputedStyle(e);
		const [a, b] = [light(parse(e.closest("svg") ? style.fill : style.color).rgb), light(ground(e))];
		const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
		return ratio < 4.5 ? [e.textContent.trim().slice(0, 40) + " stands out by " + ratio.toFixed(2)] : [];
	});
})()`

// picturesOnPage makes the pictures of the documents, with -update.
func picturesOnPage(t *testing.T, b *browser) {
	if !golden.Updating() {
		t.Skip("pictures are made with -update")
	}
	s := newStage(t)
	for _, shot := range []struct {
		file, scene   string
		width, height int
		scheme        string
		whole         bool
	}{
		{"flowing.png", "flowing", 1280, 900, "light", true},
		{"held.png", "held: the token", 1280, 900, "dark", true},
		{"phone.png", "behind, at the rate limit", 360, 780, "light", false},
		{"sick.png", "flowing, and a partition is sick", 1280, 900, "light", true},
	} {
		for _, scene := range scenes() {
			if scene.name != shot.scene {
				continue
			}
			s.play(scene)
			p := b.open(t, s.URL, shot.width, shot.height, shot.scheme)
			p.says("#fresh", "03:20:00", 30*time.Second)
			p.picture(shot.file, shot.whole)
			p.close()
		}
	}
}

// partitionsOnPage: the sick ones come first, then the worst ones, and more than twenty collapse. What is sick is said
// right below, and no more when it is well again.
func partitionsOnPage(t *testing.T, b *browser) {
	s := newStage(t)
	many := calm("many partitions", func(s *scene) {
		s.status.Partitions = nil
		for i := range 64 {
			s.status.Partitions = append(s.status.Partitions,
				consumer.PartitionStatus{Topic: "tasks", Partition: i, Lag: waiting(10), LagSeconds: 1, Committed: -1})
		}
		s.status.Partitions[50].Lag, s.status.Partitions[50].LagSeconds = waiting(2000), 99
		s.status.Partitions[7].Lag, s.status.Partitions[7].LagSeconds = waiting(5000), 50
	})
	s.play(many)
	p := b.open(t, s.URL, 1280, 900, "light")
	p.says("#fresh", "03:20:00", 30*time.Second)
	names := eval[[]string](p, `[...document.querySelectorAll("#worst tr")].map((tr) => tr.children[0].innerText)`)
	if len(names) != 20 || strings.Join(names[:4], ", ") != "tasks / 7, tasks / 50, tasks / 0, tasks / 1" {
		t.Errorf("shown are %v", names)
	}
	p.says("#others summary", "44 more", time.Second)
	ill := calm("one of many is sick", func(s *scene) {
		s.status.Partitions = slices.Clone(many.status.Partitions)
		s.sick(33, "no-leader", noLeader, noLeaderRemedy, 12, 8*time.Minute)
	})
	s.play(ill)
	p.says("#partitions-note", "64 here, 1 sick, 2 behind", 10*time.Second)
	p.says("#worst tr:nth-child(1)", "tasks / 33", time.Second)
	p.says("#worst tr:nth-child(2)", "Has no leader since 03:12. Bring back a broker", time.Second)
	p.says("#worst tr:nth-child(3)", "tasks / 7", time.Second)
	s.play(many)
	p.says("#partitions-note", "64 here, 2 behind", 10*time.Second)
	p.says("#worst tr:nth-child(2)", "tasks / 50", time.Second)
	if n := eval[int](p, `document.querySelectorAll(".sick, .why").length`); n != 0 {
		t.Errorf("%d rows are still sick", n)
	}
	if eval[bool](p, `document.querySelector("#rest tr").checkVisibility()`) {
		t.Error("the others do not collapse")
	}
	p.run(chromedp.Click(chromedp.CSS("#others summary")))
	if !eval[bool](p, `document.querySelector("#rest tr").checkVisibility()`) {
		t.Error("the others do not open")
	}
}

// asksOnPage: it asks each second, not at all while nobody looks, and at once when somebody looks again. Without an
// answer it says since when, and asks less and less often; and it comes back.
func asksOnPage(t *testing.T, b *browser) {
	s := newStage(t)
	s.play(scenes()[0])
	p := b.open(t, s.URL, 1280, 900, "light")
	until(t, "it asks again and again", 10*time.Second, func() bool { return p.requests("/status") >= 4 })
	p.look(false)
	asked := p.requests("/status")
	time.Sleep(2500 * time.Millisecond) // in which it would have asked twice
	if n := p.requests("/status"); n != asked {
		t.Errorf("hidden, it asked %d times more", n-asked)
	}
	p.look(true)
	until(t, "it asks as soon as somebody looks", time.Second, func() bool { return p.requests("/status") > asked })

	p.mayFail()
	s.fail(true)
	p.says("#sentence", "No answer since", 30*time.Second)
	p.says("#more", "Asked again every 8 s", 20*time.Second)
	s.fail(false)
	p.says("#word", "Flowing", 20*time.Second)
}

// TestPage: the page of a real worker, through an outage of HubSpot and dead letters with hostileText reasons, to its
// end.
func TestPage(t *testing.T) {
	t.Parallel()
	browser := startBrowser(t)
	b := kafkatest.Fake(t)
	topic, hubspot, args := world(t, b, 3, hubspottest.Config{Latency: 20 * time.Millisecond})
	b.CreateTopic(t, topic+".dlq", 1, nil)
	m := start(t, "shown", args...)
	m.get(t, "/livez")
	address := "http://" + listens.FindStringSubmatch(m.log.String())[1]
	p := browser.open(t, address, 1280, 900, "light")
	p.says("#word", "Up to date", 30*time.Second)

	b.Produce(t, topic, versions(0, 2000, 500)...)
	p.says("#word", "Flowing", 20*time.Second)
	p.says("#partitions-note", "3 here", time.Second)

	hubspot.SetDown(true)
	b.Produce(t, topic, versions(2000, 400, 500)...)
	p.says("#word", "HubSpot is down", 30*time.Second)
	p.says("#text", "(503)", time.Second)
	p.says("#breaker", "since", time.Second)
	p.says("#behind-line", "The oldest waits for", 5*time.Second)
	hubspot.SetDown(false)
	until(t, "the outage ends", 20*time.Second, func() bool {
		w := p.text("#word")
		return w == "Flowing" ||
			w == "Up to date"
	})

	hubspot.SetToken("another")
	b.Produce(t, topic, versions(2400, 100, 500)...)
	p.says("#text", "HubSpot refuses the token", 20*time.Second)
	p.says("#holds", "--hubspot-token-file", time.Second)
	hubspot.SetToken("secret")
	until(t, "the hold ends", 20*time.Second, func() bool {
		w := p.text("#word")
		return w == "Flowing" ||
			w == "Up to date"
	})

	b.Produce(t, topic, kafka.Message{Key: []byte("bad"),
		Value: []byte(`{"id":"secret-id","properties":{"hs_timestamp":"2026-11-23T10:00:00Z","<img src=x onerror=alert(1)>":"secret-value"}}`)})
	p.says("#reasons", "VALIDATION_ERROR · PROPERTY_DOESNT_EXIST · <img src=x onerror=alert(1)>", 20*time.Second)
	p.says("#reasons", "Create it in HubSpot", time.Second)
	if all := eval[string](p, "document.documentElement.outerHTML"); strings.Contains(all, "secret-") {
		t.Error("the page shows a record's id or content")
	}
	if n := eval[int](p, "document.querySelectorAll('img').length"); n != 0 {
		t.Error("hostile text became an element")
	}
	until(t, "the chart draws the flow", 20*time.Second,
		func() bool { return eval[bool](p, "document.querySelector('#chart .upserted') !== null") })
	if p.requests("/history") < 2 {
		t.Error("the history is asked for only once")
	}

	p.mayFail()
	if err := m.terminate(t); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	p.says("#sentence", "No answer since", 20*time.Second)
}

// TestPageCauses: the page has words for each cause that the consumer can name.
func TestPageCauses(t *testing.T) {
	t.Parallel()
	read := func(path string) string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	words := read("worker/page/web/words.js")
	causes := regexp.MustCompile(`\bcause[A-Z]\w* += "([\w-]+)"`).FindAllStringSubmatch(read("../../consumer/health.go"),
		-1)
	if len(causes) < 8 {
		t.Errorf("only %d causes found", len(causes))
	}
	for _, m := range causes {
		if !strings.Contains(words, `"`+m[1]+`": "`) {
			t.Errorf("the page has no words for the cause %s", m[1])
		}
	}
}

// TestPageServed: the page, its files and the history carry the headers that bind a browser, and are only for reading.
func TestPageServed(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	page.Mount(mux, page.NewHistory(nil))
	ask := func(method, path string) (status int, header http.Header) {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		return w.Code, w.Header()
	}
	for path, kind := range map[string]string{"/": "text/html; charset=utf-8", "/page/page.css": "text/css; charset=utf-8",
		"/page/page.js":  "text/javascript; charset=utf-8",
		"/page/words.js": "text/javascript; charset=utf-8", "/page/chart.js": "text/javascript; charset=utf-8", "/page/icon.svg": "image/svg+xml", "/history": "application/json"} {
		status, header := ask("GET", path)
		if got := header.Get("Content-Type"); status != 200 || got != kind {
			t.Errorf("%s: %d, %s", path, status, got)
		}
		csp := header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'",
			"form-action 'none'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: the policy %q lacks %s", path, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") || header.Get("X-Content-Type-Options") != "nosniff" ||
			header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: headers %v", path, header)
		}
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS"} {
			if status, _ := ask(method, path); status != 405 {
				t.Errorf("%s %s: %d", method, path, status)
			}
		}
		if status, _ := ask("HEAD", path); status != 200 {
			t.Errorf("HEAD %s: %d", path, status)
		}
	}
	for _, path := range []string{"/page/", "/page/page.go", "/page/../page.go", "/page", "/index.html", "/page.html"} {
		if status, _ := ask("GET", path); status == 200 {
			t.Errorf("%s is there", path)
		}
	}
}
