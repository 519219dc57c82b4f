package admin

// Charts as SVG, drawn on the server: bars and lines over time, with a title, a
// description, a tip on each point, and the same as a table for whoever would
// rather read.

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strings"
)

// The size of a chart in its own units; the page scales it.
const (
	chartWidth  = 640.0
	chartHeight = 200.0
	chartLeft   = 76.0 // of which labels have
	chartBottom = 22.0
	chartTop    = 14.0
	chartRight  = 6.0
	// chartLines is how many lines the scale has at most.
	chartLines = 4
	// chartLabels is how many points are named below at most.
	chartLabels = 7
	// tableRows is how many rows the table has at most, the newest.
	tableRows = 60
)

// series is one kind of value over time.
type series struct {
	Name   string
	Class  string // of the style: c0 to c6
	Values []float64
}

// chart is what is drawn.
type chart struct {
	ID     string
	Title  string
	About  string   // what is seen, in a sentence
	Labels []string // of the points, short
	Names  []string // of the points, whole
	Series []series
	Lines  bool                 // lines, not bars upon one another
	Words  func(float64) string // writes a value
	Bytes  bool                 // the scale is in powers of 1,024
	Whole  bool                 // the scale has no fractions
	Time   bool                 // values are seconds: the scale is in minutes or hours where that fits
}

// SVG draws the chart.
func (c *chart) SVG() template.HTML {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="chart" viewBox="0 0 %.0f %.0f" role="img" aria-labelledby="%s-t %s-d"><title id="%s-t">%s</title><desc id="%s-d">%s</desc>`,
		chartWidth, chartHeight, c.ID, c.ID, c.ID, html.EscapeString(c.Title), c.ID, html.EscapeString(c.About))
	top := c.top()
	c.scale(&b, top)
	if c.Lines {
		c.lines(&b, top)
	} else {
		c.bars(&b, top)
	}
	c.below(&b)
	b.WriteString("</svg>")
	return template.HTML(b.String())
}

// Legend names the series.
func (c *chart) Legend() []series {
	if len(c.Series) < 2 {
		return nil
	}
	return c.Series
}

// Empty tells that there is nothing to see.
func (c *chart) Empty() bool {
	for _, s := range c.Series {
		for _, v := range s.Values {
			if v != 0 {
				return false
			}
		}
	}
	return true
}

// Rows is the table: the name of each point that has a value, the newest first,
// and its values.
func (c *chart) Rows() [][]string {
	var out [][]string
	for i := len(c.Names) - 1; i >= 0 && len(out) < tableRows; i-- {
		row, any := []string{c.Names[i]}, false
		for _, s := range c.Series {
			any = any || s.Values[i] != 0
			row = append(row, c.Words(s.Values[i]))
		}
		if any {
			out = append(out, row)
		}
	}
	return out
}

// top is the value at the top of the scale.
func (c *chart) top() float64 {
	most := 0.0
	for i := range c.Names {
		sum := 0.0
		for _, s := range c.Series {
			if c.Lines {
				sum = max(sum, s.Values[i])
			} else {
				sum += s.Values[i]
			}
		}
		most = max(most, sum)
	}
	if most <= 0 {
		return 1
	}
	return c.step(most) * math.Ceil(most/c.step(most))
}

// step is the distance of the scale's lines: a round number.
func (c *chart) step(most float64) float64 {
	base := 10.0
	unit := 1.0
	switch {
	case c.Bytes:
		for unit*1024 <= most {
			unit *= 1024
		}
	case c.Time && most >= 2*3600:
		unit = 3600
	case c.Time && most >= 2*60:
		unit = 60
	}
	raw := most / unit / chartLines
	power := math.Pow(base, math.Floor(math.Log10(raw)))
	for _, f := range []float64{1, 2, 2.5, 5, 10} {
		if f*power >= raw {
			if c.Whole {
				return max(1, f*power*unit)
			}
			return f * power * unit
		}
	}
	return base * power * unit
}

func (c *chart) y(v, top float64) float64 {
	return chartTop + (chartHeight-chartTop-chartBottom)*(1-v/top)
}

// x is the left end of a point's place, width how wide that is.
func (c *chart) x(i int) (left, width float64) {
	width = (chartWidth - chartLeft - chartRight) / float64(max(1, len(c.Names)))
	return chartLeft + float64(i)*width, width
}

func (c *chart) scale(b *strings.Builder, top float64) {
	step := c.step(top)
	for v := 0.0; v <= top*1.001; v += step {
		y := c.y(v, top)
		fmt.Fprintf(b, `<line class="grid" x1="%.0f" x2="%.0f" y1="%.1f" y2="%.1f"/><text class="tick" x="%.0f" y="%.1f" text-anchor="end">%s</text>`,
			chartLeft, chartWidth-chartRight, y, y, chartLeft-6, y+4, html.EscapeString(c.tick(v)))
	}
}

// tick writes a value of the scale, shorter than one of a point.
func (c *chart) tick(v float64) string {
	if v == 0 {
		return "0"
	}
	return strings.Replace(c.Words(v), ".0 ", " ", 1)
}

func (c *chart) tip(b *strings.Builder, s *series, i int) {
	fmt.Fprintf(b, `<title>%s, %s: %s</title>`, html.EscapeString(c.Names[i]), html.EscapeString(s.Name), html.EscapeString(c.Words(s.Values[i])))
}

func (c *chart) bars(b *strings.Builder, top float64) {
	for i := range c.Names {
		left, width := c.x(i)
		gap := min(2, width/5)
		sum := 0.0
		for n := range c.Series {
			s := &c.Series[n]
			if s.Values[i] <= 0 {
				continue
			}
			from, to := c.y(sum, top), c.y(sum+s.Values[i], top)
			sum += s.Values[i]
			height := max(from-to, 1) // what is there can be seen
			fmt.Fprintf(b, `<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f">`, s.Class, left+gap/2, from-height, width-gap, height)
			c.tip(b, s, i)
			b.WriteString("</rect>")
		}
	}
}

func (c *chart) lines(b *strings.Builder, top float64) {
	for n := range c.Series {
		s := &c.Series[n]
		var run []string
		end := func() {
			if len(run) > 1 {
				fmt.Fprintf(b, `<polyline class="line %s" points="%s"/>`, s.Class, strings.Join(run, " "))
			}
			run = nil
		}
		for i, v := range s.Values {
			left, width := c.x(i)
			if v <= 0 { // nothing was measured then
				end()
				continue
			}
			run = append(run, fmt.Sprintf("%.1f,%.1f", left+width/2, c.y(v, top)))
		}
		end()
		for i, v := range s.Values {
			if v <= 0 {
				continue
			}
			left, width := c.x(i)
			fmt.Fprintf(b, `<circle class="%s" cx="%.1f" cy="%.1f" r="%.1f">`, s.Class, left+width/2, c.y(v, top), min(3, width/2))
			c.tip(b, s, i)
			b.WriteString("</circle>")
		}
	}
}

func (c *chart) below(b *strings.Builder) {
	every := max(1, int(math.Ceil(float64(len(c.Labels))/chartLabels)))
	for i := len(c.Labels) - 1; i >= 0; i -= every {
		left, width := c.x(i)
		anchor, x := "middle", left+width/2
		if i == len(c.Labels)-1 {
			anchor, x = "end", left+width
		}
		fmt.Fprintf(b, `<text class="tick" x="%.1f" y="%.0f" text-anchor="%s">%s</text>`, x, chartHeight-6, anchor, html.EscapeString(c.Labels[i]))
	}
}
