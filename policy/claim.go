package policy

// What one term of a condition claims about one value, as far as warnings
// understand it: which texts it may be, or between which whole numbers it lies.

import (
	"maps"
	"math"
)

// claim says that the value of subject is among texts (or, with except, is none
// of them), or from low to high. True and false count as 1 and 0.
type claim struct {
	subject   string // the expression as CEL writes it
	number    bool
	low, high int64
	except    bool
	texts     map[string]bool
}

func isText(subject, value string) *claim {
	return &claim{subject: subject, texts: map[string]bool{value: true}}
}

func isAmong(subject string, values ...string) *claim {
	c := &claim{subject: subject, texts: make(map[string]bool, len(values))}
	for _, v := range values {
		c.texts[v] = true
	}
	return c
}

func isBetween(subject string, low, high int64) *claim {
	return &claim{subject: subject, number: true, low: low, high: high}
}

func isTruth(subject string, truth bool) *claim {
	if truth {
		return isBetween(subject, 1, 1)
	}
	return isBetween(subject, 0, 0)
}

// opposite is the claim that this one does not hold; nil when it cannot be said.
func (c *claim) opposite() *claim {
	out := *c
	switch {
	case !c.number:
		out.except = !c.except
	case c.low == math.MinInt64 && c.high < math.MaxInt64:
		out.low, out.high = c.high+1, math.MaxInt64
	case c.high == math.MaxInt64 && c.low > math.MinInt64:
		out.low, out.high = math.MinInt64, c.low-1
	default:
		return nil // two ranges
	}
	return &out
}

// empty tells that no value fits.
func (c *claim) empty() bool {
	if c.number {
		return c.low > c.high
	}
	return !c.except && len(c.texts) == 0
}

// and is what both claims leave; they are about the same subject.
func (c *claim) and(d *claim) *claim {
	if c.number != d.number {
		return c
	}
	if c.number {
		return isBetween(c.subject, max(c.low, d.low), min(c.high, d.high))
	}
	if c.except && d.except {
		texts := maps.Clone(c.texts)
		maps.Copy(texts, d.texts)
		return &claim{subject: c.subject, except: true, texts: texts}
	}
	if c.except {
		c, d = d, c
	}
	out := isAmong(c.subject)
	for t := range c.texts {
		if d.texts[t] != d.except {
			out.texts[t] = true
		}
	}
	return out
}

// within tells that whatever fits this claim fits d.
func (c *claim) within(d *claim) bool {
	switch {
	case c.number != d.number:
		return false
	case c.number:
		return c.low >= d.low && c.high <= d.high
	case c.except && !d.except:
		return false
	case c.except:
		for t := range d.texts {
			if !c.texts[t] {
				return false
			}
		}
		return true
	}
	for t := range c.texts {
		if d.texts[t] == d.except {
			return false
		}
	}
	return true
}

// only tells whether the value is one of a few texts, every one of which fits.
func (c *claim) only(fits func(string) bool) bool {
	if c == nil || c.number || c.except {
		return false
	}
	for t := range c.texts {
		if !fits(t) {
			return false
		}
	}
	return len(c.texts) > 0
}
