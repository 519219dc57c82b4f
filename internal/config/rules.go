package config

// The rules as a whole: compiled once, with each mistake in a condition shown
// where it stands in the file.

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"cloakroom/policy"
)

func (c *checker) rules() {
	if len(c.cfg.Rules) == 0 && !c.failed("rules") {
		c.warn("rules", "there are no rules, so no mail will be changed; `cloakroom config example` has some to start with")
	}
	set, err := policy.Compile(c.cfg.Rules)
	for _, e := range splitErrors(err) {
		var mistake *policy.CompileError
		if !errors.As(e, &mistake) {
			c.fail("rules", "%v", e)
			continue
		}
		c.ruleMistake(mistake)
	}
	for i := range c.cfg.Rules {
		if link := c.cfg.Rules[i].Link; link != nil && !link.Keep {
			c.linkNeeds(fmt.Sprintf("rules[%d]", i), link.Options)
		}
	}
	if set != nil {
		for i, o := range set.VaultTargets() {
			c.ruleTarget(fmt.Sprintf("rules[%d].vault", i), o)
		}
		for i, alternate := range set.ForwardAlternates() {
			c.alternate(fmt.Sprintf("rules[%d].forward.alternate", i), alternate)
		}
		for _, w := range set.Warnings() {
			key := joinPath(fmt.Sprintf("rules[%d]", w.Index), w.Key)
			c.ps.warn(c.insideRule(key, w.Line, w.Column), key, "%s", w.Message)
		}
	}
	c.cfg.policy = set
}

func (c *checker) ruleMistake(e *policy.CompileError) {
	rule := fmt.Sprintf("rules[%d]", e.Index)
	for _, known := range c.ps.errors { // a rule that was not read whole makes no sense either
		if known.Key == rule || strings.HasPrefix(known.Key, rule+".") && known.Key != rule+".if" {
			return
		}
	}
	key := joinPath(rule, e.Key)
	message := e.Message
	if written, found := c.index[key]; found && e.Line > 0 && c.cutByComment(written.value) {
		message += "; note that YAML ends the expression at ` #`: put it into quotes as a whole, or on its own lines below `if: |`"
	}
	c.ps.add(c.insideRule(key, e.Line, e.Column), key, "%s", message)
}

// insideRule is where a place inside a value of a rule stands in the file; line
// 0 is the value as a whole.
func (c *checker) insideRule(key string, line, column int) place {
	written, found := c.index[key]
	if text, ok := scalarText(written.value); found && ok && line > 0 {
		return c.ps.source.placeInside(written.value, text, line, column)
	}
	return c.index.find(key)
}

// cutByComment tells whether a plain text is followed by a comment, as when
// somebody wrote a # into an expression without quotes.
func (c *checker) cutByComment(node ast.Node) bool {
	start := nodePlace(node)
	if _, plain := node.(*ast.StringNode); !plain || start.line < 1 {
		return false
	}
	kind := node.GetToken().Type
	if kind == token.SingleQuoteType || kind == token.DoubleQuoteType {
		return false
	}
	line := c.ps.source.lines[start.line-1]
	return strings.Contains(string(line[min(start.column-1, len(line)):]), " #")
}
