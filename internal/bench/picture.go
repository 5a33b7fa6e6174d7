package main

import (
	"bytes"
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
)

// curve is a line of a picture.
type curve struct {
	name   string
	points plotter.XYs
}

func (c *curve) add(x, y float64) { c.points = append(c.points, plotter.XY{X: x, Y: y}) }

// thinned keeps at most so many points, the last one among them.
func (c curve) thinned(most int) plotter.XYs {
	step := max(1, (len(c.points)+most-1)/most)
	var kept plotter.XYs
	for i := 0; i < len(c.points); i += step {
		kept = append(kept, c.points[i])
	}
	if len(c.points) > 0 {
		kept = append(kept, c.points[len(c.points)-1])
	}
	return kept
}

// colors can be told apart with most kinds of colour blindness, and on paper.
var colors = []color.Color{
	color.RGBA{0x00, 0x72, 0xb2, 0xff}, color.RGBA{0xe6, 0x9f, 0x00, 0xff}, color.RGBA{0x99, 0x99, 0x99, 0xff},
	color.RGBA{0x00, 0x9e, 0x73, 0xff}, color.RGBA{0xd5, 0x5e, 0x00, 0xff}, color.RGBA{0xcc, 0x79, 0xa7, 0xff},
}

// pictures draws one for each row that was run, as SVG.
func (b *bench) pictures(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	draw := map[string]func() (*plot.Plot, error){
		"a": func() (*plot.Plot, error) {
			return b.bars("a", "CPU per record by HubSpot's latency", "µs", bySubject("cpu_us_per_record"))
		},
		"b": func() (*plot.Plot, error) {
			ideal := curve{name: "the account's limit"}
			ideal.add(0, 0)
			all := window + quotaSpan
			ideal.add(all.Seconds(), accountLimit*batchSize*all.Seconds()/window.Seconds())
			return lines("Records that HubSpot accepted, 100 requests per 10 s allowed", "seconds since the first request",
				"records", append(b.curves["b"], ideal))
		},
		"c": func() (*plot.Plot, error) {
			return lines("Age of a record when its request arrives, 5 records/s", "ms", "% at most this old", b.curves["c"])
		},
		"d": func() (*plot.Plot, error) {
			return lines("Records waiting, before and after HubSpot comes back", "seconds since HubSpot is back", "records",
				b.curves["d"])
		},
		"e": func() (*plot.Plot, error) {
			return b.bars("e", "Quota used by replicas of one account", "%", byFigure("quota_used_percent"))
		},
		"f": func() (*plot.Plot, error) {
			return b.bars("f", "Peak memory by partitions", "MiB", byFigure("idle_peak_rss_mib", "busy_peak_rss_mib"))
		},
		"g": func() (*plot.Plot, error) {
			return b.bars("g", "Peak memory, full of records of one size", "MiB", byFigure("peak_rss_mib"))
		},
		"h": func() (*plot.Plot, error) {
			return b.bars("h", "CPU per record, with and without traces", "µs", byFigure("cpu_us_per_record"))
		},
		"i": func() (*plot.Plot, error) {
			return b.bars("i", "CPU per record, reading alone", "µs", bySubject("cpu_us_per_record"))
		},
	}
	for _, row := range rows {
		if !slices.ContainsFunc(b.results, func(r *result) bool { return r.Row == row.name }) {
			continue
		}
		p, err := draw[row.name]()
		if err != nil {
			return fmt.Errorf("draw row %s: %w", row.name, err)
		}
		if err := save(p, filepath.Join(dir, row.name+".svg")); err != nil {
			return fmt.Errorf("draw row %s: %w", row.name, err)
		}
	}
	return nil
}

func save(p *plot.Plot, path string) error {
	w, err := p.WriterTo(18*vg.Centimeter, 9*vg.Centimeter, "svg")
	if err != nil {
		return err
	}
	var svg bytes.Buffer
	if _, err := w.WriteTo(&svg); err != nil {
		return err
	}
	// Where the font is not installed, one like it.
	out := bytes.ReplaceAll(svg.Bytes(), []byte("font-family:Liberation Sans;"),
		[]byte("font-family:Liberation Sans,Arial,sans-serif;"))
	return os.WriteFile(path, out, 0o644)
}

func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Title.Padding = vg.Points(8)
	for style, size := range map[*text.Style]float64{&p.Title.TextStyle: 11, &p.X.Label.TextStyle: 9,
		&p.Y.Label.TextStyle: 9,
		&p.X.Tick.Label:      8, &p.Y.Tick.Label: 8, &p.Legend.TextStyle: 8} {
		style.Font.Variant, style.Font.Size = "Sans", vg.Points(size)
	}
	p.Legend.Top, p.Legend.Left, p.Legend.Padding = true, true, vg.Points(2)
	grid := plotter.NewGrid()
	grid.Vertical.Width, grid.Horizontal.Color = 0, color.Gray{0xd0}
	p.Add(grid)
	return p
}

func lines(title, x, y string, curves []curve) (*plot.Plot, error) {
	p := newPlot(title, x, y)
	for i, c := range curves {
		line, err := plotter.NewLine(c.thinned(1500))
		if err != nil {
			return nil, err
		}
		line.Color, line.Width = colors[i%len(colors)], vg.Points(1.5)
		p.Add(line)
		p.Legend.Add(c.name, line)
	}
	p.Y.Min = 0
	p.X.Max += 0.02 * (p.X.Max - p.X.Min) // room for the last tick's label
	return p, nil
}

// series says which bars of a group a result is, if any.
type series func(r *result) (name string, is bool)

func bySubject(figure string) series {
	return func(r *result) (string, bool) { return r.Worker, r.Figure == figure }
}

func byFigure(figures ...string) series {
	return func(r *result) (string, bool) { return heading(r.Figure, ""), slices.Contains(figures, r.Figure) }
}

// bars draws a group of bars for each case of a row.
func (b *bench) bars(row, title, unit string, pick series) (*plot.Plot, error) {
	var cases, names []string
	values := map[string]map[string]float64{}
	most := 0.0
	for _, r := range b.results {
		name, is := pick(r)
		if r.Row != row || !is {
			continue
		}
		if !slices.Contains(cases, r.Case) {
			cases = append(cases, r.Case)
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
			values[name] = map[string]float64{}
		}
		values[name][r.Case] = r.Median
		most = max(most, r.Median)
	}
	p := newPlot(title, "", unit)
	p.Y.Min, p.Y.Max = 0, 1.1*most
	if len(names) > 1 {
		p.Y.Max = 1.4 * most // room for the legend
	}
	width := vg.Points(min(30, 340/float64(max(1, len(cases)*len(names)))))
	for i, name := range names {
		var heights plotter.Values
		var labels plotter.XYLabels
		offset := width * vg.Length(float64(i)-float64(len(names)-1)/2)
		for x, c := range cases {
			heights = append(heights, values[name][c])
			labels.XYs = append(labels.XYs, plotter.XY{X: float64(x), Y: values[name][c]})
			labels.Labels = append(labels.Labels, short(values[name][c]))
		}
		bar, err := plotter.NewBarChart(heights, width)
		if err != nil {
			return nil, err
		}
		bar.Color, bar.LineStyle.Width, bar.Offset = colors[i%len(colors)], 0, offset
		label, err := plotter.NewLabels(labels)
		if err != nil {
			return nil, err
		}
		for j := range label.TextStyle {
			label.TextStyle[j].Font.Variant, label.TextStyle[j].Font.Size = "Sans", vg.Points(7)
			label.TextStyle[j].XAlign = -0.5
		}
		label.Offset.X, label.Offset.Y = offset, vg.Points(2)
		p.Add(bar, label)
		if len(names) > 1 {
			p.Legend.Add(name, bar)
		}
	}
	p.NominalX(cases...)
	p.X.Min, p.X.Max = -0.5, float64(len(cases))-0.5
	return p, nil
}
